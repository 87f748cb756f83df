"""The list of clans, and the page of a clan."""

import asyncio
import re
from typing import Final

from kiai.clans import ClanDirectory, Clans
from kiai.clans.service import JOINING
from kiai.errors import NotFound
from kiai.faces.rate_limit import RateLimit
from kiai.faces.site.page import Head, Page, Redirect, Response, SiteRequest, View
from kiai.faces.site.templating import url
from kiai.scores.ranks import Ranks

PAGE: Final = 50
PAGES_MAX: Final = 200
TEXT_MAX: Final = 32
SEARCHING: Final = RateLimit("site-clans", 120, 60.0)

_ID: Final = re.compile(r"[0-9]{1,10}", re.ASCII)


class ClanPages:
    """The pages `/clans` and `/clans/{clan}`. A clan has at most `members_max` members."""

    def __init__(self, clans: Clans, directory: ClanDirectory, ranks: Ranks, members_max: int) -> None:
        self._members_max = members_max
        self._clans = clans
        self._directory = directory
        self._ranks = ranks

    def pages(self) -> list[Page]:
        """Return the pages."""
        return [
            Page("GET", "/clans", self._list, rate_limit=SEARCHING),
            Page("GET", "/clans/{clan}", self._clan),
        ]

    async def _list(self, request: SiteRequest) -> Response:
        user = request.visitor.user
        mode = request.query.mode(user.preferred_mode if user else 0)
        text = request.query.text("q", TEXT_MAX)
        number = request.query.whole("page", 1, at_least=1, at_most=PAGES_MAX)
        if text:
            found = await self._directory.search(text)
            lines = await self._directory.lines([clan.id for clan in found], mode)
            last = 1
        else:
            board, total = await self._clans.board(mode, limit=PAGE, offset=(number - 1) * PAGE)
            lines = await self._directory.lines([line.id for line in board], mode)
            last = max(1, -(-total // PAGE))
        if number > last:
            raise NotFound("page")
        values = {
            "lines": lines,
            "joining": JOINING,
            "q": text,
            "mode": mode,
            "page": number,
            "last": last,
            "first_place": 0 if text else (number - 1) * PAGE + 1,
            "list_url": url("/clans", mode=mode),
            "own_clan": user.clan_id if user else 0,
        }
        locale = request.locale
        path = None if text else url("/clans", mode=mode or None, page=number)
        return View(
            "clans.html", values, Head(locale.text("Clans"), locale.text("The clans of this server by pp."), path)
        )

    async def _clan(self, request: SiteRequest) -> Response:
        text = request.path["clan"]
        if not _ID.fullmatch(text):
            clan = await self._directory.with_tag(text[:TEXT_MAX])
            return Redirect(f"/clans/{clan.id}", 301)
        if request.id("clan") is None:
            raise NotFound("clan")
        user = request.visitor.user
        mode = request.query.mode(user.preferred_mode if user else 0)
        clan = await self._clans.clan(int(text))
        members, standing, place = await asyncio.gather(
            self._directory.members(clan.id, mode),
            self._clans.standing(clan, mode),
            self._directory.place(clan.id, mode),
        )
        firsts, ranks = await asyncio.gather(
            self._directory.first_places(members, mode),
            self._ranks.of_many([member.player.id for member in members], mode),
        )
        owner = next((member.player for member in members if member.player.id == clan.owner_id), None)
        values = {
            "clan": clan,
            "mode": mode,
            "members": list(zip(members, [rank.rank for rank in ranks], strict=True)),
            "room": self._members_max,
            "standing": standing,
            "place": place,
            "firsts": firsts,
            "owner": owner,
            "joining": JOINING[clan.joining],
        }
        description = clan.description[:200] or request.locale.text(
            "The clan %(name)s with %(members)s members.", name=clan.name, members=len(members)
        )
        path = url(f"/clans/{clan.id}", mode=mode or None)
        return View("clan.html", values, Head(f"[{clan.tag}] {clan.name}", description, path))
