"""Deliveries of the outbox that have failed too often: staff lets them be tried again."""

from typing import Final

from kiai.clock import Clock
from kiai.errors import WrongState
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.staff.reasons import checked_reason
from kiai.storage.outbox import Outbox, retry_parked
from kiai.storage.port import Transaction

PERMISSION: Final = "jobs.run"


class OutboxDesk:
    """Counts the parked deliveries and lets them be tried again. Raises NotAllowed."""

    def __init__(self, authority: Authority, outbox: Outbox, clock: Clock) -> None:
        self._authority = authority
        self._outbox = outbox
        self._clock = clock

    async def parked(self, actor: Actor) -> int:
        """Return the number of parked deliveries, at most 10,000."""
        await self._authority.require(actor, PERMISSION)
        return (await self._outbox.backlog()).parked

    async def retry(self, actor: Actor, reason: str = "") -> int:
        """Let all parked deliveries be tried again, and return their number. Raises WrongState without any."""
        await self._authority.require(actor, PERMISSION)
        reason = checked_reason(reason, optional=True)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> int:
            count = await retry_parked(tx)
            if not count:
                raise WrongState("no delivery is parked")
            await audit.write(
                tx,
                actor,
                "outbox_retry",
                at_ms=now,
                target_kind="server",
                target_id=0,
                reason=reason,
                details={"before": {"parked": count}, "after": {"parked": 0}},
            )
            return count

        return await self._authority.transaction(Requirement(actor, PERMISSION), body)
