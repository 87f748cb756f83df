"""Many maps at once by file name or id, as song select asks for them.

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
"""Our status -> the official API's number; every other status is its 0 (docs/spec/beatmaps.md#status-numbers)."""


class MapInfo(msgspec.Struct, frozen=True):
    """What song select shows of a map."""

    key: int
    id: int
    set_id: int
    md5: str
    status: int
    filename: str


_map = select(*columns_for(MapInfo, maps)).where(maps.c.current == 1)
_names = [func.lower(bindparam(f"name{n}", type_=maps.c.filename.type)) for n in range(ASKED_MAX)]
_ids = [bindparam(f"id{n}", type_=maps.c.id.type) for n in range(ASKED_MAX)]
NAMED_OR_WITH_ID = Query(
    union_all(_map.where(func.lower(maps.c.filename).in_(_names)), _map.where(maps.c.id.in_(_ids))).limit(FOUND_MAX),
    MapInfo,
    lane=Lane.ASIDE,
)


class MapInfos:
    """Finds current maps in one query."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, names: Sequence[str], ids: Sequence[int]) -> tuple[dict[str, MapInfo], dict[int, MapInfo]]:
        """Of at most 100 file names and ids together those that are known: by name as it was given, and by id.

        A name is matched by its exact text, else regardless of case; of several maps the one with the lowest id.
        """
        assert len(names) + len(ids) <= ASKED_MAX
        # An engine takes no NUL in a text, and no file's name has one.
        possible = [name for name in names if name and len(name) <= FILE_NAME_MAX and "\x00" not in name]
        numbers = [one for one in ids if 0 < one <= ID_MAX]
        if not possible and not numbers:
            return {}, {}
        asked: dict[str, str | int | None] = dict.fromkeys((f"name{n}" for n in range(ASKED_MAX)), None)
        asked |= dict.fromkeys(f"id{n}" for n in range(ASKED_MAX))
        asked |= {f"name{n}": name for n, name in enumerate(possible)} | {
            f"id{n}": one for n, one in enumerate(numbers)
        }
        found = sorted(await self._database.all(NAMED_OR_WITH_ID, **asked), key=lambda one: -one.id)
        exact = {one.filename: one for one in found}
        alike = {one.filename.lower(): one for one in found}
        by_name = {name: exact.get(name) or alike.get(name.lower()) for name in possible}
        by_id = {one.id: one for one in found}
        return (
            {name: one for name, one in by_name.items() if one is not None},
            {one: by_id[one] for one in numbers if one in by_id},
        )
