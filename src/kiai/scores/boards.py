"""All boards of a map, for the game and for the API (docs/spec/game-rules.md#boards).

`page`, `own` and `place` read the boards of the game: the global board, and those of one set of mods, of friends and of
a country. `best_on` and `recent_on` read the global board for the API, filtered by mods, with the best or the latest
scores first.

Pages and places are read from indexes that end in the sort key. A caller may cache a page that is equal for all viewers
under `stamp`, which changes with the scores of the board and with the names, clans and countries on it.
"""

from enum import IntEnum
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Select, and_, bindparam, exists, func, literal_column, or_, select

from kiai.accounts.visibility import BOARDS_LOOK, visible, with_clan
from kiai.beatmaps import Beatmap
from kiai.osu.mods import board_key
from kiai.scores.listing_parts import (
    ANY_MODS,
    LISTED_MAX,
    NOT_HIDDEN,
    ModsFilter,
    count_of,
    lane_of_page,
    on_board,
    paged,
    score_columns,
    with_mods,
)
from kiai.scores.model import BoardScore
from kiai.scores.rules import MODE_SORTS_BY_PP, MODE_SORTS_BY_SCORE, sorts_by_pp
from kiai.storage.port import Database, Lane, Query, Read, scalar
from kiai.storage.tables import clans, relationships, replays, scores, users

R = TypeVar("R")

PAGE_MAX: Final = 50
BIG: Final = 2_000
"""Boards of maps with more passes are counted outside the event loop."""
COUNTS_MAX: Final = 1_024
"""Number of totals in the cache."""
_FRIEND: Final = 1


class BoardKind(IntEnum):
    """The kinds of boards, with the numbers that the client sends (docs/spec/web.md)."""

    LOCAL = 0
    GLOBAL = 1
    MODS = 2
    FRIENDS = 3
    COUNTRY = 4


class BoardLine(msgspec.Struct, frozen=True):
    """A line of a board in the game and on the page of a set. `tag` is the tag of the player's clan, or None."""

    id: int
    user_id: int
    name: str
    tag: str | None
    score: int
    pp: float
    max_combo: int
    n50: int
    n100: int
    n300: int
    nmiss: int
    nkatu: int
    ngeki: int
    perfect: int
    mods: int
    play_time_ms: int
    has_replay: int
    country: str = "xx"
    clan_id: int | None = None


class BoardRequest(msgspec.Struct, frozen=True):
    """A request for a board of a map, by the player `user_id`.

    `mods` are used by MODS boards only, and `country` by COUNTRY boards only. `hidden`: the player is restricted, and
    the board includes their own line, which other players do not see.
    """

    kind: BoardKind
    mode: int
    mods: int = 0
    country: str = ""
    user_id: int = 0
    hidden: bool = False


_line = select(
    scores.c.id,
    scores.c.user_id,
    users.c.name,
    clans.c.tag,
    *[scores.c[name] for name in BoardLine.__struct_fields__[4:16]],
    replays.c.score_id.is_not(None),
    users.c.country,
    clans.c.id,
).select_from(
    with_clan(scores.join(users, users.c.id == scores.c.user_id).outerjoin(replays, replays.c.score_id == scores.c.id))
)
_players = scores.join(users, users.c.id == scores.c.user_id)
# The board of friends includes the player. UNION ALL instead of OR: an OR keeps the engines from using an index.
_friends = (
    select(relationships.c.target_id)
    .where(relationships.c.user_id == bindparam("me"), relationships.c.kind == literal_column(str(_FRIEND)))
    .union_all(select(bindparam("me", type_=users.c.id.type)))
)
_CONDITIONS: Final = {
    BoardKind.GLOBAL: (),
    BoardKind.MODS: (scores.c.mods_key == bindparam("mods_key"),),
    # No index of a board contains `passed`, so the engines do not walk the board. They look up each friend's best by
    # `uq_scores_best_score` or `uq_scores_best_pp`, and the cost does not depend on the length of the board.
    BoardKind.FRIENDS: (scores.c.user_id.in_(_friends), scores.c.passed == 1),
    BoardKind.COUNTRY: (scores.c.country == bindparam("country"),),
}
_PARAMS: Final = {
    BoardKind.GLOBAL: (),
    BoardKind.MODS: ("mods_key",),
    BoardKind.FRIENDS: (),
    BoardKind.COUNTRY: ("country",),
}


class _Statements(msgspec.Struct, frozen=True):
    """The statements of one kind of board, sorted by score or by pp."""

    page: Query[BoardLine]
    count: Query[int]
    own: Query[BoardLine]
    ahead: Query[int]


def _statements(kind: BoardKind, by_pp: bool) -> _Statements:
    measure: ColumnElement[Any] = scores.c.pp if by_pp else scores.c.score
    if kind is BoardKind.FRIENDS:
        # No index has this expression as its sort key, so the engines sort the few lines of friends instead of walking
        # the whole board in order.
        measure = measure + literal_column("0")
    if kind is BoardKind.MODS:
        flag = scores.c.best_mods == 1
    else:
        flag = scores.c.best_pp == 1 if by_pp else scores.c.best_score == 1
    of_family: tuple[ColumnElement[bool], ...] = ()
    if kind in (BoardKind.MODS, BoardKind.COUNTRY):
        # These partial indexes exist once for modes that sort by score and once for those that sort by pp. The engines
        # use one only if the statement repeats its condition.
        of_family = (MODE_SORTS_BY_PP if by_pp else MODE_SORTS_BY_SCORE,)
    board = and_(
        scores.c.map_key == bindparam("map_key"),
        scores.c.mode == bindparam("mode"),
        flag,
        *of_family,
        scores.c.hidden == 0,
        *_CONDITIONS[kind],
    )
    # `me` is 0 unless the player sees their own hidden line.
    seen = or_(visible(), users.c.id == bindparam("me"))
    ahead = or_(
        measure > bindparam("measure"), and_(measure == bindparam("measure"), scores.c.id < bindparam("score_id"))
    )

    def counted(*where: ColumnElement[bool]) -> Select[Any]:
        return select(func.count()).select_from(_players).where(board, seen, *where)

    return _Statements(
        page=Query(_line.where(board, seen).order_by(measure.desc(), scores.c.id).limit(PAGE_MAX), BoardLine),
        count=Query(counted(), scalar),
        own=Query(_line.where(board, scores.c.user_id == bindparam("me")), BoardLine),
        # `measure >=` is implied by `ahead`. It is stated for the engines, which take no range of an index from an OR.
        ahead=Query(counted(measure >= bindparam("measure"), ahead, scores.c.user_id != bindparam("me")), scalar),
    )


def _standing(by_pp: bool) -> Query[tuple[float, int]]:
    """Return the statement for a player's pp on the global board, and the number of lines ahead of the player's."""
    own = scores.alias("own")

    def of_board(line: Any) -> ColumnElement[bool]:
        return and_(
            line.c.map_key == bindparam("map_key"),
            line.c.mode == bindparam("mode"),
            line.c.best_pp == 1 if by_pp else line.c.best_score == 1,
            line.c.hidden == 0,
        )

    measure, own_measure = (scores.c.pp, own.c.pp) if by_pp else (scores.c.score, own.c.score)
    ahead = (
        select(func.count())
        .select_from(_players)
        .where(
            of_board(scores),
            visible(),
            measure >= own_measure,  # as in `_statements`
            or_(measure > own_measure, scores.c.id < own.c.id),
            scores.c.user_id != own.c.user_id,
        )
        .correlate(own)
    )
    return Query(
        select(own.c.pp, ahead.scalar_subquery()).where(of_board(own), own.c.user_id == bindparam("user_id")),
        lambda pp, ahead: (pp, ahead),
    )


_KINDS: Final = (BoardKind.GLOBAL, BoardKind.MODS, BoardKind.FRIENDS, BoardKind.COUNTRY)
_BY_SCORE: Final = {kind: _statements(kind, by_pp=False) for kind in _KINDS}
_BY_PP: Final = {kind: _statements(kind, by_pp=True) for kind in _KINDS}
_STANDING_BY_SCORE: Final = _standing(by_pp=False)
_STANDING_BY_PP: Final = _standing(by_pp=True)
# Made once: adapters compile each Query object once.
_COUNTS: Final[tuple[Query[Any], ...]] = (
    _STANDING_BY_SCORE,
    _STANDING_BY_PP,
    *(one for table in (_BY_SCORE, _BY_PP) for kind in table.values() for one in (kind.count, kind.ahead)),
)
_BOUNDED: Final = {one: one.in_lane(Lane.BOUNDED) for one in _COUNTS}


# --- the boards of the API

_api_line = select(*score_columns(), users.c.name, users.c.country, clans.c.id, clans.c.name, clans.c.tag).select_from(
    with_clan(scores.join(users, users.c.id == scores.c.user_id))
)
_on_map = and_(scores.c.map_key == bindparam("map_key"), scores.c.mode == bindparam("mode"), NOT_HIDDEN, visible())
_by_score = (scores.c.score.desc(), scores.c.id)
_by_pp = (scores.c.pp.desc(), scores.c.id)

# In this order they walk `ix_scores_board`, `ix_scores_pp_board` and `ix_scores_recent_on`.

BOARD = Query(paged(_api_line.where(_on_map, scores.c.best_score == 1).order_by(*_by_score)), on_board)
PP_BOARD = Query(paged(_api_line.where(_on_map, scores.c.best_pp == 1).order_by(*_by_pp)), on_board)
RECENT_ON = Query(
    paged(
        _api_line.where(_on_map, scores.c.best_score == 1, with_mods()).order_by(
            scores.c.play_time_ms.desc(), scores.c.id.desc()
        )
    ),
    on_board,
)

_other = scores.alias("other")


def _better_with_mods(measure: str) -> ColumnElement[bool]:
    """Whether the player has a better score on this map and mode that also matches the filter by mods.

    A player has a `best_mods` score for each set of mods. The board shows only the best of those that match.
    """
    mods = _other.c.mods
    return exists(
        select(literal_column("1"))
        .select_from(_other)
        .where(
            _other.c.map_key == scores.c.map_key,
            _other.c.mode == scores.c.mode,
            _other.c.user_id == scores.c.user_id,
            _other.c.best_mods == 1,
            _other.c.hidden == 0,
            mods.op("&")(bindparam("all_mods")) == bindparam("all_mods"),
            or_(bindparam("any_mods") == 0, mods.op("&")(bindparam("any_mods")) != 0),
            or_(
                _other.c[measure] > scores.c[measure],
                and_(_other.c[measure] == scores.c[measure], _other.c.id < scores.c.id),
            ),
        )
    )


# `best_mods` leaves one score for each player and set of mods, so `exists` looks at few rows, by `uq_scores_best_mods`.
_with_best_mods = _api_line.where(_on_map, scores.c.best_mods == 1, with_mods())
MODS_BOARD = Query(
    paged(_with_best_mods.where(MODE_SORTS_BY_SCORE, ~_better_with_mods("score")).order_by(*_by_score)), on_board
)
MODS_PP_BOARD = Query(
    paged(_with_best_mods.where(MODE_SORTS_BY_PP, ~_better_with_mods("pp")).order_by(*_by_pp)), on_board
)


def _board_count(flag: ColumnElement[bool]) -> Query[int]:
    """A statement for the number of players on a board, counted up to `most`."""
    found: Select[Any] = (
        select(scores.c.user_id)
        .select_from(scores.join(users, users.c.id == scores.c.user_id))
        .where(_on_map, flag, with_mods())
        .distinct()
        .limit(bindparam("most"))
    )
    return count_of(found)


BOARD_COUNT = _board_count(scores.c.best_score == 1)
PP_BOARD_COUNT = _board_count(scores.c.best_pp == 1)
MODS_BOARD_COUNT = _board_count(scores.c.best_mods == 1)


class Boards:
    """Reads boards. The caller checks that the map has boards."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counts: dict[tuple[Query[int], int, int, ModsFilter], tuple[tuple[int, int], int]] = {}

    async def stamp(self, beatmap: Beatmap) -> tuple[int, int]:
        """Return a value that changes whenever a page of this map's boards may change.

        It does not cover boards of friends, nor the pages of hidden players.
        """
        return beatmap.board_version, await self._database.one(BOARDS_LOOK) or 0

    async def page(self, beatmap: Beatmap, request: BoardRequest) -> tuple[list[BoardLine], int]:
        """Return the first 50 lines, best first, one for each player, and the number of players on the board."""
        lines = await self.lines(beatmap, request)
        statements, params = _statements_for(beatmap, request)
        if len(lines) < PAGE_MAX:  # the page is the whole board, so there is nothing to count
            return lines, len(lines)
        return lines, await self._database.one(_where_to_count(statements.count, beatmap), **params) or 0

    async def lines(self, beatmap: Beatmap, request: BoardRequest) -> list[BoardLine]:
        """Return the first 50 lines, best first, one for each player, without the number of players."""
        statements, params = _statements_for(beatmap, request)
        return await self._database.all(statements.page, **params)

    async def own(self, beatmap: Beatmap, request: BoardRequest) -> BoardLine | None:
        """Return the line of the player who requests the board, or None."""
        statements, params = _statements_for(beatmap, request)
        return await self._database.one(statements.own, **{**params, "me": request.user_id})

    async def place(self, beatmap: Beatmap, request: BoardRequest, *, measure: float, score_id: int = 2**62) -> int:
        """Return the place, from 1, that a score of the requesting player has among the scores of all other players.

        `measure` is its score or its pp, depending on what the board sorts by. Without `score_id`, the score counts as
        later than all others with the same measure.
        """
        query, params = self.read_of_place(beatmap, request, measure=measure, score_id=score_id)
        return 1 + (await self._database.one(query, **params) or 0)

    def count_in_transaction(self, beatmap: Beatmap) -> bool:
        """Return whether a transaction should read places on this map's boards rather than its caller."""
        # PERF: on SQLite the pages of the board are in the cache of the writer. Each commit empties those of other
        # connections: a place takes 70 us there instead of 20. Nobody should wait for the count of a large board.
        return not self._database.reads_ahead and beatmap.passes <= BIG

    @staticmethod
    def read_of_place(beatmap: Beatmap, request: BoardRequest, *, measure: float, score_id: int = 2**62) -> Read:
        """Return the read of the number of scores ahead, which is the place less one."""
        statements, params = _statements_for(beatmap, request)
        params |= {"me": request.user_id, "measure": measure, "score_id": score_id}
        return _where_to_count(statements.ahead, beatmap), params

    @staticmethod
    def read_of_standing(beatmap: Beatmap, mode: int, user_id: int) -> Read:
        """Return the read of a player's pp on the global board and scores ahead. No row without a line."""
        # PERF: one statement instead of `own` and `place`, and without the columns of a line.
        query = _STANDING_BY_PP if sorts_by_pp(mode) else _STANDING_BY_SCORE
        return _where_to_count(query, beatmap), {"map_key": beatmap.key, "mode": mode, "user_id": user_id}

    async def best_on(
        self, map_key: int, mode: int, *, limit: int, offset: int = 0, mods: ModsFilter = ANY_MODS
    ) -> list[BoardScore]:
        """Return the best score of each visible player on a map, best first.

        Vanilla modes sort by score, relax and autopilot by pp. With `mods`, only scores with these mods compete.
        """
        by_pp = sorts_by_pp(mode)
        if mods:
            return await self._database.all(
                lane_of_page(MODS_PP_BOARD if by_pp else MODS_BOARD, offset, filtered=True),
                map_key=map_key,
                mode=mode,
                all_mods=mods.all_of,
                any_mods=mods.any_of,
                limit=limit,
                offset=offset,
            )
        return await self._database.all(
            lane_of_page(PP_BOARD if by_pp else BOARD, offset),
            map_key=map_key,
            mode=mode,
            limit=limit,
            offset=offset,
        )

    async def best_count_on(self, beatmap: Beatmap, mode: int, *, mods: ModsFilter = ANY_MODS) -> int:
        """Return the number of lines of `best_on`, counted up to 10,000."""
        by_pp = sorts_by_pp(mode)
        if mods:
            return await self._counted(MODS_BOARD_COUNT, beatmap, mode, mods)
        return await self._counted(PP_BOARD_COUNT if by_pp else BOARD_COUNT, beatmap, mode, mods)

    async def recent_on(
        self, map_key: int, mode: int, *, limit: int, offset: int = 0, mods: ModsFilter = ANY_MODS
    ) -> list[BoardScore]:
        """Return the best score of each visible player on a map, latest first.

        With `mods`, it leaves out players whose best score has other mods.
        """
        return await self._database.all(
            lane_of_page(RECENT_ON, offset, filtered=bool(mods)),
            map_key=map_key,
            mode=mode,
            all_mods=mods.all_of,
            any_mods=mods.any_of,
            limit=limit,
            offset=offset,
        )

    async def recent_count_on(self, beatmap: Beatmap, mode: int, *, mods: ModsFilter = ANY_MODS) -> int:
        """Return the number of lines of `recent_on`, counted up to 10,000."""
        return await self._counted(BOARD_COUNT, beatmap, mode, mods)

    async def _counted(self, query: Query[int], beatmap: Beatmap, mode: int, mods: ModsFilter) -> int:
        # PERF: counting 10,000 lines takes 10 ms, and a board is read far more often than it changes.
        key = (query, beatmap.key, mode, mods)
        stamp = (beatmap.board_version, await self._database.one(BOARDS_LOOK) or 0)
        known = self._counts.pop(key, None)
        if known is None or known[0] != stamp:
            # Only a filter makes the cost depend on the request. One address may read many boards at the same time, and
            # the slow lane would refuse the ninth of them.
            count = await self._database.one(
                query if mods else query.in_lane(Lane.BOUNDED),
                map_key=beatmap.key,
                mode=mode,
                all_mods=mods.all_of,
                any_mods=mods.any_of,
                most=LISTED_MAX,
            )
            known = (stamp, count or 0)
        # A dict keeps the order of insertion: the key moves to the end, and the least recently used one is evicted.
        self._counts[key] = known
        if len(self._counts) > COUNTS_MAX:
            del self._counts[next(iter(self._counts))]
        return known[1]


def _where_to_count(query: Query[R], beatmap: Beatmap) -> Query[R]:
    return _BOUNDED[query] if beatmap.passes > BIG else query


def _statements_for(beatmap: Beatmap, request: BoardRequest) -> tuple[_Statements, dict[str, Any]]:
    statements = (_BY_PP if sorts_by_pp(request.mode) else _BY_SCORE)[request.kind]
    sees_itself = request.hidden or request.kind is BoardKind.FRIENDS
    params: dict[str, Any] = {
        "map_key": beatmap.key,
        "mode": request.mode,
        "me": request.user_id if sees_itself else 0,
        "mods_key": board_key(request.mods),
        "country": request.country,
    }
    # Drivers reject a parameter that the statement does not have.
    for name in ("mods_key", "country"):
        if name not in _PARAMS[request.kind]:
            del params[name]
    return statements, params
