"""Search of accounts for staff, hidden accounts included.

Staff that inspects accounts also searches by private data: an e-mail address, a network address or the hash of a
device. The audit log records such a search with the accounts that it found, and without the text.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import CompoundSelect, bindparam, select, union

from kiai.accounts import User
from kiai.accounts.name_index import READ_MAX, NameKind, range_of, subjects
from kiai.clock import Clock
from kiai.networks import parse_address
from kiai.osu.numbers import whole_number
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.staff.user_filters import PAGES, UserFilter
from kiai.storage.port import Database, Lane, Query, Transaction, columns_for
from kiai.storage.tables import account_events, client_hashes, logins, old_names, users

PERMISSION: Final = "users.notes"
SEARCHES_PRIVATE: Final = "users.inspect"
ACTION: Final = "user_search"
PrivateKind = Literal["email", "address", "hardware"]
PAGE: Final = 50

_columns = columns_for(User, users)
_NEWEST: Final = Query(
    select(*_columns).where(users.c.id < bindparam("before")).order_by(users.c.id.desc()).limit(PAGE + 1),
    User,
    scans="it reads the ids up to the end of the page",
)
_BY_ID: Final = Query(select(*_columns).where(users.c.id == bindparam("id")), User)
_NAMED: Final = tuple(
    Query(select(*_columns).where(users.c.id.in_(subjects(kind))).limit(READ_MAX), User, lane=Lane.BOUNDED)
    for kind in (NameKind.NAME, NameKind.INSIDE)
)
_FORMERLY: Final = Query(
    select(*_columns)
    .select_from(users.join(old_names, old_names.c.user_id == users.c.id))
    .where(old_names.c.id.in_(subjects(NameKind.FORMER)))
    .limit(READ_MAX),
    User,
    lane=Lane.BOUNDED,
)


_by_address = union(
    select(logins.c.user_id).where(logins.c.address == bindparam("text", type_=logins.c.address.type)),
    select(account_events.c.user_id).where(
        account_events.c.address == bindparam("text", type_=account_events.c.address.type)
    ),
)
_by_hash = union(
    *[
        select(client_hashes.c.user_id).where(
            client_hashes.c[kind] == bindparam("text", type_=client_hashes.c[kind].type)
        )
        for kind in ("adapters", "uninstall", "disk")
    ]
)


def _among(ids: CompoundSelect[Any]) -> Query[User]:
    page = select(*_columns).where(users.c.id.in_(ids), users.c.id < bindparam("before")).order_by(users.c.id.desc())
    return Query(page.limit(PAGE + 1), User, lane=Lane.SLOW)


PRIVATE: Final[Mapping[PrivateKind, Query[User]]] = {
    "email": Query(select(*_columns).where(users.c.email == bindparam("text"), users.c.id < bindparam("before")), User),
    "address": _among(_by_address),
    "hardware": _among(_by_hash),
}
"""The statement of a search by private data. `text` is the exact value."""
_MD5: Final = re.compile(r"[0-9a-fA-F]{32}")
_NO_CURSOR: Final = 2**31 - 1


def private_kind(text: str) -> PrivateKind | None:
    """Return the kind of private data that a text to search for is, or None for a name or an id."""
    if "@" in text:
        return "email"
    if parse_address(text) is not None:
        return "address"
    return "hardware" if _MD5.fullmatch(text) else None


class FoundUsers(msgspec.Struct, frozen=True):
    """A page of accounts. `before` is the cursor of the next page, None at the end."""

    users: list[User]
    before: int | None = None


class UserSearch:
    """Finds accounts."""

    def __init__(self, database: Database, authority: Authority, clock: Clock) -> None:
        self._database = database
        self._authority = authority
        self._clock = clock

    async def newest(self, actor: Actor, *, before: int | None = None) -> FoundUsers:
        """Return the newest accounts with an id below `before`. Raises NotAllowed."""
        await self._authority.require(actor, PERMISSION)
        return _page(await self._database.all(_NEWEST, before=_NO_CURSOR if before is None else before))

    async def filtered(self, actor: Actor, wanted: UserFilter, *, before: int | None = None) -> FoundUsers:
        """Return the newest accounts that fulfil all conditions, below the account with the id `before`.

        Raises NotAllowed, and TooSlow if too many accounts have to be read.
        """
        await self._authority.require(actor, PERMISSION)
        values = wanted.values(self._clock.now_ms())
        if wanted.lead == "joined":
            values["before_ms"] = wanted.joined_until_ms
            last = await self._database.all(_BY_ID, id=before) if before is not None else []
            if last:
                values["before_ms"] = last[0].created_at_ms
        before = _NO_CURSOR if before is None else before
        return _page(await self._database.all(PAGES[wanted.lead], **values, before=before, limit=PAGE + 1))

    async def private(self, actor: Actor, text: str, *, before: int | None = None) -> FoundUsers:
        """Return the accounts with exactly this e-mail address, address or hash, see `private_kind`; newest first.

        Addresses are those of logins and of other security events; hashes are those of devices. Writes an audit row
        `user_search` without the text. Raises NotAllowed, and TooSlow if too many rows have to be read.
        """
        await self._authority.require(actor, SEARCHES_PRIVATE)
        kind = private_kind(text)
        if kind is None:
            return FoundUsers([])
        exact = str(parse_address(text)) if kind == "address" else text.lower()
        before = _NO_CURSOR if before is None else before
        found = _page(await self._database.all(PRIVATE[kind], text=exact, before=before))
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            details = {"by": kind, "found": [user.id for user in found.users]}
            await audit.write(tx, actor, ACTION, at_ms=now, target_kind="server", target_id=0, details=details)

        await self._authority.transaction(Requirement(actor, SEARCHES_PRIVATE), body)
        return found

    async def named(self, actor: Actor, text: str) -> FoundUsers:
        """Return the account with an id, or those with a fitting present or former name. Raises NotAllowed.

        Names that begin with the text come first. Each group has at most 100 accounts.
        """
        await self._authority.require(actor, PERMISSION)
        found: dict[int, User] = {}
        number = whole_number(text.removeprefix("#"))
        if number is not None and number < 2**31:
            found |= {user.id: user for user in await self._database.all(_BY_ID, id=number)}
        wanted = range_of(text)
        for query in (*_NAMED, _FORMERLY) if wanted is not None else ():
            group = await self._database.all(query, **(wanted or {}))
            for user in sorted(group, key=lambda user: user.safe_name):
                found.setdefault(user.id, user)
        return FoundUsers(list(found.values()))


def _page(found: list[User]) -> FoundUsers:
    return FoundUsers(found[:PAGE], found[PAGE - 1].id if len(found) > PAGE else None)
