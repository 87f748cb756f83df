"""Logins and the e-mail address of an account, for staff that inspects accounts. Each reading is recorded."""

from collections.abc import Sequence
from typing import Final

import msgspec

from kiai.accounts import Accounts, Logins, User
from kiai.accounts.model import RecordedLogin
from kiai.clock import Clock
from kiai.entry.history import AccountEvent, SecurityHistory
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.storage.port import Transaction

PERMISSION: Final = "users.inspect"


class LoginsOfAccount(msgspec.Struct, frozen=True):
    """A page of the logins of an account with the game, newest first. `before` is the cursor of the next page.

    The first page has the newest events on the website, too: logins, wrong passwords and changes of security.
    """

    email: str
    logins: Sequence[RecordedLogin]
    before: int | None
    events: Sequence[AccountEvent]


class LoginsForStaff:
    """Reads logins of others."""

    def __init__(
        self, authority: Authority, accounts: Accounts, logins: Logins, history: SecurityHistory, clock: Clock
    ) -> None:
        self._authority = authority
        self._accounts = accounts
        self._logins = logins
        self._history = history
        self._clock = clock

    async def page(self, actor: Actor, user: User, before: int | None = None) -> LoginsOfAccount:
        """Return the logins with ids below `before`. Writes an audit row `user_inspect`. Raises NotAllowed."""
        await self._authority.require(actor, PERMISSION)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await audit.write(
                tx,
                actor,
                "user_inspect",
                at_ms=now,
                target_kind="user",
                target_id=user.id,
                details={"read": "logins"},
            )

        await self._authority.transaction(Requirement(actor, PERMISSION), body)
        found, next_before = await self._logins.page(user.id, before)
        return LoginsOfAccount(
            email=(await self._accounts.account_of(user.id)).email,
            logins=found,
            before=next_before,
            events=await self._history.recent(user.id) if before is None else (),
        )
