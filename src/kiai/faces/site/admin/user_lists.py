"""`/admin/users`: the list of accounts with filters and orders, and the search. `/admin/users.csv`: the list as CSV."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from kiai.accounts import User
from kiai.accounts.model import ID_MAX
from kiai.accounts.visibility import EVERYBODY, last_seen_ms
from kiai.errors import TooSlow
from kiai.faces.site.admin.exports import EXPORTED_MAX, EXPORTS, READ_AT_ONCE, csv_file
from kiai.faces.site.admin.frame import admin_view, staff_actor, staff_page
from kiai.faces.site.admin.times import time_of
from kiai.faces.site.admin.user_acts import roles_of
from kiai.faces.site.admin.user_records import PATH
from kiai.faces.site.admin.users import SEES, state_of
from kiai.faces.site.formats import iso
from kiai.faces.site.page import BadParameter, Page, Response, SiteRequest, View
from kiai.faces.site.templating import url
from kiai.osu.texts import csv_text
from kiai.staff.user_filters import FILTERED_ROLES, NO_END_MS, NO_FILTER, ORDERS, STATES, Order, UserFilter
from kiai.staff.user_search import SEARCHES_PRIVATE, FoundUsers, UserSearch, private_kind

TEXT_MAX: Final = 254
"""The longest text to search for: an e-mail address."""
TOO_SLOW: Final = (
    "Too many accounts have to be read to find some that fit. Choose a state, a privilege or a country, too."
)
TOO_MANY: Final = "Too many accounts have this address or hash."
FILTERS: Final = ("state", "role", "country", "joined_since", "joined_until", "seen_since", "seen_until")
PARAMETERS: Final = ("q", *FILTERS, "sort")
CSV_PATH: Final = f"{PATH}.csv"
COLUMNS: Final = ("id", "name", "state", "privileges", "country", "joined", "last_seen")
ORDER_WORDS: Final = {"newest": "Newest", "oldest": "Oldest", "name": "Name"}


class UserListPages:
    """The list of accounts in the panel."""

    def __init__(self, search: UserSearch) -> None:
        self._search = search

    def pages(self) -> list[Page]:
        """Return the page and the export."""
        export = staff_page(CSV_PATH, self._export, SEES)
        return [staff_page(PATH, self._list, SEES), msgspec.structs.replace(export, rate_limit=EXPORTS)]

    async def _list(self, request: SiteRequest) -> Response:
        wanted, typed = _wanted(request), _typed(request)
        try:
            return self._view(request, await self._found(request, wanted, typed["q"]))
        except TooSlow:
            return self._view(request, FoundUsers([]), TOO_MANY if typed["q"] else TOO_SLOW, status=422)

    def _view(self, request: SiteRequest, found: FoundUsers, sentence: str = "", *, status: int = 200) -> View:
        typed = _typed(request)
        values = {
            "found": found,
            "typed": typed,
            "filtered": any(typed[name] for name in (*FILTERS, "sort")),
            "sentence": sentence or ("No account fits." if any(typed.values()) else "There are no accounts."),
            "all_states": STATES,
            "all_roles": FILTERED_ROLES,
            "orders": ORDER_WORDS,
            "private": request.visitor.may(SEARCHES_PRIVATE),
            "next": None if found.after is None else url(PATH, **typed, after=found.after),
            "export": url(CSV_PATH, **typed) if found.users and not typed["q"] else None,
            "exported_max": EXPORTED_MAX,
            "states": {user.id: state_of(user, request.now_ms) for user in found.users},
            "roles": {user.id: roles_of(user) for user in found.users},
        }
        return admin_view(request, "users.html", "Users", values, status=status)

    async def _found(self, request: SiteRequest, wanted: UserFilter, text: str) -> FoundUsers:
        """Return the accounts for a text, or all, that fulfil the conditions."""
        actor, order = staff_actor(request), _order(request)
        after = request.query.whole("after", 0, at_most=ID_MAX) or None
        if not text:
            return await self._search.listed(actor, wanted, order or "newest", after=after)
        if private_kind(text) is not None and request.visitor.may(SEARCHES_PRIVATE):
            found = await self._search.private(actor, text, order or "newest", after=after)
        else:
            found = await self._search.named(actor, text, order)
        if wanted == NO_FILTER:
            return found
        fitting = [user for user in found.users if wanted.fits(user, request.now_ms)]
        return msgspec.structs.replace(found, users=fitting)

    async def _export(self, request: SiteRequest) -> Response:
        text = request.query.text("q", TEXT_MAX)
        if text:  # a search has one page of accounts that fit the text more or less
            raise BadParameter("q", "empty", text)
        wanted, order = _wanted(request), _order(request) or "newest"
        try:
            found = await self._search.export(
                staff_actor(request), wanted, order, most=EXPORTED_MAX, at_once=READ_AT_ONCE
            )
        except TooSlow:
            return self._view(request, FoundUsers([]), TOO_SLOW, status=422)
        return csv_file("users.csv", await asyncio.to_thread(_csv_of, found, request.now_ms))


def _csv_of(users: Sequence[User], now_ms: int) -> str:
    """Return accounts as CSV. A file can leave the server, so it has nothing that players hide."""

    def rows() -> Iterator[Sequence[object]]:
        yield COLUMNS
        for user in users:
            seen_ms = last_seen_ms(EVERYBODY, user)
            seen = None if seen_ms is None else iso(seen_ms)
            state, roles = state_of(user, now_ms), " ".join(roles_of(user))
            yield user.id, user.name, state, roles, user.country, iso(user.created_at_ms), seen

    return csv_text(rows())


def _typed(request: SiteRequest) -> dict[str, str]:
    return {name: request.query.text(name, TEXT_MAX) for name in PARAMETERS}


def _order(request: SiteRequest) -> Order | None:
    """Return the order of the address, None without one. Raises BadParameter."""
    given = request.query.choice("sort", ORDERS, "")
    return next((order for order in ORDERS if order == given), None)


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
