"""Events of the feed about scores and first places."""

from typing import Any

import pytest
from sqlalchemy import update
from tests.builders import NORMAL, World, a_map, a_play, a_player

from kiai.realtime.feed import FeedEvent, feed_event
from kiai.realtime.port import FEED
from kiai.storage.tables import users


def published(world: World) -> list[FeedEvent]:
    world.run(world.outbox.deliver())
    _, bodies = world.run(world.realtime.feed_after(FEED, 0))
    return [feed_event(body) for body in bodies]


def test_score_and_its_first_place_are_published_after_the_commit(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())

    recorded = world.record(a_play(by=alice, on=song, score=1_000, pp=50.0))

    assert [(one.type, one.user_id, one.map_id) for one in published(world)] == [
        ("score", alice, song.id),
        ("first_place", alice, song.id),
    ]
    score, first = published(world)
    expected: dict[str, Any] = {"id": recorded.score_id, "mode": 0, "score": 1_000, "pp": 50.0, "status": 2}
    assert score.data.items() >= expected.items()
    assert first.data == {"score_id": recorded.score_id, "mode": 0, "previous_user_id": None}


def test_first_place_names_the_previous_holder(world: World) -> None:
    song = world.add_map(a_map())
    alice, bob = world.add_player(a_player()), world.add_player(a_player("bob"))
    world.record(a_play(by=alice, on=song, score=1_000))
    world.record(a_play(by=bob, on=song, score=2_000))

    firsts = [one for one in published(world) if one.type == "first_place"]

    assert [(one.user_id, one.data["previous_user_id"]) for one in firsts] == [(alice, None), (bob, alice)]


@pytest.mark.parametrize("restricted_before", [True, False])
def test_scores_of_hidden_players_are_not_published(world: World, restricted_before: bool) -> None:
    song = world.add_map(a_map())
    bob = world.add_player(a_player("bob", priv=NORMAL & ~1 if restricted_before else NORMAL))
    world.record(a_play(by=bob, on=song))
    if not restricted_before:
        world.change(_hide(bob))

    assert published(world) == []


def _hide(user_id: int) -> Any:
    return update(users).where(users.c.id == user_id).values(priv=NORMAL & ~1)
