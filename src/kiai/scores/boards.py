"""A map's boards as the game shows them: global, one set of mods, friends, country (docs/spec/game-rules.md#boards).

A page and its places come from indexes that end in the sort key. What is the same for everybody may be kept by who
shows it, under `stamp`: it changes with every change of what the board holds or of how its lines look.
"""

from enum import IntEnum
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Select, and_, bindparam, func, literal_column, or_, select

from kiai.accounts.visibility import BOARDS_LOOK, visible, with_clan
from kiai.beatmaps import Beatmap
from kiai.osu.mods import board_key
from kiai.scores.model import PP_MODES_FROM
from kiai.storage.port import Database, Lane, Query, only
from kiai.storage.tables import clans, relationships, replays, scores, users

SHOWN_MAX: Final = 50
BIG: Final = 2_000  # passes of a map, from which on counting on its boards happens beside the event loop
RELAX_OR_AUTOPILOT: Final = 12  # the bits of modes 4 to 8
_FRIEND: Final = 1


class Kind(IntEnum):
    """Which board, by the client's number."""

    LOCAL = 0
    GLOBAL = 1
    MODS = 2
    FRIENDS = 3
    COUNTRY = 4


class Line(msgspec.Struct, frozen=True):
    """A score as the game's board shows it. `tag` is the player's clan's, or None."""

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


class Wanted(msgspec.Struct, frozen=True):
    """Which board of a map, and for whom. `mods` count on the board of one set of mods, `country` on a country's."""

    kind: Kind
    mode: int
    mods: int = 0
    country: str = ""
    user_id: int = 0
    hidden: bool = False  # the caller is restricted and sees itself among the others


class Place(msgspec.Struct, frozen=True):
    """A player's own line and its place on the board, from 1."""

    line: Line
    place: int


_line = select(
    scores.c.id,
    scores.c.user_id,
    users.c.name,
    clans.c.tag,
    *[scores.c[name] for name in Line.__struct_fields__[4:16]],
    replays.c.score_id.is_not(None),
).select_from(
    with_clan(scores.join(users, users.c.id == scores.c.user_id).outerjoin(replays, replays.c.score_id == scores.c.id))
)
_players = scores.join(users, users.c.id == scores.c.user_id)
_friends = (
    select(relationships.c.target_id)
    .where(relationships.c.user_id == bindparam("me"), relationships.c.kind == literal_column(str(_FRIEND)))
    .union_all(select(bindparam("me", type_=users.c.id.type)))
)
_NEEDS: Final = {
    Kind.GLOBAL: (),
    Kind.MODS: (scores.c.mods_key == bindparam("mods_key"),),
    # `passed` is in no index of boards: that leaves the one that finds each friend's best, however long the board is.
    Kind.FRIENDS: (scores.c.user_id.in_(_friends), scores.c.passed == 1),
    Kind.COUNTRY: (scores.c.country == bindparam("country"),),
}
_PARAMS: Final = {
    Kind.GLOBAL: (),
    Kind.MODS: ("mods_key",),
    Kind.FRIENDS: (),
    Kind.COUNTRY: ("country",),
}


class _Statements(msgspec.Struct, frozen=True):
    """The statements of one kind of board, sorted by one measure."""

    page: Query[Line]
    count: Query[int]
    own: Query[Line]
    ahead: Query[int]


def _statements(kind: Kind, by_pp: bool) -> _Statements:
    measure: ColumnElement[Any] = scores.c.pp if by_pp else scores.c.score
    if kind is Kind.FRIENDS:
        # An expression has no index to walk along.
        measure = measure + literal_column("0")
    if kind is Kind.MODS:
        flag = scores.c.best_mods == 1
    else:
        flag = scores.c.best_pp == 1 if by_pp else scores.c.best_score == 1
    # The words of the partial indexes: a comparison with 4 would be taken for a range of the index, and lose its order.
    family = scores.c.mode.op("&")(RELAX_OR_AUTOPILOT)
    of_family: tuple[ColumnElement[bool], ...] = ()
    if kind in (Kind.MODS, Kind.COUNTRY):
        of_family = (family != 0 if by_pp else family == 0,)
    board = and_(
        scores.c.map_key == bindparam("map_key"),
        scores.c.mode == bindparam("mode"),
        flag,
        *of_family,
        scores.c.hidden == 0,
        *_NEEDS[kind],
    )
    seen = or_(visible(), users.c.id == bindparam("me"))
    ahead = or_(
        measure > bindparam("measure"), and_(measure == bindparam("measure"), scores.c.id < bindparam("score_id"))
    )

    def counted(*where: ColumnElement[bool]) -> Select[Any]:
        return select(func.count()).select_from(_players).where(board, seen, *where)

    return _Statements(
        page=Query(_line.where(board, seen).order_by(measure.desc(), scores.c.id).limit(SHOWN_MAX), Line),
        count=Query(counted(), only),
        own=Query(_line.where(board, scores.c.user_id == bindparam("me")), Line),
        ahead=Query(counted(measure >= bindparam("measure"), ahead, scores.c.user_id != bindparam("me")), only),
    )


_KINDS: Final = (Kind.GLOBAL, Kind.MODS, Kind.FRIENDS, Kind.COUNTRY)
_BY_SCORE: Final = {kind: _statements(kind, by_pp=False) for kind in _KINDS}
_BY_PP: Final = {kind: _statements(kind, by_pp=True) for kind in _KINDS}
_BESIDE: Final = {
    one: one.at(Lane.ASIDE)
    for table in (_BY_SCORE, _BY_PP)
    for kind in table.values()
    for one in (kind.count, kind.ahead)
}


def sorts_by_pp(mode: int) -> bool:
    """Whether the boards of this mode are sorted by pp; the others are by score."""
    return mode >= PP_MODES_FROM


class Boards:
    """Reads boards. Whoever shows one asks for a map that has boards."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def stamp(self, beatmap: Beatmap) -> tuple[int, int]:
        """Changes whenever a page of this map's boards may look different; but for friends and hidden callers."""
        return beatmap.board_version, await self._database.one(BOARDS_LOOK) or 0

    async def page(self, beatmap: Beatmap, wanted: Wanted) -> tuple[list[Line], int]:
        """The first 50 lines, best first, one a player, and how many players the board has."""
        statements, params = _asked(beatmap, wanted)
        lines = await self._database.all(statements.page, **params)
        if len(lines) < SHOWN_MAX:
            return lines, len(lines)
        return lines, await self._database.one(_where_to_count(statements.count, beatmap), **params) or 0

    async def own(self, beatmap: Beatmap, wanted: Wanted) -> Line | None:
        """The caller's own line on the board."""
        statements, params = _asked(beatmap, wanted)
        return await self._database.one(statements.own, **{**params, "me": wanted.user_id})

    async def place(self, beatmap: Beatmap, wanted: Wanted, *, measure: float, score_id: int = 2**62) -> int:
        """The place that a score of the caller has on the board, counted among all other players.

        `measure` is its score or its pp, by what the board sorts by; without an id it came last of all.
        """
        statements, params = _asked(beatmap, wanted)
        params |= {"me": wanted.user_id, "measure": measure, "score_id": score_id}
        return 1 + (await self._database.one(_where_to_count(statements.ahead, beatmap), **params) or 0)


def _where_to_count(query: Query[int], beatmap: Beatmap) -> Query[int]:
    return _BESIDE[query] if beatmap.passes > BIG else query


def _asked(beatmap: Beatmap, wanted: Wanted) -> tuple[_Statements, dict[str, Any]]:
    statements = (_BY_PP if sorts_by_pp(wanted.mode) else _BY_SCORE)[wanted.kind]
    sees_itself = wanted.hidden or wanted.kind is Kind.FRIENDS
    params: dict[str, Any] = {
        "map_key": beatmap.key,
        "mode": wanted.mode,
        "me": wanted.user_id if sees_itself else 0,
        "mods_key": board_key(wanted.mods),
        "country": wanted.country,
    }
    for name in ("mods_key", "country"):
        if name not in _PARAMS[wanted.kind]:
            del params[name]
    return statements, params
