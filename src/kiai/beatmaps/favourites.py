"""The favourite sets of players (docs/spec/web.md#favourites)."""

from typing import Final

from sqlalchemy import bindparam, delete, func, insert, select, update

from kiai.beatmaps import queries
from kiai.beatmaps.catalogue import COUNT_FAVOURITES
from kiai.clock import Clock
from kiai.errors import Conflict, NotFound, Refused
from kiai.storage.port import Command, Database, Query, Transaction, UniqueViolation, scalar
from kiai.storage.tables import favourites, sets

FAVOURITES_MAX: Final = 500
"""The default limit for one player; an operator can change it."""
SET_ID_MAX: Final = 2_147_483_647

COUNT_OF = Query(
    select(func.count()).select_from(favourites).where(favourites.c.user_id == bindparam("user_id")), scalar
)
IS_ONE = Query(
    select(favourites.c.set_id).where(
        favourites.c.user_id == bindparam("user_id"), favourites.c.set_id == bindparam("set_id")
    ),
    scalar,
)
OF = Query(
    select(favourites.c.set_id)
    .where(favourites.c.user_id == bindparam("user_id"))
    .order_by(favourites.c.added_at_ms.desc(), favourites.c.set_id.desc())
    .limit(bindparam("most")),
    scalar,
)
ADD = Command(insert(favourites).values({n: bindparam(n) for n in ("user_id", "set_id", "added_at_ms")}))
REMOVE = Command(
    delete(favourites).where(favourites.c.user_id == bindparam("user_id"), favourites.c.set_id == bindparam("set_id"))
)
COUNT = Command(update(sets).where(sets.c.id == bindparam("id")).values(favourites=sets.c.favourites + bindparam("by")))


class Favourites:
    """Favourites of players, at most `most` for each, and the counter of each set.

    The counter is the number of all rows of the set, including those of hidden players. It reveals no names, and it
    needs no update when a player is restricted.
    """

    def __init__(self, database: Database, clock: Clock, most: int = FAVOURITES_MAX) -> None:
        self._database = database
        self._clock = clock
        self._most = most

    async def add(self, user_id: int, set_id: int) -> int:
        """Add a set to the favourites of a player, and return their new number.

        Raises NotFound("set"), Conflict if the set is a favourite already, and Refused at the limit.
        """
        if not 0 < set_id <= SET_ID_MAX:
            raise NotFound("set")
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> int:
            if await tx.one(queries.SET_EXISTS, id=set_id) is None:
                raise NotFound("set")
            if await tx.one(IS_ONE, user_id=user_id, set_id=set_id) is not None:
                raise Conflict("this favourite")
            count = await tx.one(COUNT_OF, user_id=user_id) or 0
            if count >= self._most:
                raise Refused(f"at most {self._most} favourites are allowed")
            await tx.run(ADD, user_id=user_id, set_id=set_id, added_at_ms=now)
            await tx.run(COUNT, id=set_id, by=1)
            await tx.run(COUNT_FAVOURITES, of_set=set_id)
            return count + 1

        try:
            return await self._database.transaction(body)
        except UniqueViolation as error:  # two requests for the same set at the same moment
            raise Conflict("this favourite") from error

    async def remove(self, user_id: int, set_id: int) -> None:
        """Remove a set from the favourites of a player. Do nothing if it is not one."""
        if not 0 < set_id <= SET_ID_MAX:
            return

        async def body(tx: Transaction) -> None:
            # The number of deleted rows decides, so a repeated request does not change the counter.
            if await tx.run(REMOVE, user_id=user_id, set_id=set_id):
                await tx.run(COUNT, id=set_id, by=-1)
                await tx.run(COUNT_FAVOURITES, of_set=set_id)

        await self._database.transaction(body)

    async def has(self, user_id: int, set_id: int) -> bool:
        """Return whether the set is a favourite of the player."""
        return await self._database.one(IS_ONE, user_id=user_id, set_id=set_id) is not None

    async def of(self, user_id: int) -> list[int]:
        """Return the ids of the player's favourite sets, newest first."""
        return await self._database.all(OF, user_id=user_id, most=self._most)
