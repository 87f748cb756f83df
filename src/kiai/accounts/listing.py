"""Lists of accounts by filters, in the order of ids: a statement for each combination, and each walks one index.

The filter that leads is the first of `LEADS` that is given; the others are looked at in its index. So a list costs its
page, or the index entries of one country, clan, mode and so on where few of them fit.
"""

from collections.abc import Iterator, Mapping
from itertools import chain, combinations
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, bindparam, func, literal_column, or_, select

from kiai.accounts.model import User
from kiai.accounts.visibility import visible
from kiai.storage.patterns import looked_at
from kiai.storage.port import Lane, Query, Value, columns_for, only
from kiai.storage.tables import users

FILTERS: Final = ("priv", "country", "clan_id", "clan_priv", "preferred_mode", "play_style")
LEADS: Final = ("clan_id", "clan_priv", "country", "play_style", "preferred_mode", "priv")
MEMBERS_ONLY: Final = ("clan_id", "clan_priv")
"""Filters whose index holds members of clans alone: they lead unless their value is 0."""
AMONG_MAX: Final = 100

Which = tuple[frozenset[str], str | None]
"""The filters that are given, and which of them leads."""


def which(filters: Mapping[str, Value]) -> Which:
    """The statement that serves these values; None is no filter."""
    given = frozenset(name for name, value in filters.items() if value is not None)
    leads = [name for name in LEADS if name in given and (name not in MEMBERS_ONLY or filters[name] != 0)]
    return given, leads[0] if leads else None


def _combinations() -> Iterator[Which]:
    for given in chain.from_iterable(combinations(FILTERS, n) for n in range(len(FILTERS) + 1)):
        for zeros in chain.from_iterable(combinations(MEMBERS_ONLY, n) for n in range(len(MEMBERS_ONLY) + 1)):
            yield which({name: 0 if name in zeros else 1 for name in given})


def _where(one: Which) -> list[ColumnElement[bool]]:
    given, lead = one
    partial = [users.c[lead] > literal_column("0")] if lead in MEMBERS_ONLY else []
    columns = {name: users.c[name] if name == lead else looked_at(users.c[name]) for name in FILTERS}
    fits = [columns[name] == bindparam(name, type_=users.c[name].type) for name in FILTERS if name in given]
    return [visible(), *partial, *fits]


_user = select(*columns_for(User, users))


def _page(one: Which) -> Query[User]:
    page = _user.where(*_where(one), users.c.id > bindparam("after")).order_by(users.c.id)
    scans = None if one[1] is not None else "it walks the ids to the end of the page"
    return Query(page.limit(bindparam("limit")).offset(bindparam("offset")), User, lane=Lane.SLOW, scans=scans)


def _count(one: Which) -> Query[int]:
    found: Select[Any] = select(literal_column("1")).select_from(users).where(*_where(one)).limit(bindparam("most"))
    scans = None if one[1] is not None else "it counts the first 10,000 accounts that fit"
    return Query(select(func.count()).select_from(found.subquery()), only, lane=Lane.SLOW, scans=scans)


_ALL: Final = set(_combinations())
PAGES: Final = {one: _page(one) for one in _ALL}
COUNTS: Final = {one: _count(one) for one in _ALL}

_among = users.c.id.in_([bindparam(f"id{n}", type_=users.c.id.type) for n in range(AMONG_MAX)])
_fits = [or_(bindparam(f, type_=users.c[f].type).is_(None), users.c[f] == bindparam(f)) for f in FILTERS]
AMONG: Final = Query(_user.where(visible(), _among, *_fits).order_by(users.c.id).limit(AMONG_MAX), User, lane=Lane.SLOW)
