"""The latest plays of all players."""

from typing import Any

import pytest
from sqlalchemy import update
from tests.builders import NORMAL, World, a_map, a_play, a_player

from kiai.beatmaps import MapStatus
from kiai.osu.mods import AP, RX
from kiai.realtime.following import FeedFollower
from kiai.scores.latest import KEPT, LatestPlays, Variant
from kiai.staff import OPERATOR
from kiai.storage.tables import clans, users


class Page:
    """The rings of a process that follows the feed of the world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.follower = FeedFollower(world.realtime)
        self.plays = LatestPlays(world.database, self.follower)

    def ids(self, variant: Variant | None = None, limit: int = KEPT) -> list[int]:
        """Return what a page shows after the outbox was delivered."""
        self._world.run(self._world.outbox.deliver())
        self._world.run(self.follower.follow())
        return [play.score.id for play in self._world.run(self.plays.newest(variant, limit=limit))]


@pytest.fixture
def page(world: World) -> Page:
    page = Page(world)
    assert page.ids() == []
    return page


def test_play_that_becomes_a_best_is_listed_first(world: World, page: Page) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    world.change(
        clans.insert().values(id=7, name="Pandas", safe_name="pandas", tag="PND", owner_id=alice, created_at_ms=0)
    )
    world.change(update(users).where(users.c.id == alice).values(clan_id=7))
    first = world.record(a_play(by=alice, on=song, score=1_000))
    before = page.ids()
    second = world.record(a_play(by=alice, on=song, score=2_000))

    assert before == [first.score_id]
    assert page.ids() == [second.score_id, first.score_id]
    newest = world.run(page.plays.newest(limit=1))[0]
    assert (newest.player.id, newest.player.clan_tag, newest.beatmap.id, newest.is_first) == (
        alice,
        "PND",
        song.id,
        True,
    )


def test_failed_worse_and_unranked_plays_are_not_listed(world: World, page: Page) -> None:
    alice = world.add_player(a_player())
    song, pending = world.add_map(a_map(1)), world.add_map(a_map(2), MapStatus.PENDING)
    best = world.record(a_play(by=alice, on=song, score=2_000))
    world.record(a_play(by=alice, on=song, score=1_000))
    world.record(a_play(by=alice, on=song, passed=False))
    world.record(a_play(by=alice, on=pending))

    assert page.ids() == [best.score_id]


def test_each_variant_has_a_list_of_its_own(world: World, page: Page) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    vanilla, relax, autopilot = (world.record(a_play(by=alice, on=song, mods=mods)).score_id for mods in (0, RX, AP))

    assert [page.ids(variant) for variant in Variant] == [[vanilla], [relax], [autopilot]]
    assert page.ids() == [autopilot, relax, vanilla]


def test_started_process_lists_the_newest_stored_bests(world: World, page: Page) -> None:
    alice, bob, song = world.add_player(a_player()), world.add_player(a_player("bob")), world.add_map(a_map())
    first = world.record(a_play(by=alice, on=song, score=1_000))
    world.record(a_play(by=alice, on=song, score=500))
    second = world.record(a_play(by=bob, on=song, score=1_000, mods=RX))
    world.run(world.outbox.deliver())

    assert Page(world).ids() == page.ids() == [second.score_id, first.score_id]


def test_process_that_lost_the_place_in_the_feed_reads_the_stored_bests(world: World, page: Page) -> None:
    song = world.add_map(a_map())
    page.follower._next = 10_000  # of a feed before a restart of the shared state
    alice = world.add_player(a_player())

    recorded = world.record(a_play(by=alice, on=song))

    assert page.ids() == [recorded.score_id]


def test_restricted_player_leaves_the_list_at_once(world: World, page: Page) -> None:
    alice, bob, song = world.add_player(a_player()), world.add_player(a_player("bob")), world.add_map(a_map())
    kept = world.record(a_play(by=alice, on=song, score=1_000))
    world.record(a_play(by=bob, on=song, score=2_000))
    assert len(page.ids()) == 2

    world.run(world.restrictions.restrict(OPERATOR, "bob", "because"))

    assert [play.score.id for play in world.run(page.plays.newest(limit=10))] == [kept.score_id]


def test_ring_has_a_bound(world: World, page: Page) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    ids = []
    for n in range(KEPT + 3):
        ids.append(world.record(a_play(by=alice, on=song, score=1_000 + n)).score_id)
        page.ids()

    assert page.ids() == ids[::-1][:KEPT]
    assert page.ids(limit=10) == ids[::-1][:10]


def test_receivers_get_each_event_once(world: World) -> None:
    seen: list[Any] = []
    follower = FeedFollower(world.realtime)

    async def receive(part: Any) -> None:
        seen.append((part.gap, [event.type for event in part.events]))

    follower.subscribe(receive)
    world.run(follower.follow())
    alice, song = world.add_player(a_player(priv=NORMAL)), world.add_map(a_map())
    world.record(a_play(by=alice, on=song))
    world.run(world.outbox.deliver())

    world.run(follower.follow())
    world.run(follower.follow())

    assert seen == [(True, []), (False, ["score", "first_place"])]
