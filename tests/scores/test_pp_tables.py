"""The pp of a play without its faults, and that a page costs no calculation twice."""

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest
from tests.builders import World, a_map, a_play, a_player

from kiai.beatmaps import osu_key
from kiai.errors import Unavailable
from kiai.osu.accuracy import HitCounts
from kiai.osu.mods import HR
from kiai.scores import pp_tables
from kiai.scores.calculator import Calculator, CalculatorPlay, CalculatorRequest, CalculatorResult
from kiai.scores.details import ScoreDetails, ScoreReader
from kiai.scores.performance import CannotCalculate, Performance
from kiai.scores.pp_tables import ACCURACIES, PpTables, without_misses


class InProcess:
    """The calculator without its processes. `asked` counts the calculations."""

    calculator = "rosu-pp-py"

    def __init__(self, world: World) -> None:
        self._world = world
        self._calculator = Calculator()
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def plays(self, md5: str, mode: int, plays: Sequence[CalculatorPlay]) -> list[CalculatorResult]:
        self.asked += 1
        await self.gate.wait()
        osu = await self._world.files.get(osu_key(md5))
        reply = self._calculator.answer(CalculatorRequest(1, md5, mode, list(plays), osu))
        if reply.results is None:
            raise CannotCalculate(reply.error or "")
        return reply.results


@pytest.fixture
def performance(world: World) -> InProcess:
    return InProcess(world)


@pytest.fixture
def tables(performance: InProcess) -> PpTables:
    return PpTables(cast(Performance, performance))


def a_score(world: World, *, mods: int = 0, misses: int = 0, name: str = "alice", map_id: int = 1) -> ScoreDetails:
    song = world.add_map(a_map(map_id)) if map_id else world.map(a_map().md5)
    score_id = world.record(a_play(by=world.add_player(a_player(name)), on=song, mods=mods, misses=misses)).score_id
    return world.run(ScoreReader(world.database, world.boards).find(score_id))


def test_pp_grows_with_accuracy_and_a_full_combo_is_worth_most_at_100_percent(world: World, tables: PpTables) -> None:
    table = world.run(tables.of(a_score(world, misses=3)))

    assert len(table.at) == len(ACCURACIES)
    assert list(table.at) == sorted(table.at)
    assert table.if_fc == table.at[-1], "its only faults are misses"
    assert table.if_fc_accuracy == 100
    assert table.max_combo == 100
    assert table.aim is not None


def test_mods_change_the_difficulty(world: World, tables: PpTables) -> None:
    plain = world.run(tables.of(a_score(world)))
    harder = world.run(tables.of(a_score(world, mods=HR, name="bob", map_id=0)))

    assert harder.stars > plain.stars


def test_table_is_computed_once(world: World, tables: PpTables, performance: InProcess) -> None:
    found = a_score(world)

    async def several() -> None:
        await asyncio.gather(*(tables.of(found) for _ in range(5)))
        await tables.of(found)

    world.run(several())

    assert performance.asked == 1


def test_page_does_not_wait_for_a_slow_calculation(world: World, tables: PpTables, performance: InProcess) -> None:
    found = a_score(world)

    async def scenario() -> None:
        performance.gate.clear()
        with pytest.raises(Unavailable):
            await tables.of(found, wait_s=0.01)
        performance.gate.set()
        await tables.of(found)

    world.run(scenario())

    assert performance.asked == 1, "the first calculation went on"


def test_map_without_pp_is_remembered(world: World, tables: PpTables, performance: InProcess) -> None:
    found = a_score(world)
    world.run(world.files.put(osu_key(found.beatmap.md5), b"no map"))

    for _ in range(2):
        with pytest.raises(CannotCalculate, match="unreadable"):
            world.run(tables.of(found))

    assert performance.asked == 1


def test_cache_is_bounded(
    world: World, tables: PpTables, performance: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pp_tables, "TABLES_MAX", 1)
    first, second = a_score(world), a_score(world, name="bob", misses=1, map_id=0)

    for found in (first, second, first):
        world.run(tables.of(found))

    assert performance.asked == 3


@pytest.mark.parametrize(
    ("mode", "counts", "fixed"),
    [
        (0, HitCounts(90, 5, 2, 10, 3, 3), HitCounts(93, 5, 2, 10, 3, 0)),
        (1, HitCounts(90, 5, 0, 10, 3, 3), HitCounts(93, 5, 0, 10, 3, 0)),
        (2, HitCounts(90, 20, 30, 0, 4, 3), HitCounts(93, 20, 34, 0, 0, 0)),
        (3, HitCounts(90, 5, 2, 100, 3, 3), HitCounts(93, 5, 2, 100, 3, 0)),
    ],
)
def test_full_combo_has_hits_for_misses(mode: int, counts: HitCounts, fixed: HitCounts) -> None:
    assert without_misses(counts, mode) == fixed
