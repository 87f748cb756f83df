"""The latest lines of a channel, for players who join it through IRC (docs/spec/chat.md#history).

Lines that clients have erased do not come back: those before a silence of their author, and those before `!clearchat`.
"""

from collections.abc import Container
from typing import Final

from kiai.chat import queries
from kiai.chat.journal import RETENTION_DAYS, Journal
from kiai.chat.model import PastLine
from kiai.clock import Clock
from kiai.storage.batches import delete_in_batches
from kiai.storage.port import Database, Transaction

LINES_MAX: Final = 25
EVERYWHERE: Final = ""
"""Stands for all channels in a row of `chat_erasures`."""
DAY_MS: Final = 86_400_000


class ChannelHistory:
    """Reads the latest lines, and remembers which ones were erased."""

    def __init__(self, database: Database, journal: Journal, clock: Clock) -> None:
        self._database = database
        self._journal = journal
        self._clock = clock

    async def latest(self, channel: str, count: int, *, but_of: Container[int] = ()) -> list[PastLine]:
        """Return up to `count` of the latest lines of a channel, the oldest first.

        Without erased lines, lines of hidden and silenced players, and those of the players in `but_of`. Only the last
        `queries.HISTORY_READ` lines of the channel are read.
        """
        await self._journal.flush()
        lines = await self._database.all(queries.LATEST_LINES, channel=channel, now_ms=self._clock.now_ms())
        return [line for line in lines if line.user_id not in but_of][:count][::-1]

    async def erase(self, tx: Transaction, user_id: int, channel: str = EVERYWHERE) -> None:
        """Erase the present lines of a player in a channel, or everywhere. The caller locks what it acts on."""
        now = self._clock.now_ms()
        if not await tx.run(queries.ERASE_AGAIN, by=user_id, where=channel, now_ms=now):
            await tx.run(queries.ERASE, by=user_id, where=channel, now_ms=now)

    async def delete_older(self) -> int:
        """Delete what concerns only lines that are deleted, too, and return the number of rows. A job calls this."""
        before = self._clock.now_ms() - (RETENTION_DAYS + 1) * DAY_MS
        return await delete_in_batches(
            self._database, queries.DELETE_ERASURES, queries.DELETED_AT_ONCE, before_ms=before
        )
