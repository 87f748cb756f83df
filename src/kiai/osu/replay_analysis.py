"""Analyses a replay: errors of hits, key presses, and the course of combo, misses and life.

docs/spec/replays.md#hits-in-a-replay states what is possible in which mode, and how exact it is. CPU-bound: a replay of
20,000 frames takes about 60 ms. Maps and frames are hostile input, so a process that can be killed runs this.
"""

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from kiai.osu.beatmap_file import BadBeatmap, PlacedObjects, parse_objects
from kiai.osu.hit_detection import Decision, mania_hits, mania_windows, osu_hits, osu_windows, taiko_hits, taiko_windows
from kiai.osu.mods import RX, Mods, clock_rate
from kiai.osu.replay_presses import Press, read_presses

BINS: Final = 41
"""Of the histogram; the one in the middle is about 0."""
MOMENTS_MAX: Final = 60
MISSES_MAX: Final = 300
LIFE_MAX: Final = 120
_MIRROR: Final = int(Mods.MR)
_RANDOM: Final = int(Mods.RN)
_OSU_KEYS: Final = (("K1", 4), ("K2", 8), ("M1", 1), ("M2", 2))
_TAIKO_KEYS: Final = (("Left rim", 2), ("Left centre", 1), ("Right centre", 4), ("Right rim", 8))
_CATCH_KEYS: Final = (("Dash", 1),)


class KeyCount(msgspec.Struct, frozen=True):
    """The number of presses of a key. `key` is its name in the game."""

    key: str
    presses: int


class HitErrors(msgspec.Struct, frozen=True):
    """When objects were hit, relative to their time: in ms of the map, negative for early.

    `unstable_rate` is ten standard deviations in real time; `unstable_rate_as_played` is the same in time of the map,
    as the game shows it. The bins of `histogram` have a width of `bin_ms`; the first begins at `first_bin_ms`.
    `best_window_ms` is the distance from 0 within which a hit gets the best judgement.
    """

    hits: int
    misses: int
    mean: float
    early_mean: float
    late_mean: float
    unstable_rate: float
    unstable_rate_as_played: float
    best_window_ms: float
    first_bin_ms: float
    bin_ms: float
    histogram: list[int]


class Moment(msgspec.Struct, frozen=True):
    """The combo and the number of misses so far, at a time in ms of the map."""

    at_ms: int
    combo: int
    misses: int


class LifePoint(msgspec.Struct, frozen=True):
    """The life, 0 to 1, at a time in ms of the map."""

    at_ms: int
    life: float


class ReplayAnalysis(msgspec.Struct, frozen=True):
    """The figures of a replay. Times are in ms of the map.

    `errors` is None, and `timeline` and `miss_times` are empty, where hits cannot be found in the replay; then
    `undetected` is "relax", "catch", "converted", "random" or "unreadable map". Only imported replays have `life`.
    """

    errors: HitErrors | None
    undetected: str | None
    keys: list[KeyCount]
    timeline: list[Moment]
    miss_times: list[int]
    life: list[LifePoint]
    end_ms: int
    """The time of the last frame."""
    map_end_ms: int | None
    """The end of the last object."""


def analyse(osu: bytes, frames: bytes, *, mode: int, mods: int, life_bar: str) -> ReplayAnalysis:
    """Analyse a replay in one of the modes 0-3 on the map in the file `osu`. Raises BadReplay."""
    presses, end_ms = read_presses(frames, mode)
    try:
        chart = parse_objects(osu)
    except BadBeatmap:
        chart = None
    reason = _why_undetected(chart, mode, mods)
    decided = [] if chart is None or reason is not None else _detect(chart, presses, mode, mods)
    # A failed play ends early: later objects were not missed.
    decided = [one for one in decided if one.at_ms <= end_ms]
    return ReplayAnalysis(
        errors=_errors(decided, chart, mode, mods) if chart is not None and decided else None,
        undetected=reason,
        keys=_key_counts(presses, mode, chart),
        timeline=_timeline(decided),
        miss_times=[round(one.at_ms) for one in decided if one.error_ms is None][:MISSES_MAX],
        life=_life(life_bar),
        end_ms=round(end_ms),
        map_end_ms=None if chart is None else round(max(found.end_ms for found in chart.objects)),
    )


def _why_undetected(chart: PlacedObjects | None, mode: int, mods: int) -> str | None:
    if mode == 2:
        return "catch"
    if chart is None:
        return "unreadable map"
    if chart.mode != mode:
        return "converted"
    if mods & RX:
        return "relax"
    return "random" if mode == 3 and mods & _RANDOM else None


def _detect(chart: PlacedObjects, presses: Sequence[Press], mode: int, mods: int) -> list[Decision]:
    if mode == 0:
        return osu_hits(chart, mods, presses)
    if mode == 1:
        return taiko_hits(chart, mods, presses)
    return mania_hits(chart, mods, presses, mirrored=bool(mods & _MIRROR))


def _errors(decided: Sequence[Decision], chart: PlacedObjects, mode: int, mods: int) -> HitErrors:
    windows = (osu_windows, taiko_windows, taiko_windows, mania_windows)[mode](chart.od, mods)
    errors = [one.error_ms for one in decided if one.error_ms is not None]
    mean = _mean(errors)
    deviation = math.sqrt(_mean([(error - mean) ** 2 for error in errors]))
    bin_ms = 2 * windows.worst / BINS
    histogram = [0] * BINS
    for error in errors:
        histogram[min(int((error + windows.worst) / bin_ms), BINS - 1)] += 1
    return HitErrors(
        hits=len(errors),
        misses=len(decided) - len(errors),
        mean=round(mean, 2),
        early_mean=round(_mean([error for error in errors if error < 0]), 2),
        late_mean=round(_mean([error for error in errors if error > 0]), 2),
        unstable_rate=round(10 * deviation / clock_rate(mods), 2),
        unstable_rate_as_played=round(10 * deviation, 2),
        best_window_ms=windows.best,
        first_bin_ms=-windows.worst,
        bin_ms=round(bin_ms, 3),
        histogram=histogram,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _key_counts(presses: Sequence[Press], mode: int, chart: PlacedObjects | None) -> list[KeyCount]:
    if mode == 3:
        # A conversion has another number of columns than the file states, so the pressed ones count.
        columns = max((press.keys.bit_length() for press in presses), default=0)
        if chart is not None and chart.mode == 3:
            columns = max(columns, round(chart.cs))
        named: Sequence[tuple[str, int]] = [(str(column + 1), 1 << column) for column in range(min(columns, 18))]
    else:
        named = (_OSU_KEYS, _TAIKO_KEYS, _CATCH_KEYS)[mode]
    return [KeyCount(name, sum(1 for press in presses if press.keys & bit)) for name, bit in named]


def _timeline(decided: Sequence[Decision]) -> list[Moment]:
    """Return the combo at evenly spaced objects, and before and at each of the first misses."""
    moments: list[Moment] = []
    combo = misses = 0
    every = max(len(decided) // MOMENTS_MAX, 1)
    for number, one in enumerate(decided):
        at_ms = round(one.at_ms)
        if one.error_ms is None:
            if combo and misses < MOMENTS_MAX:
                moments.append(Moment(at_ms, combo, misses))
            combo, misses = 0, misses + 1
            if misses <= MOMENTS_MAX:
                moments.append(Moment(at_ms, 0, misses))
                continue
        else:
            combo += one.combo
        if number % every == 0 or number == len(decided) - 1:
            moments.append(Moment(at_ms, combo, misses))
    return moments


def _life(life_bar: str) -> list[LifePoint]:
    """Return at most `LIFE_MAX` points of a life bar (docs/spec/replays.md#life-bar), without unreadable ones."""
    pairs = [pair for pair in life_bar.split(",") if pair]
    points = []
    for pair in pairs[:: max(math.ceil(len(pairs) / LIFE_MAX), 1)]:
        time, _, life = pair.partition("|")
        try:
            at_ms, share = float(time), float(life)
        except ValueError:
            continue
        if abs(at_ms) < 2**31 and 0 <= share <= 1:
            points.append(LifePoint(round(at_ms), round(share, 3)))
    return points
