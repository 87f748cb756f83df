"""The status page: which parts of the server work, the uptime of 90 days, and the incidents."""

import asyncio
import datetime
from typing import Final

from kiai.documents import Documents
from kiai.faces.site.markdown import render_markdown
from kiai.faces.site.page import Head, Page, Response, SiteRequest, View
from kiai.uptime import DAYS, OK, Uptime, UptimeDay, share_of

INCIDENTS_MAX: Final = 20


class StatusPages:
    """The page `/status`."""

    def __init__(self, uptime: Uptime, documents: Documents) -> None:
        self._uptime = uptime
        self._documents = documents

    def pages(self) -> list[Page]:
        """Return the page."""
        return [Page("GET", "/status", self._status)]

    async def _status(self, request: SiteRequest) -> Response:
        states, days, incidents = await asyncio.gather(
            self._uptime.components.states(), self._uptime.days(), self._documents.incidents()
        )
        since = _date(days[0].day)
        recent = [item for item in incidents if item.date >= since][:INCIDENTS_MAX]
        texts = await asyncio.gather(*[asyncio.to_thread(render_markdown, item.text) for item in recent])
        share = share_of(days)
        values = {
            "components": {name: state == OK for name, state in states.items()},
            "works": all(state == OK for state in states.values()),
            "started_at_ms": self._uptime.started_at_ms,
            "days": [_bar(day) for day in days],
            "days_shown": DAYS,
            "share": None if share is None else percent(share),
            "incidents": list(zip(recent, texts, strict=True)),
        }
        text = request.locale.text
        head = Head(text("Status"), text("Whether the server works, and its uptime of the last 90 days."), "/status")
        return View("status.html", values, head)


def percent(share: float) -> float:
    """Return a share as percent with two decimals, rounded down: 100 means without any failure."""
    return int(share * 10_000) / 100


def _bar(day: UptimeDay) -> tuple[str, float | None, int]:
    """Return a day as (date, percent or None without data, minutes down)."""
    return _date(day.day), None if day.share is None else percent(day.share), day.down


def _date(day: int) -> str:
    return (datetime.date(1970, 1, 1) + datetime.timedelta(days=day)).isoformat()
