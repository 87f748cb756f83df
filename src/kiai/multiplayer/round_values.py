"""The values that decide a play of a scrim: from the last score frames, or from submitted scores."""

from typing import Protocol

import msgspec

from kiai.multiplayer.history import ACCURACY, COMBO, LastFrame, MatchHistory
from kiai.multiplayer.model import PP, Match, RoundPlayer, UnscoredRound
from kiai.osu.accuracy import HitCounts, accuracy


class SubmittedScore(Protocol):
    """A submitted play. `acc` is in percent."""

    @property
    def score(self) -> int: ...
    @property
    def pp(self) -> float: ...
    @property
    def acc(self) -> float: ...
    @property
    def max_combo(self) -> int: ...


class SubmittedScores(Protocol):
    """Submitted plays, and pp of plays that were not submitted."""

    async def submitted(self, user_id: int, map_md5: str, mode: int, mods: int, since_ms: int) -> SubmittedScore | None:
        """Return a player's newest play of a map that ended at `since_ms` (unix ms) or later. `mode` is 0-3."""
        ...

    async def pp_of(self, map_md5: str, mode: int, mods: int, counts: HitCounts, max_combo: int, score: int) -> float:
        """Return the pp of a play, 0 if they cannot be computed. `mode` is 0-3."""
        ...


class RoundValues(msgspec.Struct, frozen=True):
    """The value of each player, by user id, and the names of those without a result, whose value is 0."""

    values: dict[int, float]
    missing: tuple[str, ...]


class RoundResults:
    """Reads the results of a play."""

    def __init__(self, history: MatchHistory, scores: SubmittedScores) -> None:
        self._history = history
        self._scores = scores

    async def of(self, match: Match, played: UnscoredRound, *, final: bool) -> RoundValues | None:
        """Return the values of a play by its win condition, or None while results are awaited.

        The last frames decide, because players saw them; pp follow from the submitted scores. The other source is used
        where one is missing. `final`: take the available results, and 0 for players without one.
        """
        frames = await self._history.last_frames(match, played.started_at_ms)
        values: dict[int, float] = {}
        missing: list[str] = []
        for player in played.players:
            value = await self._value(played, player, frames.get(player.user_id), final=final)
            if value is None and player.passed:
                if not final:
                    return None
                missing.append(player.name)
            values[player.user_id] = value or 0.0
        return RoundValues(values, tuple(missing))

    async def _value(
        self, played: UnscoredRound, player: RoundPlayer, frame: LastFrame | None, *, final: bool
    ) -> float | None:
        by_pp = played.win_condition == PP
        if by_pp and not player.passed:
            return 0.0  # a failed play has no pp
        if frame is not None and not by_pp:
            return _value_of(played, player, frame)
        found = None
        if player.passed:
            found = await self._scores.submitted(
                player.user_id, played.map_md5, played.mode, player.mods, played.started_at_ms
            )
        if found is not None:
            by_condition = {PP: found.pp, ACCURACY: found.acc, COMBO: float(found.max_combo)}
            return by_condition.get(played.win_condition, float(found.score))
        if frame is None or not final:
            return None
        return await self._scores.pp_of(
            played.map_md5, played.mode, player.mods, frame.counts, frame.max_combo, frame.score
        )


def _value_of(played: UnscoredRound, player: RoundPlayer, frame: LastFrame) -> float:
    if played.win_condition == ACCURACY:
        return accuracy(frame.counts, played.mode, player.mods)
    return float(frame.max_combo if played.win_condition == COMBO else frame.score)
