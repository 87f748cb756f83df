"""The minutes of the last 90 days in which the server was up."""

from pathlib import Path

import pytest
from sqlalchemy import select
from tests.builders import Run, World

from kiai.errors import Unavailable
from kiai.storage.port import Database
from kiai.storage.tables import uptime_days
from kiai.uptime import DAYS, Components, Uptime, UptimeDay, share_of

DAY_S = 86_400
NOON_MS = 1_700_006_400_000 - 1_700_006_400_000 % 86_400_000 + 12 * 3_600_000


@pytest.fixture
def world(database: Database, run: Run, tmp_path: Path) -> World:
    """All domain services, with each engine."""
    return World(database, run, tmp_path)


async def works() -> None:
    pass


async def fails() -> None:
    raise Unavailable("state", "secret reason")


@pytest.fixture
def uptime(world: World) -> Uptime:
    world.clock.set_now_ms(NOON_MS)
    return Uptime(world.database, Components({"database": works, "state": works}), world.clock)


def run_for(world: World, uptime: Uptime, minutes: int) -> None:
    for _ in range(minutes):
        world.run(uptime.sample())
        world.clock.advance(60)


def today(world: World, uptime: Uptime) -> UptimeDay:
    return world.run(uptime.days())[-1]


def test_each_minute_counts_once(world: World, uptime: Uptime) -> None:
    for _ in range(9):
        world.run(uptime.sample())
        world.clock.advance(20)

    found = today(world, uptime)

    assert (found.up, found.impaired, found.down, found.share) == (3, 0, 0, 1.0)


def test_minutes_without_a_sample_are_down(world: World, uptime: Uptime) -> None:
    run_for(world, uptime, 6)
    world.clock.advance(3 * 60)
    run_for(world, uptime, 3)

    found = today(world, uptime)

    assert (found.up, found.down, found.share) == (9, 3, 0.75)


def test_minutes_in_which_a_part_failed_are_impaired(world: World, uptime: Uptime) -> None:
    run_for(world, uptime, 2)
    run_for(world, Uptime(world.database, Components({"database": works, "state": fails}), world.clock), 2)

    found = today(world, uptime)

    assert (found.up, found.impaired, found.down) == (2, 2, 0)


def test_server_without_samples_has_no_share(world: World, uptime: Uptime) -> None:
    days = world.run(uptime.days())

    assert len(days) == DAYS
    assert {day.share for day in days} == {None}
    assert share_of(days) is None


def test_days_before_the_first_sample_have_no_share_and_a_day_off_has_a_share_of_zero(
    world: World, uptime: Uptime
) -> None:
    run_for(world, uptime, 12 * 60)
    world.clock.advance(DAY_S)
    run_for(world, uptime, 60)

    before, first, off, now = world.run(uptime.days())[-4:]

    assert before.share is None
    assert (first.up, first.down, first.share) == (720, 0, 1.0)
    assert (off.up, off.down, off.share) == (0, 1440, 0.0)
    assert now.share == 1.0
    assert share_of([before, first, off, now]) == 780 / 2220


def test_clock_that_is_set_back_counts_no_minute_twice(world: World, uptime: Uptime) -> None:
    run_for(world, uptime, 5)
    world.clock.set_now_ms(NOON_MS + 60_000)
    world.run(uptime.sample())
    world.clock.set_now_ms(NOON_MS + 5 * 60_000)

    assert today(world, uptime).up == 5


def test_table_keeps_ninety_days(world: World, uptime: Uptime) -> None:
    for _ in range(DAYS + 5):
        world.run(uptime.sample())
        world.clock.advance(DAY_S)

    assert len(world.look(select(uptime_days.c.day))) == DAYS


def test_checks_run_together_and_say_which_part_fails(world: World) -> None:
    states = world.run(Components({"database": works, "state": fails}).states())

    assert states == {"database": "ok", "state": "state is not available: secret reason"}
