"""The totals of a player: weighted pp, weighted accuracy and level.

See docs/spec/game-rules.md#weighted-pp-and-accuracy and docs/spec/game-rules.md#level.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

_WEIGHT: Final = 0.95
_BONUS_LIMIT: Final = 416.6667
_BONUS_COUNT_MAX: Final = 1000
_LEVEL_STEP: Final = 10**11
"""The total score that each level beyond 100 requires."""


def weighted_pp(pps: Sequence[float], *, count: int, bonus: str = "official") -> int:
    """Return a player's pp in a mode: the sum of `pps` with the weights 1, 0.95, 0.95^2, ..., plus a bonus.

    `pps` are finite and in descending order. The bonus depends on `count`, the number of best scores.
    """
    return round(_weighted(pps) + bonus_pp(count, bonus))


def weighted_accuracy(accs: Sequence[float]) -> float:
    """Return a player's accuracy in a mode, in percent with 3 decimals; 0 without scores. `accs` are in order of pp."""
    if not accs:
        return 0.0
    # The sum of the weights, a geometric series: a player with few scores is not penalised.
    weights = (1 - _WEIGHT ** len(accs)) / (1 - _WEIGHT)
    return round(_weighted(accs) / weights, 3)


def bonus_pp(count: int, kind: str) -> float:
    """Return the bonus pp for `count` best scores. Raises ValueError for an unknown kind.

    `official`, the current formula of the game: 416.6667 * (1 - 0.995^min(n, 1000)).
    `legacy`, the former one: 416.6667 * (1 - 0.9994^n).
    """
    match kind:
        case "official":
            return _BONUS_LIMIT * (1 - 0.995 ** min(count, _BONUS_COUNT_MAX))
        case "legacy":
            return _BONUS_LIMIT * (1 - 0.9994**count)
        case _:
            raise ValueError(f"no bonus pp of kind {kind!r}")


def level(total_score: int) -> tuple[int, float]:
    """Return the level of a total score, 1 or more, and the progress to the next level, 0-1."""
    total_score = max(total_score, 0)
    if total_score < _NEEDED[-1]:
        reached = bisect_right(_NEEDED, total_score)
    else:
        reached = len(_NEEDED) + (total_score - _NEEDED[-1]) // _LEVEL_STEP
    below, above = needed_score(reached), needed_score(reached + 1)
    return reached, (total_score - below) / (above - below)


def needed_score(level: int) -> int:
    """Return the total score at which a level begins; level 1 begins at 0."""
    if level <= len(_NEEDED):
        return _NEEDED[max(level, 1) - 1]
    return _NEEDED[-1] + _LEVEL_STEP * (level - len(_NEEDED))


def _weighted(values: Sequence[float]) -> float:
    # Horner's scheme: one multiplication per value, and the small values are added first.
    total = 0.0
    for value in reversed(values):
        total = total * _WEIGHT + value
    return total


# 4n^3 - 3n^2 - n = n(n-1)(4n+1) is a multiple of 3 for every n, so the integer division is exact.
_NEEDED: Final[tuple[int, ...]] = tuple(
    5000 * (4 * n**3 - 3 * n**2 - n) // 3 + round(1.25 * 1.8 ** (n - 60)) for n in range(1, 101)
)
