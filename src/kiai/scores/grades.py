"""A player's grades on many maps at once, as song select shows them beside each.

See docs/spec/web.md#status-and-grades-of-many-maps.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import bindparam, literal_column, select

from kiai.storage.port import Database, Lane, Query
from kiai.storage.tables import scores

MAPS_MAX: Final = 100

GRADES_ON_MANY = Query(
    select(scores.c.map_key, scores.c.mode, scores.c.grade).where(
        scores.c.map_key.in_([bindparam(f"key{n}", type_=scores.c.map_key.type) for n in range(MAPS_MAX)]),
        scores.c.mode.in_((0, 1, 2, 3)),
        scores.c.user_id == bindparam("user_id"),
        scores.c.best_score == literal_column("1"),
        scores.c.hidden == literal_column("0"),
    ),
    lambda map_key, mode, grade: (map_key, mode, grade),
    lane=Lane.ASIDE,
)


class Grades:
    """Reads grades of best scores."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def on(self, user_id: int, map_keys: Sequence[int]) -> dict[tuple[int, int], str]:
        """The letters of the player's own best scores in modes 0 to 3 by (map key, mode); at most 100 maps."""
        assert len(map_keys) <= MAPS_MAX
        if not map_keys:
            return {}
        padded = [*map_keys, *[0] * MAPS_MAX][:MAPS_MAX]
        rows = await self._database.all(
            GRADES_ON_MANY, user_id=user_id, **{f"key{n}": key for n, key in enumerate(padded)}
        )
        return {(map_key, mode): grade for map_key, mode, grade in rows}
