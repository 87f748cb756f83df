"""Players' votes on maps, from 1 to 10: one a player and revision, the first one for ever (docs/spec/web.md#votes)."""

import contextlib
from typing import Final

from sqlalchemy import bindparam, insert, select, update

from kiai.beatmaps import queries
from kiai.beatmaps.model import Beatmap
from kiai.clock import Clock
from kiai.errors import Invalid, NotFound
from kiai.storage.port import Command, Database, Query, Taken, Transaction, only
from kiai.storage.tables import maps, ratings

RATING_MIN: Final = 1
RATING_MAX: Final = 10

VOTED = Query(
    select(ratings.c.rating).where(
        ratings.c.map_key == bindparam("map_key"), ratings.c.user_id == bindparam("user_id")
    ),
    only,
)
ADD_VOTE = Command(insert(ratings).values({n: bindparam(n) for n in ("map_key", "user_id", "rating", "at_ms")}))
COUNT_VOTE = Command(
    update(maps)
    .where(maps.c.key == bindparam("map_key"))
    .values(rating_sum=maps.c.rating_sum + bindparam("by_rating"), rating_count=maps.c.rating_count + 1)
)


class Ratings:
    """Votes, and the counters of each map that averages are made of."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def vote(self, user_id: int, beatmap: Beatmap, rating: int, *, counted: bool = True) -> float:
        """Stores a vote from 1 to 10, unless there is one already; the map's average afterwards.

        `counted` is False for players whom nobody may see: theirs is kept, but no average shows it. Raises Invalid for
        another number, NotFound("map"). Whether the map may be voted on is the caller's rule.
        """
        if not RATING_MIN <= rating <= RATING_MAX:
            raise Invalid("rating", f"a number from {RATING_MIN} to {RATING_MAX}", rating)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await tx.run(ADD_VOTE, map_key=beatmap.key, user_id=user_id, rating=rating, at_ms=now)
            if counted:
                await tx.run(COUNT_VOTE, map_key=beatmap.key, by_rating=rating)

        if not await self.voted(user_id, beatmap.key):
            with contextlib.suppress(Taken):  # another request of the same player was faster
                await self._database.transaction(body)
        found = await self._database.one(queries.BY_KEY, key=beatmap.key)
        if found is None:
            raise NotFound("map")
        return found.rating

    async def voted(self, user_id: int, map_key: int) -> bool:
        """Whether the player has voted on this revision."""
        return await self._database.one(VOTED, map_key=map_key, user_id=user_id) is not None
