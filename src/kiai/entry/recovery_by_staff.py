"""Help of staff for players who are locked out: a link to set a new password, and the removal of second factors."""

from typing import Final

from kiai.entry.second_factors import SecondFactors
from kiai.entry.security import Security
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement, Who
from kiai.staff.reasons import checked_reason
from kiai.storage.port import Transaction

PERMISSION: Final = "users.recover"


class RecoveryByStaff:
    """Helps players back into their accounts. The owner of the link owns the account, so rank counts."""

    def __init__(self, authority: Authority, security: Security, factors: SecondFactors) -> None:
        self._authority = authority
        self._security = security
        self._factors = factors

    async def reset_link(self, actor: Actor, who: Who, reason: str) -> str:
        """Create a link with which the player sets a new password, and return its URL.

        Raises NotAllowed, Invalid, NotFound, and Refused by the target rule.
        """
        name, required = await self._checked(actor, who, reason, "reset_link")

        async def act() -> str:
            return await self._security.reset_link(actor, name, reason=required.reason, check=check)

        async def check(tx: Transaction) -> None:
            await self._authority.recheck(tx, required)

        return await self._authority.recording_denial(required, act)

    async def reset_second_factor(self, actor: Actor, who: Who, reason: str) -> None:
        """Remove the authenticator, the recovery codes and the passkeys of an account. Raises as `reset_link`."""
        name, required = await self._checked(actor, who, reason, "second_factor_reset")

        async def act() -> None:
            await self._factors.reset(actor, name, reason=required.reason, check=check)

        async def check(tx: Transaction) -> None:
            await self._authority.recheck(tx, required)

        await self._authority.recording_denial(required, act)

    async def _checked(self, actor: Actor, who: Who, reason: str, action: str) -> tuple[str, Requirement]:
        await self._authority.require(actor, PERMISSION)
        reason = checked_reason(reason)
        target = await self._authority.target(who)
        required = await self._authority.require_over(actor, PERMISSION, target, action=action, reason=reason)
        return target.name, required
