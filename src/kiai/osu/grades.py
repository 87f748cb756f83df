"""Grades from judgement counts (docs/spec/game-rules.md#grades)."""

import struct
from typing import Final

from kiai.osu.accuracy import HitCounts, accuracy_ratio
from kiai.osu.mods import SILVER

GRADES: Final[tuple[str, ...]] = ("N", "F", "D", "C", "B", "A", "S", "SH", "X", "XH")
"""From worst to best; N stands for no grade."""

_CATCH_STEPS: Final = ((98, "S"), (94, "A"), (90, "B"), (85, "C"))
_MANIA_STEPS: Final = ((95, "S"), (90, "A"), (80, "B"), (70, "C"))


def grade(counts: HitCounts, vanilla_mode: int, mods: int, *, passed: bool) -> str:
    """Return one of `GRADES` except N: F for a fail; XH and SH instead of X and S with Hidden, Flashlight or FadeIn."""
    if not passed:
        return "F"
    letter = _by_ratio(counts) if vanilla_mode in (0, 1) else _by_accuracy(counts, vanilla_mode, mods)
    return letter + "H" if letter in ("X", "S") and mods & SILVER else letter


def _by_ratio(counts: HitCounts) -> str:
    total = counts.n300 + counts.n100 + counts.n50 + counts.nmiss
    if total == 0:
        return "D"
    if counts.n300 == total:
        return "X"
    # The client divides in single precision and compares in double. So exactly 80 % of 300s without a miss is an A,
    # but exactly 90 % is not an S.
    ratio_300 = _single(counts.n300 / total)
    flawless = counts.nmiss == 0
    if flawless and ratio_300 > 0.9 and _single(counts.n50 / total) <= 0.01:
        return "S"
    if ratio_300 > 0.9 or (flawless and ratio_300 > 0.8):
        return "A"
    if ratio_300 > 0.8 or (flawless and ratio_300 > 0.7):
        return "B"
    return "C" if ratio_300 > 0.6 else "D"


def _by_accuracy(counts: HitCounts, vanilla_mode: int, mods: int) -> str:
    # Integers, because 98 % exactly is not an S in catch and a float could round to either side.
    earned, possible = accuracy_ratio(counts, vanilla_mode, mods)
    if earned == possible > 0:
        return "X"
    for percent, letter in _CATCH_STEPS if vanilla_mode == 2 else _MANIA_STEPS:
        if 100 * earned > percent * possible:
            return letter
    return "D"


def _single(value: float) -> float:
    rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return rounded
