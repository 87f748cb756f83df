"""Filtered lists of accounts in order of id, with one statement for each combination of filters.

Each statement reads one index. The leading filter is the first of `LEADS` that is given; the engine checks the others
in the same index. So a list costs as much as its page, or at most the index entries of one country, clan, mode and so
on.
"""

from collections.abc import Iterator, Mapping
from itertools import chain, combinations
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, bindparam, func, literal_column, or_, select

from kiai.accounts.model import User
from kiai.accounts.visibility import visible
from kiai.storage.families import Family
from kiai.storage.patterns import unindexed
from kiai.storage.port import Lane, Query, Value, columns_for, scalar
from kiai.storage.tables import users

FILTERS: Final = ("priv", "country", "clan_id", "clan_priv", "preferred_mode", "play_style")
LEADS: Final = ("clan_id", "clan_priv", "country", "play_style", "preferred_mode", "priv")
MEMBERS_ONLY: Final = ("clan_id", "clan_priv")
"""Filters with a partial index of clan members only: they can lead unless their value is 0."""
AMONG_MAX: Final = 100

FilterChoice = tuple[frozenset[str], str | None]
"""The given filters, and the leading one of them."""


def choose(filters: Mapping[str, Value]) -> FilterChoice:
    """Return the key in `PAGES` and `COUNTS` for these values. A value of None means no filter."""
    given = frozenset(name for name, value in filters.items() if value is not None)
    leads = [name for name in LEADS if name in given and (name not in MEMBERS_ONLY or filters[name] != 0)]
    return given, leads[0] if leads else None


def _combinations() -> Iterator[FilterChoice]:
    for given in chain.from_iterable(combinations(FILTERS, n) for n in range(len(FILTERS) + 1)):
        for zeros in chain.from_iterable(combinations(MEMBERS_ONLY, n) for n in range(len(MEMBERS_ONLY) + 1)):
            yield choose({name: 0 if name in zeros else 1 for name in given})


def _where(choice: FilterChoice) -> list[ColumnElement[bool]]:
    given, lead = choice
    # The condition of the partial index, literally: else the planner cannot use it.
    partial = [users.c[lead] > literal_column("0")] if lead in MEMBERS_ONLY else []
    # Only the leading filter may choose an index: statistics of rare values would lead the planner to others.
    columns = {name: users.c[name] if name == lead else unindexed(users.c[name]) for name in FILTERS}
    fits = [columns[name] == bindparam(name, type_=users.c[name].type) for name in FILTERS if name in given]
    return [visible(), *partial, *fits]


_user = select(*columns_for(User, users))


def _page(choice: FilterChoice) -> Query[User]:
    page = _user.where(*_where(choice), users.c.id > bindparam("after")).order_by(users.c.id)
    scans = None if choice[1] is not None else "it reads the ids up to the end of the page"
    return Query(page.limit(bindparam("limit")).offset(bindparam("offset")), User, lane=Lane.SLOW, scans=scans)


def _count(choice: FilterChoice) -> Query[int]:
    matching: Select[Any] = (
        select(literal_column("1")).select_from(users).where(*_where(choice)).limit(bindparam("most"))
    )
    scans = None if choice[1] is not None else "it counts at most 10,000 matching accounts"
    return Query(select(func.count()).select_from(matching.subquery()), scalar, lane=Lane.SLOW, scans=scans)


_ALL: Final = tuple(dict.fromkeys(_combinations()))
PAGES: Final = Family(_ALL, _page)
COUNTS: Final = Family(_ALL, _count)

# A fixed number of parameters, padded with id 0: one prepared statement for lists of any length.
_among = users.c.id.in_([bindparam(f"id{n}", type_=users.c.id.type) for n in range(AMONG_MAX)])
_fits = [or_(bindparam(f, type_=users.c[f].type).is_(None), users.c[f] == bindparam(f)) for f in FILTERS]
AMONG: Final = Query(_user.where(visible(), _among, *_fits).order_by(users.c.id).limit(AMONG_MAX), User, lane=Lane.SLOW)
