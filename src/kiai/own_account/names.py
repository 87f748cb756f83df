"""Name changes by players (docs/spec/site.md#name-changes)."""

from typing import Final

import msgspec

from kiai.accounts import Accounts, User, Viewer
from kiai.accounts.model import OldName
from kiai.clock import Clock
from kiai.errors import Conflict, Invalid, Refused
from kiai.osu.names import name_fault, safe_name
from kiai.own_account.acts import own_act
from kiai.storage.port import Database, Transaction, UniqueViolation

DAY_MS: Final = 86_400_000


class TooEarly(Refused):
    """The name was changed too recently. The next change is allowed at `next_ms`."""

    def __init__(self, next_ms: int) -> None:
        super().__init__("the name was changed too recently")
        self.next_ms = next_ms


class NameState(msgspec.Struct, frozen=True):
    """The former names of a player, and the time of the next change of the name: `next_ms`, None for now."""

    next_ms: int | None
    old_names: list[OldName]


class NameChanges:
    """Changes the names of players, once in `every_days` days. A player may return to an old name at any time."""

    def __init__(self, database: Database, accounts: Accounts, clock: Clock, *, every_days: int) -> None:
        self._database = database
        self._accounts = accounts
        self._clock = clock
        self._every_ms = every_days * DAY_MS

    async def state(self, user: User) -> NameState:
        """Return the old names, latest first, and when the next change is allowed."""
        next_ms = self._next_ms(user)
        waits = next_ms > self._clock.now_ms()
        return NameState(next_ms if waits else None, await self._accounts.old_names(user.id))

    async def check(self, user: User, name: str) -> None:
        """Raise the error with which `change` would refuse this name: Invalid or Conflict. The wait does not count."""
        if (fault := name_fault(name)) is not None:
            raise Invalid("name", fault, name)
        if safe_name(name) != user.safe_name and await self._accounts.is_taken(name, for_user=user.id):
            raise Conflict("name")

    async def change(self, user_id: int, name: str) -> User:
        """Give the account another name and end its sessions. Return the changed account.

        Raises Invalid for a name outside the rules, Conflict for a taken or reserved one, TooEarly, and Refused for the
        present name.
        """
        if (fault := name_fault(name)) is not None:
            raise Invalid("name", fault, name)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            user = await self._accounts.to_change(tx, user_id)
            if user.name == name:
                raise Refused("this is your present name")
            # A return to an old name, or another spelling of this one, does not count as a change.
            is_own = safe_name(name) == user.safe_name or await self._accounts.had_name(tx, user_id, name)
            if not is_own and self._next_ms(user) > now:
                raise TooEarly(self._next_ms(user))
            keeps = (user.renamed_at_ms or 0) if is_own else now
            await self._accounts.rename(tx, user, name, now, renamed_at_ms=keeps)
            await own_act(self._clock, user_id, "rename", {"before": user.name, "after": name})(tx)

        try:
            await self._database.transaction(body)
        except UniqueViolation as violation:
            raise Conflict("name") from violation
        return await self._accounts.user(Viewer(user_id=user_id), id=user_id)

    def _next_ms(self, user: User) -> int:
        return 0 if user.renamed_at_ms is None else user.renamed_at_ms + self._every_ms
