"""Recalculation: profiles change in one step, and an interrupted run is resumed."""

from collections.abc import Sequence
from typing import Any, cast

import pytest
from sqlalchemy import select, update
from tests.builders import FakeResult, World, a_map, a_play, a_player, pp_of

from kiai.beatmaps import Beatmap
from kiai.errors import Unavailable
from kiai.scores import calculator
from kiai.scores.performance import Performance
from kiai.scores.recalculation import Recalculation, RecalculationReport
from kiai.storage.tables import recomputed, scores

OLD = 1


class Stopped(Exception):
    """The process ended."""


class Formula:
    """Doubles the pp of the fake calculator. It can stop in the middle, and records public profiles while it runs."""

    calculator_id = 8

    def __init__(self, world: World, *, stops_at: int | None = None) -> None:
        self.world = world
        self.stops_at = stops_at
        self.asked: list[str] = []
        self.scores: set[int | None] = set()
        self.seen: list[tuple[int, tuple[float, ...]]] = []

    async def plays(
        self, md5: str, mode: int, plays: Sequence[calculator.CalculatorPlay], *, caller: str = ""
    ) -> list[FakeResult]:
        self.asked.append(md5)
        self.scores |= {play.legacy_score for play in plays}
        if self.stops_at is not None and len(self.asked) > self.stops_at:
            raise Stopped
        stats = await self.world.profiles.stats_in(3, 0)
        best = await self.world.profiles.best_of(3, 0, limit=10)
        assert stats is not None
        self.seen.append((stats.pp, tuple(one.score.pp for one in best)))
        return [FakeResult(2 * pp_of(play.n300 or 0, play.n100 or 0)) for play in plays]


def recalc(world: World, formula: Formula, **scope: Any) -> RecalculationReport:
    job = Recalculation(
        world.database, world.beatmaps, cast(Performance, formula), world.rebuilder, world.clock, at_once=1
    )
    return world.run(job.run(**scope))


@pytest.fixture
def songs(world: World) -> list[Beatmap]:
    """Three maps with bests of alice (id 3) and bob, computed by an old formula."""
    songs = [world.add_map(a_map(n, objects=100)) for n in (1, 2, 3)]
    alice, bob = world.add_player(a_player()), world.add_player(a_player("bob"))
    for song in songs:
        world.record(a_play(by=alice, on=song, n100=10, pp=pp_of(90, 10)))
        world.record(a_play(by=bob, on=song, n100=20, pp=pp_of(80, 20)))
    world.change(update(scores).values(calculator=OLD))
    return songs


def test_recalculation_updates_everything_that_depends_on_pp(world: World, songs: list[Beatmap]) -> None:
    before = world.stats(3)

    report = recalc(world, Formula(world))

    assert (report.scores, report.changed, report.players, report.failed) == (6, 6, 2, [])
    assert set(world.look(select(scores.c.calculator))) == {(8,)}
    assert [one.score.pp for one in world.run(world.profiles.best_of(3, 0, limit=10))] == [95.0] * 3
    assert world.stats(3).pp > before.pp
    assert world.look(select(recomputed)) == []
    assert world.problems() == []


@pytest.mark.parametrize(
    ("version", "told"),
    [(0, 100_000), (20130319, 100_000), (29_999_999, 100_000), (30_000_000, None), (2**31 - 1, None)],
)
def test_pp_of_a_lazer_play_does_not_depend_on_its_total_score(
    world: World, songs: list[Beatmap], version: int, told: int | None
) -> None:
    world.change(update(scores).values(client_version=version))
    formula = Formula(world)

    recalc(world, formula)

    assert formula.scores == {told}


def test_profile_changes_to_new_pp_in_one_step(world: World, songs: list[Beatmap]) -> None:
    formula = Formula(world)
    before = (world.stats(3).pp, tuple(one.score.pp for one in world.run(world.profiles.best_of(3, 0, limit=10))))

    recalc(world, formula)

    assert formula.seen == [before] * 3


def test_interrupted_run_is_resumed(world: World, songs: list[Beatmap]) -> None:
    with pytest.raises(Stopped):
        recalc(world, Formula(world, stops_at=2))
    assert [one.score.pp for one in world.run(world.profiles.best_of(3, 0, limit=10))] == [47.5] * 3
    formula = Formula(world)

    report = recalc(world, formula)

    assert report.resumed
    assert formula.asked == [songs[2].md5], "finished maps are not computed again"
    assert [one.score.pp for one in world.run(world.profiles.best_of(3, 0, limit=10))] == [95.0] * 3
    assert world.problems() == []


def test_play_recorded_during_a_recalculation_keeps_its_pp(world: World, songs: list[Beatmap]) -> None:
    with pytest.raises(Stopped):
        recalc(world, Formula(world, stops_at=2))
    world.record(a_play(by=3, on=songs[0], score=999_999, pp=300.0))
    world.change(update(scores).where(scores.c.score == 999_999).values(calculator=8))

    recalc(world, Formula(world))

    best = world.run(world.profiles.best_of(3, 0, limit=10))
    assert [one.score.pp for one in best] == [300.0, 95.0, 95.0]
    assert world.problems() == []


def test_map_without_pp_is_reported_and_its_scores_keep_their_pp(world: World, songs: list[Beatmap]) -> None:
    class Broken(Formula):
        async def plays(
            self, md5: str, mode: int, plays: Sequence[calculator.CalculatorPlay], *, caller: str = ""
        ) -> list[FakeResult]:
            if md5 == songs[1].md5:
                raise Unavailable("beatmap file", "gone")
            return await super().plays(md5, mode, plays)

    report = recalc(world, Broken(world))

    assert len(report.failed) == 1
    assert "map 2" in report.failed[0]
    assert [one.score.pp for one in world.run(world.profiles.best_of(3, 0, limit=10))] == [95.0, 95.0, 47.5]
    assert world.problems() == []


def test_recalculation_of_one_player(world: World, songs: list[Beatmap]) -> None:
    report = recalc(world, Formula(world), user=world.user(4))

    assert (report.scores, report.players) == (3, 1)
    assert [one.score.pp for one in world.run(world.profiles.best_of(4, 0, limit=10))] == [90.0] * 3
    assert [one.score.pp for one in world.run(world.profiles.best_of(3, 0, limit=10))] == [47.5] * 3
    assert world.problems() == []
