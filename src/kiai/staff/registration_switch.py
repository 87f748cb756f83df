"""The switch of registration: staff decides who may register, without a restart, or leaves it to the setting."""

from typing import Final

from kiai.clock import Clock
from kiai.errors import Invalid, WrongState
from kiai.server_settings import RegistrationState
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.staff.reasons import checked_reason
from kiai.staff.switches import REGISTRATIONS, Switch, Switches, locked, registration_of, store
from kiai.storage.port import Transaction

PERMISSION: Final = "settings.write"
FOLLOW: Final = "setting"
CHOICES: Final = (*REGISTRATIONS, FOLLOW)
WORDS: Final = {"on": "open to everybody", "invite": "open only with an invite code", "off": "closed"}
"""State -> words that complete "registration is"."""


class RegistrationSwitch:
    """Switches registration, or lets it follow the setting `registration` again."""

    def __init__(self, authority: Authority, switches: Switches, clock: Clock) -> None:
        self._authority = authority
        self._switches = switches
        self._clock = clock

    async def state(self, actor: Actor) -> RegistrationState:
        """Return who may register. Raises NotAllowed."""
        await self._authority.require(actor, PERMISSION)
        await self._switches.reload()
        return self._switches.registration()

    async def switch(self, actor: Actor, choice: str, *, reason: str = "") -> RegistrationState:
        """Apply one of `CHOICES`, and return who may register now.

        Raises NotAllowed, Invalid, and WrongState if nothing would change.
        """
        await self._authority.require(actor, PERMISSION)
        reason = checked_reason(reason, optional=True)
        if choice not in CHOICES:
            raise Invalid("state", f"one of {', '.join(CHOICES)}", choice)
        setting = self._switches.registration_by_setting
        # A switch that agrees with the setting would override a later change of the setting.
        value = 0 if choice in (FOLLOW, setting) else REGISTRATIONS.index(choice) + 1
        after = registration_of(value, setting)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            before = await locked(tx, "registration")
            if before.value == value:
                raise WrongState(f"registration is already {WORDS[after]}")
            await store(tx, Switch("registration", value, now, reason=reason))
            await audit.write(
                tx,
                actor,
                "registration",
                at_ms=now,
                target_kind="server",
                target_id=0,
                reason=reason,
                details={"before": registration_of(before.value, setting), "after": after, "setting": setting},
            )

        await self._authority.transaction(Requirement(actor, PERMISSION), body)
        await self._switches.reload()
        return after
