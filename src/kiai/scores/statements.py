"""The statements that change scores and what follows from them, and the reads that only those changes need."""

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
    or_,
    select,
    update,
)

from kiai.accounts.visibility import visible
from kiai.scores.medals import DayPlay
from kiai.scores.model import Best, Stats
from kiai.storage.port import Command, Lane, Query, columns_for, only
from kiai.storage.tables import (
    counters,
    first_places,
    maps,
    medals,
    play_counts,
    recomputed,
    replays,
    scores,
    stale_totals,
    stats,
    submissions,
    users,
)

WEIGHTED_MAX: Final = 1_000  # 0.95^1000 is nothing, and the official bonus ends there too

_GIVES_PP: Final = maps.c.status.in_([literal_column("2"), literal_column("3")])
_COUNTS: Final = case((maps.c.status == 5, bindparam("loved_counts")), (_GIVES_PP, 1), else_=0) == 1
_HAS_BOARD: Final = maps.c.status.in_([literal_column(s) for s in ("2", "3", "4", "5")])
_scores_and_maps: Final = scores.join(maps, maps.c.key == scores.c.map_key)


def _names(*names: str) -> dict[str, Any]:
    return {name: bindparam(name) for name in names}


# --- one play

# Locked without its key (FOR NO KEY UPDATE): rows of others may come to refer to the player meanwhile, which a
# restriction or a rebuild does with first places.
LOCK_USER = Query(
    select(users.c.priv, users.c.country).where(users.c.id == bindparam("user_id")).with_for_update(key_share=True),
    lambda priv, country: (priv, country),
)
_best = select(*columns_for(Best, scores)).where(
    scores.c.map_key == bindparam("map_key"),
    scores.c.mode == bindparam("mode"),
    scores.c.user_id == bindparam("user_id"),
)
BEST_BY_PP = Query(_best.where(scores.c.best_pp == 1), Best)
BEST_BY_SCORE = Query(_best.where(scores.c.best_score == 1), Best)
BEST_WITH_MODS = Query(_best.where(scores.c.best_mods == 1, scores.c.mods_key == bindparam("mods_key")), Best)
DEMOTE_PP = Command(update(scores).where(scores.c.id == bindparam("score_id")).values(best_pp=0))
DEMOTE_SCORE = Command(update(scores).where(scores.c.id == bindparam("score_id")).values(best_score=0))
DEMOTE_MODS = Command(update(scores).where(scores.c.id == bindparam("score_id")).values(best_mods=0))

SCORE_FIELDS: Final = (
    "user_id",
    "map_key",
    "mode",
    "mods",
    "mods_key",
    "score",
    "pp",
    "acc",
    "max_combo",
    "n300",
    "n100",
    "n50",
    "nmiss",
    "ngeki",
    "nkatu",
    "grade",
    "passed",
    "perfect",
    "best_pp",
    "best_score",
    "best_mods",
    "play_time_ms",
    "time_elapsed",
    "client_version",
    "client_flags",
    "checksum",
    "calculator",
    "country",
)
INSERT_SCORE = Query(insert(scores).values(_names(*SCORE_FIELDS)).returning(scores.c.id), only)
INSERT_SCORES = Command(insert(scores).values(_names(*SCORE_FIELDS)))
REPLAY_FIELDS: Final = ("score_id", "md5", "sha256", "size", "life_bar", "target_accuracy")
INSERT_REPLAY = Command(insert(replays).values(_names(*REPLAY_FIELDS)))
REPLAY_KNOWN = Query(select(replays.c.score_id).where(replays.c.md5 == bindparam("md5")), only)
CHECKSUM_KNOWN = Query(select(scores.c.id).where(scores.c.checksum == bindparam("checksum")), only)

INSERT_STATS = Command(insert(stats).values(_names("user_id", "mode", "country")))
_ADDED: Final = (
    "tscore",
    "rscore",
    "plays",
    "bests",
    "playtime",
    "total_hits",
    "xh_count",
    "x_count",
    "sh_count",
    "s_count",
    "a_count",
)
_these_stats: Final = and_(stats.c.user_id == bindparam("player_id"), stats.c.mode == bindparam("in_mode"))
ADD_TO_STATS = Command(
    update(stats)
    .where(_these_stats)
    .values(
        {name: stats.c[name] + bindparam(f"by_{name}", type_=BigInteger()) for name in _ADDED}
        | {"max_combo": case((stats.c.max_combo < bindparam("combo"), bindparam("combo")), else_=stats.c.max_combo)}
    )
)
ADDED: Final = _ADDED
SET_TOTALS = Command(update(stats).where(_these_stats).values(_names("pp", "acc")))
WEIGHTED = Query(
    select(scores.c.pp, scores.c.acc)
    .select_from(_scores_and_maps)
    .where(
        scores.c.user_id == bindparam("user_id"),
        scores.c.mode == bindparam("mode"),
        scores.c.best_pp == 1,
        scores.c.hidden == 0,
        _GIVES_PP,
    )
    .order_by(scores.c.pp.desc(), scores.c.id.desc())
    .limit(WEIGHTED_MAX),
    lambda pp, acc: (pp, acc),
)
BESTS_IN = Query(
    select(stats.c.bests).where(stats.c.user_id == bindparam("user_id"), stats.c.mode == bindparam("mode")), only
)

COUNT_PLAY = Command(
    update(play_counts)
    .where(
        play_counts.c.user_id == bindparam("player_id"),
        play_counts.c.mode == bindparam("in_mode"),
        play_counts.c.map_key == bindparam("on_map"),
    )
    .values(
        plays=play_counts.c.plays + 1,
        last_play_ms=case(
            (play_counts.c.last_play_ms < bindparam("at_ms"), bindparam("at_ms")), else_=play_counts.c.last_play_ms
        ),
    )
)
FIRST_PLAY = Command(insert(play_counts).values(_names("user_id", "mode", "map_key", "plays", "last_play_ms")))

# --- what else a play leaves

MEDALS_OF = Query(select(medals.c.medal_id).where(medals.c.user_id == bindparam("user_id")), only)
GIVE_MEDAL = Command(insert(medals).values(_names("user_id", "medal_id", "unlocked_at_ms", "score_id")))
PLAYS_SINCE = Query(
    select(scores.c.map_key, scores.c.grade, scores.c.passed)
    .where(
        scores.c.user_id == bindparam("user_id"),
        scores.c.mode == bindparam("mode"),
        scores.c.hidden == 0,
        scores.c.play_time_ms >= bindparam("since_ms"),
    )
    .order_by(scores.c.id.desc())
    .limit(WEIGHTED_MAX),
    DayPlay,
)
KEEP_CHART = Command(insert(submissions).values(_names("score_id", "chart", "at_ms")))
CHART_OF = Query(select(submissions.c.chart).where(submissions.c.score_id == bindparam("score_id")), only)
COMPLETE_CHART = Command(
    update(submissions).where(submissions.c.score_id == bindparam("of_score")).values(chart=bindparam("new_chart"))
)
FORGET_CHARTS = Command(delete(submissions).where(submissions.c.at_ms < bindparam("before_ms")))
BY_CHECKSUM = Query(
    select(scores.c.id, scores.c.user_id, scores.c.passed).where(scores.c.checksum == bindparam("checksum")),
    lambda id_, user_id, passed: (id_, user_id, passed),
)
BY_REPLAY = Query(
    select(scores.c.id, scores.c.user_id)
    .select_from(replays.join(scores, scores.c.id == replays.c.score_id))
    .where(replays.c.md5 == bindparam("md5")),
    lambda id_, user_id: (id_, user_id),
)

COUNT_VIEW = Command(
    update(replays).where(replays.c.score_id == bindparam("of_score")).values(views=replays.c.views + 1)
)
COUNT_VIEW_OF_PLAYER = Command(update(stats).where(_these_stats).values(replay_views=stats.c.replay_views + 1))

# --- first places

_on_map: Final = and_(
    scores.c.map_key == bindparam("map_key"),
    scores.c.mode == bindparam("mode"),
    scores.c.hidden == 0,
    visible(),
    _HAS_BOARD,
)
_top: Final = select(scores.c.id, scores.c.user_id).select_from(
    _scores_and_maps.join(users, users.c.id == scores.c.user_id)
)
TOP_BY_SCORE = Query(
    _top.where(_on_map, scores.c.best_score == 1).order_by(scores.c.score.desc(), scores.c.id).limit(1),
    lambda id_, user_id: (id_, user_id),
)
TOP_BY_PP = Query(
    _top.where(_on_map, scores.c.best_pp == 1).order_by(scores.c.pp.desc(), scores.c.id).limit(1),
    lambda id_, user_id: (id_, user_id),
)
FIRST_PLACE = Query(
    select(first_places.c.score_id, first_places.c.user_id).where(
        first_places.c.map_key == bindparam("map_key"), first_places.c.mode == bindparam("mode")
    ),
    lambda score_id, user_id: (score_id, user_id),
)
DROP_FIRST_PLACE = Command(
    delete(first_places).where(first_places.c.map_key == bindparam("map_key"), first_places.c.mode == bindparam("mode"))
)
SET_FIRST_PLACE = Command(insert(first_places).values(_names("map_key", "mode", "score_id", "user_id", "since_ms")))
# --- everything again, from the rows: a range of players, then a range of maps

_in_range: Final = scores.c.user_id.between(bindparam("first"), bindparam("last"))
_passed: Final = and_(_in_range, scores.c.passed == 1, scores.c.hidden == 0)


def _rank(*order: ColumnElement[Any], extra: tuple[Any, ...] = ()) -> ColumnElement[Any]:
    return func.row_number().over(
        partition_by=(scores.c.user_id, scores.c.mode, scores.c.map_key, *extra), order_by=order
    )


_pp_order: Final = (scores.c.pp.desc(), scores.c.score.desc(), scores.c.id)
_measure: Final = case((scores.c.mode >= literal_column("4"), scores.c.pp), else_=null()).desc().nulls_last()
# Between players equal pp leaves the earlier in front; between two plays of one player the score decides first.
_place_order: Final = (
    _measure,
    case((scores.c.mode < literal_column("4"), scores.c.score), else_=null()).desc().nulls_last(),
    scores.c.id,
)
_board_order: Final = (_measure, scores.c.score.desc(), scores.c.id)
_settled: Final = (
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
# First the flags that must go, then those that must come: a unique index never sees two bests at once.
CLEAR_FLAGS = tuple(
    Command(
        update(scores)
        .where(_in_range, scores.c[flag] == 1, scores.c.id.not_in(select(_settled.c.id).where(_settled.c[flag] == 1)))
        .values({flag: 0})
    )
    for flag in _FLAGS
)
SET_FLAGS = Command(
    update(scores)
    .where(
        scores.c.id == _settled.c.id,
        _in_range,
        scores.c.best_pp * 4 + scores.c.best_score * 2 + scores.c.best_mods
        != _settled.c.best_pp * 4 + _settled.c.best_score * 2 + _settled.c.best_mods,
    )
    .values({flag: _settled.c[flag] for flag in _FLAGS})
)

_waits: Final = recomputed.c.user_id.between(bindparam("first"), bindparam("last"))
TAKE_RECOMPUTED = Command(
    update(scores)
    .where(scores.c.id == recomputed.c.score_id, _waits)
    .values(pp=recomputed.c.pp, calculator=recomputed.c.calculator)
)
DROP_RECOMPUTED = Command(delete(recomputed).where(_waits))

_hits: Final = (
    scores.c.n300
    + scores.c.n100
    + scores.c.n50
    + case((scores.c.mode.in_([literal_column(m) for m in ("1", "3", "5")]), scores.c.ngeki + scores.c.nkatu), else_=0)
)


def _sum(value: Any, where: ColumnElement[bool]) -> ColumnElement[Any]:
    return cast(func.coalesce(func.sum(case((where, value), else_=0)), 0), BigInteger)


_best_counts: Final = and_(scores.c.best_pp == 1, _COUNTS)
_GRADES: Final = {"xh_count": "XH", "x_count": "X", "sh_count": "SH", "s_count": "S", "a_count": "A"}
RECOUNTED = Query(
    select(
        scores.c.user_id,
        scores.c.mode,
        cast(func.sum(scores.c.score), BigInteger),
        _sum(scores.c.score, _best_counts),
        literal_column("0"),
        func.count(),
        _sum(literal_column("1"), and_(scores.c.best_pp == 1, _GIVES_PP)),
        cast(func.sum(scores.c.time_elapsed.op("/")(literal_column("1000"))), BigInteger),
        literal_column("0.0"),
        func.coalesce(func.max(case((and_(scores.c.passed == 1, _HAS_BOARD), scores.c.max_combo), else_=0)), 0),
        cast(func.sum(_hits), BigInteger),
        cast(func.coalesce(func.sum(replays.c.views), 0), BigInteger),
        *[_sum(literal_column("1"), and_(_best_counts, scores.c.grade == grade)) for grade in _GRADES.values()],
    )
    .select_from(_scores_and_maps.outerjoin(replays, replays.c.score_id == scores.c.id))
    .where(_in_range, scores.c.hidden == 0)
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
WRITE_STATS = Command(insert(stats).values(_names(*Stats.__struct_fields__, "country")))
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
        .where(_in_range, scores.c.hidden == 0)
        .group_by(scores.c.user_id, scores.c.mode, scores.c.map_key),
    )
)

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
    .values(plays=bindparam("new_plays"), passes=bindparam("new_passes"), board_version=maps.c.board_version + 1)
)
_places: Final = (
    select(
        scores.c.map_key.label("map_key"),
        scores.c.mode.label("mode"),
        scores.c.id.label("score_id"),
        scores.c.user_id.label("user_id"),
        scores.c.play_time_ms.label("since_ms"),
        func.row_number().over(partition_by=(scores.c.map_key, scores.c.mode), order_by=_place_order).label("place"),
    )
    .select_from(_scores_and_maps.join(users, users.c.id == scores.c.user_id))
    .where(
        scores.c.map_key.between(bindparam("first"), bindparam("last")),
        scores.c.best_score == 1,
        scores.c.hidden == 0,
        visible(),
        _HAS_BOARD,
    )
    .subquery("places")
)
DROP_FIRST_PLACES = Command(
    delete(first_places).where(first_places.c.map_key.between(bindparam("first"), bindparam("last")))
)
WRITE_FIRST_PLACES = Command(
    insert(first_places).from_select(
        ["map_key", "mode", "score_id", "user_id", "since_ms"],
        select(_places.c.map_key, _places.c.mode, _places.c.score_id, _places.c.user_id, _places.c.since_ms).where(
            _places.c.place == 1
        ),
    )
)

PLAYS_BY_USER = Query(
    select(scores.c.user_id, func.count()).group_by(scores.c.user_id).order_by(scores.c.user_id),
    lambda user_id, plays: (user_id, plays),
    lane=Lane.JOB,
    scans="everything is computed again, in ranges that these counts part",
)
PLAYS_BY_MAP = Query(
    select(scores.c.map_key, func.count()).group_by(scores.c.map_key).order_by(scores.c.map_key),
    lambda key, plays: (key, plays),
    lane=Lane.JOB,
    scans="everything is computed again, in ranges that these counts part",
)

# --- ranks

RANK_ENTRIES = Query(
    select(stats.c.user_id, stats.c.mode, stats.c.country, stats.c.pp)
    .select_from(stats.join(users, users.c.id == stats.c.user_id))
    .where(stats.c.pp > literal_column("0"), visible(), stats.c.user_id > bindparam("after"))
    .order_by(stats.c.user_id, stats.c.mode)
    .limit(bindparam("limit")),
    lambda user_id, mode, country, pp: (user_id, mode, country, pp),
    scans="every rank is loaded when the server starts, a page at a time",
)
RANK_ENTRIES_OF = Query(
    select(stats.c.user_id, stats.c.mode, stats.c.country, stats.c.pp, users.c.priv)
    .select_from(stats.join(users, users.c.id == stats.c.user_id))
    .where(stats.c.user_id == bindparam("user_id")),
    lambda *row: row,
)
_other: Final = stats.alias("other")
_whose: Final = users.alias("whose")


def _better(*where: ColumnElement[bool]) -> ColumnElement[int]:
    ahead = or_(_other.c.pp > stats.c.pp, and_(_other.c.pp == stats.c.pp, _other.c.user_id < stats.c.user_id))
    return (
        select(func.count())
        .select_from(_other.join(_whose, _whose.c.id == _other.c.user_id))
        .where(_other.c.mode == stats.c.mode, _other.c.pp > literal_column("0"), ahead, visible(_whose), *where)
        .scalar_subquery()
    )


RANKS_COUNTED = Query(
    select(stats.c.mode, _better(), _better(_other.c.country == stats.c.country))
    .select_from(stats.join(users, users.c.id == stats.c.user_id))
    .where(stats.c.user_id == bindparam("user_id"), stats.c.pp > literal_column("0"), visible()),
    lambda mode, better, better_in_country: (mode, better + 1, better_in_country + 1),
    lane=Lane.SLOW,
)
_ranked: Final = (
    select(func.count())
    .select_from(stats.join(users, users.c.id == stats.c.user_id))
    .where(stats.c.mode == bindparam("mode"), stats.c.pp > literal_column("0"), visible())
)
RANKED_COUNTED = Query(_ranked, only, lane=Lane.SLOW)
RANKED_IN_COUNTRY_COUNTED = Query(_ranked.where(stats.c.country == bindparam("country")), only, lane=Lane.SLOW)

# --- when a player or a map changes its standing: the steps of `settling.py`

# Players who have a best on a map in one mode, locked: their totals are no longer what their rows give.
LOCK_PLAYERS_ON = Query(
    select(scores.c.user_id)
    .select_from(scores.join(users, users.c.id == scores.c.user_id))
    .where(
        scores.c.map_key == bindparam("map_key"),
        scores.c.mode == bindparam("mode"),
        scores.c.best_pp == 1,
        scores.c.user_id > bindparam("after"),
    )
    .order_by(scores.c.user_id)
    .limit(bindparam("most"))
    .with_for_update(key_share=True, of=users),
    only,
)
NOTE_STALE_TOTALS = Command(
    insert(stale_totals).from_select(
        ["user_id", "mode", "since_ms"],
        select(scores.c.user_id, scores.c.mode, bindparam("now_ms", type_=BigInteger())).where(
            scores.c.map_key == bindparam("map_key"),
            scores.c.mode == bindparam("mode"),
            scores.c.best_pp == 1,
            scores.c.user_id.between(bindparam("first"), bindparam("last")),
            ~select(stale_totals.c.user_id)
            .where(stale_totals.c.user_id == scores.c.user_id, stale_totals.c.mode == scores.c.mode)
            .exists(),
        ),
    )
)
STALE_TOTALS = Query(
    select(stale_totals.c.user_id, stale_totals.c.mode)
    .select_from(stale_totals.join(users, users.c.id == stale_totals.c.user_id))
    .order_by(stale_totals.c.user_id, stale_totals.c.mode)
    .limit(bindparam("most"))
    .with_for_update(key_share=True, of=users),
    lambda user_id, mode: (user_id, mode),
)
STALE_TOTALS_COUNTED = Query(
    select(func.count(), func.min(literal_column("since_ms"))).select_from(
        select(stale_totals.c.since_ms).limit(bindparam("most")).subquery()
    ),
    lambda count, since_ms: (count, since_ms),
)
DROP_STALE_TOTALS = Command(
    delete(stale_totals).where(
        stale_totals.c.user_id == bindparam("player_id"), stale_totals.c.mode == bindparam("in_mode")
    )
)
DROP_STALE_TOTALS_BETWEEN = Command(
    delete(stale_totals).where(stale_totals.c.user_id.between(bindparam("first"), bindparam("last")))
)
_this_profile: Final = and_(
    scores.c.user_id == stale_totals.c.user_id, scores.c.mode == stale_totals.c.mode, scores.c.best_pp == 1
)
_best_combo: Final = (
    select(scores.c.max_combo)
    .select_from(_scores_and_maps)
    .where(
        scores.c.user_id == stale_totals.c.user_id,
        scores.c.mode == stale_totals.c.mode,
        scores.c.passed == 1,
        scores.c.hidden == 0,
        _HAS_BOARD,
    )
    .order_by(scores.c.max_combo.desc())
    .limit(1)
    .correlate(stale_totals)
    .scalar_subquery()
)
# What depends on the statuses of maps, but for pp and accuracy: from the bests alone, along `ix_scores_best_of`.
RETOTALLED = Query(
    select(
        stale_totals.c.user_id,
        stale_totals.c.mode,
        _sum(scores.c.score, _COUNTS),
        _sum(literal_column("1"), _GIVES_PP),
        func.coalesce(_best_combo, 0),
        *[_sum(literal_column("1"), and_(_COUNTS, scores.c.grade == grade)) for grade in _GRADES.values()],
    )
    .select_from(
        stale_totals.outerjoin(scores, and_(_this_profile, scores.c.hidden == 0)).outerjoin(
            maps, maps.c.key == scores.c.map_key
        )
    )
    .where(stale_totals.c.user_id.between(bindparam("first"), bindparam("last")))
    .group_by(stale_totals.c.user_id, stale_totals.c.mode),
    lambda user_id, mode, *row: ((user_id, mode), row),
)
RETOTALLED_FIELDS: Final = ("rscore", "bests", "max_combo", *_GRADES)
SET_RETOTALLED = Command(update(stats).where(_these_stats).values(_names(*RETOTALLED_FIELDS, "pp", "acc")))

# The maps that a player has played in one mode, locked: their counters and first places are looked at again.
LOCK_MAPS_OF = Query(
    select(maps.c.key)
    .select_from(play_counts.join(maps, maps.c.key == play_counts.c.map_key))
    .where(
        play_counts.c.user_id == bindparam("user_id"),
        play_counts.c.mode == bindparam("mode"),
        play_counts.c.map_key > bindparam("after"),
    )
    .order_by(play_counts.c.map_key)
    .limit(bindparam("most"))
    .with_for_update(key_share=True, of=maps),
    only,
)
COUNTERS_OF_MAPS = Query(
    select(scores.c.map_key, func.count(), cast(func.sum(scores.c.passed), BigInteger))
    .select_from(
        play_counts.join(scores, scores.c.map_key == play_counts.c.map_key).join(users, users.c.id == scores.c.user_id)
    )
    .where(
        play_counts.c.user_id == bindparam("user_id"),
        play_counts.c.mode == bindparam("mode"),
        play_counts.c.map_key.between(bindparam("first"), bindparam("last")),
        scores.c.hidden == 0,
        visible(),
    )
    .group_by(scores.c.map_key),
    lambda map_key, plays, passes: (map_key, (plays, passes)),
)
MAPS_PLAYED = Query(select(func.count()).where(play_counts.c.user_id == bindparam("user_id")), only)
LOCK_MAP = Query(select(maps.c.key).where(maps.c.key == bindparam("map_key")).with_for_update(key_share=True), only)
LOCK_MAPS = Query(
    select(maps.c.key)
    .where(maps.c.key.between(bindparam("first"), bindparam("last")))
    .order_by(maps.c.key)
    .with_for_update(key_share=True),
    only,
)
PLAYERS_ON = Query(
    select(scores.c.user_id).distinct().where(scores.c.map_key == bindparam("map_key"), scores.c.best_pp == 1),
    only,
    lane=Lane.JOB,
)
# A player's scores in one mode, a page at a time, which move to another country's boards.
SCORES_OF = Query(
    select(scores.c.id)
    .where(
        scores.c.user_id == bindparam("user_id"), scores.c.mode == bindparam("mode"), scores.c.id > bindparam("after")
    )
    .order_by(scores.c.id)
    .limit(bindparam("most")),
    only,
)
_country: Final = select(users.c.country).where(users.c.id == scores.c.user_id).scalar_subquery()
MOVE_SCORES = Command(
    update(scores)
    .where(
        scores.c.user_id == bindparam("player_id"),
        scores.c.mode == bindparam("in_mode"),
        scores.c.id.between(bindparam("first"), bindparam("last")),
        scores.c.country != _country,
    )
    .values(country=_country)
)
PLAYS_IN_ALL = Query(
    select(cast(func.sum(stats.c.plays), BigInteger)).where(stats.c.user_id == bindparam("user_id")), only
)
SET_COUNTRIES = Command(update(scores).where(_in_range, scores.c.country != _country).values(country=_country))
SET_COUNTRY = Command(
    update(stats).where(stats.c.user_id == bindparam("player_id")).values(country=bindparam("country"))
)

LOCK_USERS = Query(
    select(users.c.id)
    .where(users.c.id.between(bindparam("first"), bindparam("last")))
    .order_by(users.c.id)
    .with_for_update(key_share=True),
    only,
)

# --- proofs

_counted: Final = (
    select(scores.c.user_id, scores.c.mode, scores.c.map_key, func.count().label("plays"))
    .where(_in_range, scores.c.hidden == 0)
    .group_by(scores.c.user_id, scores.c.mode, scores.c.map_key)
)
_noted: Final = select(play_counts.c.user_id, play_counts.c.mode, play_counts.c.map_key, play_counts.c.plays).where(
    play_counts.c.user_id.between(bindparam("first"), bindparam("last"))
)
PLAY_COUNTS_MISSING = Query(_counted.except_(_noted).limit(WEIGHTED_MAX), lambda *row: row, lane=Lane.JOB)
PLAY_COUNTS_INVENTED = Query(_noted.except_(_counted).limit(WEIGHTED_MAX), lambda *row: row, lane=Lane.JOB)

WRONG_FLAGS = (
    select(scores.c.id)
    .select_from(scores.outerjoin(_settled, _settled.c.id == scores.c.id))
    .where(
        _in_range,
        scores.c.best_pp * 4 + scores.c.best_score * 2 + scores.c.best_mods
        != func.coalesce(_settled.c.best_pp * 4 + _settled.c.best_score * 2 + _settled.c.best_mods, 0),
    )
    .limit(WEIGHTED_MAX)
)
TRUE_FIRST_PLACES = Query(
    select(_places.c.map_key, _places.c.mode, _places.c.score_id).where(_places.c.place == 1),
    lambda key, mode, score_id: (key, mode, score_id),
    lane=Lane.JOB,
)
SET_USER_COUNTER = Command(update(counters).where(counters.c.name == "users").values(value=bindparam("value")))
