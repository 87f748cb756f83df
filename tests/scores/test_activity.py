"""Recent activity: first places won and lost, medals and milestones of rank, and peak ranks."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select
from tests.builders import World, a_map, a_play, a_player

from kiai.osu.mods import HD
from kiai.scores import activity as activities
from kiai.scores.peaks import Peak, RankNow
from kiai.staff import OPERATOR
from kiai.storage.port import Query
from kiai.storage.tables import activity

DAY_S = 86_400


def kinds(world: World, user_id: int) -> list[tuple[str, int | None, str | None]]:
    found = world.run(world.showcase.activity.of(user_id, limit=50))
    return [(one.kind, one.score_id, one.other_name) for one in found if one.kind != activities.MEDAL]


def test_first_place_is_won_and_lost(world: World) -> None:
    alice, bob, song = world.add_player(a_player()), world.add_player(a_player("bob")), world.add_map(a_map())

    first = world.record(a_play(by=alice, on=song, score=1_000)).score_id
    world.record(a_play(by=alice, on=song, score=1_500))
    better = world.record(a_play(by=bob, on=song, score=2_000)).score_id

    assert kinds(world, alice) == [("first_place_lost", better, "bob"), ("first_place", first, None)]
    assert kinds(world, bob) == [("first_place", better, "alice")]


def test_hidden_player_vanishes_from_the_activity_of_others(world: World) -> None:
    alice, bob, song = world.add_player(a_player()), world.add_player(a_player("bob")), world.add_map(a_map())
    first = world.record(a_play(by=alice, on=song, score=1_000)).score_id
    better = world.record(a_play(by=bob, on=song, score=2_000)).score_id

    world.run(world.restrictions.restrict(OPERATOR, "alice", "because"))
    assert kinds(world, bob) == [("first_place", better, None)]
    world.run(world.restrictions.unrestrict(OPERATOR, "alice", "because"))
    world.run(world.restrictions.restrict(OPERATOR, "bob", "because"))

    assert kinds(world, alice) == [("first_place", first, None)]


def test_play_of_a_restricted_player_is_no_activity(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    world.run(world.restrictions.restrict(OPERATOR, "alice", "because"))

    world.record(a_play(by=alice, on=song, mods=HD))

    assert world.look(select(activity.c.id)) == []


def test_medal_is_an_activity_with_its_score(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())

    recorded = world.record(a_play(by=alice, on=song, mods=HD))

    assert recorded.chart is not None
    assert recorded.chart.medals
    found = world.run(world.showcase.activity.of(alice, limit=50))
    earned = [(one.number, one.score_id, one.map_id) for one in found if one.kind == "medal"]
    assert sorted(earned) == sorted((medal, recorded.score_id, song.id) for medal in recorded.chart.medals)


def test_activity_is_paged_by_its_id(world: World) -> None:
    alice = world.add_player(a_player())
    for n in range(3):
        world.record(a_play(by=alice, on=world.add_map(a_map(n + 1)), score=1_000))

    everything = world.run(world.showcase.activity.of(alice, limit=50))
    first = world.run(world.showcase.activity.of(alice, limit=2))
    rest = world.run(world.showcase.activity.of(alice, limit=50, before=first[-1].id))

    assert first + rest == everything
    assert len(everything) >= 3


def test_activity_ends_after_30_days(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activities, "DELETED_AT_ONCE", 1)
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    world.record(a_play(by=alice, on=song, mods=HD))

    world.clock.advance(30 * DAY_S)
    assert kinds(world, alice) != []
    world.clock.advance(1)
    assert kinds(world, alice) == []
    assert world.look(select(activity.c.id)) != []
    world.run(world.showcase.activity.delete_older())

    assert world.look(select(activity.c.id)) == []


def test_peak_is_the_first_day_of_the_best_rank(world: World) -> None:
    alice, bob, song = world.add_player(a_player()), world.add_player(a_player("bob")), world.add_map(a_map())
    world.record(a_play(by=alice, on=song, pp=50))
    world.run(world.outbox.deliver())
    at_ms = world.clock.now_ms()

    world.clock.advance(DAY_S)
    world.record(a_play(by=bob, on=song, pp=90))
    world.run(world.outbox.deliver())
    world.record(a_play(by=alice, on=song, pp=60))
    world.run(world.outbox.deliver())

    assert world.run(world.ranks.of_mode(alice, 0)).rank == 2
    assert world.run(world.showcase.peaks.of(alice, 0)) == Peak(1, at_ms)
    assert world.run(world.showcase.peaks.all_of(bob)) == {0: Peak(1, world.clock.now_ms())}
    assert world.run(world.showcase.peaks.of(alice, 4)) is None


def test_better_rank_without_an_own_play_is_found_once_a_day(world: World) -> None:
    alice, bob, song = world.add_player(a_player()), world.add_player(a_player("bob")), world.add_map(a_map())
    world.record(a_play(by=bob, on=song, pp=90))
    world.record(a_play(by=alice, on=song, pp=50))
    world.run(world.outbox.deliver())
    world.run(world.restrictions.restrict(OPERATOR, "bob", "because"))
    world.run(world.outbox.deliver())
    assert world.run(world.showcase.peaks.of(alice, 0)) == Peak(2, world.clock.now_ms())

    world.clock.advance(DAY_S)
    world.run(world.showcase.history.save_day())

    assert world.run(world.showcase.peaks.of(alice, 0)) == Peak(1, world.clock.now_ms())


def test_two_processes_that_note_a_first_peak_at_once_keep_the_better(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = world.add_player(a_player()), world.add_player(a_player("bob"))
    peaks, at_ms = world.showcase.peaks, world.clock.now_ms()
    read, both_have_read = world.database.all, asyncio.Event()
    reads = 0

    async def read_with_the_other(query: Query[Any], /, **values: Any) -> Any:
        nonlocal reads
        rows = await read(query, **values)
        reads += 1
        if reads == 2:
            both_have_read.set()
        await both_have_read.wait()
        return rows

    async def note_at_once() -> None:
        monkeypatch.setattr(world.database, "all", read_with_the_other)
        await asyncio.gather(
            peaks.note([RankNow(alice, 0, 7), RankNow(bob, 0, 5)]),
            peaks.note([RankNow(alice, 0, 3), RankNow(bob, 0, 6)]),
        )
        monkeypatch.undo()

    world.run(note_at_once())

    assert world.run(peaks.of(alice, 0)) == Peak(3, at_ms)
    assert world.run(peaks.of(bob, 0)) == Peak(5, at_ms)


def test_milestone_needs_more_players_than_its_rank(world: World) -> None:
    song = world.add_map(a_map())
    players = [world.add_player(a_player(f"player{n}")) for n in range(12)]
    for n, player in enumerate(players):
        world.record(a_play(by=player, on=song, pp=100 - n))
    world.run(world.ranks.rebuild())

    world.run(world.showcase.peaks.note([RankNow(player, 0, n + 1) for n, player in enumerate(players)]))
    world.run(world.showcase.peaks.note([RankNow(players[5], 0, 3), RankNow(players[6], 0, 1)]))

    reached = world.look(select(activity.c.user_id, activity.c.number).where(activity.c.kind == "rank"))
    expected = [(players[0], 1), *[(player, 10) for player in players[1:10]], (players[6], 1)]
    assert sorted(reached) == sorted(expected)
