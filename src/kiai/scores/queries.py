"""The statements that read scores. Each one's index is named in storage/tables.py."""

from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal_column,
    or_,
    select,
)

from kiai.accounts.visibility import visible, with_clan
from kiai.beatmaps.model import MapSummary
from kiai.scores.model import BoardScore, MappedScore, PlayedMap, Ranked, Score, Stats
from kiai.storage.port import Lane, Query, columns_for, only
from kiai.storage.tables import clans, first_places, maps, play_counts, replays, scores, stats, users

_SHOWN: Final = scores.c.hidden == 0

status: Final = case((or_(scores.c.best_pp == 1, scores.c.best_score == 1), 2), else_=scores.c.passed).label("status")


def score_columns() -> list[ColumnElement[Any]]:
    """The columns of `model.Score`, in its order."""
    return [status if name == "status" else scores.c[name] for name in Score.__struct_fields__]


_SCORE: Final = len(Score.__struct_fields__)
_BOTH: Final = _SCORE + len(MapSummary.__struct_fields__)


def mapped(*row: Any) -> MappedScore:
    """The row of `score_columns` and the columns of `MapSummary`."""
    return MappedScore(Score(*row[:_SCORE]), MapSummary(*row[_SCORE:]))


def _on_board(*row: Any) -> BoardScore:
    return BoardScore(Score(*row[:_SCORE]), *row[_SCORE:])


def _with_mods() -> ColumnElement[bool]:
    """`all_mods`: every one of these bits; `any_mods`: at least one of these, 0 for no such wish."""
    return and_(
        scores.c.mods.op("&")(bindparam("all_mods")) == bindparam("all_mods"),
        or_(bindparam("any_mods") == 0, scores.c.mods.op("&")(bindparam("any_mods")) != 0),
    )


def _paged(statement: Select[Any]) -> Select[Any]:
    return statement.limit(bindparam("limit")).offset(bindparam("offset"))


# --- one player's scores

GRADES_ON = Query(
    select(scores.c.mode, scores.c.grade).where(
        scores.c.map_key == bindparam("map_key"),
        scores.c.mode.in_((0, 1, 2, 3)),
        scores.c.user_id == bindparam("user_id"),
        scores.c.best_score == literal_column("1"),
    ),
    lambda mode, grade: (mode, grade),
)

_mapped_score = select(*score_columns(), *columns_for(MapSummary, maps)).select_from(
    scores.join(maps, maps.c.key == scores.c.map_key)
)
_best_of = and_(
    scores.c.user_id == bindparam("user_id"),
    scores.c.mode == bindparam("mode"),
    scores.c.best_pp == 1,
    _SHOWN,
    maps.c.status.in_([literal_column("2"), literal_column("3")]),
)
_best_with_loved = and_(
    scores.c.user_id == bindparam("user_id"),
    scores.c.mode == bindparam("mode"),
    scores.c.best_pp == 1,
    _SHOWN,
    maps.c.status.in_([literal_column("2"), literal_column("3"), literal_column("5")]),
)
_best_order = (scores.c.pp.desc(), scores.c.id.desc())
BEST_OF = Query(_paged(_mapped_score.where(_best_of, _with_mods()).order_by(*_best_order)), mapped)
BEST_OF_WITH_LOVED = Query(_paged(_mapped_score.where(_best_with_loved, _with_mods()).order_by(*_best_order)), mapped)

_recent_of = and_(
    scores.c.user_id == bindparam("user_id"),
    scores.c.mode == bindparam("mode"),
    _SHOWN,
    scores.c.passed >= bindparam("passed_from"),
)
RECENT_OF = Query(
    _paged(_mapped_score.where(_recent_of, _with_mods()).order_by(scores.c.id.desc())),
    mapped,
)


def _count(source: Any, where: ColumnElement[bool]) -> Query[int]:
    found: Select[Any] = (
        select(literal_column("1")).select_from(source).where(where, _with_mods()).limit(bindparam("most"))
    )
    return Query(select(func.count()).select_from(found.subquery()), only, lane=Lane.SLOW)


_scores_and_maps = scores.join(maps, maps.c.key == scores.c.map_key)
BEST_COUNT = _count(_scores_and_maps, _best_of)
BEST_WITH_LOVED_COUNT = _count(_scores_and_maps, _best_with_loved)
RECENT_COUNT = _count(scores, _recent_of)

FIRSTS_OF = Query(
    select(*score_columns(), *columns_for(MapSummary, maps))
    .select_from(
        first_places.join(scores, scores.c.id == first_places.c.score_id).join(maps, maps.c.key == scores.c.map_key)
    )
    .where(first_places.c.user_id == bindparam("user_id"), first_places.c.mode == bindparam("mode"))
    .order_by(first_places.c.score_id.desc())
    .limit(bindparam("limit"))
    .offset(bindparam("offset")),
    mapped,
)
FIRSTS_COUNT = Query(
    select(func.count())
    .select_from(first_places)
    .where(first_places.c.user_id == bindparam("user_id"), first_places.c.mode == bindparam("mode")),
    only,
)

MOST_PLAYED = Query(
    _paged(
        select(
            maps.c.md5,
            maps.c.id,
            maps.c.set_id,
            maps.c.status,
            maps.c.artist,
            maps.c.title,
            maps.c.version,
            maps.c.creator,
            play_counts.c.plays,
        )
        .select_from(play_counts.join(maps, maps.c.key == play_counts.c.map_key))
        .where(play_counts.c.user_id == bindparam("user_id"), play_counts.c.mode == bindparam("mode"))
        .order_by(play_counts.c.plays.desc(), play_counts.c.last_play_ms.desc())
    ),
    PlayedMap,
)

_maps_played: Select[Any] = (
    select(literal_column("1"))
    .select_from(play_counts)
    .where(play_counts.c.user_id == bindparam("user_id"), play_counts.c.mode == bindparam("mode"))
    .limit(bindparam("most"))
)
# 10,000 rows of the primary key take half a millisecond: less than a thread's turn under load.
MOST_PLAYED_COUNT = Query(select(func.count()).select_from(_maps_played.subquery()), only)

# --- one map's scores

_board_line = select(*score_columns(), users.c.name, clans.c.id, clans.c.name, clans.c.tag).select_from(
    with_clan(scores.join(users, users.c.id == scores.c.user_id))
)
_on_map = and_(scores.c.map_key == bindparam("map_key"), scores.c.mode == bindparam("mode"), _SHOWN, visible())
_by_score = (scores.c.score.desc(), scores.c.id)
_by_pp = (scores.c.pp.desc(), scores.c.id)

BOARD = Query(_paged(_board_line.where(_on_map, scores.c.best_score == 1).order_by(*_by_score)), _on_board)
PP_BOARD = Query(_paged(_board_line.where(_on_map, scores.c.best_pp == 1).order_by(*_by_pp)), _on_board)
RECENT_ON = Query(
    _paged(
        _board_line.where(_on_map, scores.c.best_score == 1, _with_mods()).order_by(
            scores.c.play_time_ms.desc(), scores.c.id.desc()
        )
    ),
    _on_board,
)

_other = scores.alias("other")


def _better_with_mods(measure: str) -> ColumnElement[bool]:
    """Whether the same player has a better score on this map and mode that also has the wanted mods."""
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


MODS_BOARD = Query(
    _paged(
        _board_line.where(_on_map, scores.c.best_mods == 1, _with_mods(), ~_better_with_mods("score")).order_by(
            *_by_score
        )
    ),
    _on_board,
)
MODS_PP_BOARD = Query(
    _paged(
        _board_line.where(_on_map, scores.c.best_mods == 1, _with_mods(), ~_better_with_mods("pp")).order_by(*_by_pp)
    ),
    _on_board,
)


def _board_count(flag: ColumnElement[bool]) -> Query[int]:
    """How many players have a score on a board, counted up to `most`."""
    found: Select[Any] = (
        select(scores.c.user_id)
        .select_from(scores.join(users, users.c.id == scores.c.user_id))
        .where(_on_map, flag, _with_mods())
        .distinct()
        .limit(bindparam("most"))
    )
    return Query(select(func.count()).select_from(found.subquery()), only, lane=Lane.SLOW)


BOARD_COUNT = _board_count(scores.c.best_score == 1)
PP_BOARD_COUNT = _board_count(scores.c.best_pp == 1)
MODS_BOARD_COUNT = _board_count(scores.c.best_mods == 1)

# --- one score

SCORE = Query(
    select(*score_columns(), maps.c.md5, users.c.name, users.c.priv)
    .select_from(_scores_and_maps.join(users, users.c.id == scores.c.user_id))
    .where(scores.c.id == bindparam("id"), _SHOWN),
    lambda *row: (Score(*row[:_SCORE]), *row[_SCORE:]),
)
REPLAY = Query(
    select(
        replays.c.md5,
        replays.c.size,
        replays.c.life_bar,
        replays.c.target_accuracy,
        scores.c.client_version,
        maps.c.artist,
        maps.c.title,
        maps.c.version,
    )
    .select_from(replays.join(scores, scores.c.id == replays.c.score_id).join(maps, maps.c.key == scores.c.map_key))
    .where(replays.c.score_id == bindparam("id")),
    lambda *row: row,
)

AMONG_MAX = 100  # a page of a list
WITH_REPLAYS = Query(
    select(replays.c.score_id)
    .where(replays.c.score_id.in_([bindparam(f"id{n}", type_=scores.c.id.type) for n in range(AMONG_MAX)]))
    .limit(AMONG_MAX),
    only,
)

# --- profiles and rankings

STATS_OF = Query(select(*columns_for(Stats, stats)).where(stats.c.user_id == bindparam("user_id")), Stats)
STATS_IN = Query(
    select(*columns_for(Stats, stats)).where(
        stats.c.user_id == bindparam("user_id"), stats.c.mode == bindparam("mode")
    ),
    Stats,
)

SORTS = ("pp", "tscore", "rscore", "acc", "plays", "playtime")
_ranked = select(
    users.c.id,
    users.c.name,
    users.c.country,
    *[stats.c[name] for name in Ranked.__struct_fields__[3:15]],
    clans.c.id,
    clans.c.name,
    clans.c.tag,
).select_from(with_clan(stats.join(users, users.c.id == stats.c.user_id)))


def _ranking(sort: str, *where: ColumnElement[bool]) -> Query[Ranked]:
    return Query(
        _paged(
            _ranked.where(
                stats.c.mode == bindparam("mode"), stats.c[sort] > literal_column("0"), visible(), *where
            ).order_by(stats.c[sort].desc(), stats.c.user_id)
        ),
        Ranked,
    )


RANKING = {sort: _ranking(sort) for sort in SORTS}
COUNTRY_RANKING = {sort: _ranking(sort, stats.c.country == bindparam("country")) for sort in SORTS}


def _ranking_count(sort: str, *where: ColumnElement[bool]) -> Query[int]:
    found: Select[Any] = (
        select(literal_column("1"))
        .select_from(stats.join(users, users.c.id == stats.c.user_id))
        .where(stats.c.mode == bindparam("mode"), stats.c[sort] > literal_column("0"), visible(), *where)
        .limit(bindparam("most"))
    )
    return Query(select(func.count()).select_from(found.subquery()), only, lane=Lane.SLOW)


RANKING_COUNT = {sort: _ranking_count(sort) for sort in SORTS}
COUNTRY_RANKING_COUNT = {sort: _ranking_count(sort, stats.c.country == bindparam("country")) for sort in SORTS}
