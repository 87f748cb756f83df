"""Scores and first places on the public feed. The outbox delivers them after the commit.

The plays of sets in the catalogue follow here, too, so that a play does not wait for the row of its set.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from kiai.beatmaps import Beatmap, Beatmaps
from kiai.clock import Clock
from kiai.realtime.feed import FeedEvent, feed_entry
from kiai.realtime.port import Realtime
from kiai.scores.lookup import ScoreLookup
from kiai.scores.model import Score
from kiai.storage.outbox import Outbox
from kiai.together import in_pieces, together

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
        events = []
        for score, beatmap in await self._public([int(score_id) for score_id in score_ids]):
            played[beatmap.key] = None
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
            events.append(FeedEvent("score", score.play_time_ms, score.user_id, beatmap.id, data))
        await self._publish({f"score:{event.data['id']}": event for event in events})
        await self._beatmaps.add_up_plays(played)

    async def _first_places(self, payloads: Sequence[str]) -> None:
        previous = {int(score_id): int(holder) for score_id, holder in map(str.split, payloads)}
        events = []
        for score, beatmap in await self._public(list(previous)):
            data = {"score_id": score.id, "mode": score.mode, "previous_user_id": previous[score.id] or None}
            events.append(FeedEvent("first_place", self._clock.now_ms(), score.user_id, beatmap.id, data))
        await self._publish({f"first_place:{event.data['score_id']}": event for event in events})

    async def _public(self, score_ids: Sequence[int]) -> list[tuple[Score, Beatmap]]:
        """Return those of the scores that were not hidden after the commit, in this order, with their maps."""
        found = await self._lookup.public(score_ids)
        beatmaps = await self._beatmaps.with_md5s([one.map_md5 for one in found.values()])
        return [
            (one.score, beatmap)
            for score_id in score_ids
            if (one := found.get(score_id)) is not None and (beatmap := beatmaps.get(one.map_md5)) is not None
        ]

    async def _publish(self, events: Mapping[str, FeedEvent]) -> None:
        # The outbox delivers at least once: a worker that dies between publishing and deleting the row repeats it.
        for some in in_pieces(list(events.items())):
            await together(
                *[
                    self._realtime.once(f"published:{name}", DEDUPLICATED_FOR_S, [feed_entry(event)])
                    for name, event in some
                ],
                at_once=self._realtime.answers_at_once,
            )
