"""Parts of the statements that read scores: columns, pages, filters by mods, and the lane of a page."""

from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Select, and_, bindparam, case, func, or_, select

from kiai.beatmaps.model import MapSummary
from kiai.scores.model import BoardScore, MappedScore, Score
from kiai.storage.port import Lane, Query, scalar
from kiai.storage.tables import maps, scores

R = TypeVar("R")

DEEP: Final = 2_000
"""Pages with at least this offset run in the SLOW lane: the engines read the skipped rows as well."""
LISTED_MAX: Final = 10_000
"""The largest total that is counted, which bounds the cost of the count."""


class ModsFilter(msgspec.Struct, frozen=True):
    """A filter by mods: all bits of `all_of`, and at least one bit of `any_of` unless that is 0."""

    all_of: int = 0
    any_of: int = 0

    def __bool__(self) -> bool:
        return bool(self.all_of or self.any_of)


ANY_MODS: Final = ModsFilter()

NOT_HIDDEN: Final = scores.c.hidden == 0
SCORES_AND_MAPS: Final = scores.join(maps, maps.c.key == scores.c.map_key)

STATUS: Final = case((or_(scores.c.best_pp == 1, scores.c.best_score == 1), 2), else_=scores.c.passed).label("status")
"""The number of docs/spec/game-rules.md#status-of-a-score."""


def score_columns() -> list[ColumnElement[Any]]:
    """Return the columns of `model.Score`, in the order of its fields."""
    return [STATUS if name == "status" else scores.c[name] for name in Score.__struct_fields__]


SCORE_WIDTH: Final = len(Score.__struct_fields__)
"""Number of columns in `score_columns`."""


def mapped(*row: Any) -> MappedScore:
    """Return the value of a row with `score_columns` and the columns of `MapSummary`."""
    return MappedScore(Score(*row[:SCORE_WIDTH]), MapSummary(*row[SCORE_WIDTH:]))


def on_board(*row: Any) -> BoardScore:
    """Return the value of a row with `score_columns`, the player's name and country, and the clan's id, name, tag."""
    return BoardScore(Score(*row[:SCORE_WIDTH]), *row[SCORE_WIDTH:])


def with_mods() -> ColumnElement[bool]:
    """Return the condition of a `ModsFilter`, with its fields as the parameters `all_mods` and `any_mods`."""
    return and_(
        scores.c.mods.op("&")(bindparam("all_mods")) == bindparam("all_mods"),
        or_(bindparam("any_mods") == 0, scores.c.mods.op("&")(bindparam("any_mods")) != 0),
    )


def paged(statement: Select[Any]) -> Select[Any]:
    """Return the statement with LIMIT and OFFSET as the parameters `limit` and `offset`."""
    return statement.limit(bindparam("limit")).offset(bindparam("offset"))


def count_of(found: Select[Any], *, lane: Lane = Lane.SLOW) -> Query[int]:
    """Return a query for the number of rows of `found`, which must have its own LIMIT.

    `lane` can be BOUNDED if an index serves `found`, so that the LIMIT bounds the cost.
    """
    return Query(select(func.count()).select_from(found.subquery()), scalar, lane=lane)


def lane_of_page(query: Query[R], offset: int, *, filtered: bool = False) -> Query[R]:
    """Return the query in the lane for this page.

    It is SLOW if the page skips many rows, or if a filter may match so few rows that many are read for one page.
    """
    return query if offset < DEEP and not filtered else query.in_lane(Lane.SLOW)
