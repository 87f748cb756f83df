"""The ranks of a day are saved once and completely, also after failures."""

import asyncio
from collections.abc import Iterable
from datetime import date
from typing import Any

import pytest
from sqlalchemy import bindparam, insert, select
from tests.builders import World, a_map, a_play, a_player
from tests.contract.realtime.builders import in_pages

from kiai.errors import Unavailable
from kiai.osu.mods import HD, HR
from kiai.realtime.port import Rank
from kiai.scores import history
from kiai.scores.history import History
from kiai.scores.medals import MEDALS
from kiai.staff import OPERATOR
from kiai.storage.port import Command, Transaction
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
    world.run(world.realtime.replace_ranks(in_pages([])))

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


_ADD = Command(
    insert(rank_history).values(
        {name: bindparam(name) for name in ("user_id", "mode", "day", "rank", "country_rank", "pp")}
    )
)


def put_days(world: World, user_id: int, found: Iterable[int], mode: int = 0) -> None:
    async def body(tx: Transaction) -> None:
        await tx.run_many(
            _ADD,
            [{"user_id": user_id, "mode": mode, "day": day, "rank": 1, "country_rank": 1, "pp": 1} for day in found],
        )

    world.run(world.database.transaction(body))


def days_of(world: World, user_id: int, mode: int = 0) -> list[int]:
    return [
        day
        for (day,) in world.look(
            select(rank_history.c.day)
            .where(rank_history.c.user_id == user_id, rank_history.c.mode == mode)
            .order_by(rank_history.c.day)
        )
    ]


def monday_of(day: int) -> int:
    return day - date.fromordinal(date(1970, 1, 1).toordinal() + day).weekday()


def test_old_days_become_weeks_and_the_last_90_days_stay(world: World, ranked: list[int]) -> None:
    noting = History(world.database, world.realtime, world.clock, world.showcase.peaks)
    today = world.clock.now_ms() // history.DAY_MS
    all_days = range(today - 200, today + 1)
    put_days(world, ranked[0], all_days)
    put_days(world, ranked[0], [today - 150, today - 3], mode=4)
    first_full = monday_of(today - 89)

    world.run(noting.thin())

    kept = days_of(world, ranked[0])
    assert [day for day in kept if day >= first_full] == list(range(first_full, today + 1))
    old = [day for day in kept if day < first_full]
    assert old == [today - 200, *range(monday_of(today - 200) + 7, first_full, 7)]
    assert days_of(world, ranked[0], mode=4) == [today - 150, today - 3], "a week with one row keeps it"
    assert [one.day for one in world.run(noting.days(ranked[0], 0))] == list(range(today - 89, today + 1))


def test_next_week_is_thinned_when_it_is_old_enough(world: World, ranked: list[int]) -> None:
    noting = History(world.database, world.realtime, world.clock, world.showcase.peaks)
    today = world.clock.now_ms() // history.DAY_MS
    week = range(monday_of(today), monday_of(today) + 7)
    put_days(world, ranked[0], week)
    world.run(noting.thin())

    world.clock.advance((week[-1] + 89 - today) * DAY_S)
    world.run(noting.thin())
    before = days_of(world, ranked[0])
    world.clock.advance(DAY_S)
    world.run(noting.thin())

    assert before == list(week)
    assert days_of(world, ranked[0]) == [week[0]]


def test_thinning_in_small_steps_and_calls_reaches_every_player(
    world: World, ranked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "STEPS_MAX", 1)
    monkeypatch.setattr(history, "PLAYERS_AT_ONCE", 4)
    noting = History(world.database, world.realtime, world.clock, world.showcase.peaks)
    today = world.clock.now_ms() // history.DAY_MS
    monday = monday_of(today - 300)
    # More surplus rows than a step deletes.
    for player in ranked:
        put_days(world, player, range(monday, monday - 700, -1))
    kept = [*range(monday - 700, monday + 1, 7)][1:]

    world.run(noting.thin())
    after_one = sum(len(days_of(world, player)) for player in ranked)
    for _ in range(2):
        world.run(noting.thin())

    assert after_one == 5 * 700 - history.DELETED_AT_ONCE
    assert [days_of(world, player) for player in ranked] == [[monday - 699, *kept]] * 5


def test_two_workers_thinning_at_once_leave_one_row_a_week(world: World, ranked: list[int]) -> None:
    workers = [History(world.database, world.realtime, world.clock, world.showcase.peaks) for _ in range(2)]
    monday = monday_of(world.clock.now_ms() // history.DAY_MS - 300)
    for player in ranked:
        put_days(world, player, range(monday, monday + 14))

    async def both() -> None:
        await asyncio.gather(*(one.thin() for one in workers), return_exceptions=True)
        await workers[0].thin()

    world.run(both())

    assert [days_of(world, player) for player in ranked] == [[monday, monday + 7]] * 5


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
