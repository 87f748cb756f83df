"""Maps and replays whose hits are known, for tests of what a replay shows."""

import lzma
from collections.abc import Sequence
from typing import Final

from kiai.osu.beatmap_file import SPINNER, parse_objects
from kiai.osu.stacking import stacked_positions

_FILTERS: Final = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16}]


def a_chart(
    objects: Sequence[str], *, mode: int = 0, cs: float = 4, od: float = 5, ar: float = 9, version: int = 14
) -> bytes:
    """An .osu file with these lines of objects, a beat of 500 ms, and sliders of 140 pixels in a beat."""
    return "\n".join(
        [
            f"osu file format v{version}",
            "[General]",
            f"Mode: {mode}",
            "StackLeniency: 0.7",
            "[Difficulty]",
            f"CircleSize:{cs}",
            f"OverallDifficulty:{od}",
            f"ApproachRate:{ar}",
            "SliderMultiplier:1.4",
            "SliderTickRate:2",
            "[TimingPoints]",
            "0,500,4,1,0,100,1,0",
            "[HitObjects]",
            *objects,
        ]
    ).encode()


def circles(count: int, *, x: int = 256, y: int = 192, apart_ms: int = 500, sound: int = 0) -> list[str]:
    """Lines of circles at one place, the first at 1000 ms."""
    return [f"{x},{y},{1000 + apart_ms * n},1,{sound},0:0:0:0:" for n in range(count)]


def a_stream(taps: Sequence[tuple[float, float, float, int]], *, hold_ms: float = 30, end_ms: float = 0) -> bytes:
    """An LZMA stream of frames in which each tap (time, x, y, keys) presses its keys for `hold_ms`."""
    frames = ["0|256|-500|0", "-1|256|-500|0"]
    now = -1.0
    for at_ms, x, y, keys in taps:
        frames += [f"{at_ms - now:.3f}|{x}|{y}|{keys}", f"{hold_ms}|{x}|{y}|0"]
        now = at_ms + hold_ms
    frames.append(f"{max(end_ms - now, 1):.3f}|256|192|0")
    return encoded(frames)


def a_mania_stream(taps: Sequence[tuple[float, int]], *, end_ms: float = 0) -> bytes:
    """An LZMA stream of frames in which each tap (time, columns as bits) presses these columns for 20 ms."""
    frames = ["0|0|0|0", "-1|0|0|0"]
    now = -1.0
    for at_ms, columns in taps:
        frames += [f"{at_ms - now:.3f}|{columns}|0|0", "20|0|0|0"]
        now = at_ms + 20
    return encoded([*frames, f"{max(end_ms - now, 1):.3f}|0|0|0"])


def encoded(frames: Sequence[str]) -> bytes:
    """Return frames as the game writes them."""
    text = ",".join([*frames, "-12345|0|0|7,"])
    return lzma.compress(text.encode(), lzma.FORMAT_ALONE, filters=_FILTERS)


def played(osu: bytes, offsets_ms: Sequence[float | None], *, mods: int = 0) -> bytes:
    """An osu! replay that clicks each circle and slider head with these errors in ms; None leaves one out.

    The keys alternate between K1 and K2.
    """
    chart = parse_objects(osu)
    places = stacked_positions(chart, mods)
    targets = [(found, place) for found, place in zip(chart.objects, places, strict=True) if found.kind != SPINNER]
    taps = [
        (found.start_ms + offset, place[0], place[1], (5, 10)[number % 2])
        for number, ((found, place), offset) in enumerate(zip(targets, offsets_ms, strict=True))
        if offset is not None
    ]
    return a_stream(taps, end_ms=max(found.end_ms for found in chart.objects) + 1000)
