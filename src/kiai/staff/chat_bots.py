"""Accounts of chat bots: IRC lets them send more lines than a person (docs/operate/irc.md)."""

from sqlalchemy import bindparam, select, update

from kiai.accounts import Account, Accounts
from kiai.clock import Clock
from kiai.errors import WrongState
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority
from kiai.storage.port import Command, Database, Query, Transaction, scalar
from kiai.storage.tables import users

IS_CHAT_BOT = Query(select(users.c.chat_bot).where(users.c.id == bindparam("id")), scalar)
SET_CHAT_BOT = Command(update(users).where(users.c.id == bindparam("user_id")).values(chat_bot=bindparam("on")))


class ChatBots:
    """Marks accounts as chat bots."""

    def __init__(self, database: Database, accounts: Accounts, authority: Authority, clock: Clock) -> None:
        self._database = database
        self._accounts = accounts
        self._authority = authority
        self._clock = clock

    async def set(self, actor: Actor, name: str, *, on: bool) -> Account:
        """Mark the account as a chat bot, or as a person again, from its next login on.

        Raises NotFound, NotAllowed, Refused by the target rule, WrongState.
        """
        account = await self._accounts.account(name)
        required = await self._authority.require_over(actor, "users.privileges", account, action="privileges")
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await self._accounts.to_change(tx, account.id)  # locks the row
            before = await tx.one(IS_CHAT_BOT, id=account.id)
            if bool(before) == on:
                raise WrongState(f"{account.name} is already {'a chat bot' if on else 'no chat bot'}")
            await tx.run(SET_CHAT_BOT, user_id=account.id, on=int(on))
            await audit.write(
                tx,
                actor,
                "privileges",
                at_ms=now,
                target_kind="user",
                target_id=account.id,
                details={"before": {"chat_bot": not on}, "after": {"chat_bot": on}},
            )

        await self._authority.transaction(required, body)
        return account

    async def is_one(self, user_id: int) -> bool:
        """Return whether the account is marked as a chat bot."""
        return bool(await self._database.one(IS_CHAT_BOT, id=user_id))
