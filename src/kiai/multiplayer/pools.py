"""Mappools: named lists of picks such as NM1, HD2, TB1."""

from typing import Final

import msgspec
from sqlalchemy import bindparam, select

from kiai.errors import NotFound
from kiai.storage.port import Database, Query, columns_for
from kiai.storage.tables import pool_picks, pools

PICKS_MAX: Final = 200


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


class Pools:
    """Reads mappools."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pool(self, pool_id: int) -> Pool:
        """A published pool. Raises NotFound("mappool")."""
        found = await self._database.one(_BY_ID, id=pool_id)
        if found is None:
            raise NotFound("mappool")
        return found

    async def picks(self, pool_id: int) -> list[Pick]:
        """Its picks, by mods and number."""
        return await self._database.all(_PICKS, pool_id=pool_id)
