"""Kicks: they end the sessions of a player, without a sanction. The clients of a player may log in again at once."""

from typing import Final

from kiai.clock import Clock
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Who
from kiai.staff.reasons import checked_reason
from kiai.staff.restrictions import Sanction
from kiai.storage.outbox import enqueue
from kiai.storage.port import Transaction

RECONNECT: Final = "reconnect"
"""The reason in the audit row of `Kicks.reconnect`."""


class Kicks:
    """Ends sessions."""

    def __init__(self, authority: Authority, clock: Clock) -> None:
        self._authority = authority
        self._clock = clock

    async def kick(self, actor: Actor, who: Who, reason: str) -> Sanction:
        """End all sessions of a player in the game.

        Raises NotAllowed, Invalid, NotFound, Refused by the target rule.
        """
        await self._authority.require(actor, "users.kick")
        return await self._end_sessions(actor, who, checked_reason(reason), permission="users.kick")

    async def reconnect(self, actor: Actor, who: Who) -> Sanction:
        """End all sessions of a player, so that the client logs in again. The audit row is that of a kick.

        Raises NotAllowed, NotFound, Refused by the target rule.
        """
        await self._authority.require(actor, "users.reconnect")
        return await self._end_sessions(actor, who, RECONNECT, permission="users.reconnect")

    async def _end_sessions(self, actor: Actor, who: Who, reason: str, *, permission: str) -> Sanction:
        target = await self._authority.target(who)
        required = await self._authority.require_over(actor, permission, target, action="kick", reason=reason)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> int:
            await enqueue(tx, "sessions", target.id, now)
            return await audit.write(
                tx, actor, "kick", at_ms=now, target_kind="user", target_id=target.id, reason=reason
            )

        return Sanction("kick", target, reason, None, await self._authority.transaction(required, body))
