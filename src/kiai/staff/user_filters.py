"""Filters of the list of accounts for staff: by state, role, country, and the times of joining and of last activity.

One filter leads and uses an index: the state, else the role, else the country, else the time of joining. The others are
checked in the rows. A list of a rare combination may read many rows: it runs in the slow lane, which has a time limit.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Select, and_, bindparam, func, literal_column, or_, select

from kiai.accounts import User
from kiai.osu.privileges import ROLES, UNRESTRICTED
from kiai.storage.patterns import unindexed
from kiai.storage.port import Lane, Query, Value, columns_for
from kiai.storage.tables import users

NO_END_MS: Final = 2**62
STATES: Final = ("restricted", "banned", "silenced", "frozen", "deleted")
FILTERED_ROLES: Final = (
    "supporter",
    "premium",
    "whitelisted",
    "alumni",
    "tournament",
    "nominator",
    "moderator",
    "administrator",
    "developer",
)
"""Roles to filter by: all that few accounts have."""
ROLE_BITS: Final = sum(ROLES[role] for role in FILTERED_ROLES)


class UserFilter(msgspec.Struct, frozen=True):
    """Conditions that an account must fulfil; "" means any.

    `state` is one of `STATES`, `role` one of `FILTERED_ROLES`, `country` two lower-case letters. Times are unix ms,
    both ends included.
    """

    state: str = ""
    role: str = ""
    country: str = ""
    joined_since_ms: int = 0
    joined_until_ms: int = NO_END_MS
    seen_since_ms: int = 0
    seen_until_ms: int = NO_END_MS

    @property
    def lead(self) -> str:
        """The key of the statement in `PAGES`."""
        return self.state or ("role" if self.role else "country" if self.country else "joined")

    def values(self, now_ms: int) -> dict[str, Value]:
        """Return the values of the statements, except the cursor."""
        return {
            "now_ms": now_ms,
            "role_bits": ROLES[self.role] if self.role else 0,
            "of_country": self.country,
            "joined_since_ms": self.joined_since_ms,
            "joined_until_ms": self.joined_until_ms,
            "seen_since_ms": self.seen_since_ms,
            "seen_until_ms": self.seen_until_ms,
        }

    def fits(self, user: User, now_ms: int) -> bool:
        """Return whether an account fulfils the conditions."""
        return (
            (not self.state or _in_state(user, self.state, now_ms))
            and (not self.role or user.priv & ROLES[self.role] != 0)
            and (not self.country or user.own_country == self.country)
            and self.joined_since_ms <= user.created_at_ms <= self.joined_until_ms
            and self.seen_since_ms <= user.active_at_ms <= self.seen_until_ms
        )


def _in_state(user: User, state: str, now_ms: int) -> bool:
    if user.deleted_at_ms is not None:
        return state == "deleted"
    match state:
        case "restricted":
            return not user.priv & UNRESTRICTED and user.banned_at_ms is None
        case "banned":
            return user.banned_at_ms is not None
        case "silenced":
            return user.silenced_until_ms > now_ms
        case "frozen":
            return user.freeze_until_ms > 0
    return False


_c = users.c
_exists: Final = _c.deleted_at_ms.is_(None)
_zero: Final[ColumnElement[int]] = literal_column("0")
# Each begins with the condition of a partial index, literally.
_STATE: Final[Mapping[str, ColumnElement[bool]]] = {
    "restricted": and_(_c.priv.op("&")(literal_column("1")) == _zero, _c.banned_at_ms.is_(None), _exists),
    "banned": and_(_c.banned_at_ms.is_not(None), _exists),
    "silenced": and_(_c.silenced_until_ms > _zero, _c.silenced_until_ms > bindparam("now_ms"), _exists),
    "frozen": and_(_c.freeze_until_ms > _zero, _exists),
    "deleted": _c.deleted_at_ms.is_not(None),
}
_role: Final = _c.priv.op("&")(literal_column(str(ROLE_BITS))) != _zero
_own_country: Final = func.coalesce(_c.home_country, _c.country)


def _others(lead: str) -> list[ColumnElement[bool]]:
    """Return the conditions of all filters but the state. Only the leading one may choose an index."""
    bits = bindparam("role_bits", type_=_c.priv.type)
    country = bindparam("of_country", type_=_c.country.type)
    joined = _c.created_at_ms if lead == "joined" else unindexed(_c.created_at_ms)
    found: list[ColumnElement[bool]] = [
        joined >= bindparam("joined_since_ms", type_=_c.created_at_ms.type),
        joined <= bindparam("joined_until_ms", type_=_c.created_at_ms.type),
        _c.active_at_ms >= bindparam("seen_since_ms"),
        _c.active_at_ms <= bindparam("seen_until_ms"),
    ]
    if lead == "role":
        found += [_role, unindexed(_c.priv).op("&")(bits) != _zero]
    else:
        found.append(or_(bits == _zero, unindexed(_c.priv).op("&")(bits) != _zero))
    if lead == "country":
        found.append(_own_country == country)
    else:
        any_country = country == literal_column("''")
        found.append(or_(any_country, func.coalesce(_c.home_country, unindexed(_c.country)) == country))
    return found


_SCANS: Final = {
    "restricted": "it reads the restricted accounts up to the end of the page",
    "banned": "it reads the banned accounts up to the end of the page",
    "frozen": "it reads the frozen accounts, which are few",
    "deleted": "it reads the deleted accounts up to the end of the page",
    "role": "it reads the accounts with roles up to the end of the page",
}


def _page(lead: str) -> Query[User]:
    page: Select[Any] = select(*columns_for(User, users)).where(*([_STATE[lead]] if lead in _STATE else []))
    if lead == "joined":
        created, last = bindparam("before_ms", type_=_c.created_at_ms.type), bindparam("before", type_=_c.id.type)
        page = page.where(_c.created_at_ms <= created, or_(_c.created_at_ms < created, _c.id < last))
        page = page.order_by(_c.created_at_ms.desc(), _c.id.desc())
    else:
        # The index of an end in time is not in the order of ids. The few accounts with one are sorted.
        id_ = unindexed(_c.id) if lead in ("silenced", "frozen") else _c.id
        page = page.where(id_ < bindparam("before", type_=_c.id.type)).order_by(id_.desc())
    return Query(page.where(*_others(lead)).limit(bindparam("limit")), User, lane=Lane.SLOW, scans=_SCANS.get(lead))


def _pages() -> Iterator[tuple[str, Query[User]]]:
    for lead in (*STATES, "role", "country", "joined"):
        yield lead, _page(lead)


PAGES: Final = dict(_pages())
"""The pages of filtered lists, newest first. The cursor is the id of the last account, and when it joined."""
