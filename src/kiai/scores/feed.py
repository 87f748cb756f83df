"""Scores and first places on the public feed. The outbox delivers them after the commit.

The plays of sets in the catalogue follow here, too, so that a play does not wait for the row of its set.
"""

from collections.abc import Sequence
from typing import Final

from kiai.beatmaps import Beatmaps
from kiai.clock import Clock
from kiai.errors import NotFound
from kiai.realtime.feed import FeedEvent, feed_entry
from kiai.realtime.port import Realtime
from kiai.scores.lookup import ScoreLookup
from kiai.storage.outbox import Outbox

DEDUPLICATED_FOR_S: Final = 600.0  # longer than the outbox retries a row (about two minutes)


class ScoreFeed:
    """Publishes scores and first places to the feed. A score whose player has been hidden is not published."""

    def __init__(
        self, lookup: ScoreLookup, beatmaps: Beatmaps, realtime: Realtime, clock: Clock, outbox: Outbox
    ) -> None:
        self._lookup = lookup
        self._beatmaps = beatmaps
        self._realtime = realtime
        self._clock = clock
        outbox.subscribe("score", self._scores)
        outbox.subscribe("first_place", self._first_places)

    async def _scores(self, score_ids: Sequence[str]) -> None:
        played: dict[int, None] = {}
        for score_id in map(int, score_ids):
            try:
                found = await self._lookup.find(score_id)
                beatmap = await self._beatmaps.find(md5=found.map_md5)
            except NotFound:  # the player or the score was hidden after the commit
                continue
            played[beatmap.key] = None
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
                "map_status": beatmap.status,
            }
            event = FeedEvent("score", score.play_time_ms, score.user_id, beatmap.id, data)
            await self._publish(f"score:{score_id}", event)
        await self._beatmaps.add_up_plays(played)

    async def _first_places(self, payloads: Sequence[str]) -> None:
        for text in payloads:
            score_id, previous = map(int, text.split())
            try:
                found = await self._lookup.find(score_id)
                beatmap = await self._beatmaps.find(md5=found.map_md5)
            except NotFound:
                continue
            data = {"score_id": score_id, "mode": found.score.mode, "previous_user_id": previous or None}
            event = FeedEvent("first_place", self._clock.now_ms(), found.score.user_id, beatmap.id, data)
            await self._publish(f"first_place:{score_id}", event)

    async def _publish(self, name: str, event: FeedEvent) -> None:
        # The outbox delivers at least once: a worker that dies between publishing and deleting the row repeats it.
        await self._realtime.once(f"published:{name}", DEDUPLICATED_FOR_S, [feed_entry(event)])
