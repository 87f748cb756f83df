"""Views of replays: each viewer counts once a minute, and the player never."""

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
    """A score of alice with a replay, which bob and carla watch."""
    for name in ("alice", "bob", "carla"):
        world.add_player(a_player(name))
    stored = world.put_replay(b"frames")
    return world.record(a_play(by=ALICE, on=world.add_map(a_map()), replay=stored)).score_id


def views(world: World) -> tuple[int, int]:
    """Return the views of the replay and of all replays of alice."""
    [(of_replay,)] = world.look(select(replays.c.views))
    return of_replay, world.stats(ALICE).replay_views


def watch(world: World, score_id: int, user_id: int) -> bytes:
    return world.run(world.replays.record_view(score_id, Viewer(user_id)))


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


def test_player_does_not_count_as_a_viewer(world: World, score_id: int) -> None:
    assert watch(world, score_id, ALICE) == b"frames"

    assert views(world) == (0, 0)


def test_only_the_hidden_player_can_watch_their_replay(world: World, score_id: int) -> None:
    world.run(world.restrictions.restrict(OPERATOR, "alice", "test"))

    with pytest.raises(NotFound):
        watch(world, score_id, BOB)
    assert watch(world, score_id, ALICE) == b"frames"
