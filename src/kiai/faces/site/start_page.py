"""The content of the start page that is the same for all visitors, read once for many of them."""

import asyncio
from time import monotonic
from typing import Final

import msgspec

from kiai.accounts import Accounts
from kiai.accounts.model import Player
from kiai.accounts.visibility import EVERYBODY
from kiai.beatmaps.model import MapSummary
from kiai.documents import Document, Documents
from kiai.errors import Unavailable
from kiai.live import Live
from kiai.multiplayer.rooms import Room
from kiai.presence.online import OnlineNow
from kiai.scores.highlights import Figures, FirstPlaceChange, PlayedThisWeek
from kiai.scores.latest import ShownPlay, Variant

PLAYS_SHOWN: Final = 10
SHORT: Final = 5
ROOMS_SHOWN: Final = 3
NEWS_SHOWN: Final = 3
ONLINE_SHOWN: Final = 24
FRESH_S: Final = 1.0
VALID_S: Final = 10.0


class StartPage(msgspec.Struct, frozen=True):
    """The parts of the start page. `former` has the players who lost the first places, as far as they are visible.

    `rooms`, and `online.count`, are None while the shared state does not answer.
    """

    registered: int
    figures: Figures
    online: OnlineNow
    first_places: list[FirstPlaceChange]
    former: dict[int, Player]
    records: list[ShownPlay]
    rooms: list[Room] | None
    hosts: dict[int, str]
    most_played: list[PlayedThisWeek]
    newest_ranked: list[list[MapSummary]]
    news: list[Document]


class StartPages:
    """The start page of this process.

    For visitors it is read again after an event that changes it, at most once in `FRESH_S` seconds, and at least once
    in `VALID_S`.
    A change of anybody's visibility, name, country or clan counts at once.
    """

    def __init__(self, live: Live, accounts: Accounts, documents: Documents) -> None:
        self._live = live
        self._accounts = accounts
        self._documents = documents
        self._page: StartPage | None = None
        self._plays: dict[Variant | None, list[ShownPlay]] = {}
        self._stamp: tuple[int, ...] = ()
        self._read_at = 0.0
        self._lock = asyncio.Lock()
        self._events = 0
        live.follower.subscribe(self._on_events)

    async def read(self, variant: Variant | None, *, fresh_s: float = FRESH_S) -> tuple[StartPage, list[ShownPlay]]:
        """Return the start page, and the latest plays of one variant or of all.

        After an event, the result is at most `fresh_s` seconds old. Live parts want 0: they are rendered once after an
        event, so nothing corrects an older result, and their own pauses limit how often they read.
        """
        look = await self._live.highlights.visibility_version()
        async with self._lock:  # of many visitors at once, one reads
            age = monotonic() - self._read_at
            stamp = (look, self._events)
            is_old = age > VALID_S or (stamp != self._stamp and age >= fresh_s)
            if self._page is None or look != self._stamp[0] or is_old:
                self._page = await self._read()
                self._plays = {}
                self._stamp, self._read_at = stamp, monotonic()
            if variant not in self._plays:
                self._plays[variant] = await self._live.plays.newest(variant, limit=PLAYS_SHOWN)
            return self._page, self._plays[variant]

    async def _read(self) -> StartPage:
        highlights = self._live.highlights
        registered, figures, first_places, records, most_played = await asyncio.gather(
            self._accounts.total(),
            highlights.figures(),
            highlights.first_places(limit=SHORT),
            highlights.records(),
            highlights.most_played(limit=SHORT),
        )
        online, rooms, newest_ranked, news = await asyncio.gather(
            self._online(),
            self._rooms(),
            self._live.newest_ranked.sets(limit=SHORT),
            self._documents.news(),
        )
        former = {change.previous_user_id for change in first_places if change.previous_user_id is not None}
        return StartPage(
            registered=registered,
            figures=figures,
            online=online,
            first_places=first_places,
            former=await self._accounts.players_among(former) if former else {},
            records=records,
            rooms=rooms,
            hosts=await self._live.host_names(rooms) if rooms else {},
            most_played=most_played,
            newest_ranked=newest_ranked,
            news=news[:NEWS_SHOWN],
        )

    # The shared state may fail. The other parts need only the database, so they are shown.

    async def _online(self) -> OnlineNow:
        try:
            return await self._live.online.newest(limit=ONLINE_SHOWN)
        except Unavailable:
            return OnlineNow([], None)

    async def _rooms(self) -> list[Room] | None:
        try:
            return (await self._live.rooms.visible_to(EVERYBODY))[:ROOMS_SHOWN]
        except Unavailable:
            return None

    async def _on_events(self, part: object) -> None:
        self._events += 1
