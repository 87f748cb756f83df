"""Filters and orders of the list of accounts for staff.

The filters are the state, role, country, and the times of joining and of last activity. One leads and uses an index:
the state, else the role, else the country, else the time of joining. The others are checked in the rows. A list of a
rare combination may read many rows: it runs in the slow lane, which has a time limit.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import ColumnElement, Select, and_, bindparam, func, literal_column, or_, select

from kiai.accounts import User
from kiai.accounts.model import ID_MAX
from kiai.osu.privileges import ROLES, UNRESTRICTED
from kiai.storage.patterns import unindexed
from kiai.storage.port import Lane, Query, Value, columns_for
from kiai.storage.tables import users

NO_END_MS: Final = 2**62
Order = Literal["newest", "oldest", "name"]
ORDERS: Final[tuple[Order, ...]] = ("newest", "oldest", "name")
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
        """The filter that leads, for the key of the statement in `PAGES`."""
        joined = "joined" if self.joined_since_ms or self.joined_until_ms != NO_END_MS else "all"
        return self.state or ("role" if self.role else "country" if self.country else joined)

    def given(self) -> dict[str, str | int]:
        """Return the filters that are set, by name."""
        return {
            name: value for name, value in msgspec.structs.asdict(self).items() if value != getattr(NO_FILTER, name)
        }

    def values(self, now_ms: int, order: Order, last: User | None = None) -> dict[str, Value]:
        """Return the values of the statements, for the first page or the one behind an account."""
        start = (ID_MAX, self.joined_until_ms) if order == "newest" else (0, self.joined_since_ms)
        last_id, last_ms = start if last is None else (last.id, last.created_at_ms)
        cursor: dict[str, Value] = {"last_id": last_id, "last_ms": last_ms, "last_name": last.safe_name if last else ""}
        return self._conditions(now_ms) | cursor

    def _conditions(self, now_ms: int) -> dict[str, Value]:
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


NO_FILTER: Final = UserFilter()


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


_SCANNED: Final = {
    "restricted": "the restricted accounts",
    "banned": "the banned accounts",
    "frozen": "the frozen accounts",
    "deleted": "the deleted accounts",
    "role": "the accounts with roles",
    "all": "the accounts",
}


def ordered(page: Select[Any], order: Order, *, by_time: bool = False, sorts: bool = False) -> Select[Any]:
    """Return the rows behind the last one of the page before, in an order.

    `by_time`: by the time of joining, for the index of this time; else by id, which grows with the time unless accounts
    were imported. `sorts`: the engine sorts the rows, else it walks an index that has them in this order.
    """
    last_id, last_name = bindparam("last_id", type_=_c.id.type), bindparam("last_name", type_=_c.safe_name.type)
    if order == "name":
        name = unindexed(_c.safe_name) if sorts else _c.safe_name
        return page.where(name > last_name).order_by(name)
    id_ = unindexed(_c.id) if sorts else _c.id
    behind = id_ < last_id if order == "newest" else id_ > last_id
    by_id = id_.desc() if order == "newest" else id_
    if not by_time:
        return page.where(behind).order_by(by_id)
    joined, last_ms = _c.created_at_ms, bindparam("last_ms", type_=_c.created_at_ms.type)
    if order == "newest":
        return page.where(joined <= last_ms, or_(joined < last_ms, behind)).order_by(joined.desc(), by_id)
    return page.where(joined >= last_ms, or_(joined > last_ms, behind)).order_by(joined, by_id)


def _page(lead: str, order: Order) -> Query[User]:
    page: Select[Any] = select(*columns_for(User, users)).where(*([_STATE[lead]] if lead in _STATE else []))
    # An index of an end in time is not in the order of ids. Only those of countries and of all accounts have names.
    sorts = lead in ("silenced", "frozen") or (order == "name" and lead not in ("country", "all"))
    page = ordered(page, order, by_time=lead == "joined", sorts=sorts)
    until = "to sort them" if sorts else "up to the end of the page"
    is_range = lead not in _SCANNED or (lead, order) == ("all", "name")  # of an index whose first column is not the id
    scans = None if is_range else f"it reads {_SCANNED[lead]} {until}"
    return Query(page.where(*_others(lead)).limit(bindparam("limit")), User, lane=Lane.SLOW, scans=scans)


def _pages() -> Iterator[tuple[tuple[str, Order], Query[User]]]:
    for lead in (*STATES, "role", "country", "joined", "all"):
        for order in ORDERS:
            yield (lead, order), _page(lead, order)


PAGES: Final = dict(_pages())
"""The pages of lists, by what leads and by the order. `last_id`, `last_ms` and `last_name` are the cursor."""
