"""News from the operator: the list, a text, and the Atom feed."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

from kiai.documents import Document, Documents
from kiai.errors import NotFound
from kiai.faces.site.markdown import render_markdown
from kiai.faces.site.page import Content, Head, Page, Redirect, Response, SiteRequest, View

PAGE: Final = 20
FEED_MAX: Final = 20


class NewsPages:
    """The pages of the news. `base_url` begins the links of the feed; `title` is the server's name."""

    def __init__(self, documents: Documents, base_url: str, title: str) -> None:
        self._documents = documents
        self._base_url = base_url
        self._title = title

    def pages(self) -> list[Page]:
        """Return the pages of the news."""
        return [
            Page("GET", "/news", self._news),
            Page("GET", "/news/{slug}", self._item),
            Page("GET", "/news.atom", self._feed),
        ]

    async def _news(self, request: SiteRequest) -> Response:
        number = request.query.whole("page", 1, at_least=1)
        items = await self._documents.news()
        last = max(1, -(-len(items) // PAGE))
        if number > last:
            raise NotFound("page")
        text = request.locale.text
        head = Head(
            text("News"),
            text("News of %(title)s.", title=self._title),
            "/news" if number == 1 else f"/news?page={number}",
        )
        shown = items[(number - 1) * PAGE : number * PAGE]
        return View("news.html", {"items": shown, "page": number, "last": last, "slugs": slugs_of(items)}, head)

    async def _item(self, request: SiteRequest) -> Response:
        slug = request.path["slug"]
        item = await self._documents.news_item(slug)
        address = slugs_of(await self._documents.news()).get(item.name, item.slug)
        if slug != address:
            return Redirect(f"/news/{address}", 301)
        text = await asyncio.to_thread(render_markdown, item.text)
        head = Head(item.title, item.summary, f"/news/{address}", kind="article")
        return View("news_item.html", {"document": item, "text": text}, head)

    async def _feed(self, request: SiteRequest) -> Response:
        items = (await self._documents.news())[:FEED_MAX]
        slugs = slugs_of(items)
        updated = max((_updated_ms(item) for item in items), default=0)
        lines = [
            '<?xml version="1.0" encoding="utf-8"?>',
            '<feed xmlns="http://www.w3.org/2005/Atom">',
            f"<title>{escape(self._title)}</title>",
            f"<id>{escape(self._base_url)}/news</id>",
            f'<link href="{escape(self._base_url)}/news.atom" rel="self"/>',
            f'<link href="{escape(self._base_url)}/news"/>',
            f"<author><name>{escape(self._title)}</name></author>",
            f"<updated>{_feed_time(updated)}</updated>",
        ]
        for item in items:
            address = f"{self._base_url}/news/{slugs[item.name]}"
            html = await asyncio.to_thread(render_markdown, item.text)
            lines += [
                "<entry>",
                f"<title>{escape(item.title)}</title>",
                f"<id>{escape(address)}</id>",
                f'<link href="{escape(address)}"/>',
                f"<published>{_feed_time(item.at_ms)}</published>",
                f"<updated>{_feed_time(_updated_ms(item))}</updated>",
                f"<summary>{escape(item.summary)}</summary>",
                f'<content type="html">{escape(str(html))}</content>',
                "</entry>",
            ]
        body = "\n".join([*lines, "</feed>", ""]).encode()
        return Content(body, "application/atom+xml; charset=utf-8", headers=(("Cache-Control", "max-age=300"),))


def _updated_ms(item: Document) -> int:
    """Return the time of the last change. The time of a file may be that of a copy, so its day counts instead."""
    return max(item.at_ms, item.changed_at_ms) if item.stored_id else item.at_ms


def _feed_time(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def slugs_of(items: Sequence[Document]) -> dict[str, str]:
    """Return the address of each text by its name: its slug, or date and slug where a later text has the same slug."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for item in items:
        found[item.name] = item.name if item.slug in taken else item.slug
        taken.add(item.slug)
    return found
