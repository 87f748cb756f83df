import asyncio

import pytest
from sqlalchemy import select
from tests.builders import NOW_MS, World, a_map, a_player

from kiai.beatmaps import Beatmap
from kiai.beatmaps.ratings import Ratings
from kiai.errors import Invalid
from kiai.storage.tables import maps, ratings


@pytest.fixture
def votes(world: World) -> Ratings:
    return Ratings(world.database, world.clock)


@pytest.fixture
def song(world: World) -> Beatmap:
    return world.add_map(a_map())


@pytest.fixture
def alice(world: World) -> int:
    return world.add_player(a_player())


def counters(world: World) -> tuple[int, int]:
    [(total, count)] = world.look(select(maps.c.rating_sum, maps.c.rating_count))
    return total, count


def test_rating_without_votes_is_zero(song: Beatmap) -> None:
    assert song.rating == 0


def test_votes_are_averaged(world: World, votes: Ratings, song: Beatmap, alice: int) -> None:
    bob = world.add_player(a_player("bob"))

    first = world.run(votes.vote(alice, song, 10))
    second = world.run(votes.vote(bob, song, 5))

    assert (first, second) == (10.0, 7.5)
    assert world.map(song.md5).rating == 7.5
    assert world.look(select(ratings).order_by(ratings.c.user_id)) == [
        (song.key, alice, 10, NOW_MS),
        (song.key, bob, 5, NOW_MS),
    ]


def test_the_first_vote_of_a_player_counts(world: World, votes: Ratings, song: Beatmap, alice: int) -> None:
    world.run(votes.vote(alice, song, 3))

    again = world.run(votes.vote(alice, song, 10))

    assert again == 3.0
    assert counters(world) == (3, 1)


def test_concurrent_votes_of_one_player_count_once(world: World, votes: Ratings, song: Beatmap, alice: int) -> None:
    async def all_at_once() -> list[float]:
        return await asyncio.gather(*(votes.vote(alice, song, 4) for _ in range(5)))

    world.run(all_at_once())

    assert counters(world) == (4, 1)


def test_voted_reports_whether_a_player_has_voted(world: World, votes: Ratings, song: Beatmap, alice: int) -> None:
    other = world.add_map(a_map(2, title="Other"))
    world.run(votes.vote(alice, song, 4))

    assert world.run(votes.voted(alice, song.key))
    assert not world.run(votes.voted(alice, other.key))


def test_vote_of_a_hidden_player_is_stored_and_does_not_change_the_average(
    world: World, votes: Ratings, song: Beatmap, alice: int
) -> None:
    bob = world.add_player(a_player("bob"))
    world.run(votes.vote(alice, song, 8))

    average = world.run(votes.vote(bob, song, 1, counted=False))

    assert average == 8.0
    assert counters(world) == (8, 1)
    assert world.run(votes.voted(bob, song.key))


def test_a_vote_out_of_range_is_refused(world: World, votes: Ratings, song: Beatmap, alice: int) -> None:
    for rating in (0, 11, -5):
        with pytest.raises(Invalid):
            world.run(votes.vote(alice, song, rating))

    assert counters(world) == (0, 0)
