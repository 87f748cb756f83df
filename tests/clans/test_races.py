"""Clans that are disbanded while their totals are written, on real transactions."""

import asyncio
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import select, update
from tests.builders import Run, World, a_map, a_play, a_player
from tests.pausing import Pause, PausingDatabase

from kiai.clans import ClanActs, ClanRules, Clans
from kiai.clans import service as totals
from kiai.clans import statements as sql
from kiai.storage.port import Command, Database, Query
from kiai.storage.tables import clan_totals, clans, stats


class Owls:
    """A clan with a ranked owner, and another clan."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.run = world.run
        self.alice, self.bob = (world.add_player(a_player(name)) for name in ("alice", "bob"))
        self.acts = ClanActs(world.database, None, world.clock, ClanRules())
        song = world.add_map(a_map())
        for player in (self.alice, self.bob):
            world.record(a_play(by=player, on=song))
        self.clan = self.run(self.acts.found(self.alice, "owl", "Night Owls"))
        self.other = self.run(self.acts.found(self.bob, "cat", "Cats"))

    def totals(self) -> list[int]:
        return [clan_id for (clan_id,) in self.world.look(select(clan_totals.c.clan_id))]


@pytest.fixture
def owls(database: Database, run: Run, tmp_path: Path) -> Owls:
    return Owls(World(database, run, tmp_path))


@pytest.mark.parametrize("statement", [sql.CLAN_TO_CHANGE, sql.REMOVE_TOTALS, totals._WRITE_TOTALS])
def test_a_clan_is_disbanded_while_its_totals_are_written(owls: Owls, statement: Query[object] | Command) -> None:
    owls.run(Clans(owls.world.database).refresh_totals())
    owls.world.change(update(stats).where(stats.c.user_id == owls.alice).values(pp=70))
    pause = Pause(owls.world.database, statement)
    job = Clans(cast(Database, PausingDatabase(pause)))

    async def interleaved() -> None:
        writing = asyncio.create_task(job.refresh_totals())
        await pause.reached(writing)
        disbanding = asyncio.create_task(owls.acts.disband(owls.alice, owls.clan))
        await pause.until_stuck(disbanding)
        pause.go()
        await asyncio.gather(writing, disbanding)

    owls.run(interleaved())

    assert owls.totals() == [owls.other]
    assert owls.world.look(select(clans.c.id)) == [(owls.other,)]


@pytest.mark.parametrize("statement", [sql.REMOVE_TOTALS, sql.REMOVE])
def test_totals_of_a_clan_that_is_being_disbanded_are_not_written(
    owls: Owls, statement: Query[object] | Command
) -> None:
    pause = Pause(owls.world.database, statement)
    paused = ClanActs(cast(Database, PausingDatabase(pause)), None, owls.world.clock, ClanRules())

    async def interleaved() -> None:
        disbanding = asyncio.create_task(paused.disband(owls.alice, owls.clan))
        await pause.reached(disbanding)
        writing = asyncio.create_task(Clans(owls.world.database).refresh_totals())
        await pause.until_stuck(writing)
        pause.go()
        await asyncio.gather(writing, disbanding)

    owls.run(interleaved())

    assert owls.totals() == [owls.other]


def test_two_refreshes_at_the_same_time_leave_one_row(owls: Owls) -> None:
    pause = Pause(owls.world.database, sql.REMOVE_TOTALS)
    slow = Clans(cast(Database, PausingDatabase(pause)))

    async def interleaved() -> None:
        one = asyncio.create_task(slow.refresh(owls.clan))
        await pause.reached(one)
        two = asyncio.create_task(Clans(owls.world.database).refresh(owls.clan))
        await pause.until_stuck(two)
        pause.go()
        await asyncio.gather(one, two)

    owls.run(interleaved())

    assert owls.totals() == [owls.clan]
