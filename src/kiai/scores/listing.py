"""Lists of scores by filters, newest first: a statement for each combination of filters, and each walks an index.

| filters | walks, newest first |
|---|---|
| none | all scores |
| `map_md5`, and any others | the map's scores |
| `user_id`, and any others | the player's scores, mode by mode |
| `mode`, `status`, or both | the scores of each mode and status |
| `mods`, and any of `mode` and `status` | the scores with these mods of each mode and status |

What a list costs is bounded by the page, or by one map's or one player's scores where few of them fit.
"""

from collections.abc import Mapping
from itertools import chain, combinations, product
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    and_,
    bindparam,
    func,
    literal_column,
    select,
    union_all,
)

from kiai.accounts.visibility import visible
from kiai.beatmaps.model import MapSummary
from kiai.osu.modes import MODES
from kiai.scores.model import MappedScore
from kiai.scores.queries import mapped, score_columns
from kiai.storage.patterns import looked_at
from kiai.storage.port import Database, Lane, Query, Value, columns_for, only
from kiai.storage.tables import maps, scores, users

LISTED_MAX: Final = 10_000  # a total is counted no further than this
FILTERS: Final = ("map_md5", "mods", "status", "mode", "user_id")
STATUSES: Final = (0, 1, 2)

Filters = frozenset[str]

_key_of_map = select(maps.c.key).where(maps.c.md5 == bindparam("map_md5")).scalar_subquery()
# `queries.status` in the words of the indexes.
_STATUS: Final = (
    scores.c.best_pp.op("|")(scores.c.best_score) * (literal_column("2", Integer()) - scores.c.passed) + scores.c.passed
)
_COLUMNS: Final[Mapping[str, ColumnElement[Any]]] = {
    "mods": scores.c.mods,
    "status": _STATUS,
    "mode": scores.c.mode,
    "user_id": scores.c.user_id,
}
_shown = and_(scores.c.hidden == 0, visible())
_scores_and_users = scores.join(users, users.c.id == scores.c.user_id)


def _leads(filters: Filters) -> Filters:
    """The filters that choose the index; the others are looked at row by row."""
    if "map_md5" in filters:
        return frozenset(("map_md5",))
    return filters & frozenset(("user_id", "mode") if "user_id" in filters else ("mods", "mode", "status"))


def _fits(name: str, *, leads: bool) -> ColumnElement[bool]:
    if name == "map_md5":
        return scores.c.map_key == _key_of_map
    column = _COLUMNS[name]
    return (column if leads else looked_at(column)) == bindparam(name, type_=column.type)


def _ranges(filters: Filters) -> list[list[ColumnElement[bool]]]:
    """Conditions that part the scores that fit into ranges of one index, each of which lies in the order of ids."""
    leads = _leads(filters)
    given = [_fits(name, leads=name in leads) for name in FILTERS if name in filters]
    if not filters or "map_md5" in filters:
        return [given]
    modes: list[Any] = [None] if "mode" in filters else list(MODES)
    statuses: list[Any] = [None] if filters & {"user_id", "status"} else list(STATUSES)
    return [
        [
            *given,
            *([] if mode is None else [scores.c.mode == literal_column(str(mode))]),
            *([] if one is None else [literal_column(str(one)) == _STATUS]),
        ]
        for mode, one in product(modes, statuses)
    ]


def _page(filters: Filters) -> Query[MappedScore]:
    before: ColumnElement[Any] = bindparam("before", type_=BigInteger())
    newest: list[Select[Any]] = [
        select(
            select(scores.c.id.label("id"))
            .select_from(_scores_and_users)
            .where(*where, _shown, scores.c.id < before)
            .order_by(scores.c.id.desc())
            .limit(bindparam("reach"))
            .subquery()
        )
        for where in _ranges(filters)
    ]
    found = union_all(*newest).subquery("newest") if len(newest) > 1 else newest[0].subquery("newest")
    page = select(found.c.id).order_by(found.c.id.desc()).limit(bindparam("limit")).offset(bindparam("offset"))
    ids = page.subquery("page")
    return Query(
        select(*score_columns(), *columns_for(MapSummary, maps))
        .select_from(ids.join(scores, scores.c.id == ids.c.id).join(maps, maps.c.key == scores.c.map_key))
        .order_by(ids.c.id.desc()),
        mapped,
        lane=Lane.SLOW,
        scans=None if filters else "it walks the ids to the end of the page",
    )


def _count(filters: Filters) -> Query[int]:
    parts: list[Select[Any]] = [
        select(
            select(literal_column("1").label("one"))
            .select_from(_scores_and_users)
            .where(*where, _shown)
            .limit(bindparam("most"))
            .subquery()
        )
        for where in _ranges(filters)
    ]
    found = union_all(*parts).subquery("parts") if len(parts) > 1 else parts[0].subquery("parts")
    counted = select(found.c.one).limit(bindparam("most")).subquery("counted")
    return Query(
        select(func.count()).select_from(counted),
        only,
        lane=Lane.SLOW,
        scans=None if filters else "it counts the first 10,000 scores that are shown",
    )


_ALL: Final = [
    frozenset(found) for found in chain.from_iterable(combinations(FILTERS, n) for n in range(len(FILTERS) + 1))
]
_PAGES: Final = {filters: _page(filters) for filters in _ALL}
_COUNTS: Final = {filters: _count(filters) for filters in _ALL}


class ScoreLists:
    """Reads pages of scores."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, filters: Mapping[str, Value], *, limit: int, offset: int = 0, before: int = 2**63 - 1
    ) -> tuple[list[MappedScore], int]:
        """Scores of visible players, newest first, with their maps, and how many there are, counted up to 10,000.

        `filters` are values of `FILTERS`, None for any; `before` continues behind the score with this id.
        """
        wanted = {name: value for name, value in filters.items() if value is not None}
        given = frozenset(wanted)
        rows = await self._database.all(
            _PAGES[given], **wanted, before=before, limit=limit, offset=offset, reach=limit + offset
        )
        return rows, await self._database.one(_COUNTS[given], **wanted, most=LISTED_MAX) or 0
