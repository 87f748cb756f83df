"""Version 2: endpoints about the server: its news, its state and its medals."""

import datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from kiai.accounts import Accounts
from kiai.documents import Document, Documents
from kiai.faces.api.operation import Caller, Operation
from kiai.faces.api.params import NoParameters
from kiai.faces.api.replies import utc
from kiai.faces.api.v2.paging import NoMeta, PageMeta, PageQuery, Success, get
from kiai.scores.history import History
from kiai.scores.medals import MEDALS
from kiai.uptime import DAYS, OK, Uptime, UptimeDay, share_of
from kiai.version import VERSION

_SLUG_IN_PATH: Final[dict[str, Any]] = {
    "type": "string",
    "pattern": "^[a-z0-9-]{1,128}$",
    "description": "The slug of the text, or its date and slug.",
    "x-allowed": "lower-case letters, digits and hyphens",
}


class NewsData(msgspec.Struct, frozen=True):
    """A text of the news. `date` is a day in UTC, `summary` the first paragraph as plain text."""

    slug: str
    date: str
    title: str
    summary: str


class NewsItemData(msgspec.Struct, frozen=True):
    """A text of the news with its `content`, which is Markdown without the title."""

    slug: str
    date: str
    title: str
    summary: str
    content: str


class NewsPage(msgspec.Struct, frozen=True):
    """The response of /news, the latest first."""

    status: Success
    data: list[NewsData]
    meta: PageMeta


class NewsItemPage(msgspec.Struct, frozen=True):
    """The response of /news/{slug}."""

    status: Success
    data: NewsItemData
    meta: NoMeta


class ServerStateQuery(msgspec.Struct, frozen=True):
    """The parameters of /status."""

    days: Annotated[int, Meta(ge=1, le=DAYS, description="Number of days, ending with today.")] = DAYS


class ComponentData(msgspec.Struct, frozen=True):
    """A part of the server, and whether it works now."""

    name: str
    works: bool


class UptimeData(msgspec.Struct, frozen=True):
    """A day in UTC: minutes in which the server was up, up with a failing part, and down.

    `uptime` is the share of the first two in percent, null without data.
    """

    day: str
    up: int
    impaired: int
    down: int
    uptime: float | None


class IncidentData(msgspec.Struct, frozen=True):
    """An incident that the operator describes in Markdown."""

    date: str
    title: str
    content: str


class ServerStateData(msgspec.Struct, frozen=True):
    """The state of the server. `uptime` is in percent over the given days, null without data."""

    version: str
    up_since: str
    components: list[ComponentData]
    uptime: float | None
    days: list[UptimeData]
    incidents: list[IncidentData]


class ServerStatePage(msgspec.Struct, frozen=True):
    """The response of /status."""

    status: Success
    data: ServerStateData
    meta: NoMeta


class MedalCount(msgspec.Struct, frozen=True):
    """A medal. `players` have it, which is `percent` of all registered accounts; `picture` is a path of this server."""

    id: int
    name: str
    description: str
    picture: str
    players: int
    percent: float


class MedalListPage(msgspec.Struct, frozen=True):
    """The response of /medals, sorted by id."""

    status: Success
    data: list[MedalCount]
    meta: PageMeta


class ServerV2:
    """The endpoints about the server. The first line of a handler's docstring is the summary in the document."""

    def __init__(self, documents: Documents, uptime: Uptime, history: History, accounts: Accounts) -> None:
        self._documents = documents
        self._uptime = uptime
        self._history = history
        self._accounts = accounts

    async def news(self, caller: Caller, query: PageQuery) -> NewsPage:
        """News from the operator, the latest first."""
        found = await self._documents.news()
        first = (query.page - 1) * query.page_size
        data = [
            NewsData(item.slug, item.date, item.title, item.summary) for item in found[first : first + query.page_size]
        ]
        return NewsPage("success", data, PageMeta(len(found), query.page, query.page_size))

    async def news_item(self, caller: Caller, query: NoParameters, slug: str) -> NewsItemPage:
        """One text of the news."""
        item = await self._documents.news_item(slug)
        return NewsItemPage(
            "success", NewsItemData(item.slug, item.date, item.title, item.summary, item.text), NoMeta()
        )

    async def status(self, caller: Caller, query: ServerStateQuery) -> ServerStatePage:
        """Whether the server works, and when it did not."""
        days = (await self._uptime.days())[-query.days :]
        states = await self._uptime.components.states()
        incidents = await self._documents.incidents()
        data = ServerStateData(
            version=VERSION,
            up_since=utc(self._uptime.started_at_ms),
            components=[ComponentData(name, state == OK) for name, state in states.items()],
            uptime=percent(share_of(days)),
            days=[_day(day) for day in days],
            incidents=[_incident(item) for item in incidents if item.date >= date_of(days[0].day)],
        )
        return ServerStatePage("success", data, NoMeta())

    async def medals(self, caller: Caller, query: PageQuery) -> MedalListPage:
        """All medals, with the number of players who have them."""
        first = (query.page - 1) * query.page_size
        holders = await self._history.medal_holders()
        total = await self._accounts.total()
        data = [
            MedalCount(
                medal.id,
                medal.name,
                medal.description,
                f"/medals/client/{medal.file}.png",
                holders.get(medal.id, 0),
                round(100 * holders.get(medal.id, 0) / max(1, total), 2),
            )
            for medal in MEDALS[first : first + query.page_size]
        ]
        return MedalListPage("success", data, PageMeta(len(MEDALS), query.page, query.page_size))

    def operations(self) -> list[Operation]:
        """Return the operations of this class."""
        return [
            get("/news", self.news, NewsPage, tag="server", query=PageQuery),
            get("/news/{slug}", self.news_item, NewsItemPage, tag="server", in_path={"slug": _SLUG_IN_PATH}),
            get("/status", self.status, ServerStatePage, tag="server", query=ServerStateQuery),
            get("/medals", self.medals, MedalListPage, tag="server", query=PageQuery),
        ]


def percent(share: float | None) -> float | None:
    """Return a share as percent with three decimals, rounded down: 100 means without any failure."""
    return None if share is None else int(share * 100_000) / 1_000


def date_of(day: int) -> str:
    """Return a number of days since 1970-01-01 as a date."""
    return datetime.date.fromordinal(datetime.date(1970, 1, 1).toordinal() + day).isoformat()


def _day(day: UptimeDay) -> UptimeData:
    return UptimeData(date_of(day.day), day.up, day.impaired, day.down, percent(day.share))


def _incident(item: Document) -> IncidentData:
    return IncidentData(item.date, item.title, item.text)
