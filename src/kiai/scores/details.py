"""One score with all that a page about it shows: its map and player, its places now, and scores to compare it with.

Each read costs a bounded part of an index, however many scores the map and the player have.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, and_, bindparam, func, literal_column, or_, select

from kiai.accounts import EVERYBODY, Viewer, can_see
from kiai.accounts.model import Player
from kiai.accounts.visibility import player_columns, visible, with_clan
from kiai.beatmaps.model import Beatmap
from kiai.errors import NotFound
from kiai.scores.boards import Boards
from kiai.scores.listing_parts import NOT_HIDDEN, SCORE_WIDTH, SCORES_AND_MAPS, score_columns
from kiai.scores.model import BoardScore, Score
from kiai.scores.rules import MODE_SORTS_BY_PP, MODE_SORTS_BY_SCORE, has_board, sorts_by_pp
from kiai.storage.port import Database, Lane, Query, Value, columns_for
from kiai.storage.tables import maps, pinned_scores, replays, scores, users

PLACE_MAX: Final = 1_000
"""Places are exact up to this number."""
OWN_MAX: Final = 20
"""Other scores of a player on a map that are listed."""
_PLAYS_SEARCHED: Final = 1_000  # of one player on one map, to find when a score stopped being the best


class ReplayFacts(msgspec.Struct, frozen=True):
    """The stored replay of a score. `size` is in bytes; `life_bar` is empty for plays that the game submitted."""

    md5: bytes
    size: int
    life_bar: str
    views: int


class ScoreDetails(msgspec.Struct, frozen=True):
    """A score with its map and its player. The flags `best_...` tell on which boards it is.

    `client_version` is that of the game, 0 if unknown. `replay` is None if no replay is stored.
    """

    score: Score
    beatmap: Beatmap
    player: Player
    replay: ReplayFacts | None
    best_pp: bool
    best_score: bool
    best_mods: bool
    mods_key: int
    client_version: int
    pinned: bool = False

    @property
    def measure(self) -> float:
        """The value by which the boards of the mode sort: the score, or pp for relax and autopilot."""
        return self.score.pp if sorts_by_pp(self.score.mode) else self.score.score

    @property
    def is_best(self) -> bool:
        """Whether the board of the map shows this score."""
        return self.best_pp if sorts_by_pp(self.score.mode) else self.best_score


class Places(msgspec.Struct, frozen=True):
    """The places of a score now, from 1. None: the score is not on that board. 1,001 means "more than 1,000".

    `best_until_ms` is the time of the play that replaced a former best; None if it is the best or never was.
    """

    overall: int | None
    with_mods: int | None
    best_until_ms: int | None


NO_PLACES: Final = Places(None, None, None)


_PLAYER_WIDTH: Final = len(Player.__struct_fields__)
_MAP_WIDTH: Final = len(Beatmap.__struct_fields__)
_FLAGS: Final = ("best_pp", "best_score", "best_mods", "mods_key", "client_version")
_REPLAY: Final = ("md5", "size", "life_bar", "views")


def _details(*row: Any) -> ScoreDetails:
    own = iter(row)

    def take(count: int) -> list[Any]:
        return [next(own) for _ in range(count)]

    score, beatmap, player = Score(*take(SCORE_WIDTH)), Beatmap(*take(_MAP_WIDTH)), Player(*take(_PLAYER_WIDTH))
    best_pp, best_score, best_mods, mods_key, version = take(len(_FLAGS))
    md5, size, life_bar, views = take(len(_REPLAY))
    [pinned] = take(1)
    return ScoreDetails(
        score,
        beatmap,
        player,
        None if md5 is None else ReplayFacts(md5, size, life_bar, views),
        bool(best_pp),
        bool(best_score),
        bool(best_mods),
        mods_key,
        version,
        bool(pinned),
    )


DETAILS: Final = Query(
    select(
        *score_columns(),
        *columns_for(Beatmap, maps),
        *player_columns(),
        *[scores.c[name] for name in _FLAGS],
        *[replays.c[name] for name in _REPLAY],
        pinned_scores.c.score_id.is_not(None),
    )
    .select_from(
        with_clan(
            SCORES_AND_MAPS.join(users, users.c.id == scores.c.user_id)
            .outerjoin(replays, replays.c.score_id == scores.c.id)
            .outerjoin(pinned_scores, pinned_scores.c.score_id == scores.c.id)
        )
    )
    .where(scores.c.id == bindparam("id"), NOT_HIDDEN),
    _details,
)

_here = and_(scores.c.map_key == bindparam("map_key"), scores.c.mode == bindparam("mode"))
_score_id: ColumnElement[Any] = bindparam("score_id", type_=scores.c.id.type)


def _ahead(flag: ColumnElement[bool], measure: ColumnElement[Any], *more: ColumnElement[bool]) -> Any:
    """Return the number of visible scores on a board above this one, counted up to `PLACE_MAX`."""
    value = bindparam("measure", type_=measure.type)
    found = (
        select(literal_column("1").label("one"))
        .select_from(scores.join(users, users.c.id == scores.c.user_id))
        .where(
            _here,
            flag,
            NOT_HIDDEN,
            *more,
            visible(),
            scores.c.user_id != bindparam("player_id"),
            # `measure >=` is implied by the next condition. It is stated for the engines, which take no range of an
            # index from an OR.
            measure >= value,
            or_(measure > value, and_(measure == value, scores.c.id < _score_id)),
        )
        .limit(PLACE_MAX)
        .subquery()
    )
    return select(func.count()).select_from(found).scalar_subquery()


def _of_player(measure: ColumnElement[Any], *, later: bool) -> Any:
    """Return the times of the player's later better plays, or earlier ones that are as good, nearest first."""
    own = (
        select(scores.c.id.label("id"), scores.c.play_time_ms.label("at_ms"), measure.label("measure"))
        .where(
            _here,
            scores.c.user_id == bindparam("player_id"),
            scores.c.passed == 1,
            NOT_HIDDEN,
            scores.c.id > _score_id if later else scores.c.id < _score_id,
        )
        .order_by(scores.c.id if later else scores.c.id.desc())
        .limit(_PLAYS_SEARCHED)
        .subquery()
    )
    value = bindparam("measure", type_=measure.type)
    better = own.c.measure > value if later else own.c.measure >= value
    found = select(own.c.at_ms).where(better).order_by(own.c.id if later else own.c.id.desc()).limit(1)
    return found.scalar_subquery()


def _places(*, by_pp: bool) -> Query[tuple[int, int, int | None, int | None]]:
    measure: ColumnElement[Any] = scores.c.pp if by_pp else scores.c.score
    flag = scores.c.best_pp == 1 if by_pp else scores.c.best_score == 1
    # The partial index exists once for modes that sort by score and once for those that sort by pp.
    family = MODE_SORTS_BY_PP if by_pp else MODE_SORTS_BY_SCORE
    return Query(
        select(
            _ahead(flag, measure),
            _ahead(scores.c.best_mods == 1, measure, family, scores.c.mods_key == bindparam("mods_key")),
            _of_player(measure, later=True),
            _of_player(measure, later=False),
        ),
        lambda *row: row,
        lane=Lane.BOUNDED,
    )


PLACES: Final = _places(by_pp=False)
PP_PLACES: Final = _places(by_pp=True)


def _others(*, by_pp: bool) -> Query[Score]:
    measure = scores.c.pp if by_pp else scores.c.score
    return Query(
        select(*score_columns())
        .where(
            _here,
            scores.c.user_id == bindparam("player_id"),
            scores.c.best_mods == 1,
            NOT_HIDDEN,
            scores.c.id != _score_id,
        )
        # Not the order of an index: each engine looks the few scores of the player up and sorts them.
        .order_by((measure + literal_column("0")).desc(), scores.c.id)
        .limit(OWN_MAX),
        lambda *row: Score(*row),
    )


OTHERS: Final = _others(by_pp=False)
PP_OTHERS: Final = _others(by_pp=True)
OWN_BEST: Final = Query(
    select(*score_columns()).where(
        _here, scores.c.user_id == bindparam("player_id"), scores.c.best_score == 1, NOT_HIDDEN
    ),
    lambda *row: Score(*row),
)
OWN_PP_BEST: Final = Query(
    select(*score_columns()).where(
        _here, scores.c.user_id == bindparam("player_id"), scores.c.best_pp == 1, NOT_HIDDEN
    ),
    lambda *row: Score(*row),
)


class ScoreReader:
    """Reads single scores for pages and for the API."""

    def __init__(self, database: Database, boards: Boards) -> None:
        self._database = database
        self._boards = boards

    async def find(self, score_id: int, viewer: Viewer = EVERYBODY) -> ScoreDetails:
        """Return a score. Raise NotFound("score") also for a hidden one, and if `viewer` may not see its player."""
        found = await self._database.one(DETAILS, id=score_id)
        if found is None or not can_see(viewer, found.player):
            raise NotFound("score")
        return found

    async def places(self, found: ScoreDetails) -> Places:
        """Return the places of a score now. A failed play, and a map without a board, have none."""
        if not found.score.status or not has_board(found.beatmap.status):
            return NO_PLACES
        params = self._here(found)
        row = await self._database.one(
            PP_PLACES if sorts_by_pp(found.score.mode) else PLACES,
            **params,
            player_id=found.score.user_id,
            measure=found.measure,
            mods_key=found.mods_key,
            score_id=found.score.id,
        )
        assert row is not None
        ahead, ahead_with_mods, better_at_ms, as_good_before_ms = row
        return Places(
            overall=ahead + 1 if found.is_best else None,
            with_mods=ahead_with_mods + 1 if found.best_mods else None,
            best_until_ms=better_at_ms if as_good_before_ms is None and not found.is_best else None,
        )

    async def others(self, found: ScoreDetails) -> list[Score]:
        """Return the player's best scores on the map with each set of mods, without this score, best first."""
        query = PP_OTHERS if sorts_by_pp(found.score.mode) else OTHERS
        return await self._database.all(
            query, **self._here(found), player_id=found.score.user_id, score_id=found.score.id
        )

    async def first(self, found: ScoreDetails) -> BoardScore | None:
        """Return the score that leads the board of the map."""
        if not has_board(found.beatmap.status):
            return None
        leading = await self._boards.best_on(found.beatmap.key, found.score.mode, limit=1)
        return leading[0] if leading else None

    async def best_of(self, found: ScoreDetails, user_id: int) -> Score | None:
        """Return a player's best score on the map in the mode of a score."""
        query = OWN_PP_BEST if sorts_by_pp(found.score.mode) else OWN_BEST
        return await self._database.one(query, **self._here(found), player_id=user_id)

    @staticmethod
    def _here(found: ScoreDetails) -> Mapping[str, Value]:
        return {"map_key": found.beatmap.key, "mode": found.score.mode}
