"""Finds the hits in a replay: compares its key presses with the objects of the map.

See docs/spec/replays.md#hits-in-a-replay.

The stored counts of a score are the game's own. This module finds when each object was hit, which the score does not
contain. It is simpler than the game where that does not change the time of a hit; the page cited above lists where.
Times are in ms of the map: with Double Time, 150 of them take 100 ms.
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from kiai.osu.beatmap_file import CIRCLE, HOLD, SLIDER, PlacedObject, PlacedObjects
from kiai.osu.mods import AP, EZ, HR, clock_rate
from kiai.osu.replay_presses import Press
from kiai.osu.stacking import circle_scale, harder, stacked_positions

OSU_EARLY_MS: Final = 400.0
"""A click further ahead of an object has no effect on it."""
RADIUS: Final = 64.0
_RIM_SOUNDS: Final = 2 | 8  # whistle and clap: a blue note of taiko
_FINISH: Final = 4  # a big note, which two keys hit
_BIG_NOTE_MS: Final = 30.0  # within which the second key of a big note counts for it
_TICKS_MAX: Final = 1_000
_TAIKO_RIM: Final = 2 | 8
_TAIKO_KEYS: Final = 2 | 8 | 1 | 4


class Decision(NamedTuple):
    """An object, the time at which it was decided, and the error in ms (negative: early); None for a miss.

    `combo` is what a hit object adds to the combo.
    """

    at_ms: float
    error_ms: float | None
    combo: int = 1


class Windows(NamedTuple):
    """The distances from its time at which an object can be hit, in ms: for the best judgement and for the worst.

    A press that is further ahead than `worst`, but within `early`, misses the object.
    """

    best: float
    worst: float
    early: float


def osu_windows(od: float, mods: int) -> Windows:
    """Return the windows of osu!."""
    od = harder(od, mods)
    return Windows(math.floor(80 - 6 * od), math.floor(200 - 10 * od), OSU_EARLY_MS)


def taiko_windows(od: float, mods: int) -> Windows:
    """Return the windows of taiko."""
    od = harder(od, mods)
    worst = 120 - 8 * od if od <= 5 else 110 - 6 * od
    early = 135 - 8 * od if od <= 5 else 120 - 5 * od
    return Windows(math.floor(50 - 3 * od), math.floor(worst), math.floor(early))


def mania_windows(od: float, mods: int) -> Windows:
    """Return the windows of mania. The game keeps them the same in real time at every speed."""
    factor = clock_rate(mods) * (1 / 1.4 if mods & HR else 1.4 if mods & EZ else 1.0)
    best, worst, early = (math.floor(one * factor) for one in (16, 151 - 3 * od, 188 - 3 * od))
    return Windows(best, worst, early)


def osu_hits(chart: PlacedObjects, mods: int, presses: Sequence[Press]) -> list[Decision]:
    """Return the decisions about circles and the heads of sliders.

    A press counts for the first object that is not decided yet.
    """
    windows = osu_windows(chart.od, mods)
    radius = RADIUS * circle_scale(chart.cs, mods)
    targets = [
        (found, place)
        for found, place in zip(chart.objects, stacked_positions(chart, mods), strict=True)
        if found.kind in (CIRCLE, SLIDER)
    ]
    pointless = bool(mods & AP)  # the game moves the cursor, and replays do not always contain its path
    decided: list[Decision] = []
    for press in presses:
        while len(decided) < len(targets) and press.at_ms >= targets[len(decided)][0].start_ms + windows.worst:
            decided.append(_missed(targets[len(decided)][0], windows.worst))
        if len(decided) == len(targets):
            break
        target, place = targets[len(decided)]
        error = press.at_ms - target.start_ms
        if error < -windows.early or not (pointless or math.dist(place, (press.x, press.y)) <= radius):
            continue
        decided.append(Decision(press.at_ms, error if abs(error) < windows.worst else None, _combo(target)))
    return decided + [_missed(target, windows.worst) for target, _ in targets[len(decided) :]]


def taiko_hits(chart: PlacedObjects, mods: int, presses: Sequence[Press]) -> list[Decision]:
    """Return the decisions about notes; drum rolls and dendens are left out.

    A press of the other colour misses a note.
    """
    windows = taiko_windows(chart.od, mods)
    notes = [found for found in chart.objects if found.kind == CIRCLE]
    decided: list[Decision] = []
    big_until_ms = -math.inf
    for press in presses:
        while len(decided) < len(notes) and press.at_ms >= notes[len(decided)].start_ms + windows.worst:
            decided.append(_missed(notes[len(decided)], windows.worst))
        if len(decided) == len(notes):
            break
        note = notes[len(decided)]
        error = press.at_ms - note.start_ms
        if press.at_ms <= big_until_ms or error < -windows.early:
            big_until_ms = -math.inf
            continue
        rim = bool(press.keys & _TAIKO_RIM)
        right = rim == bool(note.sound & _RIM_SOUNDS)
        decided.append(Decision(press.at_ms, error if right and abs(error) < windows.worst else None))
        if right and note.sound & _FINISH and (press.keys & _TAIKO_KEYS).bit_count() == 1:
            big_until_ms = press.at_ms + _BIG_NOTE_MS
    return decided + [_missed(note, windows.worst) for note in notes[len(decided) :]]


def mania_hits(chart: PlacedObjects, mods: int, presses: Sequence[Press], *, mirrored: bool) -> list[Decision]:
    """Return the decisions about notes and the heads of holds in the order of time. Each column is separate."""
    windows = mania_windows(chart.od, mods)
    keys = max(round(chart.cs), 1)
    columns: list[list[PlacedObject]] = [[] for _ in range(keys)]
    for found in chart.objects:
        if found.kind in (CIRCLE, HOLD):
            column = min(max(found.x * keys // 512, 0), keys - 1)
            columns[keys - 1 - column if mirrored else column].append(found)
    reached = [0] * keys
    decided: list[Decision] = []
    for press in presses:
        for column in range(keys):
            if not press.keys & 1 << column:
                continue
            notes = columns[column]
            while reached[column] < len(notes) and press.at_ms >= notes[reached[column]].start_ms + windows.worst:
                decided.append(_missed(notes[reached[column]], windows.worst))
                reached[column] += 1
            if reached[column] == len(notes):
                continue
            error = press.at_ms - notes[reached[column]].start_ms
            if error >= -windows.early:
                decided.append(Decision(press.at_ms, error if abs(error) < windows.worst else None))
                reached[column] += 1
    for column, notes in enumerate(columns):
        decided += [_missed(note, windows.worst) for note in notes[reached[column] :]]
    return sorted(decided, key=lambda one: one.at_ms)


def _missed(target: PlacedObject, worst: float) -> Decision:
    return Decision(target.start_ms + worst, None, 0)


def _combo(target: PlacedObject) -> int:
    """Return what an object of osu! adds to the combo if all of it is hit: a slider's head, ticks, turns and end."""
    if target.kind != SLIDER:
        return 1
    slides = max(int(target.fields[6]), 1)
    slide_ms = (target.end_ms - target.start_ms) / slides
    # The game drops a tick that is within 10 ms of the end of a slide.
    ticks = max(math.ceil((slide_ms - 10) / target.tick_ms) - 1, 0) if target.tick_ms > 0 else 0
    return 1 + slides * (min(ticks, _TICKS_MAX) + 1)
