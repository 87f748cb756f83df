"""The key presses in the frames of a replay (docs/spec/replays.md#frames)."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from kiai.osu.replay_file import BadReplay, frame_texts

FRAMES_MAX: Final = 2_000_000
PRESSES_MAX: Final = 200_000
"""A map has at most 50,000 objects."""
SMOKE: Final = 16
_KEYBOARD: Final = 4 | 8
_LEFT: Final = 1 | 4
_RIGHT: Final = 2 | 8


class Press(NamedTuple):
    """Keys that went down in one frame, as bits, at a time in ms of the map, with the place of the cursor."""

    at_ms: float
    x: float
    y: float
    keys: int


class Presses(NamedTuple):
    """All presses of a replay, and the time of its last frame in ms of the map."""

    presses: list[Press]
    end_ms: float


def read_presses(stream: bytes, mode: int) -> Presses:
    """Return the presses in a stream of frames. `mode` is 0-3. CPU-bound: 1 us per frame.

    The keys are those of the game: in osu!, 1 and 2 are the mouse buttons and 4 and 8 the keys; in taiko, 1 and 4 are
    the centre and 2 and 8 the rim; in catch, 1 is the dash; in mania, a bit is a column. Raises BadReplay as
    `check_frames`, and for more than 2,000,000 frames or 200,000 presses.
    """
    now = 0.0
    held = 0
    presses: list[Press] = []
    for count, (time, x, y, z) in enumerate(frames_of(stream)):
        if count > FRAMES_MAX:
            raise BadReplay(f"there are more than {FRAMES_MAX} frames")
        now += time
        keys = keys_of(x if mode == 3 else z, mode)
        pressed = keys & ~held
        held = keys
        if pressed:
            if len(presses) == PRESSES_MAX:
                raise BadReplay(f"there are more than {PRESSES_MAX} key presses")
            presses.append(Press(now, x, y, pressed))
    return Presses(presses, now)


def frames_of(stream: bytes) -> Iterator[tuple[float, float, float, float]]:
    """Yield time step, x, y and keys of each frame, without the one with the random seed. Raises BadReplay."""
    for text in frame_texts(stream):
        for frame in text.split(b","):
            if frame:
                time, x, y, z = map(float, frame.split(b"|"))
                if time != -12345:  # the frame that carries the random seed
                    yield time, x, y, z


def keys_of(bits: float, mode: int) -> int:
    """Return the keys in the number of a frame of mode 0-3; a mouse button that its key sets is left out."""
    keys = int(bits) if 0 <= bits < 2**31 else 0  # `not` NaN either: a comparison with NaN is false
    if mode != 0:
        return keys
    # The game sets the mouse button together with its key: K1 is 5 and K2 is 10.
    keys &= 15
    if keys & _KEYBOARD & _LEFT:
        keys &= ~1
    if keys & _KEYBOARD & _RIGHT:
        keys &= ~2
    return keys
