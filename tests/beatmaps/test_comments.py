from typing import Any

import pytest
from sqlalchemy import insert, select
from tests.builders import DEVELOPER, NOW_MS, World, a_map, a_player

from kiai.accounts import EVERYBODY, Viewer
from kiai.beatmaps.comments import LISTED_MAX, Comments, clean
from kiai.errors import Invalid, NotFound
from kiai.storage.port import Command, Transaction
from kiai.storage.tables import comments

MAP_ID, SET_ID, SCORE_ID = 11, 22, 33


@pytest.fixture
def service(world: World) -> Comments:
    world.add_map(a_map(MAP_ID, set_id=SET_ID))
    return Comments(world.database, world.clock)


@pytest.fixture
def alice(world: World) -> int:
    return world.add_player(a_player("Alice A"))


def texts(world: World, service: Comments, viewer: Viewer = EVERYBODY, score_id: int = SCORE_ID) -> list[str]:
    return [one.text for one in world.run(service.on(MAP_ID, SET_ID, score_id, viewer))]


def test_comments_on_map_song_and_replay_are_listed_by_time(world: World, service: Comments, alice: int) -> None:
    world.run(service.add(alice, "replay", SCORE_ID, time_ms=300, text="third"))
    world.run(service.add(alice, "map", MAP_ID, time_ms=200, text="second", colour="FF00AA"))
    world.run(service.add(alice, "song", SET_ID, time_ms=-100, text="first"))

    found = world.run(service.on(MAP_ID, SET_ID, SCORE_ID))

    assert [(one.time_ms, one.target, one.text, one.colour) for one in found] == [
        (-100, "song", "first", ""),
        (200, "map", "second", "FF00AA"),
        (300, "replay", "third", ""),
    ]
    assert {(one.user_id, one.safe_name) for one in found} == {(alice, "alice_a")}


def test_comments_on_other_maps_sets_and_replays_are_not_listed(world: World, service: Comments, alice: int) -> None:
    world.add_map(a_map(SET_ID, set_id=MAP_ID, title="Crossed"))
    world.run(service.add(alice, "map", SET_ID, time_ms=1, text="other map"))
    world.run(service.add(alice, "song", MAP_ID, time_ms=1, text="other song"))
    world.run(service.add(alice, "replay", SCORE_ID + 1, time_ms=1, text="other replay"))

    assert texts(world, service) == []


def test_comments_without_a_replay_are_those_on_the_map(world: World, service: Comments, alice: int) -> None:
    world.run(service.add(alice, "map", MAP_ID, time_ms=1, text="map"))
    world.run(service.add(alice, "replay", SCORE_ID, time_ms=1, text="replay"))

    assert texts(world, service, score_id=0) == ["map"]


def test_a_hidden_player_s_comments_are_seen_by_that_player_and_staff(
    world: World, service: Comments, alice: int
) -> None:
    hidden = world.add_player(a_player("hidden", priv=2))
    world.run(service.add(hidden, "map", MAP_ID, time_ms=1, text="psst"))
    world.run(service.add(alice, "map", MAP_ID, time_ms=2, text="hello"))

    assert texts(world, service) == texts(world, service, Viewer(alice, 3)) == ["hello"]
    assert texts(world, service, Viewer(hidden, 0)) == texts(world, service, Viewer(99, DEVELOPER)) == ["psst", "hello"]


def test_the_first_thousand_are_listed(world: World, service: Comments, alice: int) -> None:
    add = Command(insert(comments))
    row: dict[str, Any] = {"user_id": alice, "target_id": MAP_ID, "target": "map", "text": "x", "colour": ""}
    rows = [row | {"time_ms": 5_000 - n, "at_ms": NOW_MS, "id": n + 1} for n in range(LISTED_MAX + 200)]

    async def body(tx: Transaction) -> None:
        await tx.run_many(add, rows)

    world.run(world.database.transaction(body))

    found = world.run(service.on(MAP_ID, SET_ID, SCORE_ID))

    times = [one.time_ms for one in found]
    assert len(times) == LISTED_MAX
    assert times == sorted(5_000 - n for n in range(LISTED_MAX + 200))[:LISTED_MAX]


def test_characters_that_the_client_cannot_parse_are_removed(world: World, service: Comments, alice: int) -> None:
    world.run(service.add(alice, "map", MAP_ID, time_ms=1, text=" a\tb\r\nc|d\x00e\x85 ünï 🎵 "))

    assert texts(world, service) == ["abcde ünï 🎵"]


@pytest.mark.parametrize("text", ["", "   ", "\t\n|", "x" * 81, "|" * 81])
def test_a_text_that_is_empty_or_too_long_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        clean(text)


def test_text_of_eighty_characters_is_stored(world: World, service: Comments, alice: int) -> None:
    world.run(service.add(alice, "map", MAP_ID, time_ms=1, text="🎵" * 80))

    assert texts(world, service) == ["🎵" * 80]


def test_invalid_targets_texts_times_and_colours_are_refused(world: World, service: Comments, alice: int) -> None:
    right: dict[str, Any] = {"target": "map", "target_id": MAP_ID, "time_ms": 1, "text": "hello", "colour": ""}
    wrong: list[dict[str, Any]] = [
        {"target": "user"},
        {"text": "|"},
        {"time_ms": 2**40},
        {"time_ms": -(2**40)},
        {"colour": "red"},
        {"colour": "#FF0000"},
    ]

    for one in wrong:
        with pytest.raises(Invalid):
            world.run(service.add(alice, **(right | one)))

    assert world.look(select(comments.c.id)) == []


def test_unknown_map_or_set_cannot_be_commented_on(world: World, service: Comments, alice: int) -> None:
    missing = [("map", 99), ("song", 99), ("map", 2**40), ("song", 0), ("replay", 0), ("replay", -1)]

    for target, target_id in missing:
        with pytest.raises(NotFound):
            world.run(service.add(alice, target, target_id, time_ms=1, text="hello"))

    assert world.look(select(comments.c.id)) == []
