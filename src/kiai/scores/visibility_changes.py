"""Effects of a player's visibility and country on boards, first places, map counters and ranks.

The scores and stats of a hidden player do not change. Every board applies the predicate of visibility when it is read,
so boards are right from the commit on. First places, map counters and the country on scores need a statement for each
map or score, so they become a task, which `reconciling.py` does in steps.
"""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import bindparam, select, update

from kiai.accounts.visibility import BOARDS_LOOK_CHANGED
from kiai.clock import Clock
from kiai.scores import profiles, records, statements
from kiai.storage import tasks
from kiai.storage.outbox import enqueue, enqueue_each
from kiai.storage.port import Command, Transaction
from kiai.storage.tables import medal_holders, medals

VISIBILITY: Final = "visibility"
COUNTRY: Final = "country"


COUNT_HOLDERS: Final = Command(
    update(medal_holders)
    .where(medal_holders.c.medal_id.in_(select(medals.c.medal_id).where(medals.c.user_id == bindparam("of_player"))))
    .values(holders=medal_holders.c.holders + bindparam("by"))
)
"""Adds to the counters of the medals of a player: 1 when the player becomes visible, -1 when hidden."""


class Standing:
    """Starts the updates that a change of visibility or country needs, in the transaction of the change."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def on_visibility_change(self, tx: Transaction, user_id: int, *, public: bool) -> None:
        """Start the updates for an account that this transaction has made visible (`public`) or hidden.

        Call it once for each change, because it adds to counters. The transaction holds a lock on the account's row.
        """
        now = self._clock.now_ms()
        # Invalidates cached pages of all boards, from the commit on.
        await tx.run(BOARDS_LOOK_CHANGED)
        await tx.run(COUNT_HOLDERS, of_player=user_id, by=1 if public else -1)
        await tasks.begin(tx, VISIBILITY, user_id, now)
        played = await tx.all(profiles.STATS_OF, user_id=user_id)
        await records.recompute(tx, [stats.mode for stats in played if stats.pp > 0])
        await enqueue(tx, "ranks", user_id, now)

    async def on_visibility_changes(self, tx: Transaction, public: Mapping[int, bool]) -> None:
        """Start the updates for several accounts, as `on_visibility_change`; `public` by id."""
        now = self._clock.now_ms()
        ids = sorted(public)
        await tx.run(BOARDS_LOOK_CHANGED)
        await tx.run_many(
            COUNT_HOLDERS, [{"of_player": user_id, "by": 1 if public[user_id] else -1} for user_id in ids]
        )
        await tasks.begin_each(tx, VISIBILITY, ids, now)
        await records.recompute(tx)
        await enqueue_each(tx, "ranks", ids, now)

    async def on_country_change(self, tx: Transaction, user_id: int, country: str) -> None:
        """Start the updates for an account whose country this transaction has changed.

        The stats move to the lists of the other country at once; the scores follow as a task.
        """
        now = self._clock.now_ms()
        await tx.run(statements.reconciling.SET_COUNTRY, player_id=user_id, country=country)
        await tx.run(BOARDS_LOOK_CHANGED)
        await tasks.begin(tx, COUNTRY, user_id, now)
        await enqueue(tx, "ranks", user_id, now)
