"""The most points and the longest combo that a play with certain counts can have (docs/spec/submission.md#bounds).

The bounds are generous: an honest play is always below them.
"""

from typing import Final

from kiai.osu.accuracy import HitCounts, judged
from kiai.osu.mods import AP, DT, EZ, FL, HD, HR, HT, NC, NF, RX

_SPIN_POINTS_S: Final = 8 * 1_100
"""Points of a spinner in a second: at most 8 turns, each with the bonus."""
_TAIKO_HIT: Final = 3_000.0
_TAIKO_ROLL_S: Final = 20_000.0
_MANIA_MOST: Final = 1_000_000
_CATCH_HIT: Final = 300.0
_MULTIPLIERS: Final = ((HD, 1.06), (HR, 1.12), (DT | NC, 1.2), (FL, 1.12))
_LOWER: Final = ((NF, 0.5), (EZ, 0.5), (HT, 0.5))


def difficulty_multiplier(*, hp: float, cs: float, od: float, objects: int, drain_s: float) -> int:
    """Return the factor that the game multiplies combos with, from the settings and the density of a map."""
    density = min(max(objects / max(drain_s, 1) * 8, 0), 16)
    return round((hp + cs + od + density) / 38 * 5)


def most_points(
    counts: HitCounts, mode: int, mods: int, *, multiplier: int, objects: int, map_combo: int, length_s: float
) -> float:
    """Return an upper bound of the score of a play in mode 0-3. `map_combo` and `objects` are those of the map.

    `map_combo` 0 means that it is unknown; the hits then count as the combo.
    """
    hits = judged(counts, mode)
    if mode == 3:
        lower = 1.0
        for bits, factor in _LOWER:
            lower *= factor if mods & bits else 1.0
        return _MANIA_MOST * lower
    factor = 1.0
    for bits, higher in _MULTIPLIERS:
        factor *= higher if mods & bits else 1.0
    if mods & (RX | AP):  # the game gives no points; servers count them as without the mod
        factor = max(factor, 1.0)
    spins = length_s * _SPIN_POINTS_S
    if mode == 1:
        return hits * _TAIKO_HIT * factor + length_s * _TAIKO_ROLL_S
    combo = max(map_combo, hits)
    if mode == 2:
        return hits * _CATCH_HIT * (1 + combo * multiplier * factor / 25) + spins
    # The combo before an object is at most that of the whole map less one for each later object. So the 300s are the
    # last ones, then the 100s.
    total, place = 0.0, 0
    for worth, count in ((300, counts.n300), (100, counts.n100), (50, counts.n50)):
        first, last = max(combo - 1 - place, 0), max(combo - place - count, 0)
        total += worth * count * (1 + (first + last) / 2 * multiplier * factor / 25)
        place += count
    ticks = max(combo - objects, 0) * 30 + 30 * objects
    return total + ticks + spins


def fewest_points(counts: HitCounts, mode: int) -> int:
    """Return a lower bound of the score in osu!: what the hits are worth without a combo; 0 in other modes."""
    return 300 * counts.n300 + 100 * counts.n100 + 50 * counts.n50 if mode == 0 else 0


def longest_combo(counts: HitCounts, mode: int, map_combo: int) -> int | None:
    """Return the longest combo that a play with these misses can have, None where it is unknown.

    Each miss takes at least one from the combo of the map, and splits the rest.
    """
    return max(map_combo - counts.nmiss, 0) if mode in (0, 1) and map_combo else None
