"""Maintenance: only staff may use the server (docs/spec/sessions.md#maintenance).

The other players are notified and logged out: at once, or after the match in which they have a slot.
"""

import asyncio
from typing import Final

from kiai.clock import Clock
from kiai.errors import WrongState
from kiai.osu.privileges import STAFF, effective
from kiai.presence import Presence, drained
from kiai.realtime.port import SESSIONS_MAX, Realtime, Session, SessionGone
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.staff.reasons import checked_reason
from kiai.staff.switches import Switch, Switches, locked, store
from kiai.storage.port import Transaction

PERMISSION: Final = "server.maintenance"
DRAIN_EVERY_S: Final = 1.0
MATCH_MS: Final = 30 * 60_000
"""A player with a slot in a match stays for this time after the begin of maintenance."""
NOTICE_S: Final = 7 * 86_400.0


class Maintenance:
    """Switches maintenance, and logs players out while it is on."""

    def __init__(
        self,
        authority: Authority,
        switches: Switches,
        realtime: Realtime,
        presence: Presence,
        clock: Clock,
        *,
        title: str,
    ) -> None:
        self._authority = authority
        self._switches = switches
        self._realtime = realtime
        self._presence = presence
        self._clock = clock
        self._title = title
        self.started_ms = clock.now_ms()
        """The start of the server, with several workers that of their supervisor."""

    async def is_on(self, actor: Actor) -> bool:
        """Return whether maintenance is on. Raises NotAllowed."""
        await self._authority.require(actor, PERMISSION)
        await self._switches.reload()
        return self._switches.under_maintenance()

    async def switch(self, actor: Actor, *, on: bool, reason: str = "") -> None:
        """Switch maintenance on or off. Raises NotAllowed, Invalid, and WrongState if it is so already."""
        await self._authority.require(actor, PERMISSION)
        reason = checked_reason(reason, optional=True)
        if self._switches.maintenance_by_setting:
            raise WrongState(
                "maintenance is already on"
                if on
                else "maintenance is on by the setting maintenance; change the setting and restart the server"
            )
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            before = await locked(tx, "maintenance")
            if bool(before.value) == on:
                raise WrongState(f"maintenance is already {'on' if on else 'off'}")
            await store(tx, Switch("maintenance", int(on), now, reason=reason))
            await audit.write(
                tx,
                actor,
                "maintenance",
                at_ms=now,
                target_kind="server",
                target_id=0,
                reason=reason,
                details={"before": bool(before.value), "after": on},
            )

        await self._authority.transaction(Requirement(actor, PERMISSION), body)
        await self._switches.reload()

    async def drain(self) -> int:
        """Notify all players, then log out those who may not stay. Return the number of sessions. A job calls this.

        The notice and the first log-outs are in different runs, so that clients can poll in between.
        """
        if not self._switches.under_maintenance():
            return 0
        # By the setting, maintenance begins with the server. The switch may have been switched off long before.
        switch = self._switches.now("maintenance")
        by_switch = switch.value and not self._switches.maintenance_by_setting
        since_ms = switch.changed_at_ms if by_switch else self.started_ms
        if await self._realtime.once(f"maintenance:{since_ms}", NOTICE_S):
            await self._presence.alert(
                f"{self._title} is under maintenance now. Players are logged out, at once or after their match."
            )
            return 0
        ended = 0
        for token in await self._realtime.idle_sessions(0.0, SESSIONS_MAX):
            try:
                session = await self._realtime.session(token)
            except SessionGone:
                continue
            await asyncio.sleep(0)  # with state in memory, thousands of ends would run without ever yielding
            if self._may_stay(session, since_ms):
                continue
            await drained.store(self._realtime, session)
            ended += await self._presence.end(token) is not None
        return ended

    def _may_stay(self, session: Session, since_ms: int) -> bool:
        if effective(session.priv) & STAFF:
            return True
        in_match = session.match_id or session.room_id
        return bool(in_match) and self._clock.now_ms() < since_ms + MATCH_MS
