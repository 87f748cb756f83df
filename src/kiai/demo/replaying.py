"""Composes replays that fit the plays of the sample world: each object is hit or missed as the play's counts say."""

import itertools
import lzma
import math
from collections.abc import Iterator, Sequence
from random import Random
from typing import Final, NamedTuple

from kiai.osu.beatmap_file import CIRCLE, HOLD, SLIDER, PlacedObject, PlacedObjects, parse_objects
from kiai.osu.hit_detection import Windows, mania_windows, osu_windows, taiko_windows
from kiai.osu.modes import vanilla
from kiai.osu.mods import clock_rate
from kiai.osu.stacking import stacked_positions
from kiai.scores.model import Play

_HELD_MS: Final = 40.0
_HOLD_SPREAD: Final = 0.2  # of the time for which a key is held, as a part of it
_TAIL_MS: Final = 1_500.0  # from the end of the last object to the last frame
# Frames before a tap, in ms of real time as the game records them, and the part of the way that is done.
_ON_THE_WAY: Final = ((42, 0.5), (26, 0.75), (10, 0.95))
_KEYS: Final = (5, 10)
_CENTRE: Final = (1, 4)
_RIM: Final = (2, 8)
_RIM_SOUNDS: Final = 2 | 8


class _Frame(NamedTuple):
    at_ms: float
    x: float
    y: float
    keys: int


def compose_frames(play: Play, osu: bytes) -> bytes:
    """Return the LZMA stream of a replay of this play on the map in the file `osu`."""
    rng = Random(play.checksum)
    chart = parse_objects(osu)
    mode = vanilla(play.mode)
    frames = list(_COMPOSERS[mode](rng, play, chart))
    end_ms = max(found.end_ms for found in chart.objects) + _TAIL_MS
    text = ["0|256|-500|0,-1|256|-500|0,"]
    now = -1.0
    for frame in [*frames, _Frame(end_ms, 256, 192, 0)]:
        text.append(f"{frame.at_ms - now:.0f}|{frame.x:.4f}|{frame.y:.4f}|{frame.keys},")
        now += round(frame.at_ms - now)
    text.append(f"-12345|0|0|{rng.randrange(2**31)},")  # the frame with the random seed, as the game writes it
    # The stream header is that of the game: lc 3, lp 0, pb 2 and a dictionary of 2 MiB.
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": 2**21, "lc": 3, "lp": 0, "pb": 2, "mf": lzma.MF_HC4}]
    return lzma.compress("".join(text).encode("ascii"), format=lzma.FORMAT_ALONE, filters=filters)


def _errors(rng: Random, play: Play, windows: Windows, gaps: Sequence[float]) -> list[float | None]:
    """Return the error in ms of each object; None for a miss. `gaps` has the time from each object to the next.

    Misses are objects with a long gap where possible: the game counts an early hit of the next object for a missed one.
    """
    counts = play.counts
    missed = min(counts.nmiss, len(gaps))
    bad = min(counts.n100 + counts.n50, len(gaps) - missed)
    order = sorted(range(len(gaps)), key=lambda index: (gaps[index] < 2 * windows.worst, rng.random()))
    hit = order[missed:]
    rng.shuffle(hit)
    # A play with few 100s was made by a steady hand.
    spread = windows.best * (0.25 + 0.35 * min(4 * bad / max(len(gaps), 1), 1.0))
    lean = rng.gauss(0, windows.best * 0.12)
    errors: list[float | None] = [None] * len(gaps)
    for number, index in enumerate(hit):
        if number < bad:
            errors[index] = rng.choice((-1, 1)) * rng.uniform(windows.best, windows.worst * 0.8)
        else:
            errors[index] = max(min(rng.gauss(lean, spread), windows.best - 1), 1 - windows.best)
    return errors


def _gaps(times: Sequence[float]) -> list[float]:
    return [*(after - before for before, after in itertools.pairwise(times)), math.inf]


def _taps(rng: Random, times: Sequence[float], errors: Sequence[float | None]) -> Iterator[tuple[int, float, float]]:
    """Yield the index, the press and the release of each object that is hit. Taps do not overlap."""
    free_ms = 0.0
    for index, (time, error) in enumerate(zip(times, errors, strict=True)):
        if error is None:
            continue
        down = max(time + error, free_ms + 1)
        following = times[index + 1] if index + 1 < len(times) else time + 1_000
        free_ms = down + max(min(_HELD_MS, (following - time) / 3) * rng.gauss(1, _HOLD_SPREAD), 2)
        yield index, down, free_ms


def _osu_frames(rng: Random, play: Play, chart: PlacedObjects) -> Iterator[_Frame]:
    places = stacked_positions(chart, play.mods)
    targets = [
        (found, place) for found, place in zip(chart.objects, places, strict=True) if found.kind in (CIRCLE, SLIDER)
    ]
    times = [found.start_ms for found, _ in targets]
    errors = _errors(rng, play, osu_windows(chart.od, play.mods), _gaps(times))
    keys = itertools.cycle(_KEYS)
    rate = clock_rate(play.mods)
    last: tuple[float, float] = (256.0, 192.0)
    free_ms = 0.0
    for index, down, up in _taps(rng, times, errors):
        x, y = (value + rng.gauss(0, 4) for value in targets[index][1])
        key = next(keys)
        for before_ms, way in _ON_THE_WAY:
            at_ms = down - before_ms * rate
            if at_ms > free_ms:
                yield _Frame(at_ms, last[0] + (x - last[0]) * way, last[1] + (y - last[1]) * way, 0)
        yield _Frame(down, x, y, key)
        yield _Frame(up, x, y, 0)
        last, free_ms = (x, y), up


def _taiko_frames(rng: Random, play: Play, chart: PlacedObjects) -> Iterator[_Frame]:
    notes = [found for found in chart.objects if found.kind == CIRCLE]
    times = [note.start_ms for note in notes]
    errors = _errors(rng, play, taiko_windows(chart.od, play.mods), _gaps(times))
    for index, down, up in _taps(rng, times, errors):
        side = _RIM if notes[index].sound & _RIM_SOUNDS else _CENTRE
        yield _Frame(down, 320, 240, side[index % 2])
        yield _Frame(up, 320, 240, 0)


def _catch_frames(rng: Random, play: Play, chart: PlacedObjects) -> Iterator[_Frame]:
    at = 256.0
    for found in chart.objects:
        yield _Frame(max(found.start_ms - 80, 0), at, 384, 1 if abs(found.x - at) > 120 else 0)
        at = min(max(found.x + rng.gauss(0, 6), 0), 512)
        yield _Frame(found.start_ms, at, 384, 0)


def _mania_frames(rng: Random, play: Play, chart: PlacedObjects) -> Iterator[_Frame]:
    keys = max(round(chart.cs), 1)
    windows = mania_windows(chart.od, play.mods)
    # The best judgement of mania is so narrow that most hits of a good play are wider.
    windows = windows._replace(best=min(windows.worst, 40 * clock_rate(play.mods)))
    columns: list[list[PlacedObject]] = [[] for _ in range(keys)]
    for found in chart.objects:
        if found.kind in (CIRCLE, HOLD):
            columns[min(found.x * keys // 512, keys - 1)].append(found)
    notes = [(column, note) for column, found in enumerate(columns) for note in found]
    gaps = [gap for found in columns if found for gap in _gaps([note.start_ms for note in found])]
    changes: list[tuple[float, int, int]] = []
    free_ms = [0.0] * keys
    for (column, note), error in zip(notes, _errors(rng, play, windows, gaps), strict=True):
        if error is not None:
            down = max(note.start_ms + error, free_ms[column] + 1)
            released = note.end_ms + rng.gauss(0, 12) if note.kind == HOLD else 0
            free_ms[column] = max(down + max(rng.gauss(26, 5), 8), released)
            changes += [(down, 1, 1 << column), (free_ms[column], 0, 1 << column)]
    held = 0
    for at_ms, presses, bit in sorted(changes):
        held = held | bit if presses else held & ~bit
        yield _Frame(at_ms, held, 0, 0)


_COMPOSERS: Final = (_osu_frames, _taiko_frames, _catch_frames, _mania_frames)
