"""The list of players online, and the events about their number."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from sqlalchemy import update
from tests.builders import World, a_player

from kiai.accounts.model import Privacy
from kiai.accounts.visibility import EVERYBODY, Viewer
from kiai.osu.privileges import Privilege
from kiai.presence.online import OnlineList
from kiai.realtime.feed import FeedEvent, feed_entry, feed_event
from kiai.realtime.following import FeedFollower
from kiai.realtime.port import FEED, Session
from kiai.staff import OPERATOR
from kiai.storage.tables import users


class Online:
    """A list that follows the feed, with players by name."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.follower = FeedFollower(world.realtime)
        self.list = OnlineList(world.realtime, world.accounts, self.follower, world.clock)
        self.ids: dict[str, int] = {}

    def log_in(self, name: str, *, hides: bool = False) -> None:
        user_id = self.ids[name] = self._world.add_player(a_player(name))
        if hides:
            self.hide(name)
        session = Session(token=name, user_id=user_id, login_time_ms=0, name=name)
        self._world.run(self._world.realtime.open_session(session))
        self.act(name)

    def act(self, name: str, *, online: bool = True) -> None:
        event = FeedEvent("presence", 0, self.ids[name], None, {"online": online})
        self._world.run(self._world.realtime.append([feed_entry(event)]))
        self._world.run(self.follower.follow())

    def hide(self, name: str, privacy: Privacy = Privacy.HIDE_ONLINE) -> None:
        self._world.change(update(users).where(users.c.id == self.ids[name]).values(privacy=int(privacy)))

    def count(self) -> int:
        return self._world.run(self.list.public.count())

    def public_ids(self, viewer: Viewer = EVERYBODY) -> list[int]:
        return self._world.run(self.list.public.ids(viewer))

    def names(self, limit: int = 24) -> list[str]:
        return [one.player.name for one in self._world.run(self.list.newest(limit=limit)).players]

    def published(self) -> list[dict[str, Any]]:
        self._world.run(self.list.publish_count())
        _, bodies = self._world.run(self._world.realtime.feed_after(FEED, 0))
        return [event.data for event in map(feed_event, bodies) if event.type == "online_count"]


@pytest.fixture
def online(database: Any, run: Callable[[Coroutine[Any, Any, Any]], Any], tmp_path: Any) -> Online:
    online = Online(World(database, run, tmp_path))
    run(online.follower.follow())
    return online


def test_player_who_did_something_last_is_first(online: Online) -> None:
    for name in ("alice", "bob", "carla"):
        online.log_in(name)
    online.act("alice")

    assert online.names() == ["alice", "carla", "bob"]
    assert online.names(limit=2) == ["alice", "carla"]
    assert online._world.run(online.list.newest(limit=2)).count == 3


def test_player_who_logs_off_leaves_the_list(online: Online) -> None:
    online.log_in("alice")
    online.log_in("bob")
    online._world.run(online._world.realtime.close_session("bob"))
    online.act("bob", online=False)

    assert online.names() == ["alice"]


def test_started_process_lists_those_who_are_online(online: Online) -> None:
    online.log_in("alice")
    started = OnlineList(
        online._world.realtime, online._world.accounts, FeedFollower(online._world.realtime), online._world.clock
    )

    assert [one.player.name for one in online._world.run(started.newest(limit=5)).players] == ["alice"]


def test_restricted_player_is_gone_before_the_sessions_end(online: Online) -> None:
    online.log_in("alice")
    online.log_in("bob")

    online._world.run(online._world.restrictions.restrict(OPERATOR, "bob", "because"))

    assert online.names() == ["alice"]


def test_number_of_players_online_is_published_when_it_changes(online: Online) -> None:
    assert online.published() == [{"online": 0}]
    online.log_in("alice")
    assert online.published() == [{"online": 0}, {"online": 1}]

    assert online.published() == [{"online": 0}, {"online": 1}], "it has not changed"


def test_player_who_hides_it_is_not_counted(online: Online) -> None:
    online.log_in("alice")
    assert online.count() == 1

    online.log_in("ghost", hides=True)

    assert (online.count(), online.names()) == (1, ["alice"])
    assert online._world.run(online.list.newest(limit=5)).count == 1
    assert online.published() == [{"online": 1}]


def test_player_who_begins_to_hide_it_is_no_longer_counted(online: Online) -> None:
    online.log_in("alice")
    assert (online.count(), online.public_ids()) == (1, [online.ids["alice"]])

    online.hide("alice")
    online.act("alice", online=False)
    assert (online.count(), online.public_ids()) == (0, [])

    online.hide("alice", Privacy(0))
    online.act("alice")
    assert (online.count(), online.public_ids()) == (1, [online.ids["alice"]])


def test_hiding_player_and_staff_see_that_the_player_is_online(online: Online) -> None:
    online.log_in("alice")
    online.log_in("ghost", hides=True)
    alice, ghost = online.ids["alice"], online.ids["ghost"]

    assert online.public_ids(Viewer(alice)) == [alice]
    assert online.public_ids(Viewer(ghost)) == [alice, ghost]
    assert online.public_ids(Viewer(0, int(Privilege.MODERATOR))) == [alice, ghost]


def test_players_of_several_pages_of_ids_are_counted(online: Online) -> None:
    for number in range(205):
        online.log_in(f"player {number}", hides=number % 2 == 1)

    assert online.count() == 103
