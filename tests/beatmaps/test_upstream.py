"""Maps from upstream: found once, never waited for, and kept whatever upstream does later."""

import asyncio
from collections.abc import Iterator

import pytest
from tests.beatmaps import standin
from tests.beatmaps.standin import StandIn
from tests.builders import NewMap, World, a_map, a_play, a_player

from kiai.beatmaps import Beatmaps, MapStatus, osu_key
from kiai.beatmaps.fetching import FAILURES_MAX, OPEN_S
from kiai.beatmaps.refreshing import HOUR_MS, YEAR_MS, Refreshing, interval_ms
from kiai.beatmaps.upstream import UNKNOWN_S, Upstream
from kiai.errors import NotFound, Unavailable
from kiai.staff import OPERATOR

TOTAL_S = 0.4


@pytest.fixture
def there() -> Iterator[StandIn]:
    with standin.running() as found:
        yield found


@pytest.fixture
def upstream(world: World, there: StandIn) -> Iterator[Upstream]:
    upstream = Upstream(
        there.url, "key", world.importer, world.clock, world.database, allow_private=True, total_s=TOTAL_S
    )
    yield upstream
    world.run(upstream.close())


@pytest.fixture
def beatmaps(world: World, upstream: Upstream) -> Beatmaps:
    return Beatmaps(world.database, world.files, upstream)


def test_a_map_that_is_not_here_is_fetched_with_its_whole_set(world: World, there: StandIn, beatmaps: Beatmaps) -> None:
    normal, hard = a_map(1, set_id=7), a_map(2, set_id=7, version="Hard", objects=50)
    there.has(normal, set_id=7)
    there.has(hard, set_id=7, approved=4)

    found = world.run(beatmaps.find_or_ask(md5=normal.md5))

    assert (found.id, found.set_id, found.status, found.frozen) == (1, 7, MapStatus.RANKED, 0)
    assert world.map(hard.md5).status == MapStatus.LOVED
    assert there.asked[0] == f"/api/get_beatmaps?h={normal.md5}&k=key"
    asked = len(there.asked)
    world.run(beatmaps.find_or_ask(md5=hard.md5))
    assert len(there.asked) == asked, "what is here is not asked for"


def test_a_map_that_upstream_does_not_know_is_asked_for_once_in_half_an_hour(
    world: World, there: StandIn, beatmaps: Beatmaps
) -> None:
    for _ in range(3):
        with pytest.raises(NotFound):
            world.run(beatmaps.find_or_ask(md5="a" * 32))
    assert len(there.asked) == 1

    world.clock.advance(UNKNOWN_S + 1)
    with pytest.raises(NotFound):
        world.run(beatmaps.find_or_ask(md5="a" * 32))

    assert len(there.asked) == 2


def test_many_who_ask_for_the_same_map_ask_upstream_once(world: World, there: StandIn, beatmaps: Beatmaps) -> None:
    song = a_map(1)
    there.has(song)

    async def all_at_once() -> set[int]:
        return {one.id for one in await asyncio.gather(*(beatmaps.find_or_ask(md5=song.md5) for _ in range(20)))}

    assert world.run(all_at_once()) == {1}
    assert len([path for path in there.asked if "h=" in path]) == 1


@pytest.mark.parametrize("fault", ["500", "hang", "slow", "html", "redirect", "away"])
def test_an_upstream_that_fails_is_no_proof_that_there_is_no_map(
    world: World, there: StandIn, beatmaps: Beatmaps, fault: str
) -> None:
    song = a_map(1)
    there.has(song)
    there.fault = fault

    with pytest.raises(Unavailable):
        world.run(beatmaps.find_or_ask(md5=song.md5))
    with pytest.raises(NotFound):
        world.run(beatmaps.find_or_fetch(md5=song.md5))

    there.fault = ""
    assert world.run(beatmaps.find_or_ask(md5=song.md5)).id == 1, "it was not remembered as unknown"


def test_an_answer_without_end_is_cut(world: World, there: StandIn, beatmaps: Beatmaps) -> None:
    there.fault = "endless"

    with pytest.raises(Unavailable):
        world.run(beatmaps.find_or_ask(md5="a" * 32))


def test_what_was_taken_down_is_definitely_not_there(world: World, there: StandIn, beatmaps: Beatmaps) -> None:
    there.fault = "451"

    with pytest.raises(NotFound):
        world.run(beatmaps.find_or_ask(md5="a" * 32))


def test_an_upstream_that_fails_again_and_again_is_left_alone_for_a_minute(
    world: World, there: StandIn, beatmaps: Beatmaps
) -> None:
    song = a_map(1)
    there.has(song)
    there.fault = "500"
    for _ in range(FAILURES_MAX + 3):
        with pytest.raises(Unavailable):
            world.run(beatmaps.find_or_ask(md5=song.md5))
    assert len(there.asked) == FAILURES_MAX

    world.clock.advance(OPEN_S + 1)
    with pytest.raises(Unavailable):
        world.run(beatmaps.find_or_ask(md5=song.md5))
    assert len(there.asked) == FAILURES_MAX + 1, "one request tries whether it is back"

    there.fault = ""
    world.clock.advance(OPEN_S + 1)
    assert world.run(beatmaps.find_or_ask(md5=song.md5)).id == 1


@pytest.mark.parametrize("ids", ["", "BeatmapID:0\r\nBeatmapSetID:-1", "BeatmapID:9\r\nBeatmapSetID:90"])
def test_a_map_has_the_ids_that_upstream_lists_whatever_its_file_says(
    world: World, there: StandIn, beatmaps: Beatmaps, ids: str
) -> None:
    song = a_map(75, set_id=7)
    written = NewMap(75, song.data.replace(b"BeatmapID:75\r\nBeatmapSetID:7", ids.encode()))
    there.has(written, set_id=7)

    found = world.run(beatmaps.find_or_ask(id=75))

    assert (found.id, found.set_id, found.md5) == (75, 7, written.md5)


def test_a_file_that_cannot_be_used_is_fetched_once_in_half_an_hour(
    world: World, there: StandIn, upstream: Upstream, beatmaps: Beatmaps
) -> None:
    empty, fine = a_map(1, set_id=7, objects=0), a_map(2, set_id=7)
    there.has(empty, set_id=7)
    there.has(fine, set_id=7)

    for _ in range(3):
        with pytest.raises(NotFound):
            world.run(beatmaps.find_or_ask(id=1))

    assert len([path for path in there.asked if path == "/osu/1"]) == 1
    assert world.map(fine.md5).id == 2, "the rest of its set is here"
    assert world.run(upstream.why_not(1)) == "its file cannot be used: there are no objects to hit"


def test_another_file_than_the_one_listed_is_not_taken(world: World, there: StandIn, beatmaps: Beatmaps) -> None:
    song = a_map(1)
    there.has(song)
    there.files[1] = a_map(1, objects=5).data

    with pytest.raises(Unavailable):
        world.run(beatmaps.find_or_ask(md5=song.md5))

    assert len([path for path in there.asked if path == "/osu/1"]) == 2, "it is fetched once more"


def test_no_address_of_our_own_network_is_asked(world: World, there: StandIn) -> None:
    upstream = Upstream(there.url, None, world.importer, world.clock, world.database)

    with pytest.raises(Unavailable, match="private network"):
        world.run(upstream.fetch(md5="a" * 32))

    assert there.asked == []
    world.run(upstream.close())


def test_a_file_that_the_store_has_lost_comes_back(world: World, there: StandIn, beatmaps: Beatmaps) -> None:
    song = a_map(1)
    there.has(song)
    found = world.run(beatmaps.find_or_ask(md5=song.md5))
    world.run(world.files.delete(osu_key(song.md5)))

    assert world.run(beatmaps.osu_file(found)) == song.data
    assert world.run(world.files.get(osu_key(song.md5))) == song.data


# --- keeping up


@pytest.fixture
def refreshing(world: World, upstream: Upstream) -> Refreshing:
    return Refreshing(world.database, upstream, world.clock)


def next_day(world: World, refreshing: Refreshing) -> int:
    world.clock.advance(25 * 3_600)
    refreshed = world.run(refreshing.refresh_due())
    world.settle()
    return refreshed


def test_a_status_follows_upstream_and_totals_follow_it(
    world: World, there: StandIn, beatmaps: Beatmaps, refreshing: Refreshing
) -> None:
    song = a_map(1)
    there.has(song, approved=0)
    found = world.run(beatmaps.find_or_ask(md5=song.md5))
    alice = world.add_player(a_player())
    world.record(a_play(by=alice, on=found, pp=100.0))
    assert world.stats(alice).pp == 0
    world.run(refreshing.enlist())

    there.has(song, approved=1)
    assert next_day(world, refreshing) == 1

    assert world.map(song.md5).status == MapStatus.RANKED
    assert world.stats(alice).pp > 0
    world.run(world.outbox.deliver())
    assert world.problems() == []


def test_a_status_set_by_the_staff_survives_a_refresh(
    world: World, there: StandIn, beatmaps: Beatmaps, refreshing: Refreshing
) -> None:
    song = a_map(1)
    there.has(song, approved=0)
    found = world.run(beatmaps.find_or_ask(md5=song.md5))
    world.run(world.staff.set_map_status(OPERATOR, [found], MapStatus.LOVED))
    world.run(refreshing.enlist())

    next_day(world, refreshing)
    assert world.map(song.md5).status == MapStatus.LOVED

    changed = a_map(1, objects=60)
    there.has(changed, approved=1)
    next_day(world, refreshing)
    assert world.map(song.md5).current == 0
    assert (world.map(changed.md5).status, world.map(changed.md5).frozen) == (MapStatus.PENDING, 1)


def test_a_changed_file_replaces_the_old_one_which_keeps_its_scores(
    world: World, there: StandIn, beatmaps: Beatmaps, refreshing: Refreshing
) -> None:
    old, new = a_map(1), a_map(1, objects=60)
    there.has(old)
    found = world.run(beatmaps.find_or_ask(md5=old.md5))
    alice = world.add_player(a_player())
    world.record(a_play(by=alice, on=found, pp=100.0))
    world.run(refreshing.enlist())

    there.has(new)
    next_day(world, refreshing)

    assert world.map(old.md5).status == MapStatus.UPDATE_AVAILABLE
    assert world.map(new.md5).current == 1
    assert len(world.score_rows()) == 1
    assert world.stats(alice).pp == 0
    world.run(world.outbox.deliver())
    assert world.problems() == []


def test_what_upstream_lists_no_more_is_kept(
    world: World, there: StandIn, beatmaps: Beatmaps, refreshing: Refreshing
) -> None:
    song = a_map(1)
    there.has(song)
    world.run(beatmaps.find_or_ask(md5=song.md5))
    world.run(refreshing.enlist())
    there.maps.clear()

    assert next_day(world, refreshing) == 1

    assert world.map(song.md5).status == MapStatus.RANKED


def test_a_set_that_could_not_be_asked_about_is_asked_about_soon(
    world: World, there: StandIn, beatmaps: Beatmaps, refreshing: Refreshing
) -> None:
    song = a_map(1)
    there.has(song)
    world.run(beatmaps.find_or_ask(md5=song.md5))
    world.run(refreshing.enlist())
    there.fault = "500"
    assert next_day(world, refreshing) == 0

    there.fault = ""
    world.clock.advance(16 * 60)
    assert world.run(refreshing.refresh_due()) == 1


def test_how_often_a_set_is_looked_at() -> None:
    assert interval_ms(0, official=False) == 2 * HOUR_MS
    assert interval_ms(YEAR_MS, official=False) == 7 * HOUR_MS
    assert interval_ms(0, official=True) == 8 * HOUR_MS
    assert interval_ms(10 * YEAR_MS, official=False) == 24 * HOUR_MS
