"""Statements that compare derived rows with the scores they derive from. `kiai doctor` runs them."""

from typing import Final

from sqlalchemy import (
    bindparam,
    func,
    select,
    update,
)

from kiai.scores.statements.expressions import WEIGHTED_MAX, players_in_range
from kiai.scores.statements.rebuilding import expected_flags, places
from kiai.storage.port import Command, Lane, Query
from kiai.storage.tables import (
    counters,
    play_counts,
    scores,
)

# EXCEPT in both directions finds missing and surplus rows, and counts that differ appear in both.
_expected_counts: Final = (
    select(scores.c.user_id, scores.c.mode, scores.c.map_key, func.count().label("plays"))
    .where(players_in_range, scores.c.hidden == 0)
    .group_by(scores.c.user_id, scores.c.mode, scores.c.map_key)
)
_stored_counts: Final = select(
    play_counts.c.user_id, play_counts.c.mode, play_counts.c.map_key, play_counts.c.plays
).where(play_counts.c.user_id.between(bindparam("first"), bindparam("last")))
PLAY_COUNTS_MISSING = Query(
    _expected_counts.except_(_stored_counts).limit(WEIGHTED_MAX), lambda *row: row, lane=Lane.JOB
)
PLAY_COUNTS_INVENTED = Query(  # rows that no score accounts for
    _stored_counts.except_(_expected_counts).limit(WEIGHTED_MAX), lambda *row: row, lane=Lane.JOB
)

# The three flags as one number compare in one expression. A score without a row in `expected_flags` must have none.
WRONG_FLAGS = (
    select(scores.c.id)
    .select_from(scores.outerjoin(expected_flags, expected_flags.c.id == scores.c.id))
    .where(
        players_in_range,
        scores.c.best_pp * 4 + scores.c.best_score * 2 + scores.c.best_mods
        != func.coalesce(
            expected_flags.c.best_pp * 4 + expected_flags.c.best_score * 2 + expected_flags.c.best_mods, 0
        ),
    )
    .limit(WEIGHTED_MAX)
)
TRUE_FIRST_PLACES = Query(
    select(places.c.map_key, places.c.mode, places.c.score_id).where(places.c.place == 1),
    lambda key, mode, score_id: (key, mode, score_id),
    lane=Lane.JOB,
)
SET_USER_COUNTER = Command(update(counters).where(counters.c.name == "users").values(value=bindparam("value")))
