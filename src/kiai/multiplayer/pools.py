"""Mappools: named lists of picks such as NM1, HD2, TB1 (docs/spec/multiplayer.md#mappools)."""

import re
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from sqlalchemy import and_, bindparam, delete, func, insert, literal_column, select, update

from kiai.beatmaps.model import MapSummary
from kiai.clock import Clock
from kiai.errors import Conflict, Invalid, NotFound, Refused, WrongState
from kiai.storage.patterns import unindexed
from kiai.storage.port import Command, Database, Query, Transaction, UniqueViolation, columns_for, scalar
from kiai.storage.tables import difficulties, maps, pool_picks, pools

# Large tournaments have about 20 picks in a pool. The bound keeps the answers to `!pool info` and of the API small.
PICKS_MAX: Final = 200
# The bot sends at most 10 lines.
PAGE: Final = 9
FREE_MOD_PICKS: Final = ("FM", "TB")
"""The letters of picks in which players choose their mods."""
# Combinations of mods that change difficulty, of which a map has a few.
STARS_OF_ONE: Final = 64
# A name is one word of a command, so it has no spaces.
_NAME: Final = re.compile(r"[^\s\x00-\x1f\x7f]{1,64}")
_PICK: Final = re.compile(r"((?:[A-Za-z]{2}){1,8})([1-9][0-9]{0,2})")


class Mappool(msgspec.Struct, frozen=True):
    """A mappool. `created_at_ms` is in unix ms; `created_by` is a user id; `published` is 0 or 1."""

    id: int
    name: str
    created_at_ms: int
    created_by: int
    published: int


class Pick(msgspec.Struct, frozen=True):
    """A map of a pool: `mods` as in its name (NM, HD, FM, TB) and its number `slot`."""

    mods: str
    slot: int
    map_id: int


class PublishedPool(Mappool, frozen=True):
    """A mappool of a list, with the number of its picks. Lists for players have only published ones."""

    picks: int


class PooledMap(msgspec.Struct, frozen=True):
    """A pick with its map. `beatmap` is None, and `map_key` 0, if the map is not stored.

    `stars` has the stars of the map that are known, by the mods that change difficulty.
    """

    mods: str
    slot: int
    map_id: int
    map_key: int
    beatmap: MapSummary | None
    stars: dict[int, float]


# For players and the API: an unpublished pool does not exist. `_BY_NAME` is for staff and referees.
_BY_ID = Query(
    select(*columns_for(Mappool, pools)).where(pools.c.id == bindparam("id"), pools.c.published == 1), Mappool
)
_ANY_BY_ID = Query(select(*columns_for(Mappool, pools)).where(pools.c.id == bindparam("id")), Mappool)
_LOCK = Query(select(pools.c.id).where(pools.c.id == bindparam("pool_id")).with_for_update(key_share=True), scalar)
_RENAME = Command(update(pools).where(pools.c.id == bindparam("pool_id")).values(name=bindparam("new_name")))
_PICKS = Query(
    select(*columns_for(Pick, pool_picks))
    .where(pool_picks.c.pool_id == bindparam("pool_id"))
    .order_by(pool_picks.c.mods, pool_picks.c.slot)
    .limit(PICKS_MAX),
    Pick,
)
_BY_NAME = Query(select(*columns_for(Mappool, pools)).where(pools.c.name == bindparam("name")), Mappool)
# OFFSET walks the primary key from its end. Only staff may list pools, and a server has few.
_LISTED = Query(
    select(*columns_for(Mappool, pools)).order_by(pools.c.id.desc()).limit(PAGE).offset(bindparam("offset")), Mappool
)
_CREATE = Query(
    insert(pools)
    .values({n: bindparam(n) for n in ("name", "created_at_ms", "created_by", "published")})
    .returning(pools.c.id),
    scalar,
)
_DROP_PICKS = Command(delete(pool_picks).where(pool_picks.c.pool_id == bindparam("pool_id")))
_DROP = Command(delete(pools).where(pools.c.id == bindparam("pool_id")))
_PUBLISH = Command(
    update(pools)
    .where(pools.c.id == bindparam("pool_id"), unindexed(pools.c.published) != bindparam("on"))
    .values(published=bindparam("on"))
)
_ADD = Command(insert(pool_picks).values({n: bindparam(n) for n in ("pool_id", "mods", "slot", "map_id")}))
_REMOVE = Command(
    delete(pool_picks).where(
        pool_picks.c.pool_id == bindparam("of_pool"),
        pool_picks.c.mods == bindparam("of_mods"),
        pool_picks.c.slot == bindparam("of_slot"),
    )
)
_COUNT = Query(select(func.count()).where(pool_picks.c.pool_id == bindparam("pool_id")), scalar)
_owned = (
    select(func.count())
    .select_from(pool_picks)
    .where(pool_picks.c.pool_id == pools.c.id)
    .correlate(pools)
    .scalar_subquery()
)
_PUBLISHED = Query(
    select(*columns_for(Mappool, pools), _owned)
    .where(pools.c.published == 1, pools.c.id < bindparam("before"))
    .order_by(pools.c.id.desc())
    .limit(bindparam("limit")),
    lambda *row: PublishedPool(*row),
)
_ALL = Query(
    select(*columns_for(Mappool, pools), _owned)
    .where(pools.c.id < bindparam("before"))
    .order_by(pools.c.id.desc())
    .limit(bindparam("limit")),
    lambda *row: PublishedPool(*row),
)
_current = and_(maps.c.id == pool_picks.c.map_id, maps.c.current == literal_column("1"))
_MAPS = Query(
    select(pool_picks.c.mods, pool_picks.c.slot, pool_picks.c.map_id, maps.c.key, *columns_for(MapSummary, maps))
    .select_from(pool_picks.outerjoin(maps, _current))
    .where(pool_picks.c.pool_id == bindparam("pool_id"))
    .limit(PICKS_MAX),
    lambda *row: row,
)
_STARS = Query(
    select(difficulties.c.map_key, difficulties.c.mods, difficulties.c.stars)
    .select_from(
        pool_picks.join(maps, _current).join(
            difficulties, and_(difficulties.c.map_key == maps.c.key, difficulties.c.mode == maps.c.mode)
        )
    )
    .where(pool_picks.c.pool_id == bindparam("pool_id"))
    .limit(PICKS_MAX * STARS_OF_ONE),
    lambda map_key, mods, stars: (map_key, mods, stars),
)


WithinTransaction = Callable[[Transaction, int], Awaitable[None]]
"""Writes that belong to the transaction that changes a pool, such as an audit row. Gets the id of the pool."""


def pick_of(text: str) -> tuple[str, int]:
    """Return the mods and the number of a pick such as HD2. Raises Invalid."""
    found = _PICK.fullmatch(text)
    if found is None:
        raise Invalid("pick", "mods and a number such as HD2", text)
    return found[1].upper(), int(found[2])


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise Invalid("name", "1 to 64 characters without spaces", name)


class Mappools:
    """Reads and changes mappools. The caller checks who may change them."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def named(self, name: str) -> Mappool:
        """Return a pool by its name, published or not. Raises NotFound("mappool")."""
        found = await self._database.one(_BY_NAME, name=name)
        if found is None:
            raise NotFound("mappool")
        return found

    async def listed(self, page: int) -> list[Mappool]:
        """Return a page of at most nine pools, newest first, published or not. `page` counts from 1."""
        return await self._database.all(_LISTED, offset=(page - 1) * PAGE)

    async def create(self, name: str, by: int, *, also: WithinTransaction) -> int:
        """Create an unpublished pool and return its id. Raises Invalid, and Conflict if the name exists."""
        _check_name(name)
        at_ms = self._clock.now_ms()

        async def body(tx: Transaction) -> int:
            pool_id = await tx.one(_CREATE, name=name, created_at_ms=at_ms, created_by=by, published=0)
            assert pool_id is not None
            await also(tx, int(pool_id))
            return int(pool_id)

        try:
            return await self._database.transaction(body)
        except UniqueViolation as error:
            # Not checked before the insert: two players may create the same name at once.
            raise Conflict("mappool") from error

    async def rename(self, pool_id: int, name: str, *, also: WithinTransaction) -> None:
        """Rename a pool. Matches that have loaded it keep the old name.

        Raises Invalid, NotFound("mappool"), and Conflict if the name exists.
        """
        _check_name(name)

        async def body(tx: Transaction) -> None:
            if not await tx.run(_RENAME, pool_id=pool_id, new_name=name):
                raise NotFound("mappool")
            await also(tx, pool_id)

        try:
            await self._database.transaction(body)
        except UniqueViolation as error:
            raise Conflict("mappool") from error

    async def delete(self, pool_id: int, *, also: WithinTransaction) -> None:
        """Delete a pool and its picks. Matches that have loaded it keep its name, and its picks are empty.

        Raises NotFound("mappool").
        """

        async def body(tx: Transaction) -> None:
            # Picks refer to the pool by a foreign key, so they are deleted first.
            await tx.run(_DROP_PICKS, pool_id=pool_id)
            if not await tx.run(_DROP, pool_id=pool_id):  # another act did in the meantime
                raise NotFound("mappool")
            await also(tx, pool_id)

        await self._database.transaction(body)

    async def publish(self, pool_id: int, on: bool, *, also: WithinTransaction) -> None:
        """Publish a pool, or hide it from everyone except staff and referees. Raises WrongState if it is so already."""

        async def body(tx: Transaction) -> None:
            if not await tx.run(_PUBLISH, pool_id=pool_id, on=int(on)):
                raise WrongState("the mappool is already public" if on else "the mappool is already hidden")
            await also(tx, pool_id)

        await self._database.transaction(body)

    async def add(self, pool_id: int, pick: str, map_id: int, *, also: WithinTransaction) -> None:
        """Add a pick.

        Raises Invalid, NotFound("mappool"), Refused if the pool has PICKS_MAX picks, and Conflict if it already has the
        pick or the map.
        """
        mods, slot = pick_of(pick)

        async def body(tx: Transaction) -> None:
            # Locked, so that it is not deleted at the same time, and two acts do not pass the bound together.
            if await tx.one(_LOCK, pool_id=pool_id) is None:
                raise NotFound("mappool")
            if (await tx.one(_COUNT, pool_id=pool_id) or 0) >= PICKS_MAX:
                raise Refused(f"a mappool has at most {PICKS_MAX} picks")
            await tx.run(_ADD, pool_id=pool_id, mods=mods, slot=slot, map_id=map_id)
            await also(tx, pool_id)

        try:
            await self._database.transaction(body)
        except UniqueViolation as error:
            raise Conflict("pick or map") from error

    async def remove(self, pool_id: int, pick: str, *, also: WithinTransaction) -> None:
        """Remove a pick. Raises Invalid, NotFound("pick")."""
        mods, slot = pick_of(pick)

        async def body(tx: Transaction) -> None:
            if not await tx.run(_REMOVE, of_pool=pool_id, of_mods=mods, of_slot=slot):
                raise NotFound("pick")
            await also(tx, pool_id)

        await self._database.transaction(body)

    async def pool(self, pool_id: int) -> Mappool:
        """Return a published pool by its id. Raises NotFound("mappool")."""
        found = await self._database.one(_BY_ID, id=pool_id)
        if found is None:
            raise NotFound("mappool")
        return found

    async def any_pool(self, pool_id: int) -> Mappool:
        """Return a pool by its id, published or not, for staff. Raises NotFound("mappool")."""
        found = await self._database.one(_ANY_BY_ID, id=pool_id)
        if found is None:
            raise NotFound("mappool")
        return found

    async def all(self, *, limit: int, before: int = 2**31 - 1) -> list[PublishedPool]:
        """Return published and other pools, newest first, for staff. `before` is an id, exclusive."""
        return await self._database.all(_ALL, limit=limit, before=before)

    async def published(self, *, limit: int, before: int = 2**31 - 1) -> list[PublishedPool]:
        """Return published pools, newest first. `before` is an id, exclusive."""
        return await self._database.all(_PUBLISHED, limit=limit, before=before)

    async def maps(self, pool_id: int) -> list[PooledMap]:
        """Return the picks of a pool with their maps, in any order."""
        stars: dict[int, dict[int, float]] = {}
        for map_key, mods, value in await self._database.all(_STARS, pool_id=pool_id):
            stars.setdefault(map_key, {})[mods] = value
        return [
            PooledMap(mods, slot, map_id, key or 0, None if key is None else MapSummary(*row), stars.get(key, {}))
            for mods, slot, map_id, key, *row in await self._database.all(_MAPS, pool_id=pool_id)
        ]

    async def picks(self, pool_id: int) -> list[Pick]:
        """Return the picks of a pool, by mods and number."""
        return await self._database.all(_PICKS, pool_id=pool_id)
