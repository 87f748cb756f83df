"""The search over players, beatmaps, clans and matches, and its suggestions."""

import asyncio
from typing import Final

from kiai.accounts.name_search import NameMatch, NameSearch
from kiai.beatmaps import Beatmap, Beatmaps
from kiai.beatmaps.listing import Listing
from kiai.clans import Clan, ClanDirectory
from kiai.errors import Invalid, NotFound, Unavailable
from kiai.faces.rate_limit import RateLimit
from kiai.faces.site.page import Head, Page, Redirect, Response, SiteRequest, View
from kiai.faces.site.templating import url
from kiai.logs import get_logger
from kiai.multiplayer.history import MatchHistory, PastMatch

PAGE: Final = 20
TEXT_MAX: Final = 100
MAPS_READ: Final = 60
SETS_MAX: Final = 10
CLANS_MAX: Final = 10
MATCHES_READ: Final = 200
"""Past matches whose names are compared: the newest ones."""
MATCHES_MAX: Final = 10
SUGGESTED_FROM: Final = 2  # characters
SUGGESTED_MAX: Final = 8
SUGGESTED_PLAYERS: Final = 5
SEARCHING: Final = RateLimit("site-search", 60, 60.0)
SUGGESTING: Final = RateLimit("site-suggestions", 240, 60.0)


class SearchPages:
    """The pages `/search` and `/search/suggest`."""

    def __init__(self, names: NameSearch, beatmaps: Beatmaps, clans: ClanDirectory, matches: MatchHistory) -> None:
        self._names = names
        self._beatmaps = beatmaps
        self._clans = clans
        self._matches = matches

    def pages(self) -> list[Page]:
        """Return the pages."""
        return [
            Page("GET", "/search", self._search, rate_limit=SEARCHING),
            Page("GET", "/search/suggest", self._suggest, rate_limit=SUGGESTING),
            Page("GET", "/users", self._users),
        ]

    async def _search(self, request: SiteRequest) -> Response:
        text = request.query.text("q", TEXT_MAX)
        number = request.query.whole("page", 1, at_least=1)
        players, sets, clans, matches = await asyncio.gather(
            self._names.players(text), self._sets(text), self._clans.search(text), self._named_matches(text)
        )
        last = max(1, -(-len(players) // PAGE))
        if number > last:
            raise NotFound("page")
        values = {
            "q": text,
            "players": players[(number - 1) * PAGE : number * PAGE],
            "found": len(players),
            "sets": None if sets is None else sets[:SETS_MAX],
            "clans": clans[:CLANS_MAX],
            "matches": None if matches is None else matches[:MATCHES_MAX],
            "page": number,
            "last": last,
            "here_url": url("/search", q=text),
        }
        title = request.locale.text("Search")
        return View("search.html", values, Head(f"{text} - {title}" if text else title))

    async def _suggest(self, request: SiteRequest) -> Response:
        text = request.query.text("q", TEXT_MAX)
        players: list[NameMatch] = []
        clans: list[Clan] = []
        sets: list[Beatmap] | None = []
        if len(text) >= SUGGESTED_FROM:
            players, clans, sets = await asyncio.gather(
                self._names.players(text), self._clans.search(text), self._sets(text)
            )
        sets = sets or []
        # Players first, then beatmaps; each group may fill the places that the others leave.
        players = players[: max(SUGGESTED_PLAYERS, SUGGESTED_MAX - len(sets) - len(clans))]
        clans = clans[: max(1, SUGGESTED_MAX - len(players) - len(sets))]
        sets = sets[: SUGGESTED_MAX - len(players) - len(clans)]
        return View("suggestions.html", {"q": text, "players": players, "clans": clans, "sets": sets})

    async def _users(self, request: SiteRequest) -> Response:
        return Redirect(url("/search", q=request.query.text("q", TEXT_MAX)), 301)

    async def _sets(self, text: str) -> list[Beatmap] | None:
        """Return a map of each set that fits, the newest set first; None while the search is overloaded."""
        if not text:
            return []
        try:
            found, _ = await self._beatmaps.listed(Listing(text=text, sort="-id", limit=MAPS_READ))
        except Invalid:  # a text without letters and digits
            return []
        except Unavailable as error:
            get_logger("site").warning("search of beatmaps failed", reason=str(error))
            return None
        by_set: dict[int, Beatmap] = {}
        for beatmap in found:
            by_set.setdefault(beatmap.set_id, beatmap)
        return list(by_set.values())

    async def _named_matches(self, text: str) -> list[PastMatch] | None:
        """Return the newest public matches whose name contains the text; None if the history cannot be read."""
        if not text:
            return []
        wanted = text.casefold()
        try:
            found = await self._matches.ended_matches(limit=MATCHES_READ)
        except Unavailable as error:
            get_logger("site").warning("search of matches failed", reason=str(error))
            return None
        return [match for match in found if wanted in match.name.casefold() or wanted == str(match.id)]
