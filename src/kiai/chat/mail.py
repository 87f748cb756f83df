"""Private messages between players, kept for whoever is not there to read them (docs/spec/chat.md#mail)."""

from collections.abc import Sequence
from typing import Final

from kiai.chat import queries
from kiai.chat.model import Letter, by_sender
from kiai.clock import Clock
from kiai.storage.port import Database, Transaction

FROM_ONE_MAX: Final = 50
"""Undelivered letters of one sender to one receiver."""
KEPT_DAYS: Final = 90
DAY_MS: Final = 86_400_000


class Mail:
    """Storing, delivering and forgetting letters. Who may write to whom is the rule of `Chat`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def keep(self, from_id: int, to_id: int, text: str, *, delivered: bool) -> bool:
        """Stores a letter. False: the receiver has 500 undelivered ones, or 50 of this sender, and it was not kept."""
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> bool:
            if not delivered:
                waiting = await tx.one(queries.WAITING, to_id=to_id, from_id=from_id)
                assert waiting is not None
                if waiting.letters >= queries.WAITING_MAX or waiting.from_sender >= FROM_ONE_MAX:
                    return False
            await tx.run(
                queries.ADD_LETTER,
                from_id=from_id,
                to_id=to_id,
                text=text,
                sent_at_ms=now,
                delivered_at_ms=now if delivered else None,
            )
            return True

        return await self._database.transaction(body)

    async def unread(self, user_id: int) -> list[Letter]:
        """The 200 oldest undelivered letters, each sender's together, oldest first."""
        return by_sender(await self._database.all(queries.UNDELIVERED, to_id=user_id))

    async def mark_delivered(self, user_id: int, letter_ids: Sequence[int]) -> None:
        """The receiver has been shown these; never again at a log-in."""
        if not letter_ids:
            return
        now = self._clock.now_ms()
        rows = [{"letter_id": one, "reader_id": user_id, "at_ms": now} for one in letter_ids]

        async def body(tx: Transaction) -> None:
            await tx.many(queries.DELIVERED, rows)

        await self._database.transaction(body)

    async def mark_read(self, user_id: int, from_id: int) -> int:
        """The receiver opened the conversation with a sender; how many letters that makes read."""
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> int:
            return await tx.run(queries.READ, reader_id=user_id, sender_id=from_id, at_ms=now)

        return await self._database.transaction(body)

    async def forget_older(self, days: int = KEPT_DAYS) -> int:
        """Deletes letters that were sent longer ago; how many. A job's work."""
        before = self._clock.now_ms() - days * DAY_MS
        forgotten = 0
        while True:

            async def body(tx: Transaction) -> int:
                return await tx.run(queries.FORGET_LETTERS, before_ms=before)

            gone = await self._database.transaction(body)
            forgotten += gone
            if gone < queries.FORGOTTEN_AT_ONCE:
                return forgotten
