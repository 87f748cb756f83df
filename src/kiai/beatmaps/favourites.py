"""The sets that players marked as favourites (docs/spec/web.md#favourites)."""

from typing import Final

from sqlalchemy import bindparam, delete, func, insert, select, update

from kiai.beatmaps import queries
from kiai.clock import Clock
from kiai.errors import Conflict, NotFound, Refused
from kiai.storage.port import Command, Database, Query, Taken, Transaction, only
from kiai.storage.tables import favourites, sets

MOST: Final = 500
"""Favourites of one player, unless the operator says otherwise."""
SET_ID_MAX: Final = 2_147_483_647

COUNT_OF = Query(select(func.count()).select_from(favourites).where(favourites.c.user_id == bindparam("user_id")), only)
IS_ONE = Query(
    select(favourites.c.set_id).where(
        favourites.c.user_id == bindparam("user_id"), favourites.c.set_id == bindparam("set_id")
    ),
    only,
)
OF = Query(
    select(favourites.c.set_id)
    .where(favourites.c.user_id == bindparam("user_id"))
    .order_by(favourites.c.added_at_ms.desc(), favourites.c.set_id.desc())
    .limit(bindparam("most")),
    only,
)
ADD = Command(insert(favourites).values({n: bindparam(n) for n in ("user_id", "set_id", "added_at_ms")}))
REMOVE = Command(
    delete(favourites).where(favourites.c.user_id == bindparam("user_id"), favourites.c.set_id == bindparam("set_id"))
)
COUNT = Command(update(sets).where(sets.c.id == bindparam("id")).values(favourites=sets.c.favourites + bindparam("by")))


class Favourites:
    """Each player's favourites, at most `most`, and how many players each set has pleased.

    A set's counter is exactly its number of rows, those of hidden players among them: it names nobody, and would drift
    with every restriction otherwise.
    """

    def __init__(self, database: Database, clock: Clock, most: int = MOST) -> None:
        self._database = database
        self._clock = clock
        self._most = most

    async def add(self, user_id: int, set_id: int) -> int:
        """Marks a set; how many favourites the player has now.

        Raises NotFound("set"), Conflict when it is one already, Refused at the limit.
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
            return count + 1

        try:
            return await self._database.transaction(body)
        except Taken as error:
            raise Conflict("this favourite") from error

    async def remove(self, user_id: int, set_id: int) -> None:
        """Takes the mark off a set; fine when there is none."""
        if not 0 < set_id <= SET_ID_MAX:
            return

        async def body(tx: Transaction) -> None:
            if await tx.run(REMOVE, user_id=user_id, set_id=set_id):
                await tx.run(COUNT, id=set_id, by=-1)

        await self._database.transaction(body)

    async def of(self, user_id: int) -> list[int]:
        """The ids of the player's favourite sets, newest first."""
        return await self._database.all(OF, user_id=user_id, most=self._most)
