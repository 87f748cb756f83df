"""Mappools: named lists of picks such as NM1, HD2, TB1."""

import re
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from sqlalchemy import bindparam, delete, func, insert, select, update

from kiai.clock import Clock
from kiai.errors import Conflict, Invalid, NotFound, Refused
from kiai.storage.port import Command, Database, Query, Taken, Transaction, columns_for, only
from kiai.storage.tables import pool_picks, pools

PICKS_MAX: Final = 200
PAGE: Final = 9
_NAME: Final = re.compile(r"[^\s\x00-\x1f\x7f]{1,64}")
_PICK: Final = re.compile(r"((?:[A-Za-z]{2}){1,8})([1-9][0-9]{0,2})")


class Pool(msgspec.Struct, frozen=True):
    """A mappool; `created_at_ms` in unix ms."""

    id: int
    name: str
    created_at_ms: int
    created_by: int


class Pick(msgspec.Struct, frozen=True):
    """One map of a pool: `mods` as written (NM, HD, FM, TB) and its number."""

    mods: str
    slot: int
    map_id: int


_BY_ID = Query(select(*columns_for(Pool, pools)).where(pools.c.id == bindparam("id"), pools.c.published == 1), Pool)
_PICKS = Query(
    select(*columns_for(Pick, pool_picks))
    .where(pool_picks.c.pool_id == bindparam("pool_id"))
    .order_by(pool_picks.c.mods, pool_picks.c.slot)
    .limit(PICKS_MAX),
    Pick,
)


_BY_NAME = Query(select(*columns_for(Pool, pools)).where(pools.c.name == bindparam("name")), Pool)
_LISTED = Query(
    select(*columns_for(Pool, pools)).order_by(pools.c.id.desc()).limit(PAGE).offset(bindparam("offset")), Pool
)
_CREATE = Query(
    insert(pools)
    .values({n: bindparam(n) for n in ("name", "created_at_ms", "created_by", "published")})
    .returning(pools.c.id),
    only,
)
_DROP_PICKS = Command(delete(pool_picks).where(pool_picks.c.pool_id == bindparam("pool_id")))
_DROP = Command(delete(pools).where(pools.c.id == bindparam("pool_id")))
_PUBLISH = Command(update(pools).where(pools.c.id == bindparam("pool_id")).values(published=bindparam("on")))
_ADD = Command(insert(pool_picks).values({n: bindparam(n) for n in ("pool_id", "mods", "slot", "map_id")}))
_REMOVE = Command(
    delete(pool_picks).where(
        pool_picks.c.pool_id == bindparam("of_pool"),
        pool_picks.c.mods == bindparam("of_mods"),
        pool_picks.c.slot == bindparam("of_slot"),
    )
)
_COUNT = Query(select(func.count()).where(pool_picks.c.pool_id == bindparam("pool_id")), only)


Also = Callable[[Transaction, int], Awaitable[None]]
"""What else belongs to the transaction that changes a pool, given its id: an audit row."""


def pick_of(text: str) -> tuple[str, int]:
    """The mods and the number of a pick such as HD2 (docs/spec/multiplayer.md#mappools). Raises Invalid."""
    found = _PICK.fullmatch(text)
    if found is None:
        raise Invalid("pick", "mods and a number such as HD2", text)
    return found[1].upper(), int(found[2])


class Pools:
    """Mappools. Who may change them is the caller's rule."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def named(self, name: str) -> Pool:
        """A pool by its name, published or not. Raises NotFound("mappool")."""
        found = await self._database.one(_BY_NAME, name=name)
        if found is None:
            raise NotFound("mappool")
        return found

    async def listed(self, page: int) -> list[Pool]:
        """A page of nine, newest first."""
        return await self._database.all(_LISTED, offset=(page - 1) * PAGE)

    async def create(self, name: str, by: int, *, also: Also) -> int:
        """A new pool, not published yet; its id. Raises Invalid, Conflict."""
        if not _NAME.fullmatch(name):
            raise Invalid("name", "1 to 64 characters without spaces", name)
        at_ms = self._clock.now_ms()

        async def body(tx: Transaction) -> int:
            pool_id = await tx.one(_CREATE, name=name, created_at_ms=at_ms, created_by=by, published=0)
            assert pool_id is not None
            await also(tx, int(pool_id))
            return int(pool_id)

        try:
            return await self._database.transaction(body)
        except Taken as taken:
            raise Conflict("mappool") from taken

    async def delete(self, pool_id: int, *, also: Also) -> None:
        """The pool and its picks are gone."""

        async def body(tx: Transaction) -> None:
            await tx.run(_DROP_PICKS, pool_id=pool_id)
            await tx.run(_DROP, pool_id=pool_id)
            await also(tx, pool_id)

        await self._database.transaction(body)

    async def publish(self, pool_id: int, on: bool, *, also: Also) -> None:
        """Everybody may see the pool, or no longer."""

        async def body(tx: Transaction) -> None:
            await tx.run(_PUBLISH, pool_id=pool_id, on=int(on))
            await also(tx, pool_id)

        await self._database.transaction(body)

    async def add(self, pool_id: int, pick: str, map_id: int, *, also: Also) -> None:
        """One more pick. Raises Invalid, Refused past the bound, Conflict for a pick or map that is in it already."""
        mods, slot = pick_of(pick)

        async def body(tx: Transaction) -> None:
            if (await tx.one(_COUNT, pool_id=pool_id) or 0) >= PICKS_MAX:
                raise Refused(f"a mappool has at most {PICKS_MAX} picks")
            await tx.run(_ADD, pool_id=pool_id, mods=mods, slot=slot, map_id=map_id)
            await also(tx, pool_id)

        try:
            await self._database.transaction(body)
        except Taken as taken:
            raise Conflict("pick or map") from taken

    async def remove(self, pool_id: int, pick: str, *, also: Also) -> None:
        """One pick less. Raises Invalid, NotFound("pick")."""
        mods, slot = pick_of(pick)

        async def body(tx: Transaction) -> None:
            if not await tx.run(_REMOVE, of_pool=pool_id, of_mods=mods, of_slot=slot):
                raise NotFound("pick")
            await also(tx, pool_id)

        await self._database.transaction(body)

    async def pool(self, pool_id: int) -> Pool:
        """A published pool. Raises NotFound("mappool")."""
        found = await self._database.one(_BY_ID, id=pool_id)
        if found is None:
            raise NotFound("mappool")
        return found

    async def picks(self, pool_id: int) -> list[Pick]:
        """Its picks, by mods and number."""
        return await self._database.all(_PICKS, pool_id=pool_id)
