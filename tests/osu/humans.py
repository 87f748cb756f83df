"""Replays as people play them, and the ways in which a copy is disguised."""

import math
from collections.abc import Sequence
from random import Random
from typing import Final, NamedTuple

from tests.osu.playing import encoded

from kiai.osu.beatmap_file import SLIDER, SPINNER, parse_objects
from kiai.osu.mods import clock_rate
from kiai.osu.stacking import HEIGHT, stacked_positions

_KEYS: Final = (5, 10)


class Frame(NamedTuple):
    """A frame at a time in ms of the map."""

    at_ms: float
    x: float
    y: float
    keys: int


def human_frames(
    osu: bytes,
    seed: int,
    *,
    mods: int = 0,
    aim_px: float = 9.0,
    timing_ms: float = 9.0,
    tremor_px: float = 0.8,
    frame_ms: float = 16.0,
) -> list[Frame]:
    """Return the frames of a play of osu! by a hand of its own.

    The cursor moves from object to object with a smooth acceleration. It falls short of each object, as everybody's
    does, and misses the centre by a normal error of `aim_px`. It leaves and arrives a little early or late. A frame is
    recorded each `frame_ms`, in real time.
    """
    rng = Random(f"human {seed}")
    chart = parse_objects(osu)
    rate = clock_rate(mods)
    targets = [
        (found, place)
        for found, place in zip(chart.objects, stacked_positions(chart, mods), strict=True)
        if found.kind != SPINNER
    ]
    short = rng.uniform(0.0, 0.06)
    lean = rng.gauss(0, timing_ms * 0.45)
    bias = rng.gauss(0, 3), rng.gauss(0, 3)
    stops: list[tuple[float, float, float]] = [(targets[0][0].start_ms - 800, 256.0, 192.0)]
    presses: list[tuple[float, float, int]] = []
    for number, (found, (x, y)) in enumerate(targets):
        _, last_x, last_y = stops[-1]
        aimed = (
            x + bias[0] - (x - last_x) * short + rng.gauss(0, aim_px),
            y + bias[1] - (y - last_y) * short + rng.gauss(0, aim_px),
        )
        arrives = max(found.start_ms + rng.gauss(-5, 10) * rate, stops[-1][0] + 15)
        stops.append((arrives, *aimed))
        down = found.start_ms + (rng.gauss(0, timing_ms) + lean) * rate
        presses.append((down, down + rng.gauss(70, 14) * rate, _KEYS[number % 2]))
        if found.kind == SLIDER and found.end_ms > arrives + 30:
            stops.append((found.end_ms - 10, aimed[0] + rng.gauss(0, 8), aimed[1] + rng.gauss(0, 8)))
        else:
            stops.append((arrives + rng.uniform(10, 40) * rate, *aimed))
    end = targets[-1][0].end_ms + 500
    stops.append((end + 100, 256.0, 192.0))
    times = sorted(
        {round(stops[0][0] + step * frame_ms * rate) for step in range(int((end - stops[0][0]) / frame_ms / rate))}
        | {round(at) for down, up, _ in presses for at in (down, up)}
    )
    frames: list[Frame] = []
    stop, first = 0, 0
    drift_x = drift_y = 0.0
    for at in times:
        while stop + 2 < len(stops) and stops[stop + 1][0] <= at:
            stop += 1
        (t0, x0, y0), (t1, x1, y1) = stops[stop], stops[stop + 1]
        share = min(max((at - t0) / max(t1 - t0, 1), 0), 1)
        share = share**3 * (10 - 15 * share + 6 * share * share)
        drift_x, drift_y = 0.9 * drift_x + rng.gauss(0, tremor_px), 0.9 * drift_y + rng.gauss(0, tremor_px)
        while first < len(presses) - 1 and presses[first][1] < at - 300:
            first += 1
        keys = 0
        for down, up, key in presses[first : first + 12]:
            if round(down) <= at < round(up):
                keys |= key
        frames.append(Frame(at, x0 + (x1 - x0) * share + drift_x, y0 + (y1 - y0) * share + drift_y, keys))
    return frames


def stream_of(frames: Sequence[Frame]) -> bytes:
    """Return frames as the game writes them."""
    texts = ["0|256|-500|0", "-1|256|-500|0"]
    now = -1
    for frame in frames:
        at = round(frame.at_ms)
        texts.append(f"{at - now}|{frame.x:.4f}|{frame.y:.4f}|{frame.keys}")
        now = at
    return encoded(texts)


def shifted(frames: Sequence[Frame], *, ms: float = 0, x: float = 0, y: float = 0) -> list[Frame]:
    """Return the frames later by `ms`, and moved."""
    return [Frame(one.at_ms + ms, one.x + x, one.y + y, one.keys) for one in frames]


def mirrored(frames: Sequence[Frame]) -> list[Frame]:
    """Return the frames as a play with Hard Rock has them."""
    return [one._replace(y=HEIGHT - one.y) for one in frames]


def thinned(frames: Sequence[Frame], every: int = 2) -> list[Frame]:
    """Return only each second frame (or third ...), and those in which a key changes."""
    return [
        one
        for number, one in enumerate(frames)
        if number % every == 0 or (number and one.keys != frames[number - 1].keys)
    ]


def noisy(frames: Sequence[Frame], px: float, seed: int = 0) -> list[Frame]:
    """Return the frames with a small error at each place."""
    rng = Random(f"noise {seed}")
    return [one._replace(x=one.x + rng.gauss(0, px), y=one.y + rng.gauss(0, px)) for one in frames]


def jumps(count: int, seed: int, *, far: float = 200.0, apart_ms: int = 300) -> list[str]:
    """Lines of circles, each about `far` pixels from the last one; 0 is a slow map of one place."""
    rng = Random(f"jumps {seed}")
    lines = []
    x, y = 256.0, 192.0
    for number in range(count):
        for _ in range(40):
            angle = rng.uniform(0, 2 * math.pi)
            to_x, to_y = x + far * math.cos(angle), y + far * math.sin(angle)
            if 20 <= to_x <= 492 and 20 <= to_y <= 364:
                break
        else:
            to_x, to_y = 256.0, 192.0
        x, y = to_x, to_y
        lines.append(f"{x:.0f},{y:.0f},{1000 + apart_ms * number},1,0,0:0:0:0:")
    return lines
