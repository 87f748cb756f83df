"""Measures a replay for signs of cheating. `scores/evidence` compares the figures with thresholds.

The figures are facts about the frames and never a judgement. CPU-bound: 3 us per frame, and 0.2 ms for each signature
that the replay is compared with. Maps and frames are hostile input, so a process that can be killed runs this.

See docs/spec/replays.md#evidence-in-a-replay.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from kiai.osu.beatmap_file import BadBeatmap, PlacedObjects, parse_objects
from kiai.osu.hit_detection import Decision, mania_hits, mania_windows, osu_hits, osu_windows, taiko_hits, taiko_windows
from kiai.osu.mods import AP, RX, Mods, clock_rate
from kiai.osu.replay_signature import Comparable, Similarity, errors_in_order, read_signature, sampled, targets_of
from kiai.osu.replay_track import Track, read_track
from kiai.osu.stacking import circle_scale, stacked_positions

EXACT_MS: Final = 1.0
"""A hit within this distance of its object, in real time, is exact."""
SIMILAR_MAX: Final = 5
"""The most similar replays that are reported."""
_MIRROR: Final = int(Mods.MR)
_RANDOM: Final = int(Mods.RN)
_SNAP_MS: Final = 25.0  # real time from one frame to the next, within a snap
_SNAP_PX: Final = 12.0
_SNAP_COSINE: Final = math.cos(math.radians(12))
_RADIUS: Final = 64.0


class KnownReplay(msgspec.Struct, frozen=True):
    """A replay of the same map: its score, and its signature."""

    score_id: int
    signature: bytes


class SimilarReplay(msgspec.Struct, frozen=True):
    """A replay that resembles the measured one."""

    score_id: int
    figures: Similarity


class ReplayFigures(msgspec.Struct, frozen=True):
    """The figures of a replay. Times are in real time, in ms; `unstable_rate` is ten standard deviations.

    Figures of hits are None where hits cannot be found: with Relax, in catch, on converted maps.
    `exact_share` is the share of hits within `EXACT_MS` of their objects. `same_hold_share` is the share of key presses
    that were held for the most common time (of whole ms). `snaps` counts hits at which the cursor was at the object in
    one frame only, and turned back.
    """

    frames: int
    """Regular frames: those next to a change of a key are left out."""
    frametime_ms: float
    """The median time between them."""
    upper_frametime_ms: float
    """The time that a quarter of them exceeds."""
    presses: int
    mean_hold_ms: float
    same_hold_share: float
    hits: int | None
    objects: int
    unstable_rate: float | None
    exact_share: float | None
    snaps: int | None
    signature: bytes
    similar: list[SimilarReplay]


def measure(osu: bytes, frames: bytes, *, mode: int, mods: int, known: Sequence[KnownReplay]) -> ReplayFigures:
    """Measure a replay of mode 0-3 and compare it with known ones of the same map. Raises BadReplay.

    Without a readable map there is no signature and nothing is compared.
    """
    track = read_track(frames, mode)
    rate = clock_rate(mods)
    steps = sorted(track.steps_ms)
    holds = Counter(round(hold / rate) for hold in track.holds_ms)
    try:
        chart = parse_objects(osu)
    except BadBeatmap:
        chart = None
    decided = _decided(chart, track, mode, mods)
    errors = [one.error_ms / rate for one in decided if one.error_ms is not None]
    deviation = _deviation(errors)
    comparing = None if chart is None else comparable(chart, track, mode=mode, mods=mods, decided=decided)
    return ReplayFigures(
        frames=len(steps),
        frametime_ms=round(steps[len(steps) // 2] / rate, 2) if steps else 0.0,
        upper_frametime_ms=round(steps[len(steps) * 3 // 4] / rate, 2) if steps else 0.0,
        presses=len(track.holds_ms),
        mean_hold_ms=round(sum(track.holds_ms) / len(track.holds_ms) / rate, 1) if track.holds_ms else 0.0,
        same_hold_share=round(max(holds.values()) / len(track.holds_ms), 4) if holds else 0.0,
        hits=len(errors) if decided else None,
        objects=0 if chart is None else len(targets_of(chart, mode)),
        unstable_rate=round(10 * deviation, 2) if errors else None,
        exact_share=round(sum(1 for error in errors if abs(error) <= EXACT_MS) / len(errors), 4) if errors else None,
        snaps=_snaps(chart, track, decided, mods) if chart is not None and mode == 0 and not mods & AP else None,
        signature=b"" if comparing is None else comparing.signature(),
        similar=[] if comparing is None else _most_similar(comparing, known),
    )


def comparable(
    chart: PlacedObjects, track: Track, *, mode: int, mods: int, decided: Sequence[Decision] | None = None
) -> Comparable | None:
    """Return a replay as one that can be compared, or None on a map of another mode or without objects."""
    # Objects of a converted map are elsewhere, but in catch their times and x are those of the file.
    if (chart.mode != mode and mode != 2) or not targets_of(chart, mode):
        return None
    found = _decided(chart, track, mode, mods) if decided is None else decided
    worst = _windows(chart, mode, mods)
    errors = errors_in_order(found, worst, clock_rate(mods)) if found else []
    return Comparable(
        track, sampled(chart, mode), mode=mode, mods=mods, errors=errors, total=len(targets_of(chart, mode))
    )


def _windows(chart: PlacedObjects, mode: int, mods: int) -> float:
    return (osu_windows, taiko_windows, taiko_windows, mania_windows)[mode](chart.od, mods).worst


def _decided(chart: PlacedObjects | None, track: Track, mode: int, mods: int) -> list[Decision]:
    if chart is None or mode == 2 or chart.mode != mode or mods & RX or (mode == 3 and mods & _RANDOM):
        return []
    if mode == 0:
        return osu_hits(chart, mods, track.presses)
    if mode == 1:
        return taiko_hits(chart, mods, track.presses)
    return mania_hits(chart, mods, track.presses, mirrored=bool(mods & _MIRROR))


def _most_similar(comparing: Comparable, known: Sequence[KnownReplay]) -> list[SimilarReplay]:
    found = []
    for one in known:
        signature = read_signature(one.signature)
        figures = None if signature is None else comparing.similarity(signature)
        if figures is not None:
            found.append(SimilarReplay(one.score_id, figures))
    return sorted(found, key=lambda one: (-one.figures.similarity, one.score_id))[:SIMILAR_MAX]


def _deviation(values: Sequence[float]) -> float:
    if not values:
        return 0.0
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))


def _snaps(chart: PlacedObjects, track: Track, decided: Sequence[Decision], mods: int) -> int:
    """Count the hits at which the cursor jumped to the object for one frame, and back again."""
    radius = _RADIUS * circle_scale(chart.cs, mods)
    within_ms = _SNAP_MS * clock_rate(mods)
    times = {one.at_ms for one in decided if one.error_ms is not None}
    places = stacked_positions(chart, mods) if times else []
    targets = sorted(
        ((found.start_ms, place) for found, place in zip(chart.objects, places, strict=False)), key=lambda one: one[0]
    )
    snaps = 0
    first = 0
    reach = osu_windows(chart.od, mods).worst
    for before in range(len(track.times) - 2):
        at = track.times[before + 1]
        if at not in times or track.times[before + 2] - track.times[before] > 2 * within_ms:
            continue
        (ax, ay), (bx, by), (cx, cy) = (
            (track.xs[index], track.ys[index]) for index in (before, before + 1, before + 2)
        )
        there, back = math.hypot(bx - ax, by - ay), math.hypot(bx - cx, by - cy)
        if min(there, back) < _SNAP_PX:
            continue
        if ((bx - ax) * (bx - cx) + (by - ay) * (by - cy)) / (there * back) < _SNAP_COSINE:
            continue
        while first < len(targets) and targets[first][0] < at - reach:
            first += 1
        for start, (x, y) in targets[first : first + 8]:
            if start > at + reach:
                break
            if math.hypot(bx - x, by - y) <= radius < min(math.hypot(ax - x, ay - y), math.hypot(cx - x, cy - y)):
                snaps += 1
                break
    return snaps
