"""Notes of staff about players. Only staff reads them; each reading is recorded."""

from typing import Any, Final

import msgspec
from sqlalchemy import bindparam, func, insert, select

from kiai.accounts import Accounts
from kiai.clock import Clock
from kiai.errors import WrongState
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement, Who
from kiai.staff.reasons import checked_reason
from kiai.storage.port import Database, Query, Transaction, scalar
from kiai.storage.tables import notes, users

NOTES_MAX: Final = 1_000
"""The largest number of notes about one account."""


class Note(msgspec.Struct, frozen=True):
    """A note. `author` is the present name of who wrote it, None for the operator."""

    id: int
    at_ms: int
    author_id: int
    author: str | None
    text: str


_of: Final[Any] = notes.c.user_id == bindparam("of_user")
ADD: Final = Query(
    insert(notes)
    .values({name: bindparam(name) for name in ("user_id", "author_id", "at_ms", "text")})
    .returning(notes.c.id),
    scalar,
)
COUNT: Final = Query(
    select(func.count()).select_from(select(notes.c.id).where(_of).limit(NOTES_MAX).subquery()), scalar
)
PAGE: Final = 50
BEFORE: Final = Query(
    select(notes.c.id, notes.c.at_ms, notes.c.author_id, users.c.name, notes.c.text)
    .select_from(notes.outerjoin(users, users.c.id == notes.c.author_id))
    .where(_of, notes.c.id < bindparam("before"))
    .order_by(notes.c.id.desc())
    .limit(PAGE + 1),
    Note,
)
NEWEST: Final = Query(
    select(notes.c.id, notes.c.at_ms, notes.c.author_id, users.c.name, notes.c.text)
    .select_from(notes.outerjoin(users, users.c.id == notes.c.author_id))
    .where(_of, notes.c.at_ms >= bindparam("since_ms"))
    .order_by(notes.c.id.desc())
    .limit(NOTES_MAX),
    Note,
)


class Notes:
    """Adds and reads notes."""

    def __init__(self, database: Database, accounts: Accounts, authority: Authority, clock: Clock) -> None:
        self._database = database
        self._accounts = accounts
        self._authority = authority
        self._clock = clock

    async def add(self, actor: Actor, who: Who, text: str) -> int:
        """Add a note and return its id.

        Raises NotAllowed, Invalid, NotFound, NotATarget for the bot, and WrongState at the limit.
        """
        await self._authority.require(actor, "users.notes")
        text = checked_reason(text, field="text")
        target = await self._authority.target(who)
        self._authority.check_not_bot(target)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> int:
            await self._accounts.to_change(tx, target.id)  # locks the row, so that the number stays below the limit
            if (await tx.one(COUNT, of_user=target.id) or 0) >= NOTES_MAX:
                raise WrongState(f"there are {NOTES_MAX} notes about {target.name} already")
            note_id = await tx.one(ADD, user_id=target.id, author_id=actor.user_id, at_ms=now, text=text)
            assert note_id is not None
            await audit.write(
                tx,
                actor,
                "note",
                at_ms=now,
                target_kind="user",
                target_id=target.id,
                details={"note_id": note_id},
            )
            return int(note_id)

        return await self._authority.transaction(Requirement(actor, "users.notes"), body)

    async def read(self, actor: Actor, who: Who, *, since_ms: int = 0) -> list[Note]:
        """Return the notes about an account since a time, newest first. Raises NotAllowed, NotFound."""
        await self._authority.require(actor, "users.notes")
        target = await self._authority.target(who)
        await self._record_reading(actor, target.id)
        return await self._database.all(NEWEST, of_user=target.id, since_ms=since_ms)

    async def page(self, actor: Actor, user_id: int, before: int | None = None) -> tuple[list[Note], int | None]:
        """Return up to 50 notes with ids below `before`, newest first, and the `before` of the next page.

        Notes about deleted accounts stay. Raises NotAllowed.
        """
        await self._authority.require(actor, "users.notes")
        await self._record_reading(actor, user_id)
        found = await self._database.all(BEFORE, of_user=user_id, before=2**62 if before is None else before)
        shown = found[:PAGE]
        return shown, shown[-1].id if len(found) > PAGE else None

    async def _record_reading(self, actor: Actor, user_id: int) -> None:
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await audit.write(tx, actor, "notes_read", at_ms=now, target_kind="user", target_id=user_id)

        await self._authority.transaction(Requirement(actor, "users.notes"), body)
