"""Changes of first places, records of pp, the plays of a week, and the numbers of the server."""

import pytest
from sqlalchemy import select
from tests.builders import NOW_MS, World, a_map, a_play, a_player

from kiai.beatmaps import MapStatus
from kiai.osu.mods import RX
from kiai.scores.highlights import Highlights
from kiai.scores.tally import CHANGES_STORED_MS, WEEK_MS, Tally, week_of
from kiai.staff import OPERATOR
from kiai.storage.tables import first_place_changes, pp_records, week_plays


@pytest.fixture
def shown(world: World) -> Highlights:
    return Highlights(world.database, world.clock)


@pytest.fixture
def tally(world: World) -> Tally:
    tally = Tally(world.database, world.clock)
    world.run(tally.run())
    return tally


def records(world: World, shown: Highlights) -> dict[int, int]:
    """Return the score that each mode shows as its record. Fail if the rows do not follow from the scores."""
    before = world.look(select(pp_records).order_by(pp_records.c.mode))
    world.run(world.rebuilder.highlights())
    assert world.look(select(pp_records).order_by(pp_records.c.mode)) == before
    return {play.score.mode: play.score.id for play in world.run(shown.records())}


# --- first places


def test_first_place_names_the_former_holder_and_both_scores(world: World, shown: Highlights) -> None:
    alice, bob, song = world.add_player(a_player()), world.add_player(a_player("bob")), world.add_map(a_map())
    first = world.record(a_play(by=alice, on=song, score=1_000))
    improved = world.record(a_play(by=alice, on=song, score=1_500))
    second = world.record(a_play(by=bob, on=song, score=2_000))

    found = world.run(shown.first_places(limit=5))

    assert [(one.play.score.id, one.play.player.name) for one in found] == [
        (second.score_id, "bob"),
        (first.score_id, "alice"),
    ], "a holder who improves takes nothing from anybody"
    assert (found[0].previous_user_id, found[0].previous_score_id) == (alice, improved.score_id)
    assert (found[1].previous_user_id, found[1].previous_score_id) == (None, None)


def test_a_hidden_score_is_not_named_as_the_former_first_place(world: World, shown: Highlights) -> None:
    alice, bob, song = world.add_player(a_player()), world.add_player(a_player("bob")), world.add_map(a_map())
    first = world.record(a_play(by=alice, on=song, score=1_000))
    second = world.record(a_play(by=bob, on=song, score=2_000))

    world.run(world.wipes.hide_score(OPERATOR, first.score_id, "because"))

    [found] = world.run(shown.first_places(limit=5))
    assert (found.play.score.id, found.previous_user_id, found.previous_score_id) == (second.score_id, alice, None)
    world.run(world.wipes.unhide_score(OPERATOR, first.score_id, "because"))
    assert world.run(shown.first_places(limit=5))[0].previous_score_id == first.score_id


def test_first_places_of_hidden_players_are_not_listed(world: World, shown: Highlights) -> None:
    alice, bob, song = world.add_player(a_player()), world.add_player(a_player("bob")), world.add_map(a_map())
    world.record(a_play(by=alice, on=song, score=1_000))
    world.record(a_play(by=bob, on=song, score=2_000))

    world.run(world.restrictions.restrict(OPERATOR, "bob", "because"))

    assert [one.play.player.name for one in world.run(shown.first_places(limit=5))] == ["alice"]


def test_rebuild_after_a_bulk_load_lists_the_first_places(world: World, shown: Highlights) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    score = world.record(a_play(by=alice, on=song))
    world.change(first_place_changes.delete())

    world.run(world.rebuilder.highlights())
    world.run(world.rebuilder.highlights())

    [found] = world.run(shown.first_places(limit=5))
    assert (found.play.score.id, found.at_ms, found.previous_user_id) == (score.score_id, NOW_MS, None)


# --- records


def test_play_with_more_pp_becomes_the_record_of_its_mode(world: World, shown: Highlights) -> None:
    alice, bob, song = world.add_player(a_player()), world.add_player(a_player("bob")), world.add_map(a_map())
    world.record(a_play(by=alice, on=song, pp=100.0))
    top = world.record(a_play(by=bob, on=song, pp=200.0))
    world.record(a_play(by=alice, on=song, score=5_000_000, pp=200.0))
    relax = world.record(a_play(by=alice, on=song, pp=50.0, mods=RX))

    assert records(world, shown) == {0: top.score_id, 4: relax.score_id}, "an equal play later takes nothing"


@pytest.mark.parametrize("status", [MapStatus.LOVED, MapStatus.PENDING, MapStatus.QUALIFIED])
def test_maps_that_give_no_pp_have_no_records(world: World, shown: Highlights, status: MapStatus) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map(), status)
    world.record(a_play(by=alice, on=song, pp=9_999.0))

    assert records(world, shown) == {}


def test_record_of_a_restricted_player_passes_to_the_next_and_back(world: World, shown: Highlights) -> None:
    alice, bob, song = world.add_player(a_player()), world.add_player(a_player("bob")), world.add_map(a_map())
    top = world.record(a_play(by=alice, on=song, pp=300.0))
    second = world.record(a_play(by=bob, on=song, pp=200.0))

    world.run(world.restrictions.restrict(OPERATOR, "alice", "because"))
    restricted = {play.score.mode: play.score.id for play in world.run(shown.records())}
    hidden_play = world.record(a_play(by=alice, on=song, score=9_000_000, pp=400.0))
    still = records(world, shown)
    world.run(world.restrictions.unrestrict(OPERATOR, "alice"))

    assert restricted == still == {0: second.score_id}
    assert records(world, shown) == {0: hidden_play.score_id}
    assert top.score_id != hidden_play.score_id


def test_record_follows_the_status_of_its_map(world: World, shown: Highlights) -> None:
    alice, song, other = world.add_player(a_player()), world.add_map(a_map(1)), world.add_map(a_map(2))
    top = world.record(a_play(by=alice, on=song, pp=300.0))
    second = world.record(a_play(by=alice, on=other, pp=200.0))

    world.run(world.staff.set_map_status(OPERATOR, [song], MapStatus.LOVED))
    world.reconcile()
    unranked = records(world, shown)
    world.run(world.staff.set_map_status(OPERATOR, [song], MapStatus.RANKED))
    world.reconcile()

    assert unranked == {0: second.score_id}
    assert records(world, shown) == {0: top.score_id}


# --- the tally


def test_week_begins_on_monday() -> None:
    monday = 1_700_438_400_000  # 2023-11-20 00:00 UTC, a Monday

    assert week_of(monday) == week_of(monday + WEEK_MS - 1) == week_of(monday - 1) + 1


def test_plays_are_counted_by_map_and_week(world: World, shown: Highlights, tally: Tally) -> None:
    alice, song, other = world.add_player(a_player()), world.add_map(a_map(1)), world.add_map(a_map(2))
    for n in range(3):
        world.record(a_play(by=alice, on=song, score=1_000 + n, at_ms=NOW_MS))
    world.record(a_play(by=alice, on=other, at_ms=NOW_MS, passed=False))
    world.record(a_play(by=alice, on=other, score=3, at_ms=NOW_MS - 5 * WEEK_MS))

    world.run(tally.run())
    world.run(tally.run())
    world.run(tally.run())

    assert [(one.beatmap.id, one.plays) for one in world.run(shown.most_played(limit=5))] == [
        (song.id, 3),
        (other.id, 1),
    ]
    assert world.run(shown.figures()).plays == 5


def test_first_run_starts_from_the_counters_of_the_maps(world: World, shown: Highlights) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    world.add_map(a_map(2), MapStatus.PENDING)
    world.record(a_play(by=alice, on=song))

    tally = Tally(world.database, world.clock)
    world.run(tally.run())
    world.run(tally.run())

    figures = world.run(shown.figures())
    assert (figures.plays, figures.boards) == (1, 1)


def test_old_weeks_and_changes_are_deleted(world: World, tally: Tally) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    score = world.record(a_play(by=alice, on=song, at_ms=NOW_MS))
    world.run(tally.run())
    world.run(tally.run())
    world.change(first_place_changes.insert().values(at_ms=NOW_MS - CHANGES_STORED_MS - 1, score_id=score.score_id))

    world.run(tally.clean())
    assert len(world.look(select(first_place_changes))) == 1
    world.clock.advance(2 * WEEK_MS / 1000)
    world.run(tally.clean())

    assert world.look(select(week_plays)) == []


def test_numbers_are_right_before_the_first_run_of_the_job(world: World, shown: Highlights) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    world.record(a_play(by=alice, on=song, score=1_000))
    tally = Tally(world.database, world.clock)

    world.run(tally.prepare())
    first = world.run(shown.figures())
    world.add_map(a_map(2))
    world.run(tally.prepare())
    second = world.run(shown.figures())

    assert (first.plays, first.boards) == (1, 1)
    assert (second.plays, second.boards) == (1, 2)
