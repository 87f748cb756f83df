"""Which play is kept as best: by pp, by score, and by the board's measure for its mods. Pure.

See docs/spec/game-rules.md#best-scores.
"""

import msgspec

from kiai.scores.model import PP_MODES_FROM, Best


class Verdict(msgspec.Struct, frozen=True):
    """Which flags a new play gets; each one it gets is taken from the standing best."""

    best_pp: bool
    best_score: bool
    best_mods: bool


def more_pp(play: Best, standing: Best | None) -> bool:
    """Higher pp; at equal pp the higher score; at equal both the earlier one stays."""
    return standing is None or (play.pp, play.score) > (standing.pp, standing.score)


def more_score(play: Best, standing: Best | None) -> bool:
    """Higher score; at equal score the earlier one stays."""
    return standing is None or play.score > standing.score


def settle(
    play: Best, *, mode: int, passed: bool, by_pp: Best | None, by_score: Best | None, with_mods: Best | None
) -> Verdict:
    """Compares a play with the standing bests of its player on its map and mode. A failed play is never best.

    Relax and autopilot boards sort by pp, so there one rule decides all three.
    """
    if not passed:
        return Verdict(best_pp=False, best_score=False, best_mods=False)
    if mode >= PP_MODES_FROM:
        best = more_pp(play, by_pp)
        return Verdict(best_pp=best, best_score=best, best_mods=more_pp(play, with_mods))
    return Verdict(
        best_pp=more_pp(play, by_pp), best_score=more_score(play, by_score), best_mods=more_score(play, with_mods)
    )
