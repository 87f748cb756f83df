"""Search of accounts for staff, hidden accounts included."""

from typing import Final

import msgspec
from sqlalchemy import bindparam, select

from kiai.accounts import User
from kiai.accounts.name_index import READ_MAX, NameKind, range_of, subjects
from kiai.osu.numbers import whole_number
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority
from kiai.storage.port import Database, Lane, Query, columns_for
from kiai.storage.tables import old_names, users

PERMISSION: Final = "users.notes"
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


class FoundUsers(msgspec.Struct, frozen=True):
    """A page of accounts. `before` is the cursor of the next page, None at the end."""

    users: list[User]
    before: int | None = None


class UserSearch:
    """Finds accounts."""

    def __init__(self, database: Database, authority: Authority) -> None:
        self._database = database
        self._authority = authority

    async def newest(self, actor: Actor, *, before: int | None = None) -> FoundUsers:
        """Return the newest accounts with an id below `before`. Raises NotAllowed."""
        await self._authority.require(actor, PERMISSION)
        found = await self._database.all(_NEWEST, before=2**31 - 1 if before is None else before)
        return FoundUsers(found[:PAGE], found[PAGE - 1].id if len(found) > PAGE else None)

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
