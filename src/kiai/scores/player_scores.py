"""All scores of a player in a mode, with filters, sorted by one of `SORTS`, in pages by cursor.

A page without filters that is sorted by date walks `ix_scores_recent_of`. The other pages read all scores of one player
in one mode, which bounds their cost; they use the slow lane.
"""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, Column, ColumnElement, Integer, Select, String, and_, bindparam, or_, select

from kiai.beatmaps.model import MapSummary
from kiai.scores.listing_parts import NOT_HIDDEN, SCORES_AND_MAPS, STATUS, mapped, score_columns
from kiai.scores.model import MappedScore
from kiai.storage.patterns import containing, contains_pattern
from kiai.storage.port import Database, Lane, Query, columns_for
from kiai.storage.tables import maps, scores

SORTS: Final = ("date", "pp", "score", "acc")
TEXT_MAX: Final = 100
FIRST_YEAR: Final = 2007
LAST_YEAR: Final = 2100

_page: Final = select(*score_columns(), *columns_for(MapSummary, maps)).select_from(SCORES_AND_MAPS)
_of_player: Final = and_(scores.c.user_id == bindparam("user_id"), scores.c.mode == bindparam("mode"), NOT_HIDDEN)


class ScoreFilters(msgspec.Struct, frozen=True):
    """Filters of a player's scores; None matches all.

    `mods_key` are mods as boards group them; `status` is a number of docs/spec/game-rules.md#status-of-a-score; `text`
    is a part of the artist, title or difficulty.
    """

    grade: str | None = None
    mods_key: int | None = None
    status: int | None = None
    year: int | None = None
    text: str | None = None

    def __bool__(self) -> bool:
        return any(getattr(self, name) is not None for name in self.__struct_fields__)


NO_FILTERS: Final = ScoreFilters()


def _after(column: Column[Any]) -> ColumnElement[bool]:
    """Return the condition that a score comes after that of the cursor, in descending order of `column`, then of id."""
    last = scores.alias("last")
    value = select(last.c[column.name]).where(last.c.id == bindparam("cursor")).scalar_subquery()
    return or_(
        bindparam("cursor", type_=BigInteger()) == 0,
        column < value,
        and_(column == value, scores.c.id < bindparam("cursor")),
    )


def _matches() -> ColumnElement[bool]:
    text = bindparam("pattern", type_=String())
    found = or_(*[contains_pattern(maps.c[name], text) for name in ("artist", "title", "version")])
    return and_(
        _unless(bindparam("grade", type_=String()), lambda given: scores.c.grade == given),
        _unless(bindparam("mods_key", type_=Integer()), lambda given: scores.c.mods_key == given),
        _unless(bindparam("status", type_=Integer()), lambda given: STATUS.element == given),
        _unless(bindparam("since_ms", type_=BigInteger()), lambda given: scores.c.play_time_ms >= given),
        _unless(bindparam("until_ms", type_=BigInteger()), lambda given: scores.c.play_time_ms < given),
        _unless(text, lambda _: found),
    )


def _unless(given: Any, condition: Any) -> ColumnElement[bool]:
    return or_(given.is_(None), condition(given))


def _sorted(column: Column[Any]) -> Query[MappedScore]:
    statement: Select[Any] = (
        _page.where(_of_player, _matches(), _after(column))
        .order_by(column.desc(), scores.c.id.desc())
        .limit(bindparam("limit"))
    )
    return Query(statement, mapped, lane=Lane.SLOW)


NEWEST = Query(
    _page.where(_of_player, scores.c.id < bindparam("before")).order_by(scores.c.id.desc()).limit(bindparam("limit")),
    mapped,
)
FILTERED: Final = {
    "date": _sorted(scores.c.id),
    "pp": _sorted(scores.c.pp),
    "score": _sorted(scores.c.score),
    "acc": _sorted(scores.c.acc),
}


class PlayerScores:
    """Reads all scores of a player."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self,
        user_id: int,
        mode: int,
        *,
        sort: str = "date",
        filters: ScoreFilters = NO_FILTERS,
        limit: int,
        cursor: int = 0,
    ) -> list[MappedScore]:
        """Return a player's scores in a mode, highest first, behind the score `cursor`; 0 begins at the top.

        `sort` is one of `SORTS`. At equal values the newer score comes first.
        """
        if sort == "date" and not filters:
            return await self._database.all(NEWEST, user_id=user_id, mode=mode, before=cursor or 2**63 - 1, limit=limit)
        pattern = None if filters.text is None else containing(filters.text)
        if filters.text is not None and pattern is None:
            return []
        since_ms, until_ms = (None, None) if filters.year is None else year_bounds(filters.year)
        return await self._database.all(
            FILTERED[sort],
            user_id=user_id,
            mode=mode,
            grade=filters.grade,
            mods_key=filters.mods_key,
            status=filters.status,
            since_ms=since_ms,
            until_ms=until_ms,
            pattern=pattern,
            cursor=cursor,
            limit=limit,
        )


def year_bounds(year: int) -> tuple[int, int]:
    """Return the first moment of a year (UTC) and the first one after it, in unix ms."""
    first, last = (int(datetime(at, 1, 1, tzinfo=UTC).timestamp()) for at in (year, year + 1))
    return first * 1000, last * 1000
