"""What was said in public, written down for those who look into reports (docs/spec/chat.md#lines-in-a-channel)."""

from typing import Final

from kiai.chat import queries
from kiai.clock import Clock
from kiai.errors import Unavailable
from kiai.logs import get_logger
from kiai.storage.port import Database, Transaction, Value

WAITING_MAX: Final = 10_000
KEPT_DAYS: Final = 30
DAY_MS: Final = 86_400_000

Row = dict[str, Value]


class Journal:
    """Lines wait in memory and are written many at once: chatting waits for no disk.

    `dropped`: how many lines were never written, because too many waited.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._waiting: list[Row] = []
        self.dropped = 0

    @property
    def waiting(self) -> int:
        """How many lines are not written yet."""
        return len(self._waiting)

    def note(self, channel: str, user_id: int, text: str) -> None:
        """A line was said. Past WAITING_MAX the oldest that wait are lost."""
        self._waiting.append({"channel": channel, "user_id": user_id, "at_ms": self._clock.now_ms(), "text": text})
        if len(self._waiting) > WAITING_MAX:
            self._bound()

    async def flush(self) -> int:
        """Writes what waits; how many lines. A job's work, and the last act before a stop. Raises Unavailable."""
        rows, self._waiting = self._waiting, []
        if not rows:
            return 0

        async def body(tx: Transaction) -> None:
            await tx.many(queries.ADD_LINE, rows)

        try:
            await self._database.transaction(body)
        except Unavailable:
            self._waiting = rows + self._waiting
            self._bound()
            raise
        return len(rows)

    def _bound(self) -> None:
        # An eighth more goes at once, so that a standing database does not cost every line a move of all others.
        lost = len(self._waiting) - WAITING_MAX
        if lost > 0:
            lost += WAITING_MAX >> 3
            del self._waiting[:lost]
            self.dropped += lost
            get_logger("chat").warning("chat lines lost", lines=lost)

    async def forget_older(self, days: int = KEPT_DAYS) -> int:
        """Deletes lines that were said longer ago; how many. A job's work."""
        before = self._clock.now_ms() - days * DAY_MS
        forgotten = 0
        while True:

            async def body(tx: Transaction) -> int:
                return await tx.run(queries.FORGET_LINES, before_ms=before)

            gone = await self._database.transaction(body)
            forgotten += gone
            if gone < queries.FORGOTTEN_AT_ONCE:
                return forgotten
