"""Watching replays: who watches counts, once a minute, and never the player."""

import pytest
from sqlalchemy import select
from tests.builders import World, a_map, a_play, a_player

from kiai.accounts import Viewer
from kiai.errors import NotFound
from kiai.staff import OPERATOR
from kiai.storage.tables import replays

ALICE, BOB, CARLA = 3, 4, 5


@pytest.fixture
def score_id(world: World) -> int:
    """A score of alice with a replay; bob and carla watch."""
    for name in ("alice", "bob", "carla"):
        world.add_player(a_player(name))
    stored = world.put_replay(b"frames")
    return world.record(a_play(by=ALICE, on=world.add_map(a_map()), replay=stored)).score_id


def views(world: World) -> tuple[int, int]:
    """Of the replay, and of all of alice's."""
    [(of_replay,)] = world.look(select(replays.c.views))
    return of_replay, world.stats(ALICE).replay_views


def watch(world: World, score_id: int, user_id: int) -> bytes:
    return world.run(world.replays.watched(score_id, Viewer(user_id)))


def test_each_viewer_counts_once_a_minute(world: World, score_id: int) -> None:
    assert watch(world, score_id, BOB) == b"frames"
    watch(world, score_id, BOB)
    assert views(world) == (1, 1)

    watch(world, score_id, CARLA)
    assert views(world) == (2, 2)

    world.clock.advance(61)
    watch(world, score_id, BOB)
    assert views(world) == (3, 3)
    world.run(world.outbox.deliver())
    assert world.problems() == []


def test_the_player_does_not_count(world: World, score_id: int) -> None:
    assert watch(world, score_id, ALICE) == b"frames"

    assert views(world) == (0, 0)


def test_a_hidden_players_replay_is_watched_by_itself_alone(world: World, score_id: int) -> None:
    world.run(world.staff.restrict(OPERATOR, "alice", "test"))

    with pytest.raises(NotFound):
        watch(world, score_id, BOB)
    assert watch(world, score_id, ALICE) == b"frames"
