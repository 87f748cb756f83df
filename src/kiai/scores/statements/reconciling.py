"""Statements of the steps of `kiai.scores.reconciling`, after a change of a status, visibility or country.

Each step reads a page behind `after`, at most `most` rows, and locks it. Pages are in the order of ids or keys, as are
the locks of all other transactions, so that two of them cannot deadlock.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    and_,
    bindparam,
    cast,
    delete,
    func,
    insert,
    literal_column,
    select,
    update,
)

from kiai.accounts.visibility import visible
from kiai.scores.rules import MAP_COUNTS, MAP_GIVES_PP, MAP_HAS_BOARD
from kiai.scores.statements.expressions import (
    COUNTED_GRADES,
    named,
    players_in_range,
    scores_and_maps,
    sum_where,
    these_stats,
)
from kiai.storage.port import Command, Lane, Query, scalar
from kiai.storage.tables import (
    maps,
    play_counts,
    scores,
    stale_totals,
    stats,
    users,
)

# Players with a best on a map in one mode, by `uq_scores_best_pp`. `of=users` locks the players, not their scores.
# FOR NO KEY UPDATE lets other transactions insert rows that refer to them.
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
    scalar,
)
# A profile may be stale already because of another map; its row stays with the earlier time.
ADD_STALE_TOTALS = Command(
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
# By player, not by age: a player's modes come together, and a step locks few players.
STALE_TOTALS = Query(
    select(stale_totals.c.user_id, stale_totals.c.mode)
    .select_from(stale_totals.join(users, users.c.id == stale_totals.c.user_id))
    .order_by(stale_totals.c.user_id, stale_totals.c.mode)
    .limit(bindparam("most"))
    .with_for_update(key_share=True, of=users),
    lambda user_id, mode: (user_id, mode),
)
# The LIMIT in the subquery bounds the count. The oldest time is exact only up to that bound.
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
# The first entry of `ix_scores_combo_of` whose map has a board, also of scores that are not bests.
_best_combo: Final = (
    select(scores.c.max_combo)
    .select_from(scores_and_maps)
    .where(
        scores.c.user_id == stale_totals.c.user_id,
        scores.c.mode == stale_totals.c.mode,
        scores.c.passed == 1,
        scores.c.hidden == 0,
        MAP_HAS_BOARD,
    )
    .order_by(scores.c.max_combo.desc())
    .limit(1)
    .correlate(stale_totals)
    .scalar_subquery()
)
# The totals that depend on the status of maps, except pp and accuracy, which `recording.totals` computes.
# PERF: it reads bests only, by `ix_scores_best_of`; a profile has far more scores. The outer joins keep profiles
# without bests.
NEW_TOTALS = Query(
    select(
        stale_totals.c.user_id,
        stale_totals.c.mode,
        sum_where(scores.c.score, MAP_COUNTS),
        sum_where(literal_column("1"), MAP_GIVES_PP),
        func.coalesce(_best_combo, 0),
        *[
            sum_where(literal_column("1"), and_(MAP_COUNTS, scores.c.grade == grade))
            for grade in COUNTED_GRADES.values()
        ],
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
NEW_TOTALS_FIELDS: Final = ("rscore", "bests", "max_combo", *COUNTED_GRADES)
SET_NEW_TOTALS = Command(update(stats).where(these_stats).values(named(*NEW_TOTALS_FIELDS, "pp", "acc")))

# The maps that a player has played in one mode, by the primary key of `play_counts`. The lock is the one that recording
# takes last, so counters and first places cannot change before the commit.
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
    scalar,
)
# Counted from all scores of the maps, by `ix_scores_map`: adding or subtracting the player's plays would not be safe to
# repeat.
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
MAPS_PLAYED = Query(select(func.count()).where(play_counts.c.user_id == bindparam("user_id")), scalar)
LOCK_MAP = Query(select(maps.c.key).where(maps.c.key == bindparam("map_key")).with_for_update(key_share=True), scalar)
LOCK_MAPS = Query(
    select(maps.c.key)
    .where(maps.c.key.between(bindparam("first"), bindparam("last")))
    .order_by(maps.c.key)
    .with_for_update(key_share=True),
    scalar,
)
PLAYERS_ON = Query(
    select(scores.c.user_id).distinct().where(scores.c.map_key == bindparam("map_key"), scores.c.best_pp == 1),
    scalar,
    lane=Lane.JOB,
)
# A page of a player's scores in one mode, by `ix_scores_recent_of`. They move to the boards of another country.
SCORES_OF = Query(
    select(scores.c.id)
    .where(
        scores.c.user_id == bindparam("user_id"), scores.c.mode == bindparam("mode"), scores.c.id > bindparam("after")
    )
    .order_by(scores.c.id)
    .limit(bindparam("most")),
    scalar,
)
# Read from the account at the time of the step: the country may have changed again since the task began.
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
    select(cast(func.sum(stats.c.plays), BigInteger)).where(stats.c.user_id == bindparam("user_id")), scalar
)
SET_COUNTRIES = Command(update(scores).where(players_in_range, scores.c.country != _country).values(country=_country))
SET_COUNTRY = Command(
    update(stats).where(stats.c.user_id == bindparam("player_id")).values(country=bindparam("country"))
)

LOCK_USERS = Query(
    select(users.c.id)
    .where(users.c.id.between(bindparam("first"), bindparam("last")))
    .order_by(users.c.id)
    .with_for_update(key_share=True),
    scalar,
)
