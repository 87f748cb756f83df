"""Lookup of many maps at once by file name or id, for song select.

See docs/spec/web.md#status-and-grades-of-many-maps.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import bindparam, func, select, union_all

from kiai.beatmaps.model import MapStatus
from kiai.storage.port import Database, Lane, Query, columns_for
from kiai.storage.tables import maps

ASKED_MAX: Final = 100
"""File names and ids together."""
FOUND_MAX: Final = 1_000
FILE_NAME_MAX: Final = 255
ID_MAX: Final = 2_147_483_647

OSU_API_STATUS: Final = {
    int(MapStatus.RANKED): 1,
    int(MapStatus.APPROVED): 2,
    int(MapStatus.QUALIFIED): 3,
    int(MapStatus.LOVED): 4,
}
"""Numbers of the official API by status. Every other status is 0 (docs/spec/beatmaps.md#status-numbers)."""


class MapInfo(msgspec.Struct, frozen=True):
    """The fields of a map that song select shows."""

    key: int
    id: int
    set_id: int
    md5: str
    status: int
    filename: str


_map = select(*columns_for(MapInfo, maps)).where(maps.c.current == 1)
# One statement with a fixed number of parameters, which is compiled once. Unused ones are NULL, which equals nothing.
# UNION ALL instead of OR, so that each part uses its index (`ix_maps_filename_lower`, `uq_maps_current`).
_names = [func.lower(bindparam(f"name{n}", type_=maps.c.filename.type)) for n in range(ASKED_MAX)]
_ids = [bindparam(f"id{n}", type_=maps.c.id.type) for n in range(ASKED_MAX)]
NAMED_OR_WITH_ID = Query(
    union_all(_map.where(func.lower(maps.c.filename).in_(_names)), _map.where(maps.c.id.in_(_ids))).limit(FOUND_MAX),
    MapInfo,
    lane=Lane.BOUNDED,
)


class MapInfos:
    """Finds current maps in one query."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, names: Sequence[str], ids: Sequence[int]) -> tuple[dict[str, MapInfo], dict[int, MapInfo]]:
        """Return the known maps among at most 100 file names and ids: by name as it was given, and by id.

        An exact match of a name is preferred to one with different case. Of several maps, the one with the lowest id is
        returned.
        """
        assert len(names) + len(ids) <= ASKED_MAX
        possible = [name for name in names if is_file_name(name)]
        numbers = [map_id for map_id in ids if 0 < map_id <= ID_MAX]
        if not possible and not numbers:
            return {}, {}
        params: dict[str, str | int | None] = dict.fromkeys((f"name{n}" for n in range(ASKED_MAX)), None)
        params |= dict.fromkeys(f"id{n}" for n in range(ASKED_MAX))
        params |= {f"name{n}": name for n, name in enumerate(possible)} | {
            f"id{n}": map_id for n, map_id in enumerate(numbers)
        }
        # Highest id first: the dicts below keep the last one, which has the lowest id.
        found = sorted(await self._database.all(NAMED_OR_WITH_ID, **params), key=lambda info: -info.id)
        exact = {info.filename: info for info in found}
        alike = {info.filename.lower(): info for info in found}
        by_name = {name: exact.get(name) or alike.get(name.lower()) for name in possible}
        by_id = {info.id: info for info in found}
        return (
            {name: info for name, info in by_name.items() if info is not None},
            {map_id: by_id[map_id] for map_id in numbers if map_id in by_id},
        )


def is_file_name(text: str) -> bool:
    """Return whether a file can have this name: 1 to 255 characters without NUL, which databases reject as well."""
    return 0 < len(text) <= FILE_NAME_MAX and "\x00" not in text
