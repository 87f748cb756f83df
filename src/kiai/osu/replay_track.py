"""The path of the cursor and the times of the keys in a replay, for comparisons of replays.

See docs/spec/replays.md#evidence-in-a-replay.
"""

import math
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple

from kiai.osu.replay_file import BadReplay
from kiai.osu.replay_presses import FRAMES_MAX, PRESSES_MAX, Press, frames_of, keys_of

FAR: Final = 2_000.0
"""A place further from the playfield than this, in pixels of the game, is not one of a cursor."""

STEPS_MAX: Final = 500_000
"""Two hours of play."""


class Track(NamedTuple):
    """A replay as parallel arrays of its frames in order: times in ms of the map, and places.

    `steps_ms` are the positive times between frames, as recorded, without those next to a frame in which a key changes:
    the game inserts such frames between the regular ones. They are at most the first `STEPS_MAX`. `holds_ms` are the
    times for which each key was held.
    """

    # PERF: arrays take 8 bytes a number, lists 32: hostile replays of 2,000,000 frames took 245 MB, now 65 MB.
    times: "array[float]"
    xs: "array[float]"
    ys: "array[float]"
    presses: list[Press]
    steps_ms: "array[float]"
    holds_ms: "array[float]"

    @property
    def end_ms(self) -> float:
        """The time of the last frame."""
        return self.times[-1] if self.times else 0.0


def read_track(stream: bytes, mode: int) -> Track:
    """Return the frames of a replay of mode 0-3. CPU-bound: 2 us per frame.

    Frames that go back in time, and frames without a place near the playfield, are left out of the path. Raises
    BadReplay as `read_presses`.
    """
    track = Track(array("d"), array("d"), array("d"), [], array("d"), array("d"))
    now, latest, held = 0.0, -math.inf, 0
    down_at: dict[int, float] = {}
    changed_before = True
    for count, (step, x, y, z) in enumerate(frames_of(stream)):
        if count > FRAMES_MAX:
            raise BadReplay(f"there are more than {FRAMES_MAX} frames")
        now += step
        keys = keys_of(x if mode == 3 else z, mode)
        pressed, released = keys & ~held, held & ~keys
        changed = bool(pressed or released)
        if step > 0 and count > 1 and not changed and not changed_before and len(track.steps_ms) < STEPS_MAX:
            track.steps_ms.append(step)
        changed_before = changed
        held = keys
        if pressed:
            if len(track.presses) == PRESSES_MAX:
                raise BadReplay(f"there are more than {PRESSES_MAX} key presses")
            track.presses.append(Press(now, x, y, pressed))
        for bit in _bits(pressed):
            down_at[bit] = now
        for bit in _bits(released):
            if bit in down_at:
                track.holds_ms.append(now - down_at.pop(bit))
        if now >= latest and -FAR < x < FAR and -FAR < y < FAR:  # false for NaN
            latest = now
            track.times.append(now)
            track.xs.append(x)
            track.ys.append(y)
    return track


def places_at(track: Track, times: Sequence[float]) -> list[tuple[float, float] | None]:
    """Return where the cursor was at each time, between two frames on the line; None outside of the replay."""
    known, xs, ys = track.times, track.xs, track.ys
    if not known:
        return [None] * len(times)
    first, last = known[0], known[-1]
    places: list[tuple[float, float] | None] = []
    for time in times:
        if not first <= time < last:
            places.append(None)
            continue
        after = bisect_right(known, time)
        before = after - 1
        share = (time - known[before]) / (known[after] - known[before])
        places.append((xs[before] + (xs[after] - xs[before]) * share, ys[before] + (ys[after] - ys[before]) * share))
    return places


def _bits(keys: int) -> list[int]:
    if not keys:
        return []
    return [1 << number for number in range(keys.bit_length()) if keys >> number & 1]
