"""Places of single scores, former bests, and scores to compare with."""

import pytest
from tests.builders import World, a_map, a_play, a_player

from kiai.accounts import Viewer
from kiai.beatmaps import Beatmap, MapStatus
from kiai.errors import NotFound
from kiai.osu.mods import DT, HD, HR, NC, RX
from kiai.scores.details import NO_PLACES, PLACE_MAX, Places, ScoreReader
from kiai.staff import OPERATOR
from kiai.storage.tables import scores


@pytest.fixture
def reader(world: World) -> ScoreReader:
    return ScoreReader(world.database, world.boards)


@pytest.fixture
def song(world: World) -> Beatmap:
    return world.add_map(a_map())


def players(world: World, count: int) -> list[int]:
    return [world.add_player(a_player(f"player {n:03}")) for n in range(count)]


def places(world: World, reader: ScoreReader, score_id: int) -> Places:
    return world.run(reader.places(world.run(reader.find(score_id))))


def test_places_are_those_among_all_and_among_the_same_mods(world: World, reader: ScoreReader, song: Beatmap) -> None:
    a, b, c = players(world, 3)
    world.record(a_play(by=a, on=song, score=900))
    second = world.record(a_play(by=b, on=song, score=800, mods=HD))
    third = world.record(a_play(by=c, on=song, score=700, mods=HD))

    assert places(world, reader, second.score_id) == Places(2, 1, None)
    assert places(world, reader, third.score_id) == Places(3, 2, None)


def test_nightcore_shares_the_board_of_double_time(world: World, reader: ScoreReader, song: Beatmap) -> None:
    a, b = players(world, 2)
    world.record(a_play(by=a, on=song, score=900, mods=DT))
    second = world.record(a_play(by=b, on=song, score=800, mods=DT | NC))

    assert places(world, reader, second.score_id).with_mods == 2


def test_of_equal_scores_the_earlier_one_is_ahead(world: World, reader: ScoreReader, song: Beatmap) -> None:
    a, b = players(world, 2)
    first = world.record(a_play(by=a, on=song, score=900))
    second = world.record(a_play(by=b, on=song, score=900))

    assert places(world, reader, first.score_id).overall == 1
    assert places(world, reader, second.score_id).overall == 2


def test_relax_is_placed_by_pp(world: World, reader: ScoreReader, song: Beatmap) -> None:
    a, b = players(world, 2)
    worse = world.record(a_play(by=a, on=song, score=900, pp=10, mods=RX))
    better = world.record(a_play(by=b, on=song, score=100, pp=20, mods=RX))

    assert places(world, reader, better.score_id).overall == 1
    assert places(world, reader, worse.score_id).overall == 2


def test_restricted_players_take_no_place(world: World, reader: ScoreReader, song: Beatmap) -> None:
    a, b = players(world, 2)
    world.record(a_play(by=a, on=song, score=900))
    second = world.record(a_play(by=b, on=song, score=800))
    assert places(world, reader, second.score_id).overall == 2

    world.run(world.restrictions.restrict(OPERATOR, "player 000", "test"))

    assert places(world, reader, second.score_id).overall == 1


def test_former_best_has_the_time_of_the_play_that_replaced_it(
    world: World, reader: ScoreReader, song: Beatmap
) -> None:
    [a] = players(world, 1)
    former = world.record(a_play(by=a, on=song, score=100, at_ms=1_000_000))
    worse = world.record(a_play(by=a, on=song, score=50, at_ms=2_000_000))
    between = world.record(a_play(by=a, on=song, score=200, at_ms=3_000_000))
    world.record(a_play(by=a, on=song, score=300, at_ms=4_000_000))

    assert places(world, reader, former.score_id) == Places(None, None, 3_000_000)
    assert places(world, reader, between.score_id) == Places(None, None, 4_000_000)
    assert places(world, reader, worse.score_id) == Places(None, None, None), "it never was the best"


def test_best_with_other_mods_has_a_place_among_them_only(world: World, reader: ScoreReader, song: Beatmap) -> None:
    [a] = players(world, 1)
    with_hidden = world.record(a_play(by=a, on=song, score=100, mods=HD, at_ms=1_000_000))
    world.record(a_play(by=a, on=song, score=200, at_ms=2_000_000))

    assert places(world, reader, with_hidden.score_id) == Places(None, 1, 2_000_000)


def test_failed_plays_and_maps_without_a_board_have_no_places(world: World, reader: ScoreReader, song: Beatmap) -> None:
    [a] = players(world, 1)
    pending = world.add_map(a_map(2), MapStatus.PENDING)
    failed = world.record(a_play(by=a, on=song, passed=False))
    passed = world.record(a_play(by=a, on=pending))

    assert places(world, reader, failed.score_id) == NO_PLACES
    assert places(world, reader, passed.score_id) == NO_PLACES


def test_places_are_counted_to_a_bound(world: World, reader: ScoreReader, song: Beatmap) -> None:
    a, b = players(world, 2)
    last = world.record(a_play(by=b, on=song, score=1))
    world.record(a_play(by=a, on=song, score=500))
    [row] = world.look(scores.select().where(scores.c.user_id == a))
    names = [column.name for column in scores.columns]
    copies = [
        dict(zip(names, row, strict=True))
        | {"id": 10_000 + n, "user_id": world.add_player(a_player(f"other {n}")), "checksum": b"%016d" % n}
        for n in range(3)
    ]
    for copy in copies:
        world.change(scores.insert().values(**copy))

    assert places(world, reader, last.score_id).overall == 5
    assert PLACE_MAX == 1_000


def test_hidden_scores_and_scores_of_hidden_players_are_not_found(
    world: World, reader: ScoreReader, song: Beatmap
) -> None:
    a, b = players(world, 2)
    removed = world.record(a_play(by=a, on=song)).score_id
    restricted = world.record(a_play(by=b, on=song)).score_id
    world.change(scores.update().where(scores.c.id == removed).values(hidden=1))
    world.run(world.restrictions.restrict(OPERATOR, "player 001", "test"))

    for score_id in (removed, restricted, 999_999):
        with pytest.raises(NotFound):
            world.run(reader.find(score_id))
    assert world.run(reader.find(restricted, Viewer(b))).player.id == b


def test_other_scores_of_the_player_are_the_bests_with_each_mods(
    world: World, reader: ScoreReader, song: Beatmap
) -> None:
    a, b = players(world, 2)
    shown = world.record(a_play(by=a, on=song, score=500))
    world.record(a_play(by=a, on=song, score=300, mods=HD))
    world.record(a_play(by=a, on=song, score=100, mods=HD))
    world.record(a_play(by=a, on=song, score=400, mods=HR))
    world.record(a_play(by=b, on=song, score=900))
    found = world.run(reader.find(shown.score_id))

    assert [score.score for score in world.run(reader.others(found))] == [400, 300]


def test_first_of_the_board_and_the_visitors_best_are_found(world: World, reader: ScoreReader, song: Beatmap) -> None:
    a, b, c = players(world, 3)
    shown = world.record(a_play(by=a, on=song, score=500))
    world.record(a_play(by=b, on=song, score=900))
    world.record(a_play(by=c, on=song, score=200))
    found = world.run(reader.find(shown.score_id))

    first = world.run(reader.first(found))
    assert first is not None
    assert first.player_name == "player 001"
    own = world.run(reader.best_of(found, c))
    assert own is not None
    assert own.score == 200
    assert world.run(reader.best_of(found, 999)) is None


def test_details_have_the_facts_of_the_replay(world: World, reader: ScoreReader, song: Beatmap) -> None:
    [a] = players(world, 1)
    stored = world.put_replay(b"frames")
    with_one = world.record(a_play(by=a, on=song, replay=stored)).score_id
    without = world.record(a_play(by=a, on=song)).score_id

    replay = world.run(reader.find(with_one)).replay
    assert replay is not None
    assert (replay.md5, replay.size, replay.views) == (stored.md5, 6, 0)
    assert world.run(reader.find(without)).replay is None
