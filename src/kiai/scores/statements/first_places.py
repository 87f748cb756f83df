"""Statements that read and replace the first place of a map in a mode.

The caller holds the lock on the map's row. All players of the map change the same row of `first_places`.
"""

from typing import Final

import msgspec
from sqlalchemy import (
    and_,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from kiai.accounts.visibility import visible
from kiai.scores.rules import MAP_HAS_BOARD
from kiai.scores.statements.expressions import named, scores_and_maps
from kiai.storage.port import Command, Query, scalar
from kiai.storage.tables import (
    first_place_changes,
    first_places,
    scores,
    users,
)

NEWEST_CHANGES: Final = 100
"""First places that a rebuild lists as changes, where no change was recorded."""


class BoardTop(msgspec.Struct, frozen=True):
    """The top line of a board. `measure` is its score or its pp, by which the board sorts."""

    score_id: int
    user_id: int
    measure: float

    @property
    def holder(self) -> tuple[int, int]:
        """The score and its player, as the first place stores them."""
        return self.score_id, self.user_id


_on_map: Final = and_(
    scores.c.map_key == bindparam("map_key"),
    scores.c.mode == bindparam("mode"),
    scores.c.hidden == 0,
    visible(),
    MAP_HAS_BOARD,
)
_top: Final = select(scores.c.id, scores.c.user_id).select_from(
    scores_and_maps.join(users, users.c.id == scores.c.user_id)
)
# The first entry of `ix_scores_board` or `ix_scores_pp_board` whose player is visible; hidden ones are skipped. `id` is
# the second key: at an equal measure the earlier score keeps the place.
TOP_LINE_BY_SCORE = Query(
    _top.add_columns(scores.c.score)
    .where(_on_map, scores.c.best_score == 1)
    .order_by(scores.c.score.desc(), scores.c.id)
    .limit(1),
    BoardTop,
)
TOP_LINE_BY_PP = Query(
    _top.add_columns(scores.c.pp)
    .where(_on_map, scores.c.best_pp == 1)
    .order_by(scores.c.pp.desc(), scores.c.id)
    .limit(1),
    BoardTop,
)
FIRST_PLACE = Query(
    select(first_places.c.score_id, first_places.c.user_id).where(
        first_places.c.map_key == bindparam("map_key"), first_places.c.mode == bindparam("mode")
    ),
    lambda score_id, user_id: (score_id, user_id),
)
# DELETE and INSERT instead of an upsert: the dialects spell it differently, and the row changes rarely.
DROP_FIRST_PLACE = Command(
    delete(first_places).where(first_places.c.map_key == bindparam("map_key"), first_places.c.mode == bindparam("mode"))
)
ADD_CHANGE = Command(
    insert(first_place_changes).values(named("at_ms", "score_id", "previous_score_id", "previous_user_id"))
)
ANY_CHANGE = Query(select(first_place_changes.c.id).limit(1), scalar, scans="it reads one row")
ADD_NEWEST_CHANGES = Command(
    insert(first_place_changes).from_select(
        ["at_ms", "score_id"],
        select(first_places.c.since_ms, first_places.c.score_id)
        .where(
            first_places.c.score_id.in_(
                select(first_places.c.score_id).order_by(first_places.c.since_ms.desc()).limit(NEWEST_CHANGES)
            )
        )
        .order_by(first_places.c.since_ms),
    ),
    scans="a rebuild reads all first places, once",
)
SET_FIRST_PLACE = Command(insert(first_places).values(named("map_key", "mode", "score_id", "user_id", "since_ms")))
# For a place that has a holder.
PASS_ON = Command(
    update(first_places)
    .where(first_places.c.map_key == bindparam("on_map"), first_places.c.mode == bindparam("in_mode"))
    .values(named("score_id", "user_id", "since_ms"))
)
