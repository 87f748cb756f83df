"""Where the objects of an osu! map are on the playfield: flipped by Hard Rock, and shifted where they are stacked.

Objects that follow each other closely at one place are drawn as a stack: each is shifted up and to the left by a tenth
of its radius per object above it. The game compares a click with the shifted place.

See docs/spec/replays.md#hits-in-a-replay.
"""

import math
from collections.abc import Sequence
from typing import Final

from kiai.osu.beatmap_file import CIRCLE, SLIDER, SPINNER, PlacedObject, PlacedObjects, Point, slider_path
from kiai.osu.mods import EZ, HR

STACK_DISTANCE: Final = 3.0
HEIGHT: Final = 384
"""Of the playfield, in pixels of the game."""
_OLD_STACKING_BEFORE: Final = 6  # version of the file format
_CURVE_STEPS: Final = 50
LOOKS_MAX: Final = 1_500_000
"""Comparisons of objects in one map. Two hours of a real map with 50,000 objects need a million."""
PATH_POINTS_MAX: Final = 50_000
"""Control points of the sliders in one map whose ends are computed. The ends of further ones are at their heads."""


def harder(value: float, mods: int, factor: float = 1.4) -> float:
    """Return a setting of the map, 0-10, with Hard Rock or Easy. `factor` is that of Hard Rock."""
    if mods & HR:
        return min(value * factor, 10.0)
    return value * 0.5 if mods & EZ else value


def circle_scale(cs: float, mods: int) -> float:
    """Return the size of circles with these mods, as a part of 64 pixels of radius."""
    return (1.0 - 0.7 * (harder(cs, mods, 1.3) - 5.0) / 5.0) / 2.0


def stacked_positions(chart: PlacedObjects, mods: int) -> list[Point]:
    """Return the place of each object, in the order of `chart.objects`. CPU-bound: at most about a second.

    In a map that exceeds `LOOKS_MAX`, the objects that were not compared are not stacked.
    """
    heights = _old_heights(chart, mods) if chart.format_version < _OLD_STACKING_BEFORE else _heights(chart, mods)
    shift = -6.4 * circle_scale(chart.cs, mods)
    return [
        (found.x + height * shift, (HEIGHT - found.y if mods & HR else found.y) + height * shift)
        for found, height in zip(chart.objects, heights, strict=True)
    ]


def _threshold_ms(chart: PlacedObjects, mods: int) -> float:
    """Return how closely objects must follow each other to be stacked: a part of the time for which they are shown."""
    ar = harder(chart.ar, mods)
    shown_ms = 1200.0 - 150.0 * (ar - 5.0) if ar > 5.0 else 1800.0 - 120.0 * ar
    return shown_ms * chart.stack_leniency


def _heights(chart: PlacedObjects, mods: int) -> list[int]:
    """Return the height of each object in its stack, from the last object to the first, as the game computes it."""
    objects = chart.objects
    threshold_ms = _threshold_ms(chart, mods)
    ends = _Ends(objects)
    heights = [0] * len(objects)
    looks_left = LOOKS_MAX
    for start in range(len(objects) - 1, 0, -1):
        at = start
        if heights[start] or objects[start].kind == SPINNER:
            continue
        below = start
        while below > 0 and looks_left > 0:
            below -= 1
            looks_left -= 1
            lower = objects[below]
            if lower.kind == SPINNER:
                continue
            if objects[at].start_ms - lower.end_ms > threshold_ms:
                break
            if objects[start].kind == CIRCLE and lower.kind == SLIDER and _near(ends[below], objects[at]):
                # Objects on the end of a slider go below it: those of this stack move down instead of up.
                drop = heights[at] - heights[below] + 1
                looks_left -= start - below
                for index in range(below + 1, start + 1):
                    if _near(ends[below], objects[index]):
                        heights[index] -= drop
                break
            place = (lower.x, lower.y) if objects[start].kind == CIRCLE else ends[below]
            if _near(place, objects[at]):
                heights[below] = heights[at] + 1
                at = below
    return heights


def _old_heights(chart: PlacedObjects, mods: int) -> list[int]:
    """Return the heights as the game computes them for files before version 6."""
    objects = chart.objects
    threshold_ms = _threshold_ms(chart, mods)
    ends = _Ends(objects, once=True)
    heights = [0] * len(objects)
    looks_left = LOOKS_MAX
    for index, lower in enumerate(objects):
        if heights[index] and lower.kind != SLIDER:
            continue
        until_ms, dropped = lower.end_ms, 0
        for above in range(index + 1, min(len(objects), index + 1 + looks_left)):
            looks_left -= 1
            if objects[above].start_ms - threshold_ms > until_ms:
                break
            if _near((lower.x, lower.y), objects[above]):
                heights[index] += 1
                until_ms = objects[above].end_ms
            elif _near(ends[index], objects[above]):
                dropped += 1
                heights[above] -= dropped
                until_ms = objects[above].end_ms
    return heights


def _near(place: Point, other: PlacedObject) -> bool:
    return math.hypot(place[0] - other.x, place[1] - other.y) < STACK_DISTANCE


class _Ends:
    """Where the ball of each slider ends, computed on first use; for other objects, their own place.

    `once`: after the first slide, also for sliders that slide back.
    """

    def __init__(self, objects: Sequence[PlacedObject], *, once: bool = False) -> None:
        self._objects = objects
        self._once = once
        self._known: dict[int, Point] = {}
        self._points_left = PATH_POINTS_MAX

    def __getitem__(self, index: int) -> Point:
        found = self._objects[index]
        if found.kind != SLIDER:
            return float(found.x), float(found.y)
        if index not in self._known:
            self._points_left -= found.fields[5].count("|")
            is_computed = self._points_left >= 0
            self._known[index] = path_end(found, once=self._once) if is_computed else (float(found.x), float(found.y))
        return self._known[index]


def path_end(slider: PlacedObject, *, once: bool = False) -> Point:
    """Return where a slider ends: the end of its path, or its head if it slides back. `once`: after one slide."""
    segments, slides, length = slider_path(slider)
    if slides % 2 == 0 and not once:
        return float(slider.x), float(slider.y)
    # An empty path ends at its head.
    at = last = (float(slider.x), float(slider.y))
    left = length or math.inf
    for kind, points in segments:
        for point in _flattened(kind, points):
            step = math.dist(at, point)
            if step >= left:
                return _between(at, point, left / step)
            left -= step
            last, at = (at if step else last), point
    # The path is shorter than the stated length: the game extends its last line.
    rest = math.dist(last, at)
    if not length or not rest:
        return at
    return _between(last, at, (rest + left) / rest)


def _between(a: Point, b: Point, share: float) -> Point:
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share


def _flattened(kind: str, points: Sequence[Point]) -> list[Point]:
    """Return the corners of a line that follows a segment."""
    if kind == "P" and len(points) == 3:
        arc = _arc(*points)
        if arc is not None:
            return arc
    if kind == "C":
        return _catmull(points)
    if kind == "L" or len(points) < 3:
        return list(points)
    line: list[Point] = []
    start = 0
    for index in range(1, len(points) + 1):  # two equal points in a row end one curve and start the next
        if index == len(points) or points[index] == points[index - 1]:
            line += _bezier(points[start:index])
            start = index
    return line


def _bezier(points: Sequence[Point]) -> list[Point]:
    if len(points) < 3:
        return list(points)
    return [points[0], *(_on_bezier(points, share) for share in _SHARES[:-1]), points[-1]]


def _on_bezier(points: Sequence[Point], share: float) -> Point:
    """Return a point of a curve, in linear time.

    Wozny and Chudy, "Linear-time geometric algorithm for evaluating Bezier curves" (2020). Each step is between two
    points, so it is as stable as de Casteljau's algorithm, which takes quadratic time.
    """
    degree = len(points) - 1
    (x, y), weight = points[0], 1.0
    for number in range(1, degree + 1):
        towards = weight * share * (degree - number + 1)
        weight = towards / (number * (1.0 - share) + towards)
        px, py = points[number]
        x += (px - x) * weight
        y += (py - y) * weight
    return x, y


def _catmull(points: Sequence[Point]) -> list[Point]:
    line = [points[0]] if points else []
    for index in range(len(points) - 1):
        b, c = points[index], points[index + 1]
        a = points[index - 1] if index else b
        d = points[index + 2] if index + 2 < len(points) else _between(b, c, 2.0)
        line += [(_spline(a[0], b[0], c[0], d[0], t), _spline(a[1], b[1], c[1], d[1], t)) for t in _SHARES]
    return line


_SHARES: Final = [step / _CURVE_STEPS for step in range(1, _CURVE_STEPS + 1)]


def _spline(a: float, b: float, c: float, d: float, t: float) -> float:
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t * t + (3 * b - a - 3 * c + d) * t**3)


def _arc(a: Point, b: Point, c: Point) -> list[Point] | None:
    """Return points on the circle through three points, from the first to the last. None if they are on one line."""
    doubled = 2 * (a[0] * (b[1] - c[1]) + b[0] * (c[1] - a[1]) + c[0] * (a[1] - b[1]))
    if abs(doubled) < 1e-3:
        return None
    squares = [x * x + y * y for x, y in (a, b, c)]
    x = (squares[0] * (b[1] - c[1]) + squares[1] * (c[1] - a[1]) + squares[2] * (a[1] - b[1])) / doubled
    y = (squares[0] * (c[0] - b[0]) + squares[1] * (a[0] - c[0]) + squares[2] * (b[0] - a[0])) / doubled
    radius = math.dist((x, y), a)
    first = math.atan2(a[1] - y, a[0] - x)
    turn = (math.atan2(c[1] - y, c[0] - x) - first) % (2 * math.pi)
    if (math.atan2(b[1] - y, b[0] - x) - first) % (2 * math.pi) > turn:  # the middle is on the other way round
        turn -= 2 * math.pi
    return [(x + radius * math.cos(first + turn * t), y + radius * math.sin(first + turn * t)) for t in (0.0, *_SHARES)]
