"""Statements that record one play: the score, the replay, stats, play counts, medals and the stored chart."""

from itertools import combinations
from typing import Final

from sqlalchemy import (
    BigInteger,
    Integer,
    bindparam,
    case,
    delete,
    exists,
    insert,
    literal,
    or_,
    select,
    union_all,
    update,
)

from kiai.scores.medals import DayPlay
from kiai.scores.model import Best, WeightedBest
from kiai.scores.rules import MAP_GIVES_PP
from kiai.scores.statements.expressions import WEIGHTED_MAX, named, scores_and_maps, these_stats
from kiai.storage.port import Command, Query, columns_for, scalar
from kiai.storage.tables import (
    medal_holders,
    medals,
    month_plays,
    play_counts,
    replays,
    scores,
    stats,
    submissions,
    users,
)

# FOR NO KEY UPDATE instead of FOR UPDATE: other transactions may insert rows with a foreign key to the player, as a
# rebuild does with first places. FOR UPDATE would block them, and two such transactions could deadlock.
LOCK_USER = Query(
    select(users.c.priv, users.c.country).where(users.c.id == bindparam("user_id")).with_for_update(key_share=True),
    lambda priv, country: (priv, country),
)
# The player, the counter of plays of the map, and whether that of the month has a row.
PLAYER = Query(
    select(
        users.c.priv,
        users.c.country,
        select(play_counts.c.plays)
        .where(
            play_counts.c.user_id == users.c.id,
            play_counts.c.mode == bindparam("in_mode"),
            play_counts.c.map_key == bindparam("on_map"),
        )
        .correlate(users)
        .scalar_subquery(),
        exists(month_plays.c.plays)
        .where(
            month_plays.c.user_id == users.c.id,
            month_plays.c.mode == bindparam("in_mode"),
            month_plays.c.month == bindparam("in_month"),
        )
        .correlate(users),
    ).where(users.c.id == bindparam("user_id")),
    lambda *row: row,
)
_best = select(*columns_for(Best, scores)).where(
    scores.c.map_key == bindparam("map_key"),
    scores.c.mode == bindparam("mode"),
    scores.c.user_id == bindparam("user_id"),
)
# One entry each, by the unique indexes `uq_scores_best_pp`, `uq_scores_best_score` and `uq_scores_best_mods`.
BEST_BY_PP = Query(_best.where(scores.c.best_pp == 1), Best)
BEST_BY_SCORE = Query(_best.where(scores.c.best_score == 1), Best)
_with_mods = _best.where(scores.c.best_mods == 1, scores.c.mods_key == bindparam("mods_key"))
# PERF: the three reads in one statement, because a statement costs 10 us besides its rows, and a round trip elsewhere.
BESTS = Query(
    union_all(
        *[
            one.add_columns(literal(kind).label("kind"))
            for kind, one in enumerate(
                (_best.where(scores.c.best_pp == 1), _best.where(scores.c.best_score == 1), _with_mods)
            )
        ]
    ),
    lambda *row: (row[-1], Best(*row[:-1])),
)
BEST_FLAGS: Final = ("best_pp", "best_score", "best_mods")
# A statement for each set of flags that a score loses, in the order above.
# PERF: SQLite changes the indexes of all columns that a statement names. One statement for all sets, which left
# the others as they were, took 50 us instead of 20 to 35.
DEMOTE: Final = {
    flags: Command(update(scores).where(scores.c.id == bindparam("of_score")).values(dict.fromkeys(flags, 0)))
    for size in range(1, len(BEST_FLAGS) + 1)
    for flags in combinations(BEST_FLAGS, size)
}

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
INSERT_SCORE = Query(insert(scores).values(named(*SCORE_FIELDS)).returning(scores.c.id), scalar)
INSERT_SCORES = Command(insert(scores).values(named(*SCORE_FIELDS)))
REPLAY_FIELDS: Final = ("score_id", "md5", "sha256", "size", "life_bar", "target_accuracy")
INSERT_REPLAY = Command(insert(replays).values(named(*REPLAY_FIELDS)))
# By the unique indexes on `replays.md5` and `scores.checksum`.
REPLAY_KNOWN = Query(select(replays.c.score_id).where(replays.c.md5 == bindparam("md5")), scalar)
CHECKSUM_KNOWN = Query(select(scores.c.id).where(scores.c.checksum == bindparam("checksum")), scalar)

INSERT_STATS = Command(insert(stats).values(named("user_id", "mode", "country")))
ADDED_BY_PLAY: Final = ("tscore", "plays", "playtime", "total_hits")
ADDED_BY_BEST: Final = ("rscore", "bests", "xh_count", "x_count", "sh_count", "s_count", "a_count")
TOTALS: Final = ("pp", "acc")


def _add_to_stats(*columns: str) -> Command:
    """Return the statement that adds a play to stats; `columns` are those that not every play changes."""
    # Increments instead of values: the stats need not be read first. CASE is the greater of two values on both engines
    # (SQLite's MAX is PostgreSQL's GREATEST).
    added = [*ADDED_BY_PLAY, *(name for name in columns if name not in TOTALS)]
    increments = {name: stats.c[name] + bindparam(f"by_{name}", type_=BigInteger()) for name in added}
    combo = case((stats.c.max_combo < bindparam("combo"), bindparam("combo")), else_=stats.c.max_combo)
    # An imported replay may be older than the latest play.
    latest = case((stats.c.last_play_ms < bindparam("at_ms"), bindparam("at_ms")), else_=stats.c.last_play_ms)
    totals = named(*(name for name in columns if name in TOTALS))
    return Command(
        update(stats).where(these_stats).values({**increments, "max_combo": combo, "last_play_ms": latest, **totals})
    )


# By the columns that are named besides those that every play changes.
# PERF: SQLite changes the two indexes of each column that a statement names, also if its value stays the same. Most
# plays change neither ranked score nor pp nor accuracy.
ADD_TO_STATS: Final = {
    (*by_best, *totals): _add_to_stats(*by_best, *totals)
    for by_best in ((), ADDED_BY_BEST)
    for totals in ((), ("pp",), ("acc",), TOTALS)
}
# The first 1,000 entries of `ix_scores_best_of` whose map gives pp. This is the largest read of a recorded play.
_weighted = (
    select(scores.c.pp, scores.c.acc)
    .select_from(scores_and_maps)
    .where(
        scores.c.user_id == bindparam("user_id"),
        scores.c.mode == bindparam("mode"),
        scores.c.best_pp == 1,
        scores.c.hidden == 0,
        MAP_GIVES_PP,
    )
    .order_by(scores.c.pp.desc(), scores.c.id.desc())
    .limit(WEIGHTED_MAX)
)
WEIGHTED = Query(_weighted, lambda pp, acc: (pp, acc))
WEIGHTED_WITH_IDS = Query(_weighted.add_columns(scores.c.id), WeightedBest)
COUNT_PLAY = Command(
    update(play_counts)
    .where(
        play_counts.c.user_id == bindparam("player_id"),
        play_counts.c.mode == bindparam("in_mode"),
        play_counts.c.map_key == bindparam("on_map"),
    )
    .values(
        plays=play_counts.c.plays + 1,
        # An imported replay may be older than the latest play.
        last_play_ms=case(
            (play_counts.c.last_play_ms < bindparam("at_ms"), bindparam("at_ms")), else_=play_counts.c.last_play_ms
        ),
    )
)
FIRST_PLAY = Command(insert(play_counts).values(named("user_id", "mode", "map_key", "plays", "last_play_ms")))
COUNT_IN_MONTH = Command(
    update(month_plays)
    .where(
        month_plays.c.user_id == bindparam("player_id"),
        month_plays.c.mode == bindparam("in_mode"),
        month_plays.c.month == bindparam("in_month"),
    )
    .values(plays=month_plays.c.plays + 1)
)
INSERT_MONTH = Command(insert(month_plays).values(named("user_id", "mode", "month", "plays")))


MEDALS_OF = Query(select(medals.c.medal_id).where(medals.c.user_id == bindparam("user_id")), scalar)
INSERT_MEDAL = Command(insert(medals).values(named("user_id", "medal_id", "unlocked_at_ms", "score_id")))
COUNT_HOLDER = Command(
    update(medal_holders)
    .where(medal_holders.c.medal_id == bindparam("of_medal"))
    .values(holders=medal_holders.c.holders + 1)
)
# In the order of `ix_scores_recent_of`. No index has `play_time_ms`, so the LIMIT of the inner statement bounds what is
# read: the last 1,000 plays are enough for every medal.
_last_plays = (
    select(scores.c.map_key, scores.c.grade, scores.c.passed, scores.c.play_time_ms)
    .where(scores.c.user_id == bindparam("user_id"), scores.c.mode == bindparam("mode"), scores.c.hidden == 0)
    .order_by(scores.c.id.desc())
    .limit(WEIGHTED_MAX)
    .subquery()
)
# `every_map` is 1 for the plays of all maps, 0 for those of `on_map`.
PLAYS_SINCE = Query(
    select(_last_plays.c.map_key, _last_plays.c.grade, _last_plays.c.passed).where(
        _last_plays.c.play_time_ms >= bindparam("since_ms"),
        or_(bindparam("every_map", type_=Integer()) == 1, _last_plays.c.map_key == bindparam("on_map")),
    ),
    DayPlay,
)
# The passes among them of one map, by `ix_scores_passes_on`: few rows, where `PLAYS_SINCE` reads up to 1,000.
PASSES_ON_SINCE = Query(
    select(scores.c.map_key, scores.c.grade, scores.c.passed)
    .where(
        scores.c.map_key == bindparam("on_map"),
        scores.c.user_id == bindparam("user_id"),
        scores.c.mode == bindparam("mode"),
        scores.c.passed == 1,
        scores.c.hidden == 0,
        scores.c.play_time_ms >= bindparam("since_ms"),
    )
    .order_by(scores.c.id.desc())
    .limit(WEIGHTED_MAX),
    DayPlay,
)
INSERT_CHART = Command(insert(submissions).values(named("score_id", "chart", "at_ms")))
CHART_OF = Query(select(submissions.c.chart).where(submissions.c.score_id == bindparam("score_id")), scalar)
COMPLETE_CHART = Command(
    update(submissions).where(submissions.c.score_id == bindparam("of_score")).values(chart=bindparam("new_chart"))
)
CHARTS_DELETED_AT_ONCE = 1_000
_old_charts = (
    select(submissions.c.score_id).where(submissions.c.at_ms < bindparam("before_ms")).limit(CHARTS_DELETED_AT_ONCE)
)
DELETE_OLD_CHARTS = Command(delete(submissions).where(submissions.c.score_id.in_(_old_charts)))
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
COUNT_VIEW_OF_PLAYER = Command(update(stats).where(these_stats).values(replay_views=stats.c.replay_views + 1))
