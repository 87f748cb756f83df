"""Rules for best scores: by pp, by score, and for each set of mods by the measure of the board. Pure.

See docs/spec/game-rules.md#best-scores.
"""

import msgspec

from kiai.scores.model import Best
from kiai.scores.rules import sorts_by_pp


class BestFlags(msgspec.Struct, frozen=True):
    """The best flags of a new play. The previous best loses each flag that the play gets."""

    best_pp: bool
    best_score: bool
    best_mods: bool


def more_pp(play: Best, previous: Best | None) -> bool:
    """Whether the play has more pp, or equal pp and a higher score. If both are equal, the earlier play stays best."""
    return previous is None or (play.pp, play.score) > (previous.pp, previous.score)


def more_score(play: Best, previous: Best | None) -> bool:
    """Whether the play has a higher score. If the scores are equal, the earlier play stays best."""
    return previous is None or play.score > previous.score


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
