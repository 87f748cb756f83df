"""Search, list and export of accounts for staff, hidden accounts included.

Staff that inspects accounts also searches by private data: an e-mail address, a network address or the hash of a
device. The audit log records such a search with the accounts that it found, and without the text. It also records each
export.
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
from kiai.staff.user_filters import NO_FILTER, ORDERS, PAGES, Order, UserFilter, ordered
from kiai.storage.port import Database, Lane, Query, Transaction, columns_for
from kiai.storage.tables import account_events, client_hashes, logins, old_names, users

PERMISSION: Final = "users.notes"
SEARCHES_PRIVATE: Final = "users.inspect"
ACTION: Final = "user_search"
EXPORT: Final = "user_export"
PrivateKind = Literal["email", "address", "hardware"]
PAGE: Final = 50

_columns = columns_for(User, users)
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


def _among(ids: CompoundSelect[Any]) -> dict[Order, Query[User]]:
    found = select(*_columns).where(users.c.id.in_(ids))
    return {
        order: Query(ordered(found, order, sorts=order == "name").limit(PAGE + 1), User, lane=Lane.SLOW)
        for order in ORDERS
    }


_by_email: Final = Query(select(*_columns).where(users.c.email == bindparam("text")), User)
PRIVATE: Final[Mapping[PrivateKind, Mapping[Order, Query[User]]]] = {
    "email": dict.fromkeys(ORDERS, _by_email),
    "address": _among(_by_address),
    "hardware": _among(_by_hash),
}
"""The statements of searches by private data, by order. `text` is the exact value."""
_MD5: Final = re.compile(r"[0-9a-fA-F]{32}")


def private_kind(text: str) -> PrivateKind | None:
    """Return the kind of private data that a text to search for is, or None for a name or an id."""
    if "@" in text:
        return "email"
    if parse_address(text) is not None:
        return "address"
    return "hardware" if _MD5.fullmatch(text) else None


class FoundUsers(msgspec.Struct, frozen=True):
    """A page of accounts. `after` is the id of the last one if there is a next page."""

    users: list[User]
    after: int | None = None


class UserSearch:
    """Finds accounts."""

    def __init__(self, database: Database, authority: Authority, clock: Clock) -> None:
        self._database = database
        self._authority = authority
        self._clock = clock

    async def listed(
        self, actor: Actor, wanted: UserFilter = NO_FILTER, order: Order = "newest", *, after: int | None = None
    ) -> FoundUsers:
        """Return the accounts that fulfil all conditions, behind the account with the id `after`.

        Raises NotAllowed, and TooSlow if too many accounts have to be read.
        """
        await self._authority.require(actor, PERMISSION)
        query = PAGES[wanted.lead, order]
        if wanted == NO_FILTER:
            query = query.in_lane(Lane.BOUNDED)
        values = wanted.values(self._clock.now_ms(), order, await self._account(after))
        return _page(await self._database.all(query, **values, limit=PAGE + 1))

    async def export(self, actor: Actor, wanted: UserFilter, order: Order, *, most: int, at_once: int) -> list[User]:
        """Return the first `most` accounts that fulfil all conditions, read in groups of `at_once`.

        Writes an audit row `user_export` with the conditions. Raises NotAllowed, and TooSlow as `listed` does.
        """
        await self._authority.require(actor, PERMISSION)
        now = self._clock.now_ms()
        found: list[User] = []
        while len(found) < most:
            values = wanted.values(now, order, found[-1] if found else None)
            limit = min(at_once, most - len(found))
            group = await self._database.all(PAGES[wanted.lead, order], **values, limit=limit)
            found += group
            if len(group) < limit:
                break

        async def body(tx: Transaction) -> None:
            details = {"filters": wanted.given(), "order": order, "accounts": len(found)}
            await audit.write(tx, actor, EXPORT, at_ms=now, target_kind="server", target_id=0, details=details)

        await self._authority.transaction(Requirement(actor, PERMISSION), body)
        return found

    async def private(
        self, actor: Actor, text: str, order: Order = "newest", *, after: int | None = None
    ) -> FoundUsers:
        """Return the accounts with exactly this e-mail address, address or hash, see `private_kind`.

        Addresses are those of logins and of other security events; hashes are those of devices. Writes an audit row
        `user_search` without the text. Raises NotAllowed, and TooSlow if too many rows have to be read.
        """
        await self._authority.require(actor, SEARCHES_PRIVATE)
        kind = private_kind(text)
        if kind is None:
            return FoundUsers([])
        exact = str(parse_address(text)) if kind == "address" else text.lower()
        now = self._clock.now_ms()
        cursor = NO_FILTER.values(now, order, await self._account(after))
        found = _page(await self._database.all(PRIVATE[kind][order], **cursor, text=exact))

        async def body(tx: Transaction) -> None:
            details = {"by": kind, "found": [user.id for user in found.users]}
            await audit.write(tx, actor, ACTION, at_ms=now, target_kind="server", target_id=0, details=details)

        await self._authority.transaction(Requirement(actor, SEARCHES_PRIVATE), body)
        return found

    async def named(self, actor: Actor, text: str, order: Order | None = None) -> FoundUsers:
        """Return the account with an id, or those with a fitting present or former name. Raises NotAllowed.

        Without an order, names that begin with the text come first. Each group has at most 100 accounts.
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
        matches = list(found.values())
        if order is not None:
            matches.sort(key=_by_name if order == "name" else _by_id, reverse=order == "newest")
        return FoundUsers(matches)

    async def _account(self, user_id: int | None) -> User | None:
        if user_id is None:
            return None
        return await self._database.one(_BY_ID, id=user_id)


def _by_name(user: User) -> str:
    return user.safe_name


def _by_id(user: User) -> int:
    return user.id


def _page(found: list[User]) -> FoundUsers:
    return FoundUsers(found[:PAGE], found[PAGE - 1].id if len(found) > PAGE else None)
