"""A day's standings are noted whole, once, whatever fails on the way."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select
from tests.builders import World, a_map, a_play, a_player

from kiai.errors import Unavailable
from kiai.realtime.port import Rank
from kiai.scores import history
from kiai.scores.history import History
from kiai.storage.tables import rank_history

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


def test_a_day_is_noted_once(world: World, ranked: list[int]) -> None:
    noting = History(world.database, world.realtime, world.clock)
    today = world.clock.now_ms() // history.DAY_MS

    world.run(noting.note_day())
    first = days(world)
    world.run(world.realtime.forget_ranks(ranked[0]))
    world.run(noting.note_day())
    again = days(world)
    world.clock.advance(DAY_S)
    world.run(noting.note_day())

    assert first == again == [(today, player, n + 1) for n, player in enumerate(ranked)]
    assert [day for day, *_ in days(world)] == [today] * 5 + [today + 1] * 4


def test_a_day_that_failed_half_way_is_noted_whole_by_the_next_call(
    world: World, ranked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "AT_ONCE", 2)
    noting = History(world.database, world.realtime, world.clock)
    ranks_of = world.realtime.ranks_of
    asked = 0

    async def away_at_the_third(user_id: int) -> dict[int, Rank]:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise Unavailable("realtime state", "away")
        return await ranks_of(user_id)

    monkeypatch.setattr(world.realtime, "ranks_of", away_at_the_third)
    with pytest.raises(Unavailable):
        world.run(noting.note_day())
    half = len(days(world))
    world.run(noting.note_day())

    assert 0 < half < 5
    assert [user_id for _, user_id, _ in days(world)] == ranked


def test_a_day_is_not_noted_from_ranks_that_were_lost(world: World, ranked: list[int]) -> None:
    noting = History(world.database, world.realtime, world.clock)
    world.run(world.realtime.replace_ranks([]))

    with pytest.raises(Unavailable):
        world.run(noting.note_day())
    world.run(world.ranks.rebuild())
    world.run(noting.note_day())

    assert [user_id for _, user_id, _ in days(world)] == ranked


def test_two_workers_that_note_a_day_at_once_note_it_whole(world: World, ranked: list[int]) -> None:
    workers = [History(world.database, world.realtime, world.clock) for _ in range(2)]

    async def both() -> None:
        await asyncio.gather(*(one.note_day() for one in workers), return_exceptions=True)
        await workers[0].note_day()

    world.run(both())

    assert [user_id for _, user_id, _ in days(world)] == ranked
