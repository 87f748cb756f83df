"""Ranks equal those in the database, also while shared state is unavailable."""

import asyncio
import itertools

import pytest
from tests.builders import World, a_map, a_play, a_player

from kiai.errors import Unavailable
from kiai.realtime.memory import MemoryRealtime
from kiai.realtime.port import Rank, StateUnavailable
from kiai.scores.ranks import COUNTED_AT_ONCE, Ranks
from kiai.staff import OPERATOR


class UnavailableRealtime(MemoryRealtime):
    """Shared state that does not answer."""

    async def ranks_of(self, user_id: int) -> dict[int, Rank]:
        raise StateUnavailable("it is away")

    async def rank_of(self, user_id: int, mode: int) -> Rank:
        raise StateUnavailable("it is away")

    async def ranked_count(self, mode: int, country: str | None = None) -> int:
        raise StateUnavailable("it is away")


@pytest.fixture
def counting(world: World) -> Ranks:
    return Ranks(world.database, UnavailableRealtime(world.clock), world.outbox)


def played_world(world: World) -> list[int]:
    """Add players of two countries: some with equal pp, one restricted, one without a play. Return their ids."""
    song = world.add_map(a_map())
    countries = itertools.cycle(["de", "fr", "de"])
    players = [world.add_player(a_player(f"player {n}", country=next(countries))) for n in range(7)]
    for n, user_id in enumerate(players[:6]):
        world.record(a_play(by=user_id, on=song, score=1_000 + n // 2))
    world.run(world.restrictions.restrict(OPERATOR, "player 2", "because"))
    world.run(world.ranks.rebuild())
    return players


def test_counted_ranks_equal_the_cached_ranks(world: World, counting: Ranks) -> None:
    players = played_world(world)

    kept = [world.run(world.ranks.of(user_id)) for user_id in players]
    counted = [world.run(counting.of(user_id)) for user_id in players]

    assert counted == kept
    assert sorted(rank.rank for ranks in kept for rank in ranks.values()) == [1, 2, 3, 4, 5]
    for user_id in players:
        assert world.run(counting.of_mode(user_id, 0)) == world.run(world.ranks.of_mode(user_id, 0))
        assert world.run(counting.of_mode(user_id, 3)) == Rank()


def test_counted_totals_equal_the_cached_totals(world: World, counting: Ranks) -> None:
    played_world(world)

    for country in (None, "de", "fr", "jp"):
        assert world.run(counting.count(0, country)) == world.run(world.ranks.count(0, country))
    assert world.run(counting.count(0)) == 5


def test_number_of_concurrent_counts_is_bounded(world: World, counting: Ranks) -> None:
    (user_id, *_) = played_world(world)

    async def concurrently() -> list[object]:
        asked = [counting.of(user_id) for _ in range(2 * COUNTED_AT_ONCE)]
        return list(await asyncio.gather(*asked, return_exceptions=True))

    answers = world.run(concurrently())

    assert sum(isinstance(one, dict) for one in answers) >= COUNTED_AT_ONCE
    assert sum(isinstance(one, Unavailable) for one in answers) == COUNTED_AT_ONCE
