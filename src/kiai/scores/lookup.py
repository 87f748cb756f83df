"""Scores by id, and lists of scores by filters, newest first.

Each combination of filters has a statement of its own, and each statement walks an index.

| filters | the statement walks, newest first |
|---|---|
| none | all scores |
| `map_md5`, and any others | the map's scores (`ix_scores_map`) |
| `user_id`, and any others | the player's scores, mode by mode (`ix_scores_recent_of`) |
| `mode`, `status`, or both | the scores of each mode and status (`ix_scores_newest`) |
| `mods`, and any of `mode` and `status` | the scores with these mods, by mode and status (`ix_scores_newest_with`) |

The cost is bounded by the page, or, if few scores match, by the number of scores of one map or one player.
"""

from collections.abc import Mapping, Sequence
from itertools import chain, combinations, product
from typing import Any, Final

import msgspec
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

from kiai.accounts import EVERYBODY, Viewer, can_see
from kiai.accounts.visibility import visible
from kiai.beatmaps.model import MapSummary
from kiai.errors import NotFound
from kiai.osu.modes import MODES
from kiai.scores.listing_parts import LISTED_MAX, NOT_HIDDEN, SCORE_WIDTH, SCORES_AND_MAPS, mapped, score_columns
from kiai.scores.model import MappedScore, Score
from kiai.storage.families import Family
from kiai.storage.patterns import unindexed
from kiai.storage.port import Database, Lane, Query, RawRows, Value, columns_for, rows_of, scalar
from kiai.storage.tables import maps, replays, scores, users
from kiai.together import in_pieces

FILTERS: Final = ("map_md5", "mods", "status", "mode", "user_id")
STATUSES: Final = (0, 1, 2)

Filters = frozenset[str]

_key_of_map = select(maps.c.key).where(maps.c.md5 == bindparam("map_md5")).scalar_subquery()
# The same value as `STATUS`, written as in `ix_scores_newest`: an index on an expression is used for that text only.
_STATUS: Final = (
    scores.c.best_pp.op("|")(scores.c.best_score) * (literal_column("2", Integer()) - scores.c.passed) + scores.c.passed
)
_COLUMNS: Final[Mapping[str, ColumnElement[Any]]] = {
    "mods": scores.c.mods,
    "status": _STATUS,
    "mode": scores.c.mode,
    "user_id": scores.c.user_id,
}
_public = and_(NOT_HIDDEN, visible())
_scores_and_users = scores.join(users, users.c.id == scores.c.user_id)


def _leads(filters: Filters) -> Filters:
    """Return the filters that select the index. The others are compared row by row."""
    if "map_md5" in filters:
        return frozenset(("map_md5",))
    return filters & frozenset(("user_id", "mode") if "user_id" in filters else ("mods", "mode", "status"))


def _fits(name: str, *, leads: bool) -> ColumnElement[bool]:
    if name == "map_md5":
        return scores.c.map_key == _key_of_map
    column = _COLUMNS[name]
    # `unindexed` keeps a planner without statistics from walking the index of another filter.
    return (column if leads else unindexed(column)) == bindparam(name, type_=column.type)


def _ranges(filters: Filters) -> list[list[ColumnElement[bool]]]:
    """Return the conditions of the ranges of one index that together contain all matching scores.

    Within a range, the index is in the order of ids. There are at most 8 modes times 3 statuses of them.
    """
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
            *([] if status is None else [literal_column(str(status)) == _STATUS]),
        ]
        for mode, status in product(modes, statuses)
    ]


def _page(filters: Filters) -> Query[MappedScore]:
    before: ColumnElement[Any] = bindparam("before", type_=BigInteger())
    # Each range gives its newest `reach` ids, where `reach` is offset + limit: any one of them may fill the whole page.
    # The page is then cut from the merged ids, and only its rows are joined with maps.
    newest: list[Select[Any]] = [
        select(
            select(scores.c.id.label("id"))
            .select_from(_scores_and_users)
            .where(*where, _public, scores.c.id < before)
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
    # Each range stops at `most`, and so does their union: a popular filter costs no more than 10,000 entries a range.
    parts: list[Select[Any]] = [
        select(
            select(literal_column("1").label("one"))
            .select_from(_scores_and_users)
            .where(*where, _public)
            .limit(bindparam("most"))
            .subquery()
        )
        for where in _ranges(filters)
    ]
    found = union_all(*parts).subquery("parts") if len(parts) > 1 else parts[0].subquery("parts")
    counted = select(found.c.one).limit(bindparam("most")).subquery("counted")
    return Query(
        select(func.count()).select_from(counted),
        scalar,
        lane=Lane.SLOW,
        scans=None if filters else "it counts the first 10,000 scores that are shown",
    )


_ALL: Final = [
    frozenset(found) for found in chain.from_iterable(combinations(FILTERS, n) for n in range(len(FILTERS) + 1))
]
_PAGES: Final = Family(_ALL, _page)
_COUNTS: Final = Family(_ALL, _count)

AMONG_MAX: Final = 100  # a page of a list
SCORE = Query(
    select(*score_columns(), maps.c.md5, users.c.name, users.c.priv)
    .select_from(SCORES_AND_MAPS.join(users, users.c.id == scores.c.user_id))
    .where(scores.c.id == bindparam("id"), NOT_HIDDEN),
    lambda *row: (Score(*row[:SCORE_WIDTH]), *row[SCORE_WIDTH:]),
)
# As `SCORE`, with the player in the last two columns, which decide before the row is read.
STORED = Query(
    select(*score_columns(), maps.c.md5, users.c.name, users.c.id, users.c.priv)
    .select_from(SCORES_AND_MAPS.join(users, users.c.id == scores.c.user_id))
    .where(scores.c.id == bindparam("id"), NOT_HIDDEN),
    lambda *row: FoundScore(Score(*row[:SCORE_WIDTH]), *row[SCORE_WIDTH : SCORE_WIDTH + 2]),
)
WITH_REPLAYS = Query(
    select(replays.c.score_id)
    .where(replays.c.score_id.in_([bindparam(f"id{n}", type_=scores.c.id.type) for n in range(AMONG_MAX)]))
    .limit(AMONG_MAX),
    scalar,
)

HIDDEN_AMONG = Query(
    select(scores.c.id)
    .where(scores.c.id.in_([bindparam(f"id{n}", type_=scores.c.id.type) for n in range(AMONG_MAX)]), ~NOT_HIDDEN)
    .limit(AMONG_MAX),
    scalar,
)


class FoundScore(msgspec.Struct, frozen=True):
    """A score with the md5 of its map and the name of its player."""

    score: Score
    map_md5: str
    player_name: str


class _Owner(msgspec.Struct, frozen=True):
    id: int
    priv: int


def _among(score_ids: Sequence[int]) -> dict[str, int]:
    return {f"id{n}": score_ids[n] if n < len(score_ids) else -1 for n in range(AMONG_MAX)}


class ScoreLookup:
    """Finds stored scores by id or by filters."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, score_id: int, viewer: Viewer = EVERYBODY) -> FoundScore:
        """Return a score. Raise NotFound("score") also if `viewer` may not see its player."""
        found = await self._database.one(SCORE, id=score_id)
        if found is None:
            raise NotFound("score")
        # Hidden and missing scores give the same error, so that it does not reveal who is restricted.
        score, map_md5, player_name, priv = found
        if not can_see(viewer, _Owner(score.user_id, priv)):
            raise NotFound("score")
        return FoundScore(score, map_md5, player_name)

    async def public(self, score_ids: Sequence[int]) -> dict[int, FoundScore]:
        """Return those of the scores that everybody may see, by id. PostgreSQL reads eight in one round trip."""
        found = {}
        for ids in in_pieces(score_ids):
            for rows in await self._database.several(*[(SCORE, {"id": score_id}) for score_id in ids]):
                for score, map_md5, player_name, priv in rows:
                    if can_see(EVERYBODY, _Owner(score.user_id, priv)):
                        found[score.id] = FoundScore(score, map_md5, player_name)
        return found

    async def stored(self, score_id: int, viewer: Viewer = EVERYBODY) -> RawRows[FoundScore]:
        """Return the row of a score, unread. Raise NotFound("score") as `find` does."""
        found = await rows_of(self._database, STORED, id=score_id)
        if not found:
            raise NotFound("score")
        user_id, priv = found.raw[0][-2:]
        if not can_see(viewer, _Owner(user_id, priv)):  # type: ignore[arg-type]
            raise NotFound("score")
        return found

    async def with_replays(self, score_ids: Sequence[int]) -> set[int]:
        """Return the ids of the scores whose replay is stored, among at most 100 ids."""
        return set(await self._database.all(WITH_REPLAYS, **_among(score_ids)))

    async def hidden_among(self, score_ids: Sequence[int]) -> set[int]:
        """Return the ids of the scores that are hidden, by staff or a wipe, among at most 100 ids."""
        return set(await self._database.all(HIDDEN_AMONG, **_among(score_ids)))

    async def page(
        self, filters: Mapping[str, Value], *, limit: int, offset: int = 0, before: int = 2**63 - 1
    ) -> tuple[list[MappedScore], int]:
        """Return scores of visible players with their maps, newest first, and their number, counted up to 10,000.

        `filters` maps names of `FILTERS` to values; None matches any value. Only scores with ids below `before` are
        listed.
        """
        values = {name: value for name, value in filters.items() if value is not None}
        given = frozenset(values)
        rows = await self._database.all(
            _PAGES[given], **values, before=before, limit=limit, offset=offset, reach=limit + offset
        )
        return rows, await self._database.one(_COUNTS[given], **values, most=LISTED_MAX) or 0
