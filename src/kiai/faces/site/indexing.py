"""`robots.txt` and the sitemaps, for search engines.

The index lists the file of the fixed pages, one of players, and one for each range of 10,000 ids of sets that has a set
with a leaderboard. Each file is built at most once an hour, from at most 10,000 rows.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from html import escape
from typing import Final

from kiai.beatmaps.set_index import SetIndex
from kiai.errors import NotFound
from kiai.faces.rate_limit import RateLimit
from kiai.faces.site.page import Content, Page, Response, SiteRequest
from kiai.osu.modes import MODES
from kiai.realtime.port import Realtime

PLAYERS_OF_MODE: Final = 1_000
BUILT_EVERY_S: Final = 3_600.0
FILES_CACHED: Final = 64
PRIVATE: Final = (
    "/settings/",
    "/friends",
    "/mail",
    "/requests",
    "/login",
    "/register",
    "/reset",
    "/verify/",
    "/preferences",
    "/search",
)
FIXED: Final = (
    "/",
    "/connect",
    "/leaderboard",
    *[f"/leaderboard?mode={mode}" for mode in MODES if mode],
    "/leaderboard/countries",
    "/leaderboard/clans",
    "/leaderboard/plays",
    "/beatmapsets",
    "/multiplayer",
    "/clans",
    "/medals",
    "/news",
    "/rules",
    "/privacy",
    "/about",
    "/status",
)
READING: Final = RateLimit("sitemaps", 60, 60.0)
_XML: Final = "application/xml; charset=utf-8"
_CACHE: Final = (("Cache-Control", "max-age=3600"),)


class IndexingPages:
    """`/robots.txt`, `/sitemap.xml` and the files that it lists. `base_url` begins all addresses."""

    def __init__(self, realtime: Realtime, sets: SetIndex, base_url: str) -> None:
        self._realtime = realtime
        self._sets = sets
        self._base_url = base_url
        self._built: dict[str, tuple[float, bytes]] = {}
        self._building = asyncio.Lock()

    def pages(self) -> list[Page]:
        """Return the pages."""
        return [
            Page("GET", "/robots.txt", self._robots),
            Page("GET", "/sitemap.xml", self._index, rate_limit=READING),
            Page("GET", "/sitemaps/{name}", self._file, rate_limit=READING),
        ]

    async def _robots(self, request: SiteRequest) -> Response:
        lines = ["User-agent: *", *[f"Disallow: {path}" for path in PRIVATE], f"Sitemap: {self._base_url}/sitemap.xml"]
        return Content("\n".join([*lines, ""]).encode(), "text/plain; charset=utf-8", headers=_CACHE)

    async def _index(self, request: SiteRequest) -> Response:
        return Content(await self._cached("index", self._build_index), _XML, headers=_CACHE)

    async def _file(self, request: SiteRequest) -> Response:
        name = request.path["name"].removesuffix(".xml")
        kind, _, number = name.partition("-")
        if name == "pages":
            body = await self._cached(name, self._build_fixed)
        elif name == "players":
            body = await self._cached(name, self._build_players)
        elif kind == "sets" and number.isascii() and number.isdigit() and len(number) <= 6:
            if f"sets-{int(number)}" != name:
                raise NotFound("page")
            body = await self._cached(name, lambda: self._build_sets(int(number)))
        else:
            raise NotFound("page")
        return Content(body, _XML, headers=_CACHE)

    async def _cached(self, name: str, build: Callable[[], Awaitable[bytes]]) -> bytes:
        known = self._built.get(name)
        if known is not None and time.monotonic() < known[0] + BUILT_EVERY_S:
            return known[1]
        async with self._building:  # one file at a time, and each file once
            known = self._built.get(name)
            if known is None or time.monotonic() >= known[0] + BUILT_EVERY_S:
                known = (time.monotonic(), await build())
                if len(self._built) >= FILES_CACHED:
                    self._built.pop(next(iter(self._built)))
                self._built[name] = known
        return known[1]

    async def _build_index(self) -> bytes:
        names = ["pages", "players", *[f"sets-{number}" for number in await self._sets.files()]]
        entries = [f"<sitemap><loc>{escape(self._base_url)}/sitemaps/{name}.xml</loc></sitemap>" for name in names]
        return _document("sitemapindex", entries)

    async def _build_fixed(self) -> bytes:
        return self._urls(FIXED)

    async def _build_players(self) -> bytes:
        ids: dict[int, None] = {}  # an ordered set: a player may be high in several modes
        for mode in MODES:
            ids |= dict.fromkeys(await self._realtime.ranked_ids(mode, limit=PLAYERS_OF_MODE))
        return self._urls([f"/users/{user_id}" for user_id in ids])

    async def _build_sets(self, number: int) -> bytes:
        ids = await self._sets.ids_of(number)
        if not ids:
            raise NotFound("page")
        return self._urls([f"/beatmapsets/{set_id}" for set_id in ids])

    def _urls(self, paths: "tuple[str, ...] | list[str]") -> bytes:
        return _document("urlset", [f"<url><loc>{escape(self._base_url + path)}</loc></url>" for path in paths])


def _document(root: str, entries: list[str]) -> bytes:
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<{root} xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">',
        *entries,
        f"</{root}>",
        "",
    ]
    return "\n".join(lines).encode()
