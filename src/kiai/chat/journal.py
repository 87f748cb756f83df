"""Public lines, stored for staff who investigate reports (docs/spec/chat.md#lines-in-a-channel)."""

from typing import Final

from kiai.chat import queries
from kiai.clock import Clock
from kiai.errors import Unavailable
from kiai.logs import get_logger
from kiai.storage.batches import delete_in_batches
from kiai.storage.port import Database, Transaction, Value

WAITING_MAX: Final = 10_000
RETENTION_DAYS: Final = 30
DAY_MS: Final = 86_400_000

Row = dict[str, Value]


class Journal:
    """Queues lines in memory and writes them in batches, so that chat does not wait for the database.

    Queued lines are lost in a crash. `dropped`: the number of lines that were not written,
    because the queue was full.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._waiting: list[Row] = []
        self.dropped = 0

    @property
    def waiting(self) -> int:
        """The number of lines that are not written yet."""
        return len(self._waiting)

    def add(self, channel: str, user_id: int, text: str) -> None:
        """Queue a line. Beyond WAITING_MAX the oldest lines in the queue are dropped."""
        self._waiting.append({"channel": channel, "user_id": user_id, "at_ms": self._clock.now_ms(), "text": text})
        if len(self._waiting) > WAITING_MAX:
            self._drop_oldest()

    async def flush(self) -> int:
        """Write the queue and return the number of lines. A job and the shutdown call this. Raises Unavailable."""
        # A new list before the first await: lines added during the transaction belong to the next flush.
        rows, self._waiting = self._waiting, []
        if not rows:
            return 0

        async def body(tx: Transaction) -> None:
            await tx.run_many(queries.ADD_LINE, rows)

        try:
            await self._database.transaction(body)
        except Unavailable:
            self._waiting = rows + self._waiting
            self._drop_oldest()
            raise
        return len(rows)

    def _drop_oldest(self) -> None:
        excess = len(self._waiting) - WAITING_MAX
        if excess > 0:
            # PERF: an eighth more at once. Deleting the head moves the list, and while the database does not answer,
            # each new line would do that.
            excess += WAITING_MAX >> 3
            del self._waiting[:excess]
            self.dropped += excess
            get_logger("chat").warning("chat lines lost", lines=excess)

    async def delete_older(self, days: int = RETENTION_DAYS) -> int:
        """Delete lines older than `days` and return their number. A job calls this."""
        before = self._clock.now_ms() - days * DAY_MS
        return await delete_in_batches(self._database, queries.DELETE_LINES, queries.DELETED_AT_ONCE, before_ms=before)
