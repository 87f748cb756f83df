"""The verbs of the staff, each one transaction with its audit row.

The operator at the command line (actor 0) may do everything; for others the face has authenticated the actor and these
verbs check the right.
"""

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
        if not account.priv & Privilege.UNRESTRICTED:
            raise Refused(f"{account.name} is restricted already")
        await self._check_not_last_developer(account, account.priv & ~int(Privilege.UNRESTRICTED))
        return await self._set_priv(
            actor, account, account.priv & ~int(Privilege.UNRESTRICTED), action="restrict", reason=reason
        )

    async def unrestrict(self, actor: Actor, name: str, reason: str = "") -> Account:
        """Lifts a restriction: the account and its scores are seen again. Raises NotFound, Refused."""
        account = await self._target(name)
        if account.priv & Privilege.UNRESTRICTED:
            raise Refused(f"{account.name} is not restricted")
        if account.banned_at_ms is not None:
            raise Refused(f"{account.name} is banned; lift the ban first")
        return await self._set_priv(
            actor, account, account.priv | int(Privilege.UNRESTRICTED), action="unrestrict", reason=reason
        )

    async def grant(self, actor: Actor, name: str, roles: list[str]) -> Account:
        """Adds privileges by their names (game-rules 2). Raises NotFound, Invalid for an unknown name."""
        account = await self._target(name)
        return await self._set_priv(actor, account, account.priv | (_bits(roles) & ~NOT_GRANTED), action="privileges")

    async def revoke(self, actor: Actor, name: str, roles: list[str]) -> Account:
        """Takes privileges by their names. Raises NotFound, Invalid, Refused for the last developer."""
        account = await self._target(name)
        bits = _bits(roles)
        if bits & int(Privilege.UNRESTRICTED):
            bits &= ~int(Privilege.UNRESTRICTED | Privilege.VERIFIED)  # `owner` holds them too; restricting is a verb
        await self._check_not_last_developer(account, account.priv & ~bits)
        return await self._set_priv(actor, account, account.priv & ~bits, action="privileges")

    async def set_map_status(
        self, actor: Actor, beatmaps: list[Beatmap], status: MapStatus, *, reason: str = ""
    ) -> int:
        """Sets the status of maps by hand; the totals of everybody with a best there follow. How many players."""
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            for beatmap in beatmaps:
                await self._beatmaps.set_status(tx, beatmap, status)
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
        return await self._standing.rejudged([beatmap.key for beatmap in beatmaps])

    async def _target(self, name: str) -> Account:
        account = await self._accounts.account(name)
        if account.id == BOT_ID:
            raise Refused("the bot is never a target")
        return account

    async def _check_not_last_developer(self, account: Account, priv: int) -> None:
        developer = int(Privilege.DEVELOPER | Privilege.UNRESTRICTED)
        if account.priv & developer != developer or priv & developer == developer:
            return
        if await self._accounts.developers() <= 1:
            raise Refused(f"{account.name} is the last developer; grant the role to somebody else first")

    async def _set_priv(self, actor: Actor, account: Account, priv: int, *, action: str, reason: str = "") -> Account:
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await self._accounts.set_priv(tx, account.id, priv)
            if is_public(account.priv) != is_public(priv):
                await self._standing.changed(tx, account.id, visible=is_public(priv))
            await audit.write(
                tx,
                actor,
                action,
                at_ms=now,
                target_kind="user",
                target_id=account.id,
                reason=reason,
                details={"before": account.priv, "after": priv},
            )

        await self._database.transaction(body)
        return await self._accounts.account(account.name)


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
