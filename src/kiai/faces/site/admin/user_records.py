"""Records of an account that have pages of their own: notes, logins, and accounts on the same devices.

Each reading of them writes an audit row, so that the page of the account does not show them.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from kiai.accounts import User
from kiai.accounts.geography import UNKNOWN, countries_of
from kiai.entry.logins_for_staff import PERMISSION as READS_LOGINS
from kiai.entry.logins_for_staff import LoginsForStaff
from kiai.errors import NotFound
from kiai.faces.site.admin.acts import ActForms
from kiai.faces.site.admin.frame import admin_view, staff_actor, staff_page
from kiai.faces.site.page import Page, Response, SiteRequest, View
from kiai.faces.site.security_lists import browser_of, kind_text
from kiai.faces.site.templating import url
from kiai.staff.authority import Authority
from kiai.staff.devices import PERMISSION as READS_DEVICES
from kiai.staff.devices import Devices
from kiai.staff.notes import Notes

PATH: Final = "/admin/users"
READS_NOTES: Final = "users.notes"
ID_MAX: Final = 2**62
KIND_WORDS: Final = {
    "uninstall": "device",
    "disk": "disk",
    "adapters": "network adapters",
    "address": "address",
}
"""The kinds of `devices.KINDS` in words. Hashes and addresses are not shown."""


class UserRecords(msgspec.Struct, frozen=True):
    """The services behind the records of an account."""

    notes: Notes
    logins: LoginsForStaff
    devices: Devices


class UserRecordPages:
    """The pages of the records. `forms` are the acts on an account: the page of notes has the form for a new one."""

    def __init__(self, authority: Authority, records: UserRecords, forms: ActForms[User]) -> None:
        self._authority = authority
        self._records = records
        self._forms = forms

    def pages(self) -> list[Page]:
        """Return the pages."""
        return [
            staff_page(f"{PATH}/{{user}}/notes", self._notes, READS_NOTES),
            staff_page(f"{PATH}/{{user}}/logins", self._logins, READS_LOGINS),
            staff_page(f"{PATH}/{{user}}/devices", self._devices, READS_DEVICES),
        ]

    async def _notes(self, request: SiteRequest) -> Response:
        user = await user_of(request, self._authority, READS_NOTES)
        found, before = await self._records.notes.page(staff_actor(request), user.id, _before(request))
        values = {
            "notes": found,
            "next": _next(f"{PATH}/{user.id}/notes", before),
            "first": _before(request) is None,
            "forms": await self._forms.shown(request, user),
        }
        return _view(request, user, "user_notes.html", "Notes about", values)

    async def _logins(self, request: SiteRequest) -> Response:
        user = await user_of(request, self._authority, READS_LOGINS)
        found = await self._records.logins.page(staff_actor(request), user, _before(request))
        addresses = [row.address for rows in (found.logins, found.events) for row in rows]
        values = {
            "found": found,
            "first": _before(request) is None,
            "next": _next(f"{PATH}/{user.id}/logins", found.before),
            "countries": countries_of(addresses),
            "unknown": UNKNOWN,
            "what": {event.kind: kind_text(request.locale, event.kind) for event in found.events},
            "browsers": {event.agent: browser_of(event.agent) for event in found.events},
        }
        return _view(request, user, "user_logins.html", "Logins of", values)

    async def _devices(self, request: SiteRequest) -> Response:
        user = await user_of(request, self._authority, READS_DEVICES)
        found = await self._records.devices.matches(staff_actor(request), user)
        values = {"matches": found, "words": KIND_WORDS}
        return _view(request, user, "user_devices.html", "Linked accounts of", values)


async def user_of(request: SiteRequest, authority: Authority, permission: str) -> User:
    """Return the account that the path names, also a deleted one. Raises NotAllowed and NotFound."""
    await authority.require(staff_actor(request), permission)
    user_id = request.id("user")
    if user_id is None:
        raise NotFound("page")
    return await authority.account(user_id)


def _before(request: SiteRequest) -> int | None:
    return request.query.whole("before", 0, at_most=ID_MAX) or None


def _next(path: str, before: int | None) -> str | None:
    return None if before is None else url(path, before=before)


def _view(request: SiteRequest, user: User, template: str, title: str, values: Mapping[str, object]) -> View:
    crumbs = ((PATH, "Users"), (f"{PATH}/{user.id}", user.name))
    return admin_view(request, template, f"{title} {user.name}", {"user": user, **values}, crumbs=crumbs)
