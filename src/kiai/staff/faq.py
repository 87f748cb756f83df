"""The operator's texts for the bot: answers of `!faq`, and the greeting of new players. Owns the table `faq`."""

import re
from typing import Final

import msgspec
from sqlalchemy import bindparam, delete, func, insert, select, update

from kiai.clock import Clock
from kiai.errors import Invalid, NotFound, Refused
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.storage.port import Command, Database, Query, Transaction, scalar
from kiai.storage.tables import faq

PERMISSION: Final = "faq.write"
KEY: Final = re.compile(r"[a-z0-9_-]{1,32}")
TEXT_MAX: Final = 2_000
ENTRIES_MAX: Final = 200
WELCOME: Final = "welcome"
"""The key of the text that the bot sends to a player at the first login."""


class FaqEntry(msgspec.Struct, frozen=True):
    """A text of one or more lines."""

    key: str
    text: str


_ALL = Query(select(faq.c.key, faq.c.text).order_by(faq.c.key).limit(ENTRIES_MAX), FaqEntry)
_ONE = Query(select(faq.c.text).where(faq.c.key == bindparam("faq_key")), scalar)
_COUNT = Query(select(func.count()).select_from(faq), scalar)
_ADD = Command(insert(faq).values({name: bindparam(name) for name in ("key", "text", "changed_at_ms")}))
_SET = Command(
    update(faq)
    .where(faq.c.key == bindparam("faq_key"))
    .values(text=bindparam("new_text"), changed_at_ms=bindparam("at_ms"))
)
_REMOVE = Command(delete(faq).where(faq.c.key == bindparam("faq_key")))


class Faq:
    """Reads and changes the texts. Each change writes an audit row."""

    def __init__(self, database: Database, authority: Authority, clock: Clock) -> None:
        self._database = database
        self._authority = authority
        self._clock = clock

    async def all(self) -> list[FaqEntry]:
        """Return all entries by key."""
        return await self._database.all(_ALL)

    async def text(self, key: str) -> str | None:
        """Return the text of a key, or None."""
        return await self._database.one(_ONE, faq_key=key) if KEY.fullmatch(key) else None

    async def set(self, actor: Actor, key: str, text: str) -> FaqEntry:
        """Add or replace a text. Raises NotAllowed, Invalid, and Refused at the limit of entries."""
        await self._authority.require(actor, PERMISSION)
        text = "\n".join(line.rstrip() for line in text.strip().splitlines())
        if not KEY.fullmatch(key):
            raise Invalid("key", "1 to 32 of a-z, 0-9, _ and -", key)
        if not 0 < len(text) <= TEXT_MAX or "\x00" in text:
            raise Invalid("text", f"a text of 1 to {TEXT_MAX} characters", text)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await audit.lock(tx)
            before = await tx.one(_ONE, faq_key=key)
            if before is None:
                if (await tx.one(_COUNT) or 0) >= ENTRIES_MAX:
                    raise Refused(f"there are {ENTRIES_MAX} entries; remove one first")
                await tx.run(_ADD, key=key, text=text, changed_at_ms=now)
            else:
                await tx.run(_SET, faq_key=key, new_text=text, at_ms=now)
            await self._record(tx, actor, key, before, text, now)

        await self._authority.transaction(Requirement(actor, PERMISSION), body)
        return FaqEntry(key, text)

    async def remove(self, actor: Actor, key: str) -> FaqEntry:
        """Remove a text and return it. Raises NotAllowed, NotFound."""
        await self._authority.require(actor, PERMISSION)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> FaqEntry:
            await audit.lock(tx)
            before = await tx.one(_ONE, faq_key=key)
            if before is None:
                raise NotFound("FAQ entry")
            await tx.run(_REMOVE, faq_key=key)
            await self._record(tx, actor, key, before, None, now)
            return FaqEntry(key, before)

        return await self._authority.transaction(Requirement(actor, PERMISSION), body)

    async def _record(
        self, tx: Transaction, actor: Actor, key: str, before: str | None, after: str | None, now: int
    ) -> None:
        await audit.write(
            tx,
            actor,
            "faq_edit",
            at_ms=now,
            target_kind="setting",
            target_id=0,
            details={"key": key, "before": before, "after": after},
        )
