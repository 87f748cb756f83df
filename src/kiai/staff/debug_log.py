"""Debug lines in the log of all workers, for an hour."""

from typing import Final

from kiai.clock import Clock
from kiai.errors import WrongState
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.staff.reasons import checked_reason
from kiai.staff.switches import Switch, Switches, locked, store
from kiai.storage.port import Transaction

PERMISSION: Final = "server.debug"
LASTS_S: Final = 3_600


class DebugLog:
    """Switches debug lines on and off. `level` is the log level of the settings."""

    def __init__(self, authority: Authority, switches: Switches, clock: Clock, *, level: str) -> None:
        self._authority = authority
        self._switches = switches
        self._clock = clock
        self._level = level

    def level(self) -> str:
        """Return the log level in force."""
        return "debug" if self._switches.is_on("debug") else self._level

    async def is_on(self, actor: Actor) -> bool:
        """Return whether debug lines are logged. Raises NotAllowed."""
        await self._authority.require(actor, PERMISSION)
        await self._switches.reload()
        return self.level() == "debug"

    async def switch(self, actor: Actor, *, on: bool, reason: str = "") -> None:
        """Switch debug lines on for an hour, or off. Raises NotAllowed, Invalid, and WrongState if it is so already."""
        await self._authority.require(actor, PERMISSION)
        reason = checked_reason(reason, optional=True)
        if self._level == "debug":
            raise WrongState("debug lines are already on" if on else "debug lines are on by the setting log_level")
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            before = await locked(tx, "debug")
            if before.is_on(now) == on:
                raise WrongState(f"debug lines are already {'on' if on else 'off'}")
            ends_at_ms = now + LASTS_S * 1000 if on else 0
            await store(tx, Switch("debug", int(on), now, ends_at_ms))
            await audit.write(
                tx,
                actor,
                "debug",
                at_ms=now,
                target_kind="server",
                target_id=0,
                reason=reason,
                details={"before": not on, "after": on, "until_ms": ends_at_ms},
            )

        await self._authority.transaction(Requirement(actor, PERMISSION), body)
        await self._switches.reload()
