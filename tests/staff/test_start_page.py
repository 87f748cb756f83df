"""The start page of staff is read in parts: one that cannot be read leaves the others as they are."""

import asyncio

import pytest
from sqlalchemy import insert
from tests.builders import NORMAL, World, a_player
from tests.patience import patiently

from kiai.errors import Unavailable
from kiai.osu.privileges import Privilege
from kiai.samples import Samples
from kiai.staff import Actor
from kiai.staff.audit_reading import AuditReading
from kiai.staff.start_page import DAY_MAX, StartOfStaff, Upto
from kiai.storage.tables import logins

MODERATOR = NORMAL | int(Privilege.MODERATOR)


class Broken:
    """A service that cannot be read: it raises, or does not answer."""

    def __init__(self, hangs: bool) -> None:
        self._hangs = hangs

    async def _fail(self, *_: object, **_named: object) -> None:
        if self._hangs:
            await asyncio.Event().wait()
        raise Unavailable("database", "is gone")

    rows = totals = states = read = _fail


class Working:
    """A server whose parts all work."""

    async def states(self) -> dict[str, str]:
        return {"database": "ok"}

    def under_maintenance(self) -> bool:
        return False

    def switched_registration(self) -> None:
        return None


@pytest.mark.parametrize("hangs", [False, True], ids=["raises", "hangs"])
@pytest.mark.parametrize("broken", ["audit", "samples", "components"])
def test_part_that_fails_fails_alone(world: World, broken: str, hangs: bool) -> None:
    actor = Actor(world.add_player(a_player("mod", priv=MODERATOR)), "web")
    audit = AuditReading(world.database, world.authority)
    services = {"audit": audit, "samples": Samples(world.database, world.clock), "components": Working()}
    services[broken] = Broken(hangs)
    start = StartOfStaff(
        world.database,
        world.authority,
        **services,  # type: ignore[arg-type]
        health=Broken(hangs),  # type: ignore[arg-type]
        switches=Working(),  # type: ignore[arg-type]
        clock=world.clock,
        part_s=patiently(0.2),
    )

    found = world.run(start.read(actor))

    missing = {"audit": found.acts, "samples": found.day.totals, "components": found.parts}
    assert [name for name, value in missing.items() if value is None] == [broken]
    assert [one.found for one in found.waiting] == [Upto(0, False)] * 2
    assert found.day.registrations == Upto(1, False)


def test_count_of_a_day_stops(world: World) -> None:
    user_id = world.add_player(a_player("mod", priv=MODERATOR))
    row = {"user_id": user_id, "at_ms": world.clock.now_ms(), "address": "::1", "build": 1, "stream": "stable"}
    world.change(insert(logins).values([row] * (DAY_MAX + 1)))
    broken = Broken(hangs=False)
    start = StartOfStaff(
        world.database,
        world.authority,
        AuditReading(world.database, world.authority),
        Samples(world.database, world.clock),
        broken,  # type: ignore[arg-type]
        broken,  # type: ignore[arg-type]
        Working(),  # type: ignore[arg-type]
        world.clock,
    )

    assert world.run(start.read(Actor(user_id, "web"))).day.logins == Upto(DAY_MAX, True)
