"""The page of all medals, with the number of players who have each, and the visitor's own."""

import asyncio

import msgspec

from kiai.accounts import Accounts
from kiai.faces.site.medal_groups import medal_groups
from kiai.faces.site.page import Head, Page, Response, SiteRequest, View
from kiai.scores.history import History
from kiai.scores.medals import MEDALS, Medal


class ShownMedal(msgspec.Struct, frozen=True):
    """A medal on the page. `percent` is of all registered accounts, `unlocked_at_ms` the visitor's own date."""

    id: int
    name: str
    description: str
    file: str
    players: int
    percent: float
    unlocked_at_ms: int | None


class MedalPages:
    """The page `/medals`."""

    def __init__(self, history: History, accounts: Accounts) -> None:
        self._history = history
        self._accounts = accounts

    def pages(self) -> list[Page]:
        """Return the page."""
        return [Page("GET", "/medals", self._medals)]

    async def _medals(self, request: SiteRequest) -> Response:
        user = request.visitor.user
        holders, total, own = await asyncio.gather(
            self._history.medal_holders(),
            self._accounts.total(),
            self._history.medals(user.id if user else 0),
        )
        dates = {medal_id: at_ms for medal_id, at_ms, _ in own}
        values = {
            "groups": [
                (title, [_shown(medal, holders.get(medal.id, 0), total, dates.get(medal.id)) for medal in medals])
                for title, medals in medal_groups(request.locale)
            ],
            "owned": len(dates),
            "total": len(MEDALS),
        }
        text = request.locale.text
        head = Head(text("Medals"), text("All medals and how many players have each of them."), "/medals")
        return View("medals.html", values, head)


def _shown(medal: Medal, players: int, total: int, unlocked_at_ms: int | None) -> ShownMedal:
    share = int(10_000 * players / max(1, total)) / 100
    return ShownMedal(medal.id, medal.name, medal.description, medal.file, players, share, unlocked_at_ms)
