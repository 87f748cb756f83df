"""Pinned scores: up to 10 scores in each mode that a player shows at the top of the profile, in an order of choice."""

from typing import Final

from sqlalchemy import bindparam, delete, insert, select, update

from kiai.beatmaps.model import MapSummary
from kiai.errors import Invalid, NotFound, Refused
from kiai.scores import statements
from kiai.scores.listing_parts import NOT_HIDDEN, mapped, score_columns
from kiai.scores.model import MappedScore
from kiai.scores.statements.expressions import named
from kiai.storage.port import Command, Database, Query, Transaction, columns_for
from kiai.storage.tables import maps, pinned_scores, scores

PINS_MAX: Final = 10

# By `ix_pinned_scores_of`: at most 10 rows.
PINNED_OF = Query(
    select(*score_columns(), *columns_for(MapSummary, maps))
    .select_from(
        pinned_scores.join(scores, scores.c.id == pinned_scores.c.score_id).join(maps, maps.c.key == scores.c.map_key)
    )
    .where(pinned_scores.c.user_id == bindparam("user_id"), pinned_scores.c.mode == bindparam("mode"), NOT_HIDDEN)
    .order_by(pinned_scores.c.position, pinned_scores.c.score_id)
    .limit(PINS_MAX),
    mapped,
)
_OWN_SCORE = Query(
    select(scores.c.user_id, scores.c.mode, scores.c.passed).where(scores.c.id == bindparam("score_id"), NOT_HIDDEN),
    lambda *row: row,
)
# Without hidden scores, which their player cannot see. They are pinned again when they come back.
_ORDER = Query(
    select(pinned_scores.c.score_id)
    .select_from(pinned_scores.join(scores, scores.c.id == pinned_scores.c.score_id))
    .where(pinned_scores.c.user_id == bindparam("user_id"), pinned_scores.c.mode == bindparam("mode"), NOT_HIDDEN)
    .order_by(pinned_scores.c.position, pinned_scores.c.score_id)
    .limit(PINS_MAX),
    lambda score_id: int(score_id),
)
_ADD = Command(insert(pinned_scores).values(named("score_id", "user_id", "mode", "position")))
_REMOVE = Command(delete(pinned_scores).where(pinned_scores.c.score_id == bindparam("score_id")))
_PLACE = Command(
    update(pinned_scores)
    .where(pinned_scores.c.score_id == bindparam("of_score"))
    .values(position=bindparam("new_position"))
)


class Pins:
    """Pins, unpins and moves scores. Each change locks the player, so that two at once keep the order complete."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, user_id: int, mode: int) -> list[MappedScore]:
        """Return a player's pinned scores in a mode, in the player's order."""
        return await self._database.all(PINNED_OF, user_id=user_id, mode=mode)

    async def pin(self, user_id: int, score_id: int) -> None:
        """Pin a passed score of this player behind the others. Do nothing if it is pinned.

        Raises NotFound("score") for a score of another player, and Refused for a failed play and at the limit.
        """

        async def body(tx: Transaction) -> None:
            mode, passed = await _own(tx, user_id, score_id)
            order = await tx.all(_ORDER, user_id=user_id, mode=mode)
            if score_id in order:
                return
            if not passed:
                raise Refused("a failed play cannot be pinned")
            if len(order) >= PINS_MAX:
                raise Refused(f"at most {PINS_MAX} scores can be pinned in a mode")
            await tx.run(_ADD, score_id=score_id, user_id=user_id, mode=mode, position=len(order) + 1)

        await self._database.transaction(body)

    async def unpin(self, user_id: int, score_id: int) -> None:
        """Unpin a score of this player. Do nothing if it is not pinned. Raises NotFound("score")."""

        async def body(tx: Transaction) -> None:
            mode, _ = await _own(tx, user_id, score_id)
            order = await tx.all(_ORDER, user_id=user_id, mode=mode)
            if score_id in order:
                await tx.run(_REMOVE, score_id=score_id)
                await _write_order(tx, [pinned for pinned in order if pinned != score_id])

        await self._database.transaction(body)

    async def move(self, user_id: int, score_id: int, position: int) -> None:
        """Move a pinned score of this player to a position from 1; the ones behind move on.

        Raises NotFound("score") also for a score that is not pinned, and Invalid for a position that does not exist.
        """

        async def body(tx: Transaction) -> None:
            mode, _ = await _own(tx, user_id, score_id)
            order = await tx.all(_ORDER, user_id=user_id, mode=mode)
            if score_id not in order:
                raise NotFound("score")
            if not 1 <= position <= len(order):
                raise Invalid("position", f"a whole number from 1 to {len(order)}", position)
            order.remove(score_id)
            order.insert(position - 1, score_id)
            await _write_order(tx, order)

        await self._database.transaction(body)

    async def shift(self, user_id: int, score_id: int, by: int) -> None:
        """Move a pinned score of this player by some positions; it stops at the ends. Raises NotFound("score")."""

        async def body(tx: Transaction) -> None:
            mode, _ = await _own(tx, user_id, score_id)
            order = await tx.all(_ORDER, user_id=user_id, mode=mode)
            if score_id not in order:
                raise NotFound("score")
            at = order.index(score_id)
            order.remove(score_id)
            order.insert(min(max(at + by, 0), len(order)), score_id)
            await _write_order(tx, order)

        await self._database.transaction(body)


async def _own(tx: Transaction, user_id: int, score_id: int) -> tuple[int, int]:
    """Lock the player. Return mode and `passed` of the score, which must be the player's."""
    await tx.one(statements.plays.LOCK_USER, user_id=user_id)
    found = await tx.one(_OWN_SCORE, score_id=score_id)
    if found is None or found[0] != user_id:
        raise NotFound("score")
    return found[1], found[2]


async def _write_order(tx: Transaction, order: list[int]) -> None:
    await tx.run_many(
        _PLACE, [{"of_score": score_id, "new_position": at} for at, score_id in enumerate(order, start=1)]
    )
