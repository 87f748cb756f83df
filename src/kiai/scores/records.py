"""The record of each mode: the visible score with the most pp on a map that gives pp.

A play raises the record in its own transaction. Everything that can lower it (a restriction, another status of a map,
a recalculation) computes it again with `recompute`.
"""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import bindparam, select, update

from kiai.accounts.visibility import visible
from kiai.osu.modes import MODES
from kiai.scores.listing_parts import NOT_HIDDEN, SCORES_AND_MAPS
from kiai.scores.rules import MAP_GIVES_PP
from kiai.storage.port import Command, Query, Transaction, scalar
from kiai.storage.tables import pp_records, scores, users

# Compares in the same statement: of two plays at once, the one with more pp stays.
RAISE: Final = Command(
    update(pp_records)
    .where(pp_records.c.mode == bindparam("in_mode"), pp_records.c.pp < bindparam("new_pp", type_=pp_records.c.pp.type))
    .values(score_id=bindparam("new_score"), pp=bindparam("new_pp", type_=pp_records.c.pp.type))
)
RECORD_OF: Final = Query(select(pp_records.c.pp).where(pp_records.c.mode == bindparam("mode")), scalar)
LOCK: Final = Query(
    select(pp_records.c.score_id, pp_records.c.pp).where(pp_records.c.mode == bindparam("mode")).with_for_update(),
    lambda score_id, pp: (score_id, pp),
)
# Walks `ix_scores_top` and skips scores of hidden players and on maps that give no pp.
TOP: Final = Query(
    select(scores.c.id, scores.c.pp)
    .select_from(SCORES_AND_MAPS.join(users, users.c.id == scores.c.user_id))
    .where(
        scores.c.mode == bindparam("mode"),
        scores.c.best_pp == 1,
        scores.c.pp > 0,
        NOT_HIDDEN,
        visible(),
        MAP_GIVES_PP,
    )
    .order_by(scores.c.pp.desc(), scores.c.id)
    .limit(1),
    lambda score_id, pp: (score_id, pp),
)
SET: Final = Command(
    update(pp_records)
    .where(pp_records.c.mode == bindparam("in_mode"))
    .values(score_id=bindparam("new_score"), pp=bindparam("new_pp"))
)


async def raise_to(tx: Transaction, mode: int, score_id: int, pp: float) -> bool:
    """Make a score the record of its mode if it has more pp, and return whether it has.

    The caller knows that it is visible and gives pp.
    """
    return bool(await tx.run(RAISE, in_mode=mode, new_score=score_id, new_pp=pp))


async def raise_later(tx: Transaction, mode: int, score_id: int, pp: float) -> None:
    """Like `raise_to`, together with other changes of the transaction, for a score that will not be the record."""
    await tx.later(RAISE, in_mode=mode, new_score=score_id, new_pp=pp)


async def recompute(tx: Transaction, modes: Iterable[int] = MODES) -> None:
    """Compute the records of these modes from the scores.

    Locks the records, so it comes after all other locks of the transaction.
    """
    for mode in sorted(modes):
        present = await tx.one(LOCK, mode=mode)
        top = await tx.one(TOP, mode=mode) or (None, 0.0)
        if present != top:
            await tx.run(SET, in_mode=mode, new_score=top[0], new_pp=top[1])
