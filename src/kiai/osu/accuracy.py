"""The judgement counts of a play, its accuracy and its total hits (docs/spec/game-rules.md#accuracy)."""

import msgspec

from kiai.osu.mods import V2


class HitCounts(msgspec.Struct, frozen=True):
    """The number of each judgement, under the names of stable's files and forms.

    `ngeki` and `nkatu` are flawless sections in osu! and big notes in taiko. In catch `nkatu` are missed droplets. In
    mania they are the judgements worth 320 and 200.
    """

    n300: int
    n100: int
    n50: int
    ngeki: int
    nkatu: int
    nmiss: int


def judged(counts: HitCounts, vanilla_mode: int) -> int:
    """Return the number of judgements in the denominator of the accuracy."""
    match vanilla_mode:
        case 0:
            return counts.n300 + counts.n100 + counts.n50 + counts.nmiss
        case 1:
            return counts.n300 + counts.n100 + counts.nmiss
        case 2:
            return counts.n300 + counts.n100 + counts.n50 + counts.nkatu + counts.nmiss
        case _:
            return counts.ngeki + counts.n300 + counts.nkatu + counts.n100 + counts.n50 + counts.nmiss


def accuracy(counts: HitCounts, vanilla_mode: int, mods: int = 0) -> float:
    """Return the accuracy in percent, 0-100 with 3 decimals; 0 without judgements.

    See docs/spec/game-rules.md#accuracy.
    """
    earned, possible = accuracy_ratio(counts, vanilla_mode, mods)
    return round(100 * earned / possible, 3) if possible else 0.0


def accuracy_ratio(counts: HitCounts, vanilla_mode: int, mods: int = 0) -> tuple[int, int]:
    """Return the earned and maximum points, for exact comparisons."""
    total = judged(counts, vanilla_mode)
    match vanilla_mode:
        case 0:
            return 300 * counts.n300 + 100 * counts.n100 + 50 * counts.n50, 300 * total
        case 1:
            return 2 * counts.n300 + counts.n100, 2 * total
        case 2:
            return counts.n300 + counts.n100 + counts.n50, total
        case _:
            below_300 = 200 * counts.nkatu + 100 * counts.n100 + 50 * counts.n50
            if mods & V2:  # ScoreV2 separates 305 from 300; without it both count 300
                return 305 * counts.ngeki + 300 * counts.n300 + below_300, 305 * total
            return 300 * (counts.ngeki + counts.n300) + below_300, 300 * total


def total_hits(counts: HitCounts, vanilla_mode: int) -> int:
    """Return the number that a play adds to the player's total hits (docs/spec/submission.md#counters)."""
    hits = counts.n300 + counts.n100 + counts.n50
    # In osu! and catch geki and katu do not count separately: they repeat a 300 or 100, or are misses.
    return hits + counts.ngeki + counts.nkatu if vanilla_mode in (1, 3) else hits
