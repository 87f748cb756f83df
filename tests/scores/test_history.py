"""The ranks of a day are saved once and completely, also after failures."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select
from tests.builders import World, a_map, a_play, a_player

from kiai.errors import Unavailable
from kiai.osu.mods import HD, HR
from kiai.realtime.port import Rank
from kiai.scores import history
from kiai.scores.history import History
from kiai.scores.medals import MEDALS
from kiai.staff import OPERATOR
from kiai.storage.tables import medal_holders, rank_history

DAY_S = 86_400


@pytest.fixture
def ranked(world: World) -> list[int]:
    song = world.add_map(a_map())
    players = [world.add_player(a_player(f"player{n}")) for n in range(5)]
    for n, player in enumerate(players):
        world.record(a_play(by=player, on=song, pp=100 - n))
    world.run(world.outbox.deliver())
    return players


def days(world: World) -> list[tuple[Any, ...]]:
    return world.look(
        select(rank_history.c.day, rank_history.c.user_id, rank_history.c.rank).order_by(
            rank_history.c.day, rank_history.c.user_id
        )
    )


def test_day_is_saved_once(world: World, ranked: list[int]) -> None:
    noting = History(world.database, world.realtime, world.clock, world.showcase.peaks)
    today = world.clock.now_ms() // history.DAY_MS

    world.run(noting.save_day())
    first = days(world)
    world.run(world.realtime.forget_ranks(ranked[0]))
    world.run(noting.save_day())
    again = days(world)
    world.clock.advance(DAY_S)
    world.run(noting.save_day())

    assert first == again == [(today, player, n + 1) for n, player in enumerate(ranked)]
    assert [day for day, *_ in days(world)] == [today] * 5 + [today + 1] * 4


def test_day_that_failed_half_way_is_saved_completely_by_the_next_call(
    world: World, ranked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "AT_ONCE", 2)
    noting = History(world.database, world.realtime, world.clock, world.showcase.peaks)
    ranks_of = world.realtime.ranks_of
    asked = 0

    async def fail_at_the_third(user_id: int) -> dict[int, Rank]:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise Unavailable("realtime state", "away")
        return await ranks_of(user_id)

    monkeypatch.setattr(world.realtime, "ranks_of", fail_at_the_third)
    with pytest.raises(Unavailable):
        world.run(noting.save_day())
    half = len(days(world))
    world.run(noting.save_day())

    assert 0 < half < 5
    assert [user_id for _, user_id, _ in days(world)] == ranked


def test_day_is_not_saved_while_ranks_are_missing(world: World, ranked: list[int]) -> None:
    noting = History(world.database, world.realtime, world.clock, world.showcase.peaks)
    world.run(world.realtime.replace_ranks([]))

    with pytest.raises(Unavailable):
        world.run(noting.save_day())
    world.run(world.ranks.rebuild())
    world.run(noting.save_day())

    assert [user_id for _, user_id, _ in days(world)] == ranked


def test_two_workers_saving_a_day_at_once_save_it_completely(world: World, ranked: list[int]) -> None:
    workers = [History(world.database, world.realtime, world.clock, world.showcase.peaks) for _ in range(2)]

    async def both() -> None:
        await asyncio.gather(*(one.save_day() for one in workers), return_exceptions=True)
        await workers[0].save_day()

    world.run(both())

    assert [user_id for _, user_id, _ in days(world)] == ranked


def holders(world: World) -> dict[int, int]:
    """Return the numbers of players with each medal that has any."""
    found = world.run(History(world.database, world.realtime, world.clock, world.showcase.peaks).medal_holders())
    return {medal_id: count for medal_id, count in found.items() if count}


def test_every_medal_has_a_counter_of_its_players(world: World) -> None:
    found = world.run(History(world.database, world.realtime, world.clock, world.showcase.peaks).medal_holders())

    assert found == {medal.id: 0 for medal in MEDALS}


def test_counter_of_a_medal_follows_plays_and_restrictions(world: World) -> None:
    song = world.add_map(a_map())
    alice, bob = world.add_player(a_player()), world.add_player(a_player("bob"))
    for player in (alice, bob, alice):  # the second play of alice earns nothing new
        world.record(a_play(by=player, on=song, mods=HD))
    both = holders(world)

    world.run(world.restrictions.restrict(OPERATOR, "bob", "because"))
    world.record(a_play(by=bob, on=song, mods=HR))  # a restricted player earns no medals
    one = holders(world)
    world.run(world.restrictions.unrestrict(OPERATOR, "bob"))

    assert (both[110], both[74]) == (2, 2)
    assert one == {medal_id: count - 1 for medal_id, count in both.items()}
    assert holders(world) == both
    world.reconcile()
    assert world.problems() == []


def test_doctor_finds_and_repairs_a_wrong_counter_of_a_medal(world: World) -> None:
    song = world.add_map(a_map())
    world.record(a_play(by=world.add_player(a_player()), on=song))
    before = holders(world)
    world.change(medal_holders.update().where(medal_holders.c.medal_id == 110).values(holders=7))

    found = world.problems()
    world.run(world.doctor.repair())

    assert found == ["I6: medal 110: the counter of players is 7, the rows give 1"]
    assert holders(world) == before
