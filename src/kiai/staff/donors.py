"""Donor time: giving it and taking it (docs/spec/game-rules.md#donor-time). `timed_ends.py` ends it."""

from typing import Final, Literal

from kiai.accounts import Accounts, User, sanctions
from kiai.clock import Clock
from kiai.errors import Invalid, WrongState
from kiai.osu.durations import YEAR_S, duration_text
from kiai.osu.privileges import DONATOR, Privilege
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Who
from kiai.staff.player_lines import enqueue_line
from kiai.staff.reasons import checked_reason
from kiai.staff.restrictions import Sanction
from kiai.storage.outbox import enqueue
from kiai.storage.port import Transaction

Tier = Literal["supporter", "premium"]
TIERS: Final[dict[str, int]] = {"supporter": int(Privilege.SUPPORTER), "premium": int(Privilege.PREMIUM)}


class Donors:
    """Gives and takes donor time."""

    def __init__(self, accounts: Accounts, authority: Authority, clock: Clock) -> None:
        self._accounts = accounts
        self._authority = authority
        self._clock = clock

    async def give(self, actor: Actor, who: Who, seconds: int, tier: str = "supporter") -> Sanction:
        """Add `seconds` to the donor time that is left, and give the privilege of the tier.

        Raises NotAllowed, Invalid, NotFound, and Refused by the target rule.
        """
        await self._authority.require(actor, "donors.manage")
        if not 1 <= seconds <= YEAR_S:
            raise Invalid("duration", "1 second to 1 year", f"{seconds} s")
        if tier not in TIERS:
            raise Invalid("tier", "supporter or premium", tier)
        target = await self._authority.target(who)
        required = await self._authority.require_over(
            actor, "donors.manage", target, action="donor_give", oneself="ranked"
        )
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> tuple[int, int]:
            user = await self._accounts.to_change(tx, target.id)
            until = max(now, user.donor_until_ms) + seconds * 1000
            text = f"You are a {tier} for {duration_text(seconds)} more, until {audit.utc_text(until)}. Thank you!"
            details = {"seconds": seconds, "tier": tier, "until_ms": until}
            return await self._store(
                tx, actor, user, user.priv | TIERS[tier], until, "donor_give", details=details, text=text, now=now
            ), until

        audit_id, until = await self._authority.transaction(required, body)
        return Sanction("donor_give", await self._authority.target(target.id), "", until, audit_id)

    async def take(self, actor: Actor, who: Who, reason: str = "") -> Sanction:
        """End donor time now. Raises as `give`, and WrongState without donor time and privileges."""
        await self._authority.require(actor, "donors.manage")
        reason = checked_reason(reason, optional=True)
        target = await self._authority.target(who)
        required = await self._authority.require_over(
            actor, "donors.manage", target, action="donor_take", reason=reason, oneself="ranked"
        )
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> int:
            user = await self._accounts.to_change(tx, target.id)
            if not user.priv & DONATOR and not user.donor_until_ms:
                raise WrongState(f"{user.name} is not a donor")
            text = "Your donor time has ended."
            return await self._store(
                tx, actor, user, user.priv & ~DONATOR, 0, "donor_take", reason=reason, text=text, now=now
            )

        audit_id = await self._authority.transaction(required, body)
        return Sanction("donor_take", await self._authority.target(target.id), reason, None, audit_id)

    async def _store(
        self,
        tx: Transaction,
        actor: Actor,
        user: User,
        priv: int,
        until_ms: int,
        action: str,
        *,
        text: str,
        now: int,
        reason: str = "",
        details: dict[str, object] | None = None,
    ) -> int:
        await tx.run(sanctions.SET_DONOR, of_user=user.id, priv=priv, donor_until_ms=until_ms)
        # The client of the player gets the new privileges at once.
        await enqueue(tx, "privileges", user.id, now)
        await enqueue_line(tx, user.id, now, text)
        values = {"before": user.priv, "after": priv, **(details or {})}
        return await audit.write(
            tx, actor, action, at_ms=now, target_kind="user", target_id=user.id, reason=reason, details=values
        )
