"""Judgement counts of a play, and what follows from them alone (docs/spec/game-rules.md#accuracy)."""

import msgspec

from kiai.osu.mods import V2


class Counts(msgspec.Struct, frozen=True):
    """How often each judgement fell, under the names of stable's files and forms.

    `ngeki` and `nkatu` are flawless sections in osu!, big notes in taiko, missed droplets (katu) in catch, and the
    judgements worth 320 and 200 in mania.
    """

    n300: int
    n100: int
    n50: int
    ngeki: int
    nkatu: int
    nmiss: int


def judged(counts: Counts, vanilla_mode: int) -> int:
    """How many judgements accuracy is taken over."""
    match vanilla_mode:
        case 0:
            return counts.n300 + counts.n100 + counts.n50 + counts.nmiss
        case 1:
            return counts.n300 + counts.n100 + counts.nmiss
        case 2:
            return counts.n300 + counts.n100 + counts.n50 + counts.nkatu + counts.nmiss
        case _:
            return counts.ngeki + counts.n300 + counts.nkatu + counts.n100 + counts.n50 + counts.nmiss


def accuracy(counts: Counts, vanilla_mode: int, mods: int = 0) -> float:
    """Accuracy in percent, 0-100, rounded to 3 decimals; 0 if nothing was judged (docs/spec/game-rules.md#accuracy)."""
    earned, possible = accuracy_ratio(counts, vanilla_mode, mods)
    return round(100 * earned / possible, 3) if possible else 0.0


def accuracy_ratio(counts: Counts, vanilla_mode: int, mods: int = 0) -> tuple[int, int]:
    """Accuracy as the points earned and the points possible, for comparisons that must be exact."""
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
            if mods & V2:
                return 305 * counts.ngeki + 300 * counts.n300 + below_300, 305 * total
            return 300 * (counts.ngeki + counts.n300) + below_300, 300 * total


def total_hits(counts: Counts, vanilla_mode: int) -> int:
    """How much a play adds to the player's total hits (docs/spec/submission.md#counters)."""
    hits = counts.n300 + counts.n100 + counts.n50
    return hits + counts.ngeki + counts.nkatu if vanilla_mode in (1, 3) else hits
