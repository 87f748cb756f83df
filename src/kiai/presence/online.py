"""The players online as pages and the API show them: their number, their ids, and those who did something last.

Players who hide that they are online are in none of these.
"""

import asyncio
import time
from collections import OrderedDict
from typing import Final

import msgspec

from kiai.accounts import Accounts
from kiai.accounts.model import Player
from kiai.accounts.queries import AMONG_MAX
from kiai.accounts.visibility import Viewer
from kiai.clock import Clock
from kiai.realtime.feed import FeedEvent, feed_entry
from kiai.realtime.following import FeedFollower, FeedPart
from kiai.realtime.port import Realtime, Session, StateUnavailable

LISTED_MAX: Final = 50
COUNT_FOR_S: Final = 5.0
"""Time for which a number stays valid while as many players are online, hiding ones included."""
REMEMBERED: Final = 200  # players by last activity; more than a page shows, because some have logged out


class PublicOnline:
    """The players online without those who hide it.

    It keeps who of them hides: one flag for each player online. A presence event of the feed drops the flag of its
    player, because a change of the setting causes one.
    """

    def __init__(self, realtime: Realtime, accounts: Accounts, follower: FeedFollower) -> None:
        self._realtime = realtime
        self._accounts = accounts
        self._hides: dict[int, bool] = {}
        self._changes = 0
        self._counted: tuple[int, int, int, float] | None = None  # of all, without hiding ones, changes, when
        self._lock = asyncio.Lock()
        follower.subscribe(self._on_events)

    async def ids(self, viewer: Viewer) -> list[int]:
        """Return the ids of the players online whom `viewer` may see online, in order. Raises StateUnavailable."""
        if viewer.is_staff:
            return sorted(await self._realtime.online_ids())
        return [
            user_id
            for user_id, hides in sorted((await self._flags()).items())
            if not hides or user_id == viewer.user_id
        ]

    async def count(self) -> int:
        """Return the number of players online whom everybody may see online. Raises StateUnavailable."""
        all_, changes = await self._realtime.online_count(), self._changes
        known = self._counted
        if known is not None and known[0] == all_ and known[2] == changes and time.monotonic() < known[3] + COUNT_FOR_S:
            return known[1]
        shown = sum(not hides for hides in (await self._flags()).values())
        self._counted = (all_, shown, changes, time.monotonic())
        return shown

    async def _flags(self) -> dict[int, bool]:
        """Return whether each player online hides it."""
        async with self._lock:
            online, changes = await self._realtime.online_ids(), self._changes
            hides = {user_id: self._hides[user_id] for user_id in online if user_id in self._hides}
            unknown = sorted(set(online) - hides.keys())
            for start in range(0, len(unknown), AMONG_MAX):
                part = unknown[start : start + AMONG_MAX]
                hiding = await self._accounts.hiding_online(part)
                hides.update((user_id, user_id in hiding) for user_id in part)
            # After an event in between, a flag may be older than its setting.
            self._hides = hides if changes == self._changes else {}
            return hides

    async def _on_events(self, part: FeedPart) -> None:
        for event in part.events:
            if event.type == "presence" and event.user_id is not None:
                self._changes += 1
                self._hides.pop(event.user_id, None)


class OnlinePlayer(msgspec.Struct, frozen=True):
    """A visible player with a session."""

    player: Player
    session: Session


class OnlineNow(msgspec.Struct, frozen=True):
    """The players who did something last, newest first, and the number of all whom everybody may see online.

    `count` is None while the shared state does not answer.
    """

    players: list[OnlinePlayer]
    count: int | None


class OnlineList:
    """The list of this process. Events of the feed keep the order of activity. `version` changes with it.

    `public` has the ids and the number of all players online.
    """

    def __init__(self, realtime: Realtime, accounts: Accounts, follower: FeedFollower, clock: Clock) -> None:
        self._realtime = realtime
        self._accounts = accounts
        self._clock = clock
        self._active: OrderedDict[int, None] = OrderedDict()  # the latest last
        self._published = -1
        self.public = PublicOnline(realtime, accounts, follower)
        self.version = 0
        follower.subscribe(self._on_events)

    async def newest(self, *, limit: int) -> OnlineNow:
        """Return at most `limit` players, and the number of all. Hidden players are neither listed nor counted."""
        try:
            count = await self.public.count()
        except StateUnavailable:
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
        count = await self.public.count()
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
