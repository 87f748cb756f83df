"""Exports that players wait for, as staff sees and cancels them."""

from typing import Final

from kiai.clock import Clock
from kiai.errors import NotFound, WrongState
from kiai.own_account.exports import Export, Exports, ExportState
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.storage.port import Transaction

PERMISSION: Final = "jobs.run"


class ExportsByStaff:
    """Shows and cancels exports. Every method raises NotAllowed."""

    def __init__(self, authority: Authority, exports: Exports, clock: Clock) -> None:
        self._authority = authority
        self._exports = exports
        self._clock = clock

    async def waiting(self, actor: Actor) -> list[Export]:
        """Return the exports that are not written yet, the oldest first, at most 20."""
        await self._authority.require(actor, PERMISSION)
        return await self._exports.waiting()

    async def one(self, actor: Actor, user_id: int) -> Export:
        """Return the export that a player waits for. Raises NotFound("export")."""
        await self._authority.require(actor, PERMISSION)
        found = await self._exports.of(user_id)
        if found is None or found.state != ExportState.WAITING:
            raise NotFound("export")
        return found

    async def cancel(self, actor: Actor, user_id: int, reason: str = "") -> None:
        """Cancel the export that a player waits for. The job that writes it ends with its next page.

        Raises WrongState if the player waits for none.
        """
        await self._authority.require(actor, PERMISSION)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            if not await self._exports.withdraw(tx, user_id):
                raise WrongState("the player waits for no export")
            await audit.write(
                tx,
                actor,
                "export_cancel",
                at_ms=now,
                target_kind="user",
                target_id=user_id,
                reason=reason,
                details={"before": "waiting", "after": None},
            )

        await self._authority.transaction(Requirement(actor, PERMISSION), body)
