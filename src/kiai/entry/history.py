"""The history of an account's security: logins on the website, wrong passwords everywhere, and changes.

Its owner sees it. Logins wait in memory and are written in batches, like those of the game
(`accounts/login_records.py`).
A change is written in its own transaction, with a row in the audit log and a mail to the owner.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final

import msgspec
from sqlalchemy import bindparam, delete, insert, select

from kiai.accounts import Account, Accounts
from kiai.clock import Clock
from kiai.entry.letters import WHAT_CHANGED, Letters
from kiai.entry.model import ADDRESS_MAX, AGENT_MAX, Change, LoginEvent, Origin
from kiai.errors import Unavailable
from kiai.mailing import Mailing, Message
from kiai.osu.names import email_fault
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.storage.port import Command, Database, Query, Transaction, Value, columns_for
from kiai.storage.tables import account_events

WAITING_MAX: Final = 10_000
EVENTS_MAX: Final = 200  # of an account that failed, and as many that did not
SHOWN_MAX: Final = 20


class AccountEvent(msgspec.Struct, frozen=True):
    """A row of the history. `kind` is an `LoginEvent` or a `Change`."""

    user_id: int
    at_ms: int
    kind: str
    failed: int
    source: str
    address: str
    agent: str


_ADD = Command(insert(account_events).values({name: bindparam(name) for name in AccountEvent.__struct_fields__}))
_RECENT = Query(
    select(*columns_for(AccountEvent, account_events))
    .where(account_events.c.user_id == bindparam("user_id"), account_events.c.failed == bindparam("failed"))
    .order_by(account_events.c.id.desc())
    .limit(SHOWN_MAX),
    AccountEvent,
)
_nth = (
    select(account_events.c.id)
    .where(
        account_events.c.user_id == bindparam("of_user", type_=account_events.c.user_id.type),
        account_events.c.failed == bindparam("with_failed", type_=account_events.c.failed.type),
    )
    .order_by(account_events.c.id.desc())
    .limit(1)
    .offset(EVENTS_MAX - 1)
    .scalar_subquery()
)
# Deletes what is older than the newest EVENTS_MAX rows. With fewer rows the subquery is NULL, and nothing is deleted.
# Failed attempts are counted separately: many wrong passwords must not remove the rows of logins and changes.
_DELETE_OLD = Command(
    delete(account_events).where(
        account_events.c.user_id == bindparam("of_user", type_=account_events.c.user_id.type),
        account_events.c.failed == bindparam("with_failed", type_=account_events.c.failed.type),
        account_events.c.id < _nth,
    )
)


class SecurityHistory:
    """Records and lists events. `dropped` counts events that were never written."""

    def __init__(
        self, database: Database, accounts: Accounts, mailing: Mailing, letters: Letters, clock: Clock
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._mailing = mailing
        self._letters = letters
        self._clock = clock
        self._waiting: deque[AccountEvent] = deque()
        self.dropped = 0

    def record(self, user_id: int, event: LoginEvent, origin: Origin) -> None:
        """Queue an event; `flush` writes it. When more than 10,000 wait, the oldest is dropped."""
        self._waiting.append(self._row(user_id, event, origin, failed=event is not LoginEvent.LOGIN))
        self._shorten()

    async def record_wrong_password(self, name: str, origin: Origin) -> None:
        """Queue the event of a wrong password that another interface has refused, if an account has this name."""
        account = await self._accounts.account_named(name)
        if account is not None:
            self.record(account.id, LoginEvent.WRONG_PASSWORD, origin)

    async def flush(self) -> None:
        """Write all queued events in one transaction. Raises Unavailable; the events then stay in the queue."""
        if not self._waiting:
            return
        events, self._waiting = self._waiting, deque()
        rows = [msgspec.structs.asdict(event) for event in events]
        written: list[dict[str, Value]] = [
            {"of_user": user_id, "with_failed": failed}
            for user_id, failed in sorted({(event.user_id, event.failed) for event in events})
        ]

        async def body(tx: Transaction) -> None:
            await tx.run_many(_ADD, rows)
            await tx.run_many(_DELETE_OLD, written)

        try:
            await self._database.transaction(body)
        except Unavailable:
            events.extend(self._waiting)
            self._waiting = events
            self._shorten()
            raise
        except Exception:  # a fault of ours: the same rows would fail forever
            self.dropped += len(events)
            raise

    async def write(
        self,
        tx: Transaction,
        account: Account,
        change: Change,
        origin: Origin,
        *,
        actor: Actor | None = None,
        reason: str = "",
        details: Mapping[str, object] | None = None,
    ) -> None:
        """Write a change of security: its row in the history and in the audit log, and the mail to the owner.

        `actor` is the author if it is not the owner. The mail goes to `account.email`, the address before the change.
        """
        now = self._clock.now_ms()
        await tx.run(_ADD, **msgspec.structs.asdict(self._row(account.id, change, origin, failed=False)))
        await tx.run(_DELETE_OLD, of_user=account.id, with_failed=0)
        await audit.write(
            tx,
            actor or Actor(user_id=account.id, source=origin.source),
            change.value,
            at_ms=now,
            target_kind="user",
            target_id=account.id,
            reason=reason,
            details=details,
        )
        if change in WHAT_CHANGED:
            await self.mail(tx, self._letters.changed(account, change, origin, now))

    async def mail(self, tx: Transaction, message: Message) -> bool:
        """Queue a mail in the caller's transaction. Return False if the address cannot receive one."""
        # Imported accounts without an address have another text in its place.
        return email_fault(message.to) is None and await self._mailing.enqueue(tx, message)

    async def recent(self, user_id: int) -> list[AccountEvent]:
        """Return the newest 20 failed events and 20 others, newest first."""
        found = [
            event for failed in (0, 1) for event in await self._database.all(_RECENT, user_id=user_id, failed=failed)
        ]
        return sorted(found, key=lambda event: event.at_ms, reverse=True)

    def _row(self, user_id: int, kind: LoginEvent | Change, origin: Origin, *, failed: bool) -> AccountEvent:
        return AccountEvent(
            user_id=user_id,
            at_ms=self._clock.now_ms(),
            kind=kind.value,
            failed=int(failed),
            source=origin.source,
            address=_text(origin.address, ADDRESS_MAX),
            agent=_text(origin.agent, AGENT_MAX),
        )

    def _shorten(self) -> None:
        while len(self._waiting) > WAITING_MAX:
            self._waiting.popleft()
            self.dropped += 1


def _text(text: str, longest: int) -> str:
    # PostgreSQL cannot store NUL.
    return text.replace("\x00", "")[:longest]
