"""Scores and first places as events of the feed, told once their transaction has committed: receivers of the outbox."""

from collections.abc import Sequence
from typing import Final

from kiai.beatmaps import Beatmaps
from kiai.clock import Clock
from kiai.errors import NotFound
from kiai.realtime.feed import FeedEvent, feed_entry
from kiai.realtime.port import Realtime
from kiai.scores.leaderboards import Leaderboards
from kiai.storage.outbox import Outbox

TOLD_FOR_S: Final = 600.0


class ScoreEvents:
    """Tells whoever follows the feed. A score whose player is hidden by now is told to nobody."""

    def __init__(
        self, leaderboards: Leaderboards, beatmaps: Beatmaps, realtime: Realtime, clock: Clock, outbox: Outbox
    ) -> None:
        self._leaderboards = leaderboards
        self._beatmaps = beatmaps
        self._realtime = realtime
        self._clock = clock
        outbox.to("score", self._scores)
        outbox.to("first_place", self._first_places)

    async def _scores(self, score_ids: Sequence[str]) -> None:
        for score_id in map(int, score_ids):
            try:
                found = await self._leaderboards.score(score_id)
                beatmap = await self._beatmaps.find(md5=found.map_md5)
            except NotFound:
                continue
            score = found.score
            data = {
                "id": score.id,
                "mode": score.mode,
                "mods": score.mods,
                "score": score.score,
                "pp": score.pp,
                "acc": score.acc,
                "max_combo": score.max_combo,
                "grade": score.grade,
                "status": score.status,
            }
            event = FeedEvent("score", score.play_time_ms, score.user_id, beatmap.id, data)
            await self._tell(f"score:{score_id}", event)

    async def _first_places(self, told: Sequence[str]) -> None:
        for text in told:
            score_id, previous = map(int, text.split())
            try:
                found = await self._leaderboards.score(score_id)
                beatmap = await self._beatmaps.find(md5=found.map_md5)
            except NotFound:
                continue
            data = {"score_id": score_id, "mode": found.score.mode, "previous_user_id": previous or None}
            event = FeedEvent("first_place", self._clock.now_ms(), found.score.user_id, beatmap.id, data)
            await self._tell(f"first_place:{score_id}", event)

    async def _tell(self, what: str, event: FeedEvent) -> None:
        # The outbox delivers again what a worker died over.
        await self._realtime.once(f"told:{what}", TOLD_FOR_S, [feed_entry(event)])
