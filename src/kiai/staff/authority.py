"""Permissions and ranks of staff (docs/spec/game-rules.md#who-may-act-on-whom). Every verb of staff checks them here.

The stored privileges count, not those of a session: they may have changed since the login. Actor 0, the operator or the
server itself, has every permission and may act on everyone except the bot.

A verb checks its actor twice. The first check comes before the verb reads anything, so that an actor without the
permission learns nothing. The second one is part of the transaction of the act (`Authority.transaction`) and locks the
accounts of actor and target, so that neither is demoted, restricted or promoted between the check and the commit.
"""

from collections.abc import Awaitable, Callable
from typing import Final, Literal, TypeVar

import msgspec
from sqlalchemy import bindparam, select

from kiai.accounts import BOT_ID, Account, Accounts, User, Viewer
from kiai.clock import Clock
from kiai.errors import NotAllowed, NotATarget, NotFound, OutRanked
from kiai.osu.privileges import OWNER, STAFF, may, staff_rank
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.storage.port import Database, Query, Transaction
from kiai.storage.tables import users

T = TypeVar("T")

DEVELOPER_RANK: Final = 3
Oneself = Literal["refused", "ranked", "allowed"]

Who = int | str
"""The id or the name of an account."""

_EVERYBODY: Final = Viewer(priv=STAFF)  # sees restricted accounts, too


class Requirement(msgspec.Struct, frozen=True):
    """The permission that an act requires of its actor, and the rule for its target.

    `target_id` is 0 for an act on no account. `action` and `reason` are those of the audit row `denied`.
    `oneself` has the values of `Authority.require_over`.
    """

    actor: Actor
    permission: str
    target_id: int = 0
    action: str = ""
    reason: str = ""
    oneself: Oneself = "refused"


class _Holder(msgspec.Struct, frozen=True):
    """The columns of an account that decide about rights."""

    id: int
    priv: int
    deleted_at_ms: int | None


# Locks the rows of actor and target. In the order of their ids: two members of staff who act on each other would
# deadlock otherwise.
HOLDERS_TO_CHECK: Final = Query(
    select(users.c.id, users.c.priv, users.c.deleted_at_ms)
    .where(users.c.id.in_((bindparam("actor_id"), bindparam("target_id"))))
    .order_by(users.c.id)
    .limit(2)
    .with_for_update(key_share=True),
    _Holder,
)


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
        user = await self.account(who)
        if user.deleted_at_ms is not None:
            raise NotFound("user")
        return user

    async def account(self, who: Who) -> User:
        """Return the same as `target`, and also a deleted account."""
        try:
            if isinstance(who, str):
                return await self._accounts.user(_EVERYBODY, name=who)
            return await self._accounts.user(_EVERYBODY, id=who)
        except NotFound as error:
            raise NotFound("user") from error

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
    ) -> Requirement:
        """Check an act on another account. Return what the transaction of the act checks again.

        Raises NotAllowed without the permission, NotATarget for the bot, and OutRanked for a target whose role is not
        below the actor's. Developers can act on everyone except the bot. A refusal by rank writes an audit row `denied`
        with the action.

        `oneself`: "refused" raises NotATarget, "ranked" treats the actor like any other target, so that only developers
        pass, and "allowed" lets the actor pass.
        """
        requirement = Requirement(actor, permission, target.id, action, reason, oneself)
        priv = await self.require(actor, permission)
        try:
            _check_target(requirement, priv, target.priv)
        except OutRanked:
            await self.record_denied(requirement)
            raise
        return requirement

    async def transaction(self, requirement: Requirement, body: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run the transaction of an act, which begins with `recheck`. Raises what `recheck` and `body` raise.

        A refusal by rank writes the audit row `denied`.
        """

        async def checked(tx: Transaction) -> T:
            await self.recheck(tx, requirement)
            return await body(tx)

        return await self.recording_denial(requirement, lambda: self._database.transaction(checked))

    async def recheck(self, tx: Transaction, requirement: Requirement) -> None:
        """Check an act in its transaction, and lock the accounts of actor and target until the transaction ends.

        Raises as `require_over`, and NotFound("user") for a target that was deleted meanwhile. The caller writes the
        row `denied` after the transaction (`recording_denial`).
        """
        actor_id, target_id = requirement.actor.user_id, requirement.target_id
        if not actor_id and not target_id:
            return
        found = await tx.all(HOLDERS_TO_CHECK, actor_id=actor_id, target_id=target_id)
        holders = {holder.id: holder for holder in found if holder.deleted_at_ms is None}
        priv = OWNER
        if actor_id:
            holder = holders.get(actor_id)
            priv = 0 if holder is None else holder.priv
        if not may(priv, requirement.permission):
            raise NotAllowed(requirement.permission)
        if not target_id:
            return
        if target_id not in holders:
            raise NotFound("user")
        _check_target(requirement, priv, holders[target_id].priv)

    async def recording_denial(self, requirement: Requirement, act: Callable[[], Awaitable[T]]) -> T:
        """Run an act whose transaction calls `recheck`, and write the row `denied` if it raises OutRanked."""
        try:
            return await act()
        except OutRanked:
            await self.record_denied(requirement)
            raise

    async def record_denied(self, requirement: Requirement) -> None:
        """Write the audit row of a refusal by rank."""
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await audit.write(
                tx,
                requirement.actor,
                "denied",
                at_ms=now,
                target_kind="user",
                target_id=requirement.target_id,
                reason=requirement.reason,
                details={"action": requirement.action},
            )

        # A transaction of its own: an error inside the transaction of the act rolls back all that the act wrote.
        await self._database.transaction(body)


def _check_target(requirement: Requirement, actor_priv: int, target_priv: int) -> None:
    """Raise NotATarget or OutRanked if the actor, with these privileges, cannot act on the target."""
    actor_id, target_id = requirement.actor.user_id, requirement.target_id
    check_not_bot(target_id)
    if actor_id == target_id:
        if requirement.oneself == "allowed":
            return
        if requirement.oneself == "refused":
            raise NotATarget("you can't do that to yourself")
    rank = staff_rank(actor_priv)
    if rank != DEVELOPER_RANK and rank <= staff_rank(target_priv):
        raise OutRanked
