"""`/admin/clans`: the search of clans. Staff manages a clan on the clan's own page, `/clans/{clan}/manage`."""

from typing import Final

from kiai.faces.site.admin.frame import admin_view, staff_actor, staff_page
from kiai.faces.site.page import Page, Response, SiteRequest
from kiai.staff.clan_search import ClanSearch
from kiai.staff.clans import PERMISSION

PATH: Final = "/admin/clans"


class AdminClanPages:
    """The page of clans in the panel."""

    def __init__(self, search: ClanSearch) -> None:
        self._search = search

    def pages(self) -> list[Page]:
        """Return the page."""
        return [staff_page(PATH, self._list, PERMISSION)]

    async def _list(self, request: SiteRequest) -> Response:
        actor, text = staff_actor(request), request.query.text("q")
        if text:
            found = await self._search.named(actor, text)
        else:
            before = request.query.whole("before", 0, at_most=2**31 - 1)
            found = await self._search.newest(actor, before=before or None)
        return admin_view(request, "clans.html", "Clans", {"found": found, "text": text})
