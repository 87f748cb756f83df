"""Votes of players on maps, from 1 to 10 (docs/spec/web.md#votes).

A player has one vote for each revision, which cannot be changed.
"""

import contextlib
from typing import Final, Literal

from sqlalchemy import bindparam, insert, select, update

from kiai.beatmaps import queries
from kiai.beatmaps.catalogue import COUNT_VOTES
from kiai.beatmaps.model import Beatmap, MapStatus
from kiai.clock import Clock
from kiai.errors import Invalid, NotFound
from kiai.osu.names import safe_name
from kiai.storage.port import Command, Database, Query, Transaction, UniqueViolation, scalar
from kiai.storage.tables import maps, ratings

RATING_MIN: Final = 1
RATING_MAX: Final = 10

VOTED = Query(
    select(ratings.c.rating).where(
        ratings.c.map_key == bindparam("map_key"), ratings.c.user_id == bindparam("user_id")
    ),
    scalar,
)
ADD_VOTE = Command(insert(ratings).values({n: bindparam(n) for n in ("map_key", "user_id", "rating", "at_ms")}))
# Sum and count on the map make the average free to read.
COUNT_VOTE = Command(
    update(maps)
    .where(maps.c.key == bindparam("map_key"))
    .values(rating_sum=maps.c.rating_sum + bindparam("by_rating"), rating_count=maps.c.rating_count + 1)
)


class Ratings:
    """Stores votes, and updates the sum and number of votes of each map."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def vote(self, user_id: int, beatmap: Beatmap, rating: int, *, counted: bool = True) -> float:
        """Store a vote, unless the player has voted already, and return the average of the map.

        `counted` is False for hidden players: their vote is stored, but the average does not include it. The caller
        checks that the map accepts votes. Raises Invalid for a number outside 1 to 10, and NotFound("map").
        """
        if not RATING_MIN <= rating <= RATING_MAX:
            raise Invalid("rating", f"a number from {RATING_MIN} to {RATING_MAX}", rating)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await tx.run(ADD_VOTE, map_key=beatmap.key, user_id=user_id, rating=rating, at_ms=now)
            if counted:
                await tx.run(COUNT_VOTE, map_key=beatmap.key, by_rating=rating)
                await tx.run(COUNT_VOTES, map_key=beatmap.key)

        if not await self.voted(user_id, beatmap.key):
            with contextlib.suppress(UniqueViolation):  # another request of the player has stored a vote
                await self._database.transaction(body)
        found = await self._database.one(queries.BY_KEY, key=beatmap.key)
        if found is None:
            raise NotFound("map")
        return found.rating

    async def vote_of(self, user_id: int, map_key: int) -> int | None:
        """Return the player's vote on this revision, or None without one."""
        return await self._database.one(VOTED, map_key=map_key, user_id=user_id)

    async def voted(self, user_id: int, map_key: int) -> bool:
        """Return whether the player has voted on this revision."""
        return await self.vote_of(user_id, map_key) is not None


def why_no_vote(beatmap: Beatmap, voter: str) -> Literal["not ranked", "owner"] | None:
    """Return why a player cannot vote on a map, or None if the map accepts the vote.

    `voter` is the safe name: .osu files contain only the name of their creator.
    """
    if beatmap.status < MapStatus.RANKED:
        return "not ranked"
    return "owner" if safe_name(beatmap.creator) == voter else None
