"""Switches of the server: maintenance, registration, debug logs and a planned stop. Owns the table `switches`.

A switch is one row, which the migration inserts. Each worker reads all rows once a second, so that a change reaches
every worker without a statement for each request. The worker of the act reads them at once.
"""

from typing import Final, Literal

import msgspec
from sqlalchemy import bindparam, select, update

from kiai.clock import Clock
from kiai.server_settings import RegistrationState
from kiai.storage.port import Command, Database, Query, Transaction, new_values
from kiai.storage.tables import switches

RELOAD_EVERY_S: Final = 1.0
SWITCHES_MAX: Final = 16

SwitchName = Literal["maintenance", "debug", "stop", "address_blocks", "settings", "registration", "game_texts"]

REGISTRATIONS: Final[tuple[RegistrationState, ...]] = ("on", "invite", "off")
"""The states of registration, for the values 1 to 3 of the switch `registration`. With 0 the setting decides."""


class Switch(msgspec.Struct, frozen=True):
    """A row. `value` is 0 when the switch is off. `ends_at_ms` is 0 for a switch without an end."""

    name: str
    value: int = 0
    changed_at_ms: int = 0
    ends_at_ms: int = 0
    reason: str = ""

    def is_on(self, now_ms: int) -> bool:
        """Return whether the switch is on and has not run out."""
        return self.value != 0 and (not self.ends_at_ms or now_ms < self.ends_at_ms)


_COLUMNS: Final = [switches.c[name] for name in Switch.__struct_fields__]
_ALL = Query(select(*_COLUMNS).order_by(switches.c.name).limit(SWITCHES_MAX), Switch)
# Changes nothing, but locks the row until the transaction ends: of two acts, the second sees the state after the first.
_LOCK = Query(
    update(switches)
    .where(switches.c.name == bindparam("switch"))
    .values(changed_at_ms=switches.c.changed_at_ms)
    .returning(*_COLUMNS),
    Switch,
)
_SET = Command(
    update(switches)
    .where(switches.c.name == bindparam("switch"))
    .values(new_values("value", "changed_at_ms", "ends_at_ms", "reason"))
)


async def locked(tx: Transaction, name: SwitchName) -> Switch:
    """Return a switch and lock it until the transaction ends."""
    found = await tx.one(_LOCK, switch=name)
    assert found is not None, "the migration inserts the row"
    return found


async def store(tx: Transaction, switch: Switch) -> None:
    """Write a switch that the transaction has locked."""
    await tx.run(
        _SET,
        switch=switch.name,
        new_value=switch.value,
        new_changed_at_ms=switch.changed_at_ms,
        new_ends_at_ms=switch.ends_at_ms,
        new_reason=switch.reason,
    )


def registration_of(value: int, setting: RegistrationState) -> RegistrationState:
    """Return who may register with a value of the switch `registration`."""
    return REGISTRATIONS[value - 1] if value else setting


class Switches:
    """The state of all switches in this worker.

    `maintenance` is a setting, which the switch cannot end. `registration` is a setting, which the switch overrides.
    """

    def __init__(
        self, database: Database, clock: Clock, *, maintenance: bool = False, registration: RegistrationState = "on"
    ) -> None:
        self._database = database
        self._clock = clock
        self.maintenance_by_setting: Final = maintenance
        self.registration_by_setting: Final = registration
        self._by_name: dict[str, Switch] = {}

    async def reload(self) -> None:
        """Read all switches. A job calls this, and each act after its commit. Raises Unavailable."""
        self._by_name = {switch.name: switch for switch in await self._database.all(_ALL)}

    def now(self, name: SwitchName) -> Switch:
        """Return a switch as this worker knows it."""
        return self._by_name.get(name) or Switch(name)

    def is_on(self, name: SwitchName) -> bool:
        """Return whether a switch is on and has not run out."""
        switch = self._by_name.get(name)
        return switch is not None and switch.is_on(self._clock.now_ms())

    def under_maintenance(self) -> bool:
        """Return whether only staff may use the server, by the setting or by the switch."""
        return self.maintenance_by_setting or self.is_on("maintenance")

    def registration(self) -> RegistrationState:
        """Return who may register, by the switch or else by the setting."""
        return registration_of(self.now("registration").value, self.registration_by_setting)

    def switched_registration(self) -> RegistrationState | None:
        """Return who may register if staff has decided so against the setting."""
        state = self.registration()
        return state if state != self.registration_by_setting else None
