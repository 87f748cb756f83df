"""The award of missing medals: what stored plays have earned, once each, and only for visible players."""

from typing import cast

import pytest
from sqlalchemy import delete, select, update
from tests.builders import FakeDifficulties, World, a_map, a_play, a_player

from kiai.beatmaps import MapStatus
from kiai.osu.mods import DT, HD
from kiai.scores.medal_backfill import BackfillReport, MedalBackfill
from kiai.scores.performance import Difficulties
from kiai.storage.tables import medal_holders, medals, scores, stats, users

HOUR_MS = 3_600_000


def backfill(world: World, stars: float | None = 1.5) -> MedalBackfill:
    return MedalBackfill(world.database, world.beatmaps, cast(Difficulties, FakeDifficulties(stars)))


def run_all(world: World, stars: float | None = 1.5) -> BackfillReport:
    """Award missing medals to all players."""
    report = BackfillReport()
    world.run(backfill(world, stars).all_after(0, report, lambda user_id: None))
    return report


def held(world: World, user_id: int) -> list[int]:
    statement = select(medals.c.medal_id).where(medals.c.user_id == user_id).order_by(medals.c.medal_id)
    return [medal_id for (medal_id,) in world.look(statement)]


def forget(world: World) -> None:
    """Remove all medals, as if the plays were older than the medals."""
    world.change(delete(medals))
    world.change(update(medal_holders).values(holders=0))


@pytest.fixture
def alice(world: World) -> int:
    return world.add_player(a_player("alice"))


def test_backfill_awards_what_recording_awards(world: World, alice: int) -> None:
    song = world.add_map(a_map(1, objects=600))
    for mods in (0, HD, DT):
        world.record(a_play(by=alice, on=song, mods=mods))
    first = held(world, alice)
    assert first
    forget(world)

    report = run_all(world, stars=0.0)

    assert held(world, alice) == first
    assert report == BackfillReport(players=1, medals=len(first))
    assert world.problems() == []


def test_medal_has_the_score_and_the_time_of_the_play_that_earned_it(world: World, alice: int) -> None:
    song = world.add_map(a_map(1))
    at_ms = world.clock.now_ms() - 5 * HOUR_MS
    score_id = world.record(a_play(by=alice, on=song, at_ms=at_ms)).score_id
    world.record(a_play(by=alice, on=song))
    forget(world)

    world.run(backfill(world).player(alice, BackfillReport()))

    rows = world.look(select(medals.c.medal_id, medals.c.score_id, medals.c.unlocked_at_ms))
    assert (1, score_id, at_ms) in rows, "a pass of one star"
    assert (110, score_id, at_ms) in rows, "the first pass"


def test_second_run_awards_nothing(world: World, alice: int) -> None:
    world.record(a_play(by=alice, on=world.add_map(a_map(1))))
    run_all(world)

    assert run_all(world) == BackfillReport(players=1, medals=0)
    assert world.problems() == []


def test_totals_of_today_earn_their_medals(world: World, alice: int) -> None:
    world.record(a_play(by=alice, on=world.add_map(a_map(1))))
    world.change(update(stats).where(stats.c.user_id == alice).values(plays=15_000))

    run_all(world)

    assert {84, 85} <= set(held(world, alice))
    assert 86 not in held(world, alice)


def test_plays_of_a_day_earn_a_medal_and_those_of_two_days_do_not(world: World, alice: int) -> None:
    bob = world.add_player(a_player("bob"))
    now = world.clock.now_ms()
    for number in range(1, 6):
        song = world.add_map(a_map(number))
        world.record(a_play(by=alice, on=song, grade_="S", at_ms=now - (6 - number) * HOUR_MS))
        world.record(a_play(by=bob, on=song, grade_="S", at_ms=now - (6 - number) * 7 * HOUR_MS))
    forget(world)

    run_all(world)

    assert 104 in held(world, alice)
    assert 104 not in held(world, bob)


def test_hidden_players_and_hidden_scores_earn_nothing(world: World, alice: int) -> None:
    song = world.add_map(a_map(1))
    world.record(a_play(by=alice, on=song))
    bob = world.add_player(a_player("bob"))
    world.record(a_play(by=bob, on=song))
    forget(world)
    world.change(update(users).where(users.c.id == alice).values(priv=2))
    world.change(update(scores).where(scores.c.user_id == bob).values(hidden=1, best_pp=0, best_score=0, best_mods=0))

    report = run_all(world)
    world.run(backfill(world).player(alice, BackfillReport()))

    assert (held(world, alice), held(world, bob)) == ([], [])
    assert report.medals == 0


def test_map_without_a_board_and_a_failed_play_earn_nothing(world: World, alice: int) -> None:
    world.record(a_play(by=alice, on=world.add_map(a_map(1), MapStatus.PENDING)))
    world.record(a_play(by=alice, on=world.add_map(a_map(2), MapStatus.QUALIFIED)))
    world.record(a_play(by=alice, on=world.add_map(a_map(3)), passed=False))

    assert run_all(world).medals == 0


def test_map_without_stars_still_earns_the_other_medals(world: World, alice: int) -> None:
    world.record(a_play(by=alice, on=world.add_map(a_map(1)), mods=HD))
    forget(world)

    report = run_all(world, stars=None)

    assert report.failed == 1
    assert 74 in held(world, alice)
    assert 1 not in held(world, alice)
