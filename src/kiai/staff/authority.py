"""Permissions and ranks of staff (docs/spec/game-rules.md#who-may-act-on-whom). Every verb of staff checks them here.

The stored privileges count, not those of a session: they may have changed since the login. Actor 0, the operator or the
server itself, has every permission and may act on everyone except the bot.
"""

from typing import Final, Literal

from kiai.accounts import BOT_ID, Account, Accounts, User, Viewer
from kiai.clock import Clock
from kiai.errors import NotAllowed, NotATarget, NotFound, OutRanked
from kiai.osu.privileges import OWNER, STAFF, may, staff_rank
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.storage.port import Database, Transaction

DEVELOPER_RANK: Final = 3
Oneself = Literal["refused", "ranked", "allowed"]

Who = int | str
"""The id or the name of an account."""

_EVERYBODY: Final = Viewer(priv=STAFF)  # sees restricted accounts, too


def check_not_bot(user_id: int) -> None:
    """Raise Refused when the target is the bot."""
    if user_id == BOT_ID:
        raise NotATarget("you can't do that to the bot")


class Authority:
    """Checks acts of staff at the moment of the act."""

    def __init__(self, database: Database, accounts: Accounts, clock: Clock) -> None:
        self._database = database
        self._accounts = accounts
        self._clock = clock

    async def require(self, actor: Actor, permission: str) -> int:
        """Return the stored privileges of the actor. Raises NotAllowed without the permission."""
        if not actor.user_id:
            return OWNER
        try:
            priv = (await self._accounts.user(_EVERYBODY, id=actor.user_id)).priv
        except NotFound as error:  # deleted since
            raise NotAllowed(permission) from error
        if not may(priv, permission):
            raise NotAllowed(permission)
        return priv

    async def target(self, who: Who) -> User:
        """Return the account with this id or name, present or former, also a hidden one. Raises NotFound("user")."""
        try:
            if isinstance(who, str):
                user = await self._accounts.user(_EVERYBODY, name=who)
            else:
                user = await self._accounts.user(_EVERYBODY, id=who)
        except NotFound as error:
            raise NotFound("user") from error
        if user.deleted_at_ms is not None:
            raise NotFound("user")
        return user

    def check_not_bot(self, target: User) -> None:
        """Raise Refused when the target is the bot."""
        check_not_bot(target.id)

    async def require_over(
        self,
        actor: Actor,
        permission: str,
        target: User | Account,
        *,
        action: str,
        reason: str = "",
        oneself: Oneself = "refused",
    ) -> None:
        """Check an act on another account.

        Raises NotAllowed without the permission, NotATarget for the bot, and OutRanked for a target whose role is not
        below the actor's. Developers can act on everyone except the bot. A refusal by rank writes an audit row `denied`
        with the action.

        `oneself`: "refused" raises NotATarget, "ranked" treats the actor like any other target, so that only developers
        pass, and "allowed" lets the actor pass.
        """
        priv = await self.require(actor, permission)
        check_not_bot(target.id)
        if actor.user_id == target.id:
            if oneself == "allowed":
                return
            if oneself == "refused":
                raise NotATarget("you can't do that to yourself")
        rank = staff_rank(priv)
        if rank == DEVELOPER_RANK or rank > staff_rank(target.priv):
            return
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await audit.write(
                tx,
                actor,
                "denied",
                at_ms=now,
                target_kind="user",
                target_id=target.id,
                reason=reason,
                details={"action": action},
            )

        # A transaction of its own, which commits before the error: raising inside it would roll the audit row back.
        await self._database.transaction(body)
        raise OutRanked
