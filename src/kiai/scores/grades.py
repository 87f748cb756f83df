"""The grades that song select shows next to each map.

See docs/spec/web.md#status-and-grades-of-many-maps.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import bindparam, literal_column, select

from kiai.storage.port import Database, Lane, Query
from kiai.storage.tables import scores

MAPS_MAX: Final = 100

# One statement for up to 100 maps, by `uq_scores_best_score`. The list has a fixed number of parameters, so the engines
# compile it once. The condition of the partial index is a literal: a planner does not match a parameter with it.
GRADES_ON_MANY = Query(
    select(scores.c.map_key, scores.c.mode, scores.c.grade).where(
        scores.c.map_key.in_([bindparam(f"key{n}", type_=scores.c.map_key.type) for n in range(MAPS_MAX)]),
        scores.c.mode.in_((0, 1, 2, 3)),
        scores.c.user_id == bindparam("user_id"),
        scores.c.best_score == literal_column("1"),
        scores.c.hidden == literal_column("0"),
    ),
    lambda map_key, mode, grade: (map_key, mode, grade),
    lane=Lane.BOUNDED,
)


GRADES_ON = Query(
    select(scores.c.mode, scores.c.grade).where(
        scores.c.map_key == bindparam("map_key"),
        scores.c.mode.in_((0, 1, 2, 3)),
        scores.c.user_id == bindparam("user_id"),
        scores.c.best_score == literal_column("1"),
    ),
    lambda mode, grade: (mode, grade),
)


class Grades:
    """Reads grades of best scores."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def on_map(self, user_id: int, map_key: int) -> dict[int, str]:
        """Return the grades of a player's best scores on a map, by vanilla mode (0 to 3)."""
        return dict(await self._database.all(GRADES_ON, user_id=user_id, map_key=map_key))

    async def on(self, user_id: int, map_keys: Sequence[int]) -> dict[tuple[int, int], str]:
        """Return the grades of a player's best scores by (map key, vanilla mode), for at most 100 maps."""
        assert len(map_keys) <= MAPS_MAX
        if not map_keys:
            return {}
        # Keys start at 1, so 0 fills the unused parameters without matching a map.
        padded = [*map_keys, *[0] * MAPS_MAX][:MAPS_MAX]
        rows = await self._database.all(
            GRADES_ON_MANY, user_id=user_id, **{f"key{n}": key for n, key in enumerate(padded)}
        )
        return {(map_key, mode): grade for map_key, mode, grade in rows}
