import asyncio

import pytest
from sqlalchemy import select
from tests.builders import World, a_map, a_player

from kiai.beatmaps.favourites import Favourites
from kiai.errors import Conflict, NotFound, Refused
from kiai.storage.tables import favourites, sets


@pytest.fixture
def service(world: World) -> Favourites:
    return Favourites(world.database, world.clock, most=3)


@pytest.fixture
def alice(world: World) -> int:
    return world.add_player(a_player())


def a_set(world: World, set_id: int) -> int:
    world.add_map(a_map(set_id, title=f"Song {set_id}"))
    return set_id


def counter(world: World, set_id: int) -> int:
    [(count,)] = world.look(select(sets.c.favourites).where(sets.c.id == set_id))
    return int(count)


def test_a_player_has_no_favourites_at_first(world: World, service: Favourites, alice: int) -> None:
    assert world.run(service.of(alice)) == []


def test_favourites_are_listed_newest_first(world: World, service: Favourites, alice: int) -> None:
    totals = []
    for set_id in (7, 3, 5):
        totals.append(world.run(service.add(alice, a_set(world, set_id))))
        world.clock.advance(1)

    assert totals == [1, 2, 3]
    assert world.run(service.of(alice)) == [5, 3, 7]


def test_set_counts_its_favourites(world: World, service: Favourites, alice: int) -> None:
    bob = world.add_player(a_player("bob"))
    song, other = a_set(world, 1), a_set(world, 2)

    world.run(service.add(alice, song))
    world.run(service.add(bob, song))
    world.run(service.add(bob, other))
    world.run(service.remove(bob, other))

    assert (counter(world, song), counter(world, other)) == (2, 0)


def test_the_same_favourite_twice_is_a_conflict(world: World, service: Favourites, alice: int) -> None:
    song = a_set(world, 1)
    world.run(service.add(alice, song))

    with pytest.raises(Conflict):
        world.run(service.add(alice, song))

    assert counter(world, song) == 1


def test_concurrent_requests_for_a_favourite_add_it_once(world: World, service: Favourites, alice: int) -> None:
    song = a_set(world, 1)

    async def all_at_once() -> list[int | BaseException]:
        return await asyncio.gather(*(service.add(alice, song) for _ in range(5)), return_exceptions=True)

    outcomes = world.run(all_at_once())

    assert sorted(type(one).__name__ for one in outcomes) == ["Conflict"] * 4 + ["int"]
    assert counter(world, song) == 1


def test_an_unknown_set_is_not_found(world: World, service: Favourites, alice: int) -> None:
    for set_id in (-1, 0, 99, 2**31, 2**70):
        with pytest.raises(NotFound):
            world.run(service.add(alice, set_id))
        world.run(service.remove(alice, set_id))


def test_limit_of_favourites_and_removal_below_it(world: World, service: Favourites, alice: int) -> None:
    for set_id in (1, 2, 3):
        world.run(service.add(alice, a_set(world, set_id)))
    a_set(world, 4)

    with pytest.raises(Refused):
        world.run(service.add(alice, 4))
    world.run(service.remove(alice, 2))
    world.run(service.add(alice, 4))

    assert sorted(world.run(service.of(alice))) == [1, 3, 4]


def test_removal_of_a_set_that_is_not_a_favourite_changes_nothing(
    world: World, service: Favourites, alice: int
) -> None:
    song = a_set(world, 1)

    world.run(service.remove(alice, song))

    assert counter(world, song) == 0
    assert world.look(select(favourites)) == []
