"""The ids of all sets with a leaderboard, in files of 10,000 ids, for the sitemaps of the website."""

from typing import Any, Final

from sqlalchemy import Select, bindparam, exists, literal_column, select

from kiai.beatmaps.model import BOARD_STATUSES
from kiai.storage.port import Database, Lane, Query, scalar
from kiai.storage.tables import maps, sets

SETS_OF_FILE: Final = 10_000
FILES_MAX: Final = 1_000
_SCANS: Final = "it skips sets without a leaderboard, once an hour"

_has_board = exists(
    select(literal_column("1"))
    .select_from(maps)
    .where(maps.c.set_id == sets.c.id, maps.c.current == 1, maps.c.status.in_(sorted(BOARD_STATUSES)))
)
_ids: Select[Any] = select(sets.c.id).where(_has_board, sets.c.id >= bindparam("from_id")).order_by(sets.c.id)
_FIRST: Final = Query(_ids.limit(1), scalar, lane=Lane.SLOW, scans=_SCANS)
_OF_FILE: Final = Query(_ids.where(sets.c.id < bindparam("to_id")).limit(SETS_OF_FILE), scalar, lane=Lane.SLOW)


class SetIndex:
    """Lists the sets with a leaderboard. File n has the sets with ids from n * 10,000 on."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def files(self) -> list[int]:
        """Return the numbers of the files that have a set, in order; at most 1,000."""
        found: list[int] = []
        while len(found) < FILES_MAX:
            after = (found[-1] + 1) * SETS_OF_FILE if found else 0
            first = await self._database.one(_FIRST, from_id=after)
            if first is None:
                break
            found.append(int(first) // SETS_OF_FILE)
        return found

    async def ids_of(self, number: int) -> list[int]:
        """Return the ids of the sets of a file, in order."""
        first = number * SETS_OF_FILE
        return await self._database.all(_OF_FILE, from_id=first, to_id=first + SETS_OF_FILE)
