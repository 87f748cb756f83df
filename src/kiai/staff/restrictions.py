"""Restrictions, bans and freezes (docs/spec/game-rules.md#restriction). `timed_ends.py` ends those with an end.

Each act is one transaction with its audit row. The outbox then ends the sessions of the player.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from kiai.accounts import Accounts, User, queries, sanctions
from kiai.accounts.visibility import is_public
from kiai.accounts.web_sessions import WebSessions, end_all_of
from kiai.clock import Clock
from kiai.errors import Invalid, WrongState
from kiai.osu.durations import YEAR_S
from kiai.osu.privileges import DEVELOPER, UNRESTRICTED, loses_role
from kiai.osu.texts import chat_text
from kiai.scores.visibility_changes import Standing
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Oneself, Requirement, Who
from kiai.staff.player_lines import enqueue_line
from kiai.staff.reasons import checked_reason
from kiai.storage.outbox import enqueue
from kiai.storage.port import Transaction

FREEZE_S: Final = 7 * 86_400
"""The length of a freeze without a given one."""


class Sanction(msgspec.Struct, frozen=True):
    """An act that was carried out. `target` is the account after it.

    `until_ms` is its end in unix ms, None without an end. `audit_id` is the id of its row in the audit log.
    """

    kind: str
    target: User
    reason: str
    until_ms: int | None
    audit_id: int


class LastDeveloper(WrongState):
    """Without a developer nobody could administer the server in the game."""


class _Change(msgspec.Struct, frozen=True):
    """The state of an account after an act, and the details of the audit row, apart from the privileges."""

    priv: int
    banned_at_ms: int | None
    restricted_until_ms: int
    freeze_until_ms: int
    details: dict[str, Any] = {}


Also = Callable[[Transaction, User], Awaitable[object]]
First = Callable[[Transaction, User], Awaitable[Mapping[str, object]]]


async def nothing_first(tx: Transaction, user: User) -> Mapping[str, object]:
    """Change nothing before the act, and add no details to its audit row."""
    return {}


async def nothing_else(tx: Transaction, user: User) -> None:
    """Change nothing else in the transaction."""


class Restrictions:
    """Restricts, bans and freezes accounts."""

    def __init__(
        self,
        accounts: Accounts,
        authority: Authority,
        standing: Standing,
        web_sessions: WebSessions,
        clock: Clock,
    ) -> None:
        self._accounts = accounts
        self._authority = authority
        self._standing = standing
        self._web_sessions = web_sessions
        self._clock = clock

    async def restrict(
        self, actor: Actor, who: Who, reason: str, *, seconds: int | None = None, also: Also = nothing_else
    ) -> Sanction:
        """Hide an account from other players and suspend its permissions, for `seconds` or without an end.

        `also` runs in the same transaction.

        Raises NotAllowed, Invalid, NotFound, and Refused by the target rule, for the last developer and for an account
        that is restricted already.
        """
        required = await self._checked(actor, who, "users.restrict", "restrict", reason)
        _check_length(seconds)
        until = 0 if seconds is None else self._clock.now_ms() + seconds * 1000

        def change(user: User) -> _Change:
            if not user.priv & UNRESTRICTED:
                raise WrongState(
                    f"{user.name} is already {'banned' if user.banned_at_ms is not None else 'restricted'}"
                )
            return _Change(user.priv & ~UNRESTRICTED, None, until, 0, {"until_ms": until})

        return await self._act(required, change, until_ms=until or None, also=also)

    async def unrestrict(
        self, actor: Actor, who: Who, reason: str = "", *, also: Also = nothing_else, first: First = nothing_first
    ) -> Sanction:
        """Lift a restriction: the account and its scores become visible again. Raises as `restrict`.

        A ban must be lifted first. `first` and `also` run in the same transaction: `first` while the account is still
        hidden, and it returns details for the audit row.
        """
        required = await self._checked(
            actor, who, "users.restrict", "unrestrict", reason, optional=True, oneself="ranked"
        )

        def change(user: User) -> _Change:
            _check_unrestrictable(user)
            return _Change(user.priv | UNRESTRICTED, None, 0, 0)

        return await self._act(required, change, also=also, first=first)

    async def check_unrestrict(self, actor: Actor, who: Who, reason: str) -> User:
        """Return the account that `unrestrict` would unrestrict. Raises what it raises."""
        required = await self._checked(
            actor, who, "users.restrict", "unrestrict", reason, optional=True, oneself="ranked"
        )
        target = await self._authority.target(required.target_id)
        _check_unrestrictable(target)
        return target

    async def ban(self, actor: Actor, who: Who, reason: str) -> Sanction:
        """Restrict an account and lock it out: its sessions end, its API keys and its IRC password are revoked.

        Raises as `restrict`. A restricted account can be banned; its restriction then has no end.
        """
        required = await self._checked(actor, who, "users.ban", "ban", reason)
        now = self._clock.now_ms()

        def change(user: User) -> _Change:
            if user.banned_at_ms is not None:
                raise WrongState(f"{user.name} is already banned")
            return _Change(user.priv & ~UNRESTRICTED, now, 0, 0)

        async def lock_out(tx: Transaction, user: User) -> None:
            await tx.run(queries.REVOKE_KEYS, holder_id=user.id, at_ms=now)
            await tx.run(queries.REMOVE_IRC_PASSWORD, of_user=user.id)
            await self._web_sessions.end_all_in(tx, user.id)
            await enqueue(tx, "sessions", user.id, now)

        return await self._act(required, change, also=lock_out)

    async def unban(self, actor: Actor, who: Who, reason: str = "") -> Sanction:
        """Lift a ban. The account stays restricted, and gets no key back. Raises as `restrict`."""
        required = await self._checked(actor, who, "users.ban", "unban", reason, optional=True, oneself="ranked")

        def change(user: User) -> _Change:
            if user.banned_at_ms is None:
                raise WrongState(f"{user.name} is not banned")
            return _Change(user.priv, None, 0, 0)

        return await self._act(required, change)

    async def freeze(self, actor: Actor, who: Who, reason: str, *, seconds: int = FREEZE_S) -> Sanction:
        """Set the time until which a player must prove something. The account is restricted when it runs out.

        Raises as `restrict`.
        """
        required = await self._checked(actor, who, "users.freeze", "freeze", reason)
        _check_length(seconds)
        until = self._clock.now_ms() + seconds * 1000

        def change(user: User) -> _Change:
            if not user.priv & UNRESTRICTED:
                raise WrongState(
                    f"{user.name} is already {'banned' if user.banned_at_ms is not None else 'restricted'}"
                )
            if user.freeze_until_ms:
                raise WrongState(f"{user.name} is already frozen")
            return _Change(user.priv, None, 0, until, {"until_ms": until})

        async def send_line(tx: Transaction, user: User) -> None:
            await enqueue_line(tx, user.id, self._clock.now_ms(), frozen_text(until, required.reason))

        return await self._act(required, change, until_ms=until, also=send_line)

    async def unfreeze(self, actor: Actor, who: Who, reason: str = "") -> Sanction:
        """End a freeze: the player has proved it. Raises as `restrict`."""
        required = await self._checked(actor, who, "users.freeze", "unfreeze", reason, optional=True, oneself="ranked")

        def change(user: User) -> _Change:
            if not user.freeze_until_ms:
                raise WrongState(f"{user.name} is not frozen")
            return _Change(user.priv, None, 0, 0)

        async def send_line(tx: Transaction, user: User) -> None:
            await enqueue_line(tx, user.id, self._clock.now_ms(), "Your account is no longer frozen.")

        return await self._act(required, change, also=send_line)

    # --- steps of all acts

    async def _checked(
        self,
        actor: Actor,
        who: Who,
        permission: str,
        action: str,
        reason: str,
        *,
        optional: bool = False,
        oneself: Oneself = "refused",
    ) -> Requirement:
        """Return what the transaction checks again.

        Raises in the order of docs/spec/game-rules.md#who-may-act-on-whom.
        """
        await self._authority.require(actor, permission)
        reason = checked_reason(reason, optional=optional)
        target = await self._authority.target(who)
        return await self._authority.require_over(
            actor, permission, target, action=action, reason=reason, oneself=oneself
        )

    async def _act(
        self,
        required: Requirement,
        change: Callable[[User], _Change],
        *,
        until_ms: int | None = None,
        also: Also = nothing_else,
        first: First = nothing_first,
    ) -> Sanction:
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> int:
            # Locks the row: of two acts at the same time, the second one sees the state after the first.
            user = await self._accounts.to_change(tx, required.target_id)
            after = change(user)
            if _is_developer(user.priv) and not _is_developer(after.priv) and await self._accounts.developers(tx) <= 1:
                raise LastDeveloper(f"{user.name} is the last developer; grant the role to another account first")
            added = await first(tx, user)
            await tx.run(
                sanctions.SET_STANDING,
                of_user=user.id,
                priv=after.priv,
                banned_at_ms=after.banned_at_ms,
                restricted_until_ms=after.restricted_until_ms,
                freeze_until_ms=after.freeze_until_ms,
            )
            if is_public(user.priv) != is_public(after.priv):
                await self._standing.on_visibility_change(tx, user.id, public=is_public(after.priv))
            if loses_role(user.priv, after.priv):
                await end_all_of(tx, user.id)
            await also(tx, user)
            # Delivered after the commit, by whichever worker has the player's sessions.
            await enqueue(tx, "privileges", user.id, now)
            return await audit.write(
                tx,
                required.actor,
                required.action,
                at_ms=now,
                target_kind="user",
                target_id=user.id,
                reason=required.reason,
                details={"before": standing_of(user), "after": standing_of(after), **after.details, **added},
            )

        audit_id = await self._authority.transaction(required, body)
        target = await self._authority.target(required.target_id)
        return Sanction(required.action, target, required.reason, until_ms, audit_id)


def frozen_text(until_ms: int, reason: str = "") -> str:
    """Return the line of the bot to a frozen player."""
    about = f": {chat_text(reason)}" if reason else "."
    return (
        f"Your account is frozen until {audit.utc_text(until_ms)}{about} "
        "Contact the staff before then, or the account will be restricted."
    )


def standing_of(holder: User | _Change) -> dict[str, object]:
    """Return what the acts of this module change, for the audit log. Times are in unix ms, 0 for none."""
    return {
        "priv": holder.priv,
        "banned": holder.banned_at_ms is not None,
        "restricted_until_ms": holder.restricted_until_ms,
        "freeze_until_ms": holder.freeze_until_ms,
    }


def _check_unrestrictable(user: User) -> None:
    if user.banned_at_ms is not None:
        raise WrongState(f"{user.name} is banned; lift the ban first")
    if user.priv & UNRESTRICTED:
        raise WrongState(f"{user.name} is not restricted")


def _is_developer(priv: int) -> bool:
    return priv & (DEVELOPER | UNRESTRICTED) == DEVELOPER | UNRESTRICTED


def _check_length(seconds: int | None) -> None:
    if seconds is not None and not 1 <= seconds <= YEAR_S:
        raise Invalid("duration", "1 second to 1 year", f"{seconds} s")
