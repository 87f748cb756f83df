"""Private messages between players, stored for recipients who are offline (docs/spec/chat.md#mail)."""

from collections.abc import Sequence
from typing import Final

from kiai.chat import queries
from kiai.chat.model import Letter, by_sender
from kiai.clock import Clock
from kiai.storage.batches import delete_in_batches
from kiai.storage.port import Database, Transaction

FROM_ONE_SENDER_MAX: Final = 50
"""Undelivered letters from one sender to one recipient."""
RETENTION_DAYS: Final = 90
DAY_MS: Final = 86_400_000


class Mail:
    """Stores, delivers and deletes letters. `Chat` decides who may write to whom."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def store(self, from_id: int, to_id: int, text: str, *, delivered: bool) -> bool:
        """Store a letter and return True.

        Return False without storing it if the recipient has 500 undelivered letters, or 50 from this sender.
        """
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> bool:
            # Two letters at once may both pass the count and exceed the bound by one, which is harmless.
            if not delivered:
                waiting = await tx.one(queries.WAITING, to_id=to_id, from_id=from_id)
                assert waiting is not None
                if waiting.letters >= queries.WAITING_MAX or waiting.from_sender >= FROM_ONE_SENDER_MAX:
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
        """Return the 200 oldest undelivered letters, grouped by sender, oldest first."""
        return by_sender(await self._database.all(queries.UNDELIVERED, to_id=user_id))

    async def mark_delivered(self, user_id: int, letter_ids: Sequence[int]) -> None:
        """Mark letters as delivered, so that later logins do not show them again."""
        if not letter_ids:
            return
        now = self._clock.now_ms()
        rows = [{"letter_id": letter_id, "reader_id": user_id, "at_ms": now} for letter_id in letter_ids]

        async def body(tx: Transaction) -> None:
            await tx.run_many(queries.DELIVERED, rows)

        await self._database.transaction(body)

    async def mark_read(self, user_id: int, from_id: int) -> int:
        """Mark the delivered letters of a sender as read, and return their number."""
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> int:
            return await tx.run(queries.READ, reader_id=user_id, sender_id=from_id, at_ms=now)

        return await self._database.transaction(body)

    async def delete_older(self, days: int = RETENTION_DAYS) -> int:
        """Delete letters sent more than `days` ago and return their number. A job calls this."""
        before = self._clock.now_ms() - days * DAY_MS
        return await delete_in_batches(
            self._database, queries.DELETE_LETTERS, queries.DELETED_AT_ONCE, before_ms=before
        )
