"""Statements that compute derived rows again from scores, for a range of players or of maps (`first` to `last`).

They must agree with `best.py`, `recording.py` and `boards.py`, which compute the same rows play by play.
"""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    and_,
    bindparam,
    case,
    cast,
    delete,
    func,
    insert,
    literal_column,
    null,
    select,
    update,
)

from kiai.accounts.visibility import visible
from kiai.scores.model import Stats
from kiai.scores.rules import MAP_COUNTS, MAP_GIVES_PP, MAP_HAS_BOARD, MODE_SORTS_BY_PP, MODE_SORTS_BY_SCORE
from kiai.scores.statements.expressions import COUNTED_GRADES, named, players_in_range, scores_and_maps, sum_where
from kiai.storage.port import Command, Lane, Query
from kiai.storage.tables import (
    first_places,
    maps,
    month_plays,
    play_counts,
    recomputed,
    replays,
    scores,
    stats,
    users,
)

_day: Final = scores.c.play_time_ms.op("/")(literal_column("86400000"))
_passed: Final = and_(players_in_range, scores.c.passed == 1, scores.c.hidden == 0)


def _rank(*order: ColumnElement[Any], extra: tuple[Any, ...] = ()) -> ColumnElement[Any]:
    """Return the position of a score among those of its player on the map and mode, in this order, from 1."""
    return func.row_number().over(
        partition_by=(scores.c.user_id, scores.c.mode, scores.c.map_key, *extra), order_by=order
    )


# `best.more_pp` as an order: at equal pp and score the earlier score, with the lower id, stays best.
# Passes over which their player chose a later one come last (`overwriting.py`).
_pp_order: Final = (scores.c.overwritten, scores.c.pp.desc(), scores.c.score.desc(), scores.c.id)
# NULL in modes that sort by score, so that one order serves all modes.
_measure: Final = case((MODE_SORTS_BY_PP, scores.c.pp), else_=null()).desc().nulls_last()
# At equal pp, the earlier score is ahead if the players differ. Between two scores of one player, the higher score is.
_place_order: Final = (
    _measure,
    case((MODE_SORTS_BY_SCORE, scores.c.score), else_=null()).desc().nulls_last(),
    scores.c.id,
)
_board_order: Final = (scores.c.overwritten, _measure, scores.c.score.desc(), scores.c.id)
expected_flags: Final = (
    select(
        scores.c.id.label("id"),
        case((_rank(*_pp_order) == 1, 1), else_=0).label("best_pp"),
        case((_rank(*_board_order) == 1, 1), else_=0).label("best_score"),
        case((_rank(*_board_order, extra=(scores.c.mods_key,)) == 1, 1), else_=0).label("best_mods"),
    )
    .where(_passed)
    .subquery("settled")
)
_FLAGS: Final = ("best_pp", "best_score", "best_mods")
# All wrong flags are cleared before any flag is set: otherwise two bests would violate `uq_scores_best_*` for a moment.
CLEAR_FLAGS = tuple(
    Command(
        update(scores)
        .where(
            players_in_range,
            scores.c[flag] == 1,
            scores.c.id.not_in(select(expected_flags.c.id).where(expected_flags.c[flag] == 1)),
        )
        .values({flag: 0})
    )
    for flag in _FLAGS
)
# PERF: the comparison leaves out scores whose flags are right. In a rebuild of a healthy database no score is written.
SET_FLAGS = Command(
    update(scores)
    .where(
        scores.c.id == expected_flags.c.id,
        players_in_range,
        scores.c.best_pp * 4 + scores.c.best_score * 2 + scores.c.best_mods
        != expected_flags.c.best_pp * 4 + expected_flags.c.best_score * 2 + expected_flags.c.best_mods,
    )
    .values({flag: expected_flags.c[flag] for flag in _FLAGS})
)

_waits: Final = recomputed.c.user_id.between(bindparam("first"), bindparam("last"))
APPLY_RECOMPUTED = Command(
    update(scores)
    .where(scores.c.id == recomputed.c.score_id, _waits)
    .values(pp=recomputed.c.pp, calculator=recomputed.c.calculator)
)
DROP_RECOMPUTED = Command(delete(recomputed).where(_waits))

# As `osu.accuracy.total_hits`: in taiko and mania (and relax taiko, 5), geki and katu are judgements of their own.
_hits: Final = (
    scores.c.n300
    + scores.c.n100
    + scores.c.n50
    + case((scores.c.mode.in_([literal_column(m) for m in ("1", "3", "5")]), scores.c.ngeki + scores.c.nkatu), else_=0)
)


# The columns are the fields of `Stats` in order. pp and accuracy are 0 here: the caller computes them from `WEIGHTED`.
_best_counts: Final = and_(scores.c.best_pp == 1, MAP_COUNTS)
RECOUNTED = Query(
    select(
        scores.c.user_id,
        scores.c.mode,
        cast(func.sum(scores.c.score), BigInteger),
        sum_where(scores.c.score, _best_counts),
        literal_column("0"),
        func.count(),
        sum_where(literal_column("1"), and_(scores.c.best_pp == 1, MAP_GIVES_PP)),
        cast(func.sum(scores.c.time_elapsed.op("/")(literal_column("1000"))), BigInteger),
        literal_column("0.0"),
        func.coalesce(func.max(case((and_(scores.c.passed == 1, MAP_HAS_BOARD), scores.c.max_combo), else_=0)), 0),
        cast(func.sum(_hits), BigInteger),
        cast(func.coalesce(func.sum(replays.c.views), 0), BigInteger),
        *[
            sum_where(literal_column("1"), and_(_best_counts, scores.c.grade == grade))
            for grade in COUNTED_GRADES.values()
        ],
        cast(func.max(scores.c.play_time_ms), BigInteger),
    )
    .select_from(scores_and_maps.outerjoin(replays, replays.c.score_id == scores.c.id))
    .where(players_in_range, scores.c.hidden == 0)
    .group_by(scores.c.user_id, scores.c.mode)
    .order_by(scores.c.user_id, scores.c.mode),
    Stats,
    lane=Lane.JOB,
)
STATS_BETWEEN = Query(
    select(*[stats.c[name] for name in Stats.__struct_fields__])
    .where(stats.c.user_id.between(bindparam("first"), bindparam("last")))
    .order_by(stats.c.user_id, stats.c.mode),
    Stats,
    lane=Lane.JOB,
)
DROP_STATS = Command(delete(stats).where(stats.c.user_id.between(bindparam("first"), bindparam("last"))))
WRITE_STATS = Command(insert(stats).values(named(*Stats.__struct_fields__, "country")))
COUNTRIES = Query(
    select(users.c.id, users.c.country).where(users.c.id.between(bindparam("first"), bindparam("last"))),
    lambda id_, country: (id_, country),
)
DROP_PLAY_COUNTS = Command(
    delete(play_counts).where(play_counts.c.user_id.between(bindparam("first"), bindparam("last")))
)
WRITE_PLAY_COUNTS = Command(
    insert(play_counts).from_select(
        ["user_id", "mode", "map_key", "plays", "last_play_ms"],
        select(scores.c.user_id, scores.c.mode, scores.c.map_key, func.count(), func.max(scores.c.play_time_ms))
        .where(players_in_range, scores.c.hidden == 0)
        .group_by(scores.c.user_id, scores.c.mode, scores.c.map_key),
    )
)
# A day is a number of both engines; a month is not, so `months.month_of` makes months from days.
PLAYS_BY_DAY = Query(
    select(scores.c.user_id, scores.c.mode, _day.label("day"), func.count())
    .where(players_in_range, scores.c.hidden == 0)
    .group_by(scores.c.user_id, scores.c.mode, _day),
    lambda *row: row,
    lane=Lane.JOB,
)
MONTHS_BETWEEN = Query(
    select(month_plays.c.user_id, month_plays.c.mode, month_plays.c.month, month_plays.c.plays).where(
        month_plays.c.user_id.between(bindparam("first"), bindparam("last"))
    ),
    lambda *row: row,
    lane=Lane.JOB,
)
DROP_MONTHS = Command(delete(month_plays).where(month_plays.c.user_id.between(bindparam("first"), bindparam("last"))))

_map_range: Final = maps.c.key.between(bindparam("first"), bindparam("last"))
_played: Final = (
    select(
        scores.c.map_key.label("map_key"),
        func.count().label("plays"),
        func.sum(scores.c.passed).label("passes"),
    )
    .select_from(scores.join(users, users.c.id == scores.c.user_id))
    .where(scores.c.map_key.between(bindparam("first"), bindparam("last")), scores.c.hidden == 0, visible())
    .group_by(scores.c.map_key)
    .subquery("played")
)
MAP_COUNTERS = Query(
    select(_played.c.map_key, cast(_played.c.plays, BigInteger), cast(_played.c.passes, BigInteger)),
    lambda map_key, plays, passes: (map_key, plays, passes),
    lane=Lane.JOB,
)
CLEAR_MAP_COUNTERS = Command(update(maps).where(_map_range).values(plays=0, passes=0))
SET_MAP_COUNTERS = Command(
    update(maps)
    .where(maps.c.key == bindparam("map_key"))
    # The board has changed as well, so cached pages become invalid.
    .values(plays=bindparam("new_plays"), passes=bindparam("new_passes"), board_version=maps.c.board_version + 1)
)
# The first line of every board. `best_score` marks it in all modes: in relax and autopilot it equals `best_pp`.
places: Final = (
    select(
        scores.c.map_key.label("map_key"),
        scores.c.mode.label("mode"),
        scores.c.id.label("score_id"),
        scores.c.user_id.label("user_id"),
        scores.c.play_time_ms.label("since_ms"),
        func.row_number().over(partition_by=(scores.c.map_key, scores.c.mode), order_by=_place_order).label("place"),
    )
    .select_from(scores_and_maps.join(users, users.c.id == scores.c.user_id))
    .where(
        scores.c.map_key.between(bindparam("first"), bindparam("last")),
        scores.c.best_score == 1,
        scores.c.hidden == 0,
        visible(),
        MAP_HAS_BOARD,
    )
    .subquery("places")
)
DROP_FIRST_PLACES = Command(
    delete(first_places).where(first_places.c.map_key.between(bindparam("first"), bindparam("last")))
)
WRITE_FIRST_PLACES = Command(
    insert(first_places).from_select(
        ["map_key", "mode", "score_id", "user_id", "since_ms"],
        select(places.c.map_key, places.c.mode, places.c.score_id, places.c.user_id, places.c.since_ms).where(
            places.c.place == 1
        ),
    )
)

PLAYS_BY_USER = Query(
    select(scores.c.user_id, func.count()).group_by(scores.c.user_id).order_by(scores.c.user_id),
    lambda user_id, plays: (user_id, plays),
    lane=Lane.JOB,
    scans="a rebuild reads all scores, in ranges made from these counts",
)
PLAYS_BY_MAP = Query(
    select(scores.c.map_key, func.count()).group_by(scores.c.map_key).order_by(scores.c.map_key),
    lambda key, plays: (key, plays),
    lane=Lane.JOB,
    scans="a rebuild reads all scores, in ranges made from these counts",
)
