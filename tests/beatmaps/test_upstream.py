"""Import of maps from upstream, and their updates."""

import asyncio
from collections.abc import Iterator

import pytest
from tests.beatmaps import standin
from tests.beatmaps.standin import StandIn
from tests.builders import NewMap, World, a_map, a_play, a_player
from tests.patience import patiently

from kiai.beatmaps import Beatmaps, MapStatus, osu_key
from kiai.beatmaps.fetching import AT_ONCE, FAILURES_MAX, OPEN_S
from kiai.beatmaps.refreshing import HOUR_MS, YEAR_MS, BeatmapRefresher, interval_ms
from kiai.beatmaps.upstream import ASKED_PER_MINUTE, UNKNOWN_S, Upstream
from kiai.callers import CALLER, SERVER
from kiai.errors import NotFound, Unavailable
from kiai.staff import OPERATOR

TOTAL_S = 0.4


@pytest.fixture
def server() -> Iterator[StandIn]:
    with standin.running() as found:
        yield found


@pytest.fixture
def upstream(world: World, server: StandIn) -> Iterator[Upstream]:
    upstream = Upstream(
        server.url, "key", world.importer, world.clock, world.database, allow_private=True, total_s=patiently(TOTAL_S)
    )
    yield upstream
    world.run(upstream.close())


@pytest.fixture
def beatmaps(world: World, upstream: Upstream) -> Beatmaps:
    return Beatmaps(world.database, world.files, upstream)


def test_missing_map_is_fetched_with_its_whole_set(world: World, server: StandIn, beatmaps: Beatmaps) -> None:
    normal, hard = a_map(1, set_id=7), a_map(2, set_id=7, version="Hard", objects=50)
    server.has(normal, set_id=7)
    server.has(hard, set_id=7, approved=4)

    found = world.run(beatmaps.find_or_ask(md5=normal.md5))

    assert (found.id, found.set_id, found.status, found.frozen) == (1, 7, MapStatus.RANKED, 0)
    assert world.map(hard.md5).status == MapStatus.LOVED
    assert server.asked[0] == f"/api/get_beatmaps?h={normal.md5}&k=key"
    asked = len(server.asked)
    world.run(beatmaps.find_or_ask(md5=hard.md5))
    assert len(server.asked) == asked, "a stored map is not requested"


def test_map_unknown_to_upstream_is_requested_once_in_half_an_hour(
    world: World, server: StandIn, beatmaps: Beatmaps
) -> None:
    for _ in range(3):
        with pytest.raises(NotFound):
            world.run(beatmaps.find_or_ask(md5="a" * 32))
    assert len(server.asked) == 1

    world.clock.advance(UNKNOWN_S + 1)
    with pytest.raises(NotFound):
        world.run(beatmaps.find_or_ask(md5="a" * 32))

    assert len(server.asked) == 2


def test_concurrent_requests_for_a_map_ask_upstream_once(world: World, server: StandIn, beatmaps: Beatmaps) -> None:
    song = a_map(1)
    server.has(song)

    async def all_at_once() -> set[int]:
        return {one.id for one in await asyncio.gather(*(beatmaps.find_or_ask(md5=song.md5) for _ in range(20)))}

    assert world.run(all_at_once()) == {1}
    assert len([path for path in server.asked if "h=" in path]) == 1


@pytest.mark.parametrize("fault", ["500", "hang", "slow", "html", "redirect", "away"])
def test_failing_upstream_does_not_mean_that_the_map_is_unknown(
    world: World, server: StandIn, beatmaps: Beatmaps, fault: str
) -> None:
    song = a_map(1)
    server.has(song)
    server.fault = fault

    with pytest.raises(Unavailable):
        world.run(beatmaps.find_or_ask(md5=song.md5))
    with pytest.raises(NotFound):
        world.run(beatmaps.find_or_fetch(md5=song.md5))

    server.fault = ""
    assert world.run(beatmaps.find_or_ask(md5=song.md5)).id == 1, "it was not remembered as unknown"


def test_endless_answer_is_cut_off(world: World, server: StandIn, beatmaps: Beatmaps) -> None:
    server.fault = "endless"

    with pytest.raises(Unavailable):
        world.run(beatmaps.find_or_ask(md5="a" * 32))


def test_removed_map_is_not_found(world: World, server: StandIn, beatmaps: Beatmaps) -> None:
    server.fault = "451"

    with pytest.raises(NotFound):
        world.run(beatmaps.find_or_ask(md5="a" * 32))


def test_requests_pause_for_a_minute_after_repeated_failures(world: World, server: StandIn, beatmaps: Beatmaps) -> None:
    song = a_map(1)
    server.has(song)
    server.fault = "500"
    for _ in range(FAILURES_MAX + 3):
        with pytest.raises(Unavailable):
            world.run(beatmaps.find_or_ask(md5=song.md5))
    assert len(server.asked) == FAILURES_MAX

    world.clock.advance(OPEN_S + 1)
    with pytest.raises(Unavailable):
        world.run(beatmaps.find_or_ask(md5=song.md5))
    assert len(server.asked) == FAILURES_MAX + 1, "one request tests the server"

    server.fault = ""
    world.clock.advance(OPEN_S + 1)
    assert world.run(beatmaps.find_or_ask(md5=song.md5)).id == 1


def test_requests_that_get_no_turn_do_not_count_as_failures_of_upstream(world: World, server: StandIn) -> None:
    total_s = patiently(1.0)
    upstream = Upstream(
        server.url, "key", world.importer, world.clock, world.database, allow_private=True, total_s=total_s
    )
    song = a_map(1)
    server.has(song)
    server.delay_s = 0.6 * total_s

    async def scenario() -> list[object]:
        flood = [upstream.fetch(map_id=map_id) for map_id in range(1_000, 1_000 + 4 * AT_ONCE)]
        return await asyncio.gather(*flood, return_exceptions=True)

    answers = world.run(scenario())
    server.delay_s = 0.0

    assert answers.count(False) >= AT_ONCE, "upstream answers slowly"
    assert any(isinstance(one, Unavailable) for one in answers)
    assert world.run(upstream.fetch(map_id=1))
    world.run(upstream.close())


def test_requests_of_a_caller_for_unknown_maps_are_limited(world: World, server: StandIn) -> None:
    upstream = Upstream(server.url, "key", world.importer, world.clock, world.database, allow_private=True)

    async def ask(caller: str, ids: range) -> None:
        CALLER.set(caller)
        for map_id in ids:
            await upstream.fetch(map_id=map_id)

    world.run(ask("203.0.113.7", range(1, 1 + ASKED_PER_MINUTE)))
    with pytest.raises(Unavailable, match="a minute"):
        world.run(ask("203.0.113.7", range(900, 901)))
    world.run(ask("203.0.113.8", range(900, 901)))
    world.run(ask(SERVER, range(2_000, 2_001 + ASKED_PER_MINUTE)))
    world.run(ask("127.0.0.1", range(3_000, 3_001 + ASKED_PER_MINUTE)))

    assert len(server.asked) == 3 * (ASKED_PER_MINUTE + 1)
    world.run(upstream.close())


@pytest.mark.parametrize("ids", ["", "BeatmapID:0\r\nBeatmapSetID:-1", "BeatmapID:9\r\nBeatmapSetID:90"])
def test_ids_from_upstream_override_those_in_the_file(
    world: World, server: StandIn, beatmaps: Beatmaps, ids: str
) -> None:
    song = a_map(75, set_id=7)
    written = NewMap(75, song.data.replace(b"BeatmapID:75\r\nBeatmapSetID:7", ids.encode()))
    server.has(written, set_id=7)

    found = world.run(beatmaps.find_or_ask(id=75))

    assert (found.id, found.set_id, found.md5) == (75, 7, written.md5)


def test_invalid_file_is_fetched_once_in_half_an_hour(
    world: World, server: StandIn, upstream: Upstream, beatmaps: Beatmaps
) -> None:
    empty, fine = a_map(1, set_id=7, objects=0), a_map(2, set_id=7)
    server.has(empty, set_id=7)
    server.has(fine, set_id=7)

    for _ in range(3):
        with pytest.raises(NotFound):
            world.run(beatmaps.find_or_ask(id=1))

    assert len([path for path in server.asked if path == "/osu/1"]) == 1
    assert world.map(fine.md5).id == 2, "the other map of the set is imported"
    assert world.run(upstream.try_import(1)) == "its file cannot be used: there are no objects to hit"


def test_file_that_differs_from_the_listed_md5_is_not_imported(
    world: World, server: StandIn, beatmaps: Beatmaps
) -> None:
    song = a_map(1)
    server.has(song)
    server.files[1] = a_map(1, objects=5).data

    with pytest.raises(Unavailable):
        world.run(beatmaps.find_or_ask(md5=song.md5))

    assert len([path for path in server.asked if path == "/osu/1"]) == 2, "it is fetched a second time"


def test_private_addresses_are_refused(world: World, server: StandIn) -> None:
    upstream = Upstream(server.url, None, world.importer, world.clock, world.database)

    with pytest.raises(Unavailable, match="private network"):
        world.run(upstream.fetch(md5="a" * 32))

    assert server.asked == []
    world.run(upstream.close())


def test_missing_file_is_fetched_from_upstream_again(world: World, server: StandIn, beatmaps: Beatmaps) -> None:
    song = a_map(1)
    server.has(song)
    found = world.run(beatmaps.find_or_ask(md5=song.md5))
    world.run(world.files.delete(osu_key(song.md5)))

    assert world.run(beatmaps.osu_file(found)) == song.data
    assert world.run(world.files.get(osu_key(song.md5))) == song.data


# --- updates


@pytest.fixture
def refreshing(world: World, upstream: Upstream) -> BeatmapRefresher:
    return BeatmapRefresher(world.database, upstream, world.clock)


def next_day(world: World, refreshing: BeatmapRefresher) -> int:
    world.clock.advance(25 * 3_600)
    refreshed = world.run(refreshing.refresh_due())
    world.reconcile()
    return refreshed


def test_a_status_follows_upstream_and_totals_follow_it(
    world: World, server: StandIn, beatmaps: Beatmaps, refreshing: BeatmapRefresher
) -> None:
    song = a_map(1)
    server.has(song, approved=0)
    found = world.run(beatmaps.find_or_ask(md5=song.md5))
    alice = world.add_player(a_player())
    world.record(a_play(by=alice, on=found, pp=100.0))
    assert world.stats(alice).pp == 0
    world.run(refreshing.schedule())

    server.has(song, approved=1)
    assert next_day(world, refreshing) == 1

    assert world.map(song.md5).status == MapStatus.RANKED
    assert world.stats(alice).pp > 0
    world.run(world.outbox.deliver())
    assert world.problems() == []


def test_a_status_set_by_the_staff_survives_a_refresh(
    world: World, server: StandIn, beatmaps: Beatmaps, refreshing: BeatmapRefresher
) -> None:
    song = a_map(1)
    server.has(song, approved=0)
    found = world.run(beatmaps.find_or_ask(md5=song.md5))
    world.run(world.staff.set_map_status(OPERATOR, [found], MapStatus.LOVED))
    world.run(refreshing.schedule())

    next_day(world, refreshing)
    assert world.map(song.md5).status == MapStatus.LOVED

    changed = a_map(1, objects=60)
    server.has(changed, approved=1)
    next_day(world, refreshing)
    assert world.map(song.md5).current == 0
    assert (world.map(changed.md5).status, world.map(changed.md5).frozen) == (MapStatus.PENDING, 1)


def test_a_changed_file_replaces_the_old_one_which_keeps_its_scores(
    world: World, server: StandIn, beatmaps: Beatmaps, refreshing: BeatmapRefresher
) -> None:
    old, new = a_map(1), a_map(1, objects=60)
    server.has(old)
    found = world.run(beatmaps.find_or_ask(md5=old.md5))
    alice = world.add_player(a_player())
    world.record(a_play(by=alice, on=found, pp=100.0))
    world.run(refreshing.schedule())

    server.has(new)
    next_day(world, refreshing)

    assert world.map(old.md5).status == MapStatus.UPDATE_AVAILABLE
    assert world.map(new.md5).current == 1
    assert len(world.score_rows()) == 1
    assert world.stats(alice).pp == 0
    world.run(world.outbox.deliver())
    assert world.problems() == []


def test_map_that_upstream_no_longer_lists_is_kept(
    world: World, server: StandIn, beatmaps: Beatmaps, refreshing: BeatmapRefresher
) -> None:
    song = a_map(1)
    server.has(song)
    world.run(beatmaps.find_or_ask(md5=song.md5))
    world.run(refreshing.schedule())
    server.maps.clear()

    assert next_day(world, refreshing) == 1

    assert world.map(song.md5).status == MapStatus.RANKED


def test_failed_refresh_is_repeated_soon(
    world: World, server: StandIn, beatmaps: Beatmaps, refreshing: BeatmapRefresher
) -> None:
    song = a_map(1)
    server.has(song)
    world.run(beatmaps.find_or_ask(md5=song.md5))
    world.run(refreshing.schedule())
    server.fault = "500"
    assert next_day(world, refreshing) == 0

    server.fault = ""
    world.clock.advance(16 * 60)
    assert world.run(refreshing.refresh_due()) == 1


def test_interval_between_refreshes_of_a_set() -> None:
    assert interval_ms(0, official=False) == 2 * HOUR_MS
    assert interval_ms(YEAR_MS, official=False) == 7 * HOUR_MS
    assert interval_ms(0, official=True) == 8 * HOUR_MS
    assert interval_ms(10 * YEAR_MS, official=False) == 24 * HOUR_MS
