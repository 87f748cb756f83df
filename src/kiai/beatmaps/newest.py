"""The newest sets with ranked maps."""

from typing import Final

from sqlalchemy import bindparam, literal_column, select, union_all

from kiai.beatmaps.model import PP_STATUSES, MapSummary
from kiai.storage.port import Database, Query, columns_for
from kiai.storage.tables import maps

SEARCHED: Final = 100  # newest maps of each status; a set has about five

# Ids are given in order of creation, and `ix_maps_status` has them in this order.
_ids: Final = union_all(
    *[
        select(
            select(maps.c.key)
            .where(maps.c.current == literal_column("1"), maps.c.status == literal_column(str(int(status))))
            .order_by(maps.c.id.desc())
            .limit(SEARCHED)
            .subquery()
        )
        for status in PP_STATUSES
    ]
).subquery("newest")
NEWEST: Final = Query(
    select(*columns_for(MapSummary, maps))
    .select_from(_ids.join(maps, maps.c.key == _ids.c.key))
    .order_by(maps.c.set_id.desc(), maps.c.diff.desc())
    .limit(bindparam("limit")),
    MapSummary,
    scans="PostgreSQL may walk the newest ids instead of the index of the statuses",
)


class NewestRanked:
    """Reads the list."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def sets(self, *, limit: int) -> list[list[MapSummary]]:
        """Return the ranked maps of the newest sets: a list for each set, the hardest map first."""
        by_set: dict[int, list[MapSummary]] = {}
        for beatmap in await self._database.all(NEWEST, limit=SEARCHED * len(PP_STATUSES)):
            by_set.setdefault(beatmap.set_id, []).append(beatmap)
        return list(by_set.values())[:limit]
