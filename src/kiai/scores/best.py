"""Rules for best scores: by pp, by score, and for each set of mods by the measure of the board. Pure.

See docs/spec/game-rules.md#best-scores.
"""

from collections.abc import Iterable

import msgspec

from kiai.scores.model import Best, BestCandidate
from kiai.scores.rules import sorts_by_pp


class BestFlags(msgspec.Struct, frozen=True):
    """The best flags of a new play. The previous best loses each flag that the play gets."""

    best_pp: bool
    best_score: bool
    best_mods: bool


def more_pp(play: Best, previous: Best | None) -> bool:
    """Whether the play has more pp, or equal pp and a higher score. If both are equal, the earlier play stays best."""
    return _is_beaten(previous) or previous is None or (play.pp, play.score) > (previous.pp, previous.score)


def more_score(play: Best, previous: Best | None) -> bool:
    """Whether the play has a higher score. If the scores are equal, the earlier play stays best."""
    return _is_beaten(previous) or previous is None or play.score > previous.score


def decide_bests(
    play: Best, *, mode: int, passed: bool, by_pp: Best | None, by_score: Best | None, with_mods: Best | None
) -> BestFlags:
    """Return the flags of a play, given the present bests of its player on this map and mode.

    `with_mods` is the present best with the same mods. A failed play gets no flag.
    """
    if not passed:
        return BestFlags(best_pp=False, best_score=False, best_mods=False)
    if sorts_by_pp(mode):
        # Relax and autopilot boards sort by pp. `best_score` must mark the line of the board, so it follows `best_pp`.
        best = more_pp(play, by_pp)
        return BestFlags(best_pp=best, best_score=best, best_mods=more_pp(play, with_mods))
    return BestFlags(
        best_pp=more_pp(play, by_pp), best_score=more_score(play, by_score), best_mods=more_score(play, with_mods)
    )


def bests_among(passes: Iterable[BestCandidate]) -> dict[int, BestFlags]:
    """Return the flags that each of these scores must have, by id.

    `passes` are all visible passes of some players on some maps and modes.
    """
    flags: dict[int, BestFlags] = {}
    groups: dict[tuple[int, int, int], list[BestCandidate]] = {}
    for one in passes:
        groups.setdefault((one.user_id, one.mode, one.map_key), []).append(one)
    for (_, mode, _), group in groups.items():
        by_pp = min(group, key=_order_by_pp)
        order = _order_by_pp if sorts_by_pp(mode) else _order_by_score
        by_score = min(group, key=order)
        with_mods: dict[int, BestCandidate] = {}
        for one in sorted(group, key=order):
            with_mods.setdefault(one.mods_key, one)
        for one in group:
            flags[one.id] = BestFlags(
                best_pp=one is by_pp, best_score=one is by_score, best_mods=one is with_mods[one.mods_key]
            )
    return flags


def _is_beaten(previous: Best | None) -> bool:
    """Whether any play is better, because the player chose another pass over this one."""
    return previous is not None and bool(previous.overwritten)


# Overwritten passes come last.
def _order_by_pp(play: BestCandidate) -> tuple[int, float, int, int]:
    return (play.overwritten, -play.pp, -play.score, play.id)


def _order_by_score(play: BestCandidate) -> tuple[int, int, int]:
    return (play.overwritten, -play.score, play.id)
