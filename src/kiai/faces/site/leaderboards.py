"""The leaderboards: players, countries, clans and top plays."""

import asyncio
from typing import Any, Final

import msgspec

from kiai.accounts.visibility import is_public
from kiai.clans import Clans
from kiai.clock import Clock
from kiai.errors import NotAuthenticated
from kiai.faces.site.old_addresses import old_variant
from kiai.faces.site.page import BadParameter, Head, Page, Redirect, Response, SiteRequest, View
from kiai.faces.site.signs import mode_name
from kiai.faces.site.templating import url
from kiai.osu.mods import board_key, parse_mods
from kiai.scores.countries import ACTIVE_MS
from kiai.scores.listing_parts import LISTED_MAX
from kiai.scores.model import Ranked
from kiai.scores.rankings import Rankings
from kiai.scores.ranks import Ranks
from kiai.scores.showcase import Showcase

PAGE_SIZE: Final = 50
SORTS: Final = ("pp", "rscore", "tscore", "plays")
FILTERS: Final = ("all", "active", "friends")
MODS_ALLOWED: Final = "mods such as HDDT, or NM"
MODS_TEXT_MAX: Final = 32


class _Choice(msgspec.Struct, frozen=True):
    """The choices of a visitor."""

    mode: int
    sort: str
    country: str | None
    filter: str
    page: int

    @property
    def parameters(self) -> dict[str, object]:
        """The parameters of a link to the first page, without those that have their default."""
        return {
            "mode": self.mode,
            "sort": self.sort if self.sort != "pp" else None,
            "country": self.country,
            "filter": self.filter if self.filter != "all" else None,
        }


class LeaderboardPages:
    """The pages below `/leaderboard`."""

    def __init__(self, rankings: Rankings, ranks: Ranks, showcase: Showcase, clans: Clans, clock: Clock) -> None:
        self._rankings = rankings
        self._ranks = ranks
        self._showcase = showcase
        self._clans = clans
        self._clock = clock

    def pages(self) -> list[Page]:
        """Return the four leaderboards."""
        return [
            Page("GET", "/leaderboard", self._players),
            Page("GET", "/leaderboard/countries", self._countries),
            Page("GET", "/leaderboard/clans", self._clans_board),
            Page("GET", "/leaderboard/plays", self._plays),
        ]

    # --- players

    async def _players(self, request: SiteRequest) -> Response:
        query, user = request.query, request.visitor.user
        if (variant := old_variant(request)) is not None:
            return Redirect(url("/leaderboard", mode=variant), 301)
        choice = _Choice(
            default_mode(request),
            query.choice("sort", SORTS, "pp"),
            query.country(),
            query.choice("filter", FILTERS, "all"),
            query.whole("page", 1, at_least=1, at_most=LISTED_MAX),
        )
        if choice.filter == "friends" and user is None:
            raise NotAuthenticated
        (rows, total), countries, own = await asyncio.gather(
            self._page(request, choice), self._showcase.countries.board(choice.mode), self._own(request, choice)
        )
        first = (choice.page - 1) * PAGE_SIZE + 1
        last = max(1, -(-total // PAGE_SIZE))
        before = await self._showcase.history.yesterday([row.player_id for row in rows], choice.mode)
        lines = [
            (place, row, _change(place, before.get(row.player_id), choice)) for place, row in enumerate(rows, first)
        ]
        here = user is not None and any(row.player_id == user.id for row in rows)
        values: dict[str, Any] = {
            "choice": choice,
            "lines": lines,
            "last": last,
            "countries": sorted(countries, key=lambda one: (-one.players, one.country)),
            "own": None if here else own,
            "own_page": None if own is None or own[0] is None else -(-own[0] // PAGE_SIZE),
            "base": url("/leaderboard", **choice.parameters),
            "beyond": choice.page > last,
            "url": url,
        }
        canonical = url("/leaderboard", **choice.parameters | {"mode": choice.mode or None}, page=choice.page)
        text = request.locale.text
        head = Head(
            text("Leaderboard"),
            text("The best players of %(mode)s on this server.", mode=mode_name(choice.mode)),
            canonical if choice.filter != "friends" else None,
        )
        return View("leaderboard.html", values, head, 404 if choice.page > last else 200)

    def _since(self, choice: _Choice) -> int | None:
        return self._clock.now_ms() - ACTIVE_MS if choice.filter == "active" else None

    async def _page(self, request: SiteRequest, choice: _Choice) -> tuple[list[Ranked], int]:
        """Return the rows of the page and the number of all rows."""
        mode, sort, country = choice.mode, choice.sort, choice.country
        offset = (choice.page - 1) * PAGE_SIZE
        if choice.filter == "friends":
            friends = await self._rankings.among_friends(request.visitor.player.id, mode, sort, country=country)
            return friends[offset : offset + PAGE_SIZE], len(friends)
        since = self._since(choice)
        if sort == "pp" and since is None:
            total = min(LISTED_MAX, await self._ranks.count(mode, country))
        else:
            total = await self._rankings.count(mode, sort, country, since)
        page = await self._rankings.page(
            mode, sort, country=country, active_since_ms=since, limit=PAGE_SIZE, offset=min(offset, LISTED_MAX)
        )
        rows = page.read()
        # The number of rows can be up to a minute older than the rows.
        return rows, max(total, offset + len(rows) if rows else 0)

    async def _own(self, request: SiteRequest, choice: _Choice) -> tuple[int | None, Ranked] | None:
        """Return place and line of the visitor, or None for a visitor who is not in the list."""
        user = request.visitor.user
        if user is None or not is_public(user.priv) or choice.filter == "friends":
            return None
        line = await self._rankings.line_of(user.id, choice.mode, choice.sort, country=choice.country)
        if line is None:
            return None
        place = await self._rankings.place_of(
            user.id, choice.mode, choice.sort, country=choice.country, active_since_ms=self._since(choice)
        )
        return place, line

    # --- countries, clans, plays

    async def _countries(self, request: SiteRequest) -> Response:
        mode = default_mode(request)
        rows = await self._showcase.countries.board(mode)
        text = request.locale.text
        head = Head(
            text("Leaderboard of countries"),
            text("The countries of the players of %(mode)s.", mode=mode_name(mode)),
            url("/leaderboard/countries", mode=mode or None),
        )
        return View("leaderboard_countries.html", {"mode": mode, "rows": rows}, head)

    async def _clans_board(self, request: SiteRequest) -> Response:
        mode = default_mode(request)
        page = request.query.whole("page", 1, at_least=1, at_most=LISTED_MAX // PAGE_SIZE)
        offset = (page - 1) * PAGE_SIZE
        rows, total = await self._clans.board(mode, limit=PAGE_SIZE, offset=offset)
        last = max(1, -(-total // PAGE_SIZE))
        text = request.locale.text
        values = {
            "mode": mode,
            "rows": list(enumerate(rows, offset + 1)),
            "page": page,
            "last": last,
            "base": url("/leaderboard/clans", mode=mode),
        }
        head = Head(
            text("Leaderboard of clans"),
            text("The best clans of %(mode)s.", mode=mode_name(mode)),
            url("/leaderboard/clans", mode=mode or None, page=page),
        )
        return View("leaderboard_clans.html", values, head, 404 if page > last else 200)

    async def _plays(self, request: SiteRequest) -> Response:
        query = request.query
        mode, country, unique = default_mode(request), query.country(), query.flag("unique")
        mods = _mods(query.text("mods", MODS_TEXT_MAX))
        cursor = query.whole("cursor", 0, at_most=10**17)
        place = query.whole("place", 1, at_least=1, at_most=10**6) if cursor else 1
        rows = await self._showcase.top_plays.page(
            mode,
            mods_key=None if mods is None else board_key(mods),
            country=country,
            unique=unique,
            limit=PAGE_SIZE + 1,
            cursor=cursor,
        )
        chosen = {"mods": query.text("mods", MODS_TEXT_MAX), "country": country, "unique": "1" if unique else None}
        following = None
        if len(rows) > PAGE_SIZE:
            last = rows[PAGE_SIZE - 1].score.id
            following = url("/leaderboard/plays", mode=mode, **chosen, cursor=last, place=place + PAGE_SIZE)
        values = {
            "mode": mode,
            "plays": list(enumerate(rows[:PAGE_SIZE], place)),
            "chosen": chosen,
            "countries": await self._showcase.countries.board(mode),
            "following": following,
            "first": url("/leaderboard/plays", mode=mode, **chosen) if cursor else None,
        }
        text = request.locale.text
        head = Head(
            text("Leaderboard of plays"),
            text("The plays with the most pp in %(mode)s.", mode=mode_name(mode)),
            url("/leaderboard/plays", mode=mode or None, **chosen),
        )
        return View("leaderboard_plays.html", values, head)


def default_mode(request: SiteRequest) -> int:
    """Return the mode of the query, else the visitor's preferred mode, else 0."""
    user = request.visitor.user
    return request.query.mode(0 if user is None else user.preferred_mode)


def _change(place: int, before: Any, choice: _Choice) -> int | None:
    """Return by how many places a player has risen since yesterday, or None where this cannot be said."""
    if choice.sort != "pp" or choice.filter != "all" or before is None:
        return None
    rank: int = before.rank if choice.country is None else before.country_rank
    return rank - place if rank else None


def _mods(text: str) -> int | None:
    """Return the mods that a visitor typed, None for none. Raises BadParameter."""
    if not text:
        return None
    try:
        return parse_mods(text)
    except ValueError as error:
        raise BadParameter("mods", MODS_ALLOWED, text) from error
