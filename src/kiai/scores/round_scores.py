"""Scores of a play of a match: those that were submitted, and pp of those that were not."""

from typing import Final

from kiai.errors import Unavailable
from kiai.osu.accuracy import HitCounts
from kiai.osu.modes import mode_of
from kiai.scores.model import Score
from kiai.scores.performance import CannotCalculate, Performance, calculator_play, stored_pp
from kiai.scores.profiles import Profiles

NEWEST_READ: Final = 5  # a player submits one play of a match; a few more may have followed it


class RoundScores:
    """Reads submitted plays of matches."""

    def __init__(self, profiles: Profiles, performance: Performance) -> None:
        self._profiles = profiles
        self._performance = performance

    async def submitted(self, user_id: int, map_md5: str, mode: int, mods: int, since_ms: int) -> Score | None:
        """Return a player's newest passed play of a map that ended at `since_ms` or later. `mode` is 0-3."""
        found = await self._profiles.recent_of(user_id, mode_of(mode, mods), limit=NEWEST_READ, include_failed=False)
        for mapped in found:
            if mapped.beatmap.md5 == map_md5 and mapped.score.play_time_ms >= since_ms:
                return mapped.score
        return None

    async def pp_of(self, map_md5: str, mode: int, mods: int, counts: HitCounts, max_combo: int, score: int) -> float:
        """Return the pp of a play, 0 if they cannot be computed. `mode` is 0-3."""
        play = calculator_play(counts, mods=mods, max_combo=max_combo, legacy_score=score)
        try:
            [result] = await self._performance.plays(map_md5, mode, [play], caller="matches")
        except (CannotCalculate, Unavailable):
            return 0.0
        return stored_pp(result.pp)
