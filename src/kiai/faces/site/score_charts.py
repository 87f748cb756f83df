"""The drawings of a replay as coordinates for SVG: hit errors as bars, the combo as a line, misses as marks.

The template writes the markup. All coordinates are in a box of 100 x 100 that the page stretches.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from kiai.osu.replay_analysis import HitErrors, LifePoint, Moment, ReplayAnalysis

_TABLE_MAX: Final = 24
"""Rows of the table that says the course of the combo in numbers."""
_GAP: Final = 0.12  # on each side of a bar, as a part of its width


class Bar(msgspec.Struct, frozen=True):
    """A bar of the histogram. `from_ms` and `until_ms` are its bounds; `best`: it lies within the best window."""

    x: float
    width: float
    y: float
    height: float
    from_ms: float
    until_ms: float
    hits: int
    best: bool


class Timeline(msgspec.Struct, frozen=True):
    """The course of a play. `combo` and `life` are the points of lines; `misses` are x coordinates."""

    combo: str
    life: str
    misses: list[float]
    top_combo: int
    end_ms: int
    rows: list[Moment]


def bars(errors: HitErrors) -> list[Bar]:
    """Return the bars of the histogram, from early to late."""
    top = max(errors.histogram, default=0) or 1
    step = 100 / len(errors.histogram)
    drawn = []
    for number, hits in enumerate(errors.histogram):
        from_ms = errors.first_bin_ms + number * errors.bin_ms
        middle = from_ms + errors.bin_ms / 2
        height = 100 * hits / top
        drawn.append(
            Bar(
                x=round(step * (number + _GAP), 2),
                width=round(step * (1 - 2 * _GAP), 2),
                y=round(100 - height, 2),
                height=round(height, 2),
                from_ms=from_ms,
                until_ms=from_ms + errors.bin_ms,
                hits=hits,
                best=abs(middle) < errors.best_window_ms,
            )
        )
    return drawn


def timeline(found: ReplayAnalysis) -> Timeline | None:
    """Return the course of the play, or None if the replay does not tell it. The combo is empty where it is unknown."""
    if not found.timeline and not found.life:
        return None
    end_ms = max(found.end_ms, found.timeline[-1].at_ms if found.timeline else 0, 1)
    top = max((moment.combo for moment in found.timeline), default=0)
    every = max(-(-len(found.timeline) // _TABLE_MAX), 1)
    last = found.timeline[-1:] if (len(found.timeline) - 1) % every else []
    return Timeline(
        combo=_line([(moment.at_ms / end_ms, moment.combo / (top or 1)) for moment in found.timeline]),
        life=_line([(point.at_ms / end_ms, point.life) for point in _within(found.life, end_ms)]),
        misses=[round(100 * at_ms / end_ms, 2) for at_ms in found.miss_times],
        top_combo=top or 1,
        end_ms=end_ms,
        rows=[*found.timeline[::every], *last],
    )


def _within(life: Sequence[LifePoint], end_ms: int) -> list[LifePoint]:
    return [point for point in life if 0 <= point.at_ms <= end_ms]


def _line(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{100 * x:.2f},{100 - 96 * y:.2f}" for x, y in points)
