"""What a player's visibility and country mean for boards: hidden players leave first places, map counters and ranks.

Their scores and stats stay as they are, and every board joins the visibility predicate by itself, so it is right from
the commit on. What takes a statement for each map or score is left as a task that `settling.py` does in steps.
"""

from typing import Final

from kiai.accounts.visibility import BOARDS_LOOK_CHANGED
from kiai.clock import Clock
from kiai.scores import statements
from kiai.storage import tasks
from kiai.storage.outbox import tell
from kiai.storage.port import Transaction

VISIBILITY: Final = "visibility"
COUNTRY: Final = "country"


class Standing:
    """Moves players in and out of what everybody sees; each verb joins the caller's transaction."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def changed(self, tx: Transaction, user_id: int) -> None:
        """The account `user_id` has just become visible or hidden in this transaction, which holds its row."""
        now = self._clock.now_ms()
        await tx.run(BOARDS_LOOK_CHANGED)
        await tasks.begin(tx, VISIBILITY, user_id, now)
        await tell(tx, "ranks", user_id, now)

    async def moved(self, tx: Transaction, user_id: int, country: str) -> None:
        """The account's country has changed in this transaction: its profiles move to the other country's lists."""
        now = self._clock.now_ms()
        await tx.run(statements.SET_COUNTRY, player_id=user_id, country=country)
        await tx.run(BOARDS_LOOK_CHANGED)
        await tasks.begin(tx, COUNTRY, user_id, now)
        await tell(tx, "ranks", user_id, now)
