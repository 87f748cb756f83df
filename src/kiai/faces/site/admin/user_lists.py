"""`/admin/users`: the list of accounts with filters, and the search."""

from typing import Final

import msgspec

from kiai.errors import TooSlow
from kiai.faces.site.admin.frame import admin_view, staff_actor, staff_page
from kiai.faces.site.admin.times import time_of
from kiai.faces.site.admin.user_acts import roles_of
from kiai.faces.site.admin.user_records import PATH
from kiai.faces.site.admin.users import SEES, state_of
from kiai.faces.site.page import Page, Response, SiteRequest
from kiai.faces.site.templating import url
from kiai.staff.user_filters import FILTERED_ROLES, NO_END_MS, STATES, UserFilter
from kiai.staff.user_search import SEARCHES_PRIVATE, FoundUsers, UserSearch, private_kind

TEXT_MAX: Final = 254
"""The longest text to search for: an e-mail address."""
TOO_SLOW: Final = (
    "Too many accounts have to be read to find some that fit. Choose a state, a privilege or a country, too."
)
TOO_MANY: Final = "Too many accounts have this address or hash."
PARAMETERS: Final = (*("q", "state", "role", "country", "joined_since", "joined_until", "seen_since", "seen_until"),)


class UserListPages:
    """The list of accounts in the panel."""

    def __init__(self, search: UserSearch) -> None:
        self._search = search

    def pages(self) -> list[Page]:
        """Return the page."""
        return [staff_page(PATH, self._list, SEES)]

    async def _list(self, request: SiteRequest) -> Response:
        wanted = _wanted(request)
        typed = {name: request.query.text(name, TEXT_MAX) for name in PARAMETERS}
        filtered = any(text for name, text in typed.items() if name != "q")
        found, status = FoundUsers([]), 200
        sentence = "No account fits." if any(typed.values()) else "There are no accounts."
        try:
            found = await self._found(request, wanted if filtered else None, typed["q"])
        except TooSlow:
            sentence, status = TOO_MANY if typed["q"] else TOO_SLOW, 422
        values = {
            "found": found,
            "typed": typed,
            "filtered": filtered,
            "sentence": sentence,
            "all_states": STATES,
            "all_roles": FILTERED_ROLES,
            "private": request.visitor.may(SEARCHES_PRIVATE),
            "next": None if found.before is None else url(PATH, **typed, before=found.before),
            "states": {user.id: state_of(user, request.now_ms) for user in found.users},
            "roles": {user.id: roles_of(user) for user in found.users},
        }
        return admin_view(request, "users.html", "Users", values, status=status)

    async def _found(self, request: SiteRequest, wanted: UserFilter | None, text: str) -> FoundUsers:
        """Return the accounts for a text, or the newest ones, that fulfil the conditions."""
        actor = staff_actor(request)
        before = request.query.whole("before", 0, at_most=2**31 - 1) or None
        if not text:
            if wanted is None:
                return await self._search.newest(actor, before=before)
            return await self._search.filtered(actor, wanted, before=before)
        if private_kind(text) is not None and request.visitor.may(SEARCHES_PRIVATE):
            found = await self._search.private(actor, text, before=before)
        else:
            found = await self._search.named(actor, text)
        if wanted is None:
            return found
        fitting = [user for user in found.users if wanted.fits(user, request.now_ms)]
        return msgspec.structs.replace(found, users=fitting)


def _wanted(request: SiteRequest) -> UserFilter:
    """Return the filters of the address. Raises BadParameter."""
    query = request.query
    return UserFilter(
        state=query.choice("state", STATES, ""),
        role=query.choice("role", FILTERED_ROLES, ""),
        country=query.country() or "",
        joined_since_ms=time_of(request, "joined_since") or 0,
        joined_until_ms=time_of(request, "joined_until", end=True) or NO_END_MS,
        seen_since_ms=time_of(request, "seen_since") or 0,
        seen_until_ms=time_of(request, "seen_until", end=True) or NO_END_MS,
    )
