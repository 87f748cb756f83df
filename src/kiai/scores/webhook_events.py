"""First places as events for webhooks. The outbox delivers them after the commit; a play does not wait for them.

A first place that its holder improves is no event.
"""

from collections.abc import Sequence
from typing import Final

from kiai import webhooks
from kiai.beatmaps import Beatmaps
from kiai.clock import Clock
from kiai.errors import NotFound
from kiai.scores.lookup import ScoreLookup
from kiai.storage.outbox import Outbox
from kiai.storage.port import Database, Transaction
from kiai.webhooks.queue import is_wanted

EVENT: Final = "first_place"


class FirstPlaceEvents:
    """Enqueues first places for webhooks. One whose player has been hidden is left out."""

    def __init__(
        self, database: Database, lookup: ScoreLookup, beatmaps: Beatmaps, clock: Clock, outbox: Outbox
    ) -> None:
        self._database = database
        self._lookup = lookup
        self._beatmaps = beatmaps
        self._clock = clock
        outbox.subscribe(EVENT, self._on_first_places)

    async def _on_first_places(self, payloads: Sequence[str]) -> None:
        if not await is_wanted(self._database, EVENT):
            return
        events = [event for event in [await self._event(text) for text in payloads] if event is not None]
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            for event in events:
                await webhooks.enqueue(tx, EVENT, event, now)

        await self._database.transaction(body)

    async def _event(self, payload: str) -> dict[str, object] | None:
        score_id, previous = map(int, payload.split())
        try:
            found = await self._lookup.find(score_id)
            beatmap = await self._beatmaps.find(md5=found.map_md5)
        except NotFound:
            return None
        if previous == found.score.user_id:
            return None
        return {
            "player": found.score.user_id,
            "map_id": beatmap.id,
            "score_id": score_id,
            "mode": found.score.mode,
            "previous": previous or None,
        }
