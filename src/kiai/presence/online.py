"""The list of players online for pages: those who did something last, with their statuses."""

from collections import OrderedDict
from typing import Final

import msgspec

from kiai.accounts import Accounts
from kiai.accounts.model import Player
from kiai.clock import Clock
from kiai.realtime.feed import FeedEvent, feed_entry
from kiai.realtime.following import FeedFollower, FeedPart
from kiai.realtime.port import Realtime, Session
from kiai.realtime.while_unavailable import online_count

LISTED_MAX: Final = 50
REMEMBERED: Final = 200  # players by last activity; more than a page shows, because some have logged out


class OnlinePlayer(msgspec.Struct, frozen=True):
    """A visible player with a session."""

    player: Player
    session: Session


class OnlineNow(msgspec.Struct, frozen=True):
    """The players who did something last, newest first, and the number of all players online.

    `count` is None while the shared state does not answer.
    """

    players: list[OnlinePlayer]
    count: int | None


class OnlineList:
    """The list of this process. Events of the feed keep the order of activity. `version` changes with it."""

    def __init__(self, realtime: Realtime, accounts: Accounts, follower: FeedFollower, clock: Clock) -> None:
        self._realtime = realtime
        self._accounts = accounts
        self._clock = clock
        self._active: OrderedDict[int, None] = OrderedDict()  # the latest last
        self._published = -1
        self.version = 0
        follower.subscribe(self._on_events)

    async def newest(self, *, limit: int) -> OnlineNow:
        """Return at most `limit` players, and the number of all. Hidden players are neither listed nor counted."""
        count = await online_count(self._realtime)
        if count is None:
            return OnlineNow([], None)
        ids = list(reversed(self._active))
        if len(ids) < min(limit, count):  # after a start: nobody has done anything yet
            ids += sorted(set(await self._realtime.online_ids()) - set(ids))
        sessions = await self._realtime.sessions_among(ids[:REMEMBERED])
        shown = [user_id for user_id in ids if user_id in sessions][:limit]
        # The sessions of a player who was restricted a moment ago may still be ending: the rows decide.
        players = await self._accounts.players_among(shown) if shown else {}
        hiding = await self._accounts.hiding_online(shown) if shown else frozenset()
        listed = [id_ for id_ in shown if id_ in players and id_ not in hiding]
        return OnlineNow([OnlinePlayer(players[id_], sessions[id_]) for id_ in listed], count)

    async def publish_count(self) -> None:
        """Append an `online_count` event to the feed if the number has changed. A job calls this once a second."""
        count = await self._realtime.online_count()
        if count != self._published:
            event = FeedEvent("online_count", self._clock.now_ms(), data={"online": count})
            await self._realtime.append([feed_entry(event)])
            self._published = count

    async def _on_events(self, part: FeedPart) -> None:
        for event in part.events:
            if event.type != "presence" or event.user_id is None:
                continue
            self.version += 1
            self._active.pop(event.user_id, None)
            if event.data.get("online"):
                self._active[event.user_id] = None
                if len(self._active) > REMEMBERED:
                    self._active.popitem(last=False)
