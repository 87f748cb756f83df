"""Overwriting: a player chooses their last pass on a map as the best one, although an earlier one is better.

The earlier passes on the map and mode get a mark, hidden ones as well, because staff may show them again. They stay in
all lists and counters, but they are bests only where the player has no pass without the mark. A later pass is compared
with the chosen one.

See docs/spec/game-rules.md#overwritten-scores.
"""

from sqlalchemy import bindparam, literal_column, update

from kiai.clock import Clock
from kiai.errors import NotFound, WrongState
from kiai.scores import records, statements
from kiai.scores.hiding import set_best_flags
from kiai.scores.recording import refresh_first_place
from kiai.storage.port import Command, Transaction
from kiai.storage.tables import scores

_MARK_EARLIER = Command(
    update(scores)
    .where(
        scores.c.map_key == bindparam("on_map"),
        scores.c.mode == bindparam("in_mode"),
        scores.c.user_id == bindparam("of_user"),
        scores.c.passed == literal_column("1"),
        scores.c.id < bindparam("kept_id"),
    )
    .values(overwritten=1)
)


async def make_best(tx: Transaction, clock: Clock, user_id: int, score_id: int) -> int:
    """Make a pass the best one of its player on its map and mode. Return the id of the former best one.

    Raises NotFound("score"), also for a fail and for a hidden score, and WrongState for one that is the best already.
    """
    now = clock.now_ms()
    # The same locks as in the recording of a play: the player, then the map.
    if await tx.one(statements.plays.LOCK_USER, user_id=user_id) is None:
        raise NotFound("player")
    found = await tx.one(statements.hiding.SCORE, id=score_id)
    if found is None or found.user_id != user_id or found.hidden or not found.passed:
        raise NotFound("score")
    await tx.one(statements.reconciling.LOCK_MAP, map_key=found.map_key)
    where = {"map_key": found.map_key, "mode": found.mode, "user_id": user_id}
    former = await tx.one(statements.plays.BEST_BY_SCORE, **where)
    by_pp = await tx.one(statements.plays.BEST_BY_PP, **where)
    if former is None or by_pp is None or former.id == by_pp.id == score_id:
        raise WrongState("this score is already the best one on its beatmap")
    await tx.run(_MARK_EARLIER, on_map=found.map_key, in_mode=found.mode, of_user=user_id, kept_id=score_id)
    page = {"user_id": user_id, "mode": found.mode, "first": score_id, "last": score_id}
    await set_best_flags(tx, await tx.all(statements.hiding.CANDIDATES_OF_USER_PAGE, **page))
    await refresh_first_place(tx, found.map_key, found.mode, since_ms=now)
    await tx.run(statements.hiding.BOARDS_CHANGED, map_key=found.map_key)
    await records.recompute(tx, [found.mode])
    # The job computes pp and the other totals of the bests again, and the ranks.
    if await tx.one(statements.hiding.IS_STALE, user_id=user_id, mode=found.mode) is None:
        await tx.run(statements.hiding.ADD_STALE, user_id=user_id, mode=found.mode, since_ms=now)
    return former.id
