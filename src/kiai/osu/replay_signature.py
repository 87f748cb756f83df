"""Signatures of replays, and how similar two replays of one map are.

A signature has the places of the cursor at fixed times of the map (at up to 128 objects, and half-way to the next one),
and the errors of the hits. Hard Rock is undone. Two replays are similar if their cursors were close at most times, and
if they *missed the centres of objects in the same way*: every player follows the objects, so equal paths prove little
on a slow map, but the errors of two hands are independent. In taiko, mania and with Autopilot only the errors of hits
count.

A constant shift in space or a shift in time of up to 64 ms changes nothing, and frames may be left out.

See docs/spec/replays.md#evidence-in-a-replay.
"""

import math
from array import array
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from kiai.osu.beatmap_file import CIRCLE, HOLD, SLIDER, PlacedObject, PlacedObjects
from kiai.osu.hit_detection import Decision
from kiai.osu.mods import AP, HR
from kiai.osu.replay_track import Track, places_at
from kiai.osu.stacking import HEIGHT, stacked_positions

VERSION: Final = 1
"""Of the signature. Signatures of another version are not compared."""
OBJECTS_MAX: Final = 128
NOTES_MAX: Final = 256
"""Objects in a signature of taiko and mania."""
SAMPLES_MIN: Final = 30
"""Objects that both replays must have; fewer are too few to compare."""
NEAR_PX: Final = 10.0
NEAR_MS: Final = 4.0
SHIFT_MAX_MS: Final = 64.0
BYTES_MAX: Final = 4 * 2 * OBJECTS_MAX + NOTES_MAX + 8
_STEP_MS: Final = 16.0
_COARSE: Final = 8  # every eighth sample decides whether two replays are compared in full
_COARSE_PX: Final = 70.0
_GATE: Final = 0.5
_OUTLIER: Final = 3.0
_VELOCITY_MS: Final = 5.0
_HALF_GAP_MAX_MS: Final = 500.0
_ABSENT: Final = -(2**15)
_NO_ERROR: Final = -128
_SCALE: Final = 8.0
_TARGETS: Final = ((CIRCLE, SLIDER), (CIRCLE,), (CIRCLE, SLIDER), (CIRCLE, HOLD))

_Places = Sequence[tuple[float, float] | None]


class Similarity(msgspec.Struct, frozen=True):
    """How similar a replay is to another one, 0 to 1, and the figures behind it.

    `near_share` is the share of `samples` at which both were within `NEAR_PX` pixels (or `NEAR_MS` ms) of each other
    after the shifts; `error_correlation` is the correlation of their aiming errors (or errors of hits). `similarity` is
    the product of the two. `shift_ms`, `shift_x` and `shift_y` make the replays most alike.
    """

    similarity: float
    near_share: float
    error_correlation: float
    distance: float
    """The median distance in pixels, or in ms."""
    samples: int
    shift_ms: float
    shift_x: float
    shift_y: float
    hit_error_correlation: float | None


class Signature(NamedTuple):
    """The content of a stored signature. `errors` has a value in ms or None for each sampled object."""

    places: list[tuple[float, float] | None]
    errors: list[float | None]


class Sampled(NamedTuple):
    """The objects and times at which the replays of a map are compared."""

    objects: list[int]
    """Indexes of the objects among those that are hit."""
    times: list[float]
    """Two for each object: its own, and that half-way to the next one."""
    places: list[tuple[float, float]]
    """Of the objects."""


def compares_cursor(mode: int, mods: int) -> bool:
    """Whether the cursor of a replay is compared; else only the errors of its hits."""
    return mode == 2 or (mode == 0 and not mods & AP)


def sampled(chart: PlacedObjects, mode: int) -> Sampled:
    """Return the objects of a map at which replays are compared. It depends only on the map and the mode 0-3."""
    targets = targets_of(chart, mode)
    most = NOTES_MAX if mode in (1, 3) else OBJECTS_MAX
    count = min(len(targets), most)
    chosen = [number * len(targets) // count for number in range(count)]
    times: list[float] = []
    for index in chosen:
        start = targets[index].start_ms
        following = targets[index + 1].start_ms if index + 1 < len(targets) else start
        times += [start, start + min((following - start) / 2, _HALF_GAP_MAX_MS)]
    # A stack moves what is in it by many pixels, the same ones for everybody.
    places = dict(zip(map(id, chart.objects), stacked_positions(chart, 0), strict=True)) if mode == 0 else {}
    return Sampled(
        chosen,
        times,
        [places.get(id(found), (float(found.x), float(found.y))) for found in (targets[index] for index in chosen)],
    )


def targets_of(chart: PlacedObjects, mode: int) -> list[PlacedObject]:
    """Return the objects that a player hits, in order."""
    kinds = _TARGETS[mode]
    return [found for found in chart.objects if found.kind in kinds]


def errors_in_order(decided: Sequence[Decision], worst_ms: float, rate: float) -> list[float | None]:
    """Return the errors of hits in real time, in the order of their objects; None for a miss."""
    ordered = sorted(
        (
            (one.at_ms - (worst_ms if one.error_ms is None else one.error_ms), one.at_ms, one.error_ms)
            for one in decided
        ),
        key=lambda one: (round(one[0]), one[1]),
    )
    return [None if error is None else error / rate for _, _, error in ordered]


class Comparable:
    """A replay that can be compared with signatures of the same map and mode.

    `errors` are those of all objects in order, or empty where hits cannot be found.
    """

    def __init__(
        self, track: Track, at: Sampled, *, mode: int, mods: int, errors: Sequence[float | None], total: int
    ) -> None:
        self._track = track
        self._at = at
        self._mode = mode
        self._flipped = mode == 0 and bool(mods & HR)
        self.by_cursor = compares_cursor(mode, mods)
        usable = errors if len(errors) == total else []
        self.errors: list[float | None] = (
            [usable[index] for index in at.objects] if usable else [None] * len(at.objects)
        )
        self._known: dict[tuple[float, int], list[tuple[float, float] | None]] = {}
        self._residuals: dict[float, list[tuple[float, float] | None]] = {}

    def signature(self) -> bytes:
        """Return the signature, at most `BYTES_MAX` bytes."""
        places = array("h")
        if self.by_cursor:
            for place in self._places(0.0):
                places.extend((_ABSENT, _ABSENT) if place is None else (_packed(place[0]), _packed(place[1])))
        errors = array(
            "b", (_NO_ERROR if error is None else max(-127, min(127, round(error))) for error in self.errors)
        )
        if places.itemsize == 2 and array("H", [1]).tobytes() != b"\x01\x00":  # pragma: no cover (big-endian)
            places.byteswap()
        return (
            bytes([VERSION, self.by_cursor]) + len(places).to_bytes(2, "little") + places.tobytes() + errors.tobytes()
        )

    def similarity(self, other: Signature) -> Similarity | None:
        """Return how similar a replay with this signature is; None if it certainly is not similar."""
        hit_errors = _compare_errors(self.errors, other.errors)
        if not self.by_cursor or not other.places:
            return hit_errors
        if len(other.places) != len(self._at.times):
            return None
        shift = self._coarse_shift(other.places)
        if shift is None:
            return None
        others = _residual(other.places[::2], self._at.places)
        if _correlation(self._residual_at(shift), others) < _GATE:
            return None
        for _ in range(2):
            shift = max(-SHIFT_MAX_MS, min(SHIFT_MAX_MS, shift + self._correction(shift, other.places)))
        places = self._places(shift, cached=False)
        pairs = [
            (a[0] - b[0], a[1] - b[1])
            for a, b in zip(places, other.places, strict=True)
            if a is not None and b is not None
        ]
        if len(pairs) < 2 * SAMPLES_MIN:
            return None
        shift_x, shift_y = _median([x for x, _ in pairs]), _median([y for _, y in pairs])
        distances = [math.hypot(x - shift_x, y - shift_y) for x, y in pairs]
        near = sum(1 for distance in distances if distance <= NEAR_PX) / len(distances)
        correlation = _correlation(_residual(places[::2], self._at.places), others)
        return Similarity(
            similarity=round(max(correlation, 0.0) * near, 4),
            near_share=round(near, 4),
            error_correlation=round(correlation, 4),
            distance=round(_median(distances), 2),
            samples=len(pairs),
            shift_ms=round(shift, 1),
            shift_x=round(shift_x, 1),
            shift_y=round(shift_y, 1),
            hit_error_correlation=None if hit_errors is None else hit_errors.error_correlation,
        )

    def _coarse_shift(self, others: _Places) -> float | None:
        """Return the shift at which a few samples are closest, or None if they never are close."""
        coarse = others[::_COARSE]
        best, best_shift = math.inf, 0.0
        shift = -SHIFT_MAX_MS
        while shift <= SHIFT_MAX_MS:
            pairs = [
                (a[0] - b[0], a[1] - b[1])
                for a, b in zip(self._coarse_places(shift), coarse, strict=True)
                if a is not None and b is not None
            ]
            if len(pairs) * _COARSE < SAMPLES_MIN:
                return None
            mean_x = sum(x for x, _ in pairs) / len(pairs)
            mean_y = sum(y for _, y in pairs) / len(pairs)
            distance = sum(abs(x - mean_x) + abs(y - mean_y) for x, y in pairs) / len(pairs)
            if distance < best:
                best, best_shift = distance, shift
            shift += _STEP_MS
        return best_shift if best <= _COARSE_PX else None

    def _correction(self, shift: float, others: _Places) -> float:
        """Return the change of the shift that brings the replays closer: a step of Gauss and Newton."""
        now = self._places(shift)
        before, after = self._places(shift - _VELOCITY_MS), self._places(shift + _VELOCITY_MS)
        rows = [
            ((c[0] - b[0]) / (2 * _VELOCITY_MS), (c[1] - b[1]) / (2 * _VELOCITY_MS), a[0] - o[0], a[1] - o[1])
            for a, b, c, o in zip(now, before, after, others, strict=True)
            if a is not None and b is not None and c is not None and o is not None
        ]
        if not rows:
            return 0.0
        mean_x = sum(row[2] for row in rows) / len(rows)
        mean_y = sum(row[3] for row in rows) / len(rows)
        along = sum(vx * (dx - mean_x) + vy * (dy - mean_y) for vx, vy, dx, dy in rows)
        speed = sum(vx * vx + vy * vy for vx, vy, _, _ in rows)
        return max(-_STEP_MS, min(_STEP_MS, -along / speed)) if speed else 0.0

    def _places(self, shift: float, *, cached: bool = True) -> list[tuple[float, float] | None]:
        key = (shift, 1)
        found = self._known.get(key)
        if found is None:
            found = self._read([time + shift for time in self._at.times])
            if cached and len(self._known) < 64:
                self._known[key] = found
        return found

    def _coarse_places(self, shift: float) -> list[tuple[float, float] | None]:
        key = (shift, _COARSE)
        if key not in self._known:
            self._known[key] = self._read([time + shift for time in self._at.times[::_COARSE]])
        return self._known[key]

    def _read(self, times: Sequence[float]) -> list[tuple[float, float] | None]:
        places = places_at(self._track, times)
        if self._mode == 2:
            return [None if place is None else (place[0], 0.0) for place in places]
        if self._flipped:
            return [None if place is None else (place[0], HEIGHT - place[1]) for place in places]
        return places

    def _residual_at(self, shift: float) -> list[tuple[float, float] | None]:
        if shift not in self._residuals:
            self._residuals[shift] = _residual(self._places(shift)[::2], self._at.places)
        return self._residuals[shift]


def read_signature(data: bytes) -> Signature | None:
    """Return the content of a signature, or None if it is of another version or damaged."""
    if len(data) < 4 or data[0] != VERSION:
        return None
    count = int.from_bytes(data[2:4], "little")
    if len(data) < 4 + 2 * count or count % 2:
        return None
    places = array("h")
    places.frombytes(data[4 : 4 + 2 * count])
    if array("H", [1]).tobytes() != b"\x01\x00":  # pragma: no cover (big-endian)
        places.byteswap()
    errors = array("b")
    errors.frombytes(data[4 + 2 * count :])
    return Signature(
        [
            None if places[index] == _ABSENT else (places[index] / _SCALE, places[index + 1] / _SCALE)
            for index in range(0, count, 2)
        ],
        [None if error == _NO_ERROR else float(error) for error in errors],
    )


def _packed(value: float) -> int:
    return max(-32_767, min(32_767, round(value * _SCALE)))


def _residual(places: _Places, objects: Sequence[tuple[float, float]]) -> list[tuple[float, float] | None]:
    """Return what of the places the places of the objects do not explain: the errors of the player's aim.

    The line of best fit is removed for each axis, so that neither a cursor that follows the objects nor one that stays
    where it is looks like another one for that reason.
    """
    pairs = [(place, at) for place, at in zip(places, objects, strict=True) if place is not None]
    if len(pairs) < SAMPLES_MIN:
        return [None] * len(places)
    fits = [_fit([at[axis] for _, at in pairs], [place[axis] for place, _ in pairs]) for axis in (0, 1)]
    (ax, bx), (ay, by) = fits
    found = [
        None if place is None else (place[0] - ax - bx * at[0], place[1] - ay - by * at[1])
        for place, at in zip(places, objects, strict=True)
    ]
    # The few objects that a player did not reach at all must not outweigh the others.
    most = _OUTLIER * _median([math.hypot(*place) for place in found if place is not None])
    return [None if place is None else _within(place, most) for place in found]


def _within(place: tuple[float, float], most: float) -> tuple[float, float]:
    length = math.hypot(*place)
    return place if length <= most else (place[0] * most / length, place[1] * most / length)


def _fit(inputs: Sequence[float], outputs: Sequence[float]) -> tuple[float, float]:
    mean_in, mean_out = sum(inputs) / len(inputs), sum(outputs) / len(outputs)
    spread = sum((value - mean_in) ** 2 for value in inputs)
    if not spread:
        return mean_out, 0.0
    slope = sum((a - mean_in) * (b - mean_out) for a, b in zip(inputs, outputs, strict=True)) / spread
    return mean_out - slope * mean_in, slope


def _correlation(a: _Places, b: _Places) -> float:
    pairs = [(one, two) for one, two in zip(a, b, strict=True) if one is not None and two is not None]
    if len(pairs) < SAMPLES_MIN:
        return 0.0
    product = sum(one[0] * two[0] + one[1] * two[1] for one, two in pairs)
    first = sum(one[0] * one[0] + one[1] * one[1] for one, _ in pairs)
    second = sum(two[0] * two[0] + two[1] * two[1] for _, two in pairs)
    # A cursor that never moves, or that always is at the centre, has no errors to compare.
    return product / math.sqrt(first * second) if min(first, second) > 0.01 * len(pairs) else 0.0


def _compare_errors(a: Sequence[float | None], b: Sequence[float | None]) -> Similarity | None:
    if len(a) != len(b):
        return None
    pairs = [(one, two) for one, two in zip(a, b, strict=True) if one is not None and two is not None]
    if len(pairs) < SAMPLES_MIN:
        return None
    mean_a, mean_b = sum(one for one, _ in pairs) / len(pairs), sum(two for _, two in pairs) / len(pairs)
    first = sum((one - mean_a) ** 2 for one, _ in pairs)
    second = sum((two - mean_b) ** 2 for _, two in pairs)
    if min(first, second) < len(pairs):  # below 1 ms: hits without errors, which other rules find
        return None
    correlation = sum((one - mean_a) * (two - mean_b) for one, two in pairs) / math.sqrt(first * second)
    shift = _median([one - two for one, two in pairs])
    distances = [abs(one - two - shift) for one, two in pairs]
    near = sum(1 for distance in distances if distance <= NEAR_MS) / len(pairs)
    return Similarity(
        similarity=round(max(correlation, 0.0) * near, 4),
        near_share=round(near, 4),
        error_correlation=round(correlation, 4),
        distance=round(_median(distances), 2),
        samples=len(pairs),
        shift_ms=round(shift, 1),
        shift_x=0.0,
        shift_y=0.0,
        hit_error_correlation=round(correlation, 4),
    )


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]
