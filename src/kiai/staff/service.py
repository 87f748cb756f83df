"""The verbs of the staff, each one transaction with its audit row.

So far only the operator at the command line (actor 0) acts, who may do everything; what a member of the staff may do to
whom (docs/spec/game-rules.md#who-may-act-on-whom) is checked here once a face lets them act.
"""

from collections.abc import Callable
from typing import Final

from kiai.accounts import BOT_ID, Account, Accounts
from kiai.accounts.visibility import is_public
from kiai.beatmaps import Beatmap, Beatmaps, MapStatus
from kiai.clock import Clock
from kiai.errors import Invalid, Refused
from kiai.osu.privileges import ROLES, Privilege
from kiai.scores.standing import Standing
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.storage.outbox import tell
from kiai.storage.port import Database, Transaction

REASON_MAX: Final = 500
DONOR: Final = int(Privilege.SUPPORTER | Privilege.PREMIUM)
NOT_GRANTED: Final = int(Privilege.UNRESTRICTED)  # lifting a restriction is a verb of its own


class Staff:
    """Restricting and lifting, privileges, statuses of maps."""

    def __init__(
        self, database: Database, accounts: Accounts, beatmaps: Beatmaps, standing: Standing, clock: Clock
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._beatmaps = beatmaps
        self._standing = standing
        self._clock = clock

    async def restrict(self, actor: Actor, name: str, reason: str) -> Account:
        """Hides an account everywhere and takes its powers until lifted. Raises NotFound, Refused, Invalid."""
        account = await self._target(name)
        _check_reason(reason)

        def change(priv: int) -> int:
            if not priv & Privilege.UNRESTRICTED:
                raise Refused(f"{account.name} is restricted already")
            return priv & ~int(Privilege.UNRESTRICTED)

        return await self._change_priv(actor, account, change, action="restrict", reason=reason)

    async def unrestrict(self, actor: Actor, name: str, reason: str = "") -> Account:
        """Lifts a restriction: the account and its scores are seen again. Raises NotFound, Refused."""
        account = await self._target(name)
        if account.banned_at_ms is not None:
            raise Refused(f"{account.name} is banned; lift the ban first")

        def change(priv: int) -> int:
            if priv & Privilege.UNRESTRICTED:
                raise Refused(f"{account.name} is not restricted")
            return priv | int(Privilege.UNRESTRICTED)

        return await self._change_priv(actor, account, change, action="unrestrict", reason=reason)

    async def grant(self, actor: Actor, name: str, roles: list[str]) -> Account:
        """Adds privileges by their names. Raises NotFound, Invalid for an unknown name.

        See docs/spec/game-rules.md#privileges.
        """
        bits = _bits(roles) & ~NOT_GRANTED
        return await self._change_priv(actor, await self._target(name), lambda priv: priv | bits, action="privileges")

    async def revoke(self, actor: Actor, name: str, roles: list[str]) -> Account:
        """Takes privileges by their names. Raises NotFound, Invalid, Refused for oneself and for the last developer."""
        account = await self._target(name)
        if actor.user_id == account.id:
            raise Refused("nobody takes their own privileges")
        bits = _bits(roles)
        if bits & NOT_GRANTED:  # `owner` and `normal` hold them too; restricting is a verb of its own
            bits &= ~int(Privilege.UNRESTRICTED | Privilege.VERIFIED)
        return await self._change_priv(actor, account, lambda priv: priv & ~bits, action="privileges")

    async def set_map_status(
        self, actor: Actor, beatmaps: list[Beatmap], status: MapStatus, *, reason: str = ""
    ) -> None:
        """Sets the status of maps by hand. First places and totals follow as tasks (`scores/settling.py`)."""
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            for beatmap in beatmaps:
                await self._beatmaps.set_status(tx, beatmap, status, now)
                await audit.write(
                    tx,
                    actor,
                    "beatmap_status",
                    at_ms=now,
                    target_kind="beatmap",
                    target_id=beatmap.id,
                    reason=reason,
                    details={"before": beatmap.status, "after": int(status)},
                )

        await self._database.transaction(body)

    async def note_import(self, actor: Actor, map_keys: list[int]) -> None:
        """Writes down that known maps were replaced, came back or got another status by an import."""
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            for key in map_keys:
                beatmap = await self._beatmaps.revision(key, tx)
                await audit.write(
                    tx,
                    actor,
                    "beatmap_import",
                    at_ms=now,
                    target_kind="beatmap",
                    target_id=beatmap.id,
                    details={"md5": beatmap.md5, "current": beatmap.current, "status": beatmap.status},
                )

        await self._database.transaction(body)

    async def _target(self, name: str) -> Account:
        account = await self._accounts.account(name)
        if account.id == BOT_ID:
            raise Refused("the bot is never a target")
        return account

    async def _change_priv(
        self, actor: Actor, account: Account, change: Callable[[int], int], *, action: str, reason: str = ""
    ) -> Account:
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            before = await self._accounts.priv_to_change(tx, account.id)
            after = change(before)
            if _is_developer(before) and not _is_developer(after) and await self._accounts.developers(tx) <= 1:
                raise Refused(f"{account.name} is the last developer; grant the role to somebody else first")
            await self._accounts.set_priv(tx, account.id, after)
            if is_public(before) != is_public(after):
                await self._standing.changed(tx, account.id)
            await tell(tx, "privileges", account.id, now)
            await audit.write(
                tx,
                actor,
                action,
                at_ms=now,
                target_kind="user",
                target_id=account.id,
                reason=reason,
                details={"before": before, "after": after},
            )

        await self._database.transaction(body)
        return await self._accounts.account(account.name)


def _is_developer(priv: int) -> bool:
    powers = int(Privilege.DEVELOPER | Privilege.UNRESTRICTED)
    return priv & powers == powers


def _check_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > REASON_MAX:
        raise Invalid("reason", f"a text of 1 to {REASON_MAX} characters", reason)


def _bits(roles: list[str]) -> int:
    bits = 0
    for role in roles:
        if role.lower() not in ROLES:
            raise Invalid("privilege", "one of " + ", ".join(sorted(ROLES)), role)
        bits |= ROLES[role.lower()]
    return bits
