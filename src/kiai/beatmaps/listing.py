"""Lists of current maps, by filters, ids or words, in several orders. Each statement walks one index.

The most selective filter selects the index; without one, the order does. A search for words reads at most
`CANDIDATES_MAX` maps with the rarest of the words and checks the other words on these, so the cost of a search is
bounded.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Final, Literal, get_args

import msgspec
from sqlalchemy import ColumnElement, Select, String, and_, bindparam, exists, func, literal_column, or_, select

from kiai.beatmaps.model import Beatmap
from kiai.beatmaps.words import LAST, words_of
from kiai.errors import Invalid
from kiai.storage.families import Family
from kiai.storage.port import Database, Lane, Query, Value, columns_for, scalar
from kiai.storage.tables import map_words, maps

LISTED_MAX: Final = 10_000  # totals are counted up to this number
CANDIDATES_MAX: Final = 2_000  # maps that a search for words reads
WORDS_MAX: Final = 8
AMONG_MAX: Final = 100
FILTERS: Final = ("set_id", "status", "artist", "creator", "filename", "mode", "frozen")
LEADS: Final = ("set_id", "filename", "creator", "artist")
"""Filters that match few maps, the most selective first. Their index is used with every order."""
COARSE: Final = ("status", "mode", "frozen")
"""Filters that may match many maps. Their index is used in the order of ids, or if few enough match to sort them."""
SORTED_MAX: Final = 2_000  # rows that may be sorted for one page

BY_ID: Final = ("id", "-id")
Sort = Literal["id", "-id", "-last_update", "diff", "-diff"]
_ORDERS: Final[Mapping[str, tuple[ColumnElement[Any], ...]]] = {
    "id": (maps.c.id.asc(),),
    "-id": (maps.c.id.desc(),),
    "-last_update": (maps.c.last_update_ms.desc(), maps.c.id.asc()),
    "diff": (maps.c.diff.asc(), maps.c.id.asc()),
    "-diff": (maps.c.diff.desc(), maps.c.id.desc()),
}
_map = select(*columns_for(Beatmap, maps))


class Listing(msgspec.Struct, frozen=True):
    """A request for a page of maps.

    `filters` maps names of `FILTERS` to values; None matches any value. All words of `text` must occur. `after` is a
    cursor for the orders by id: the page starts behind the map with this id.
    """

    filters: Mapping[str, Value] = {}
    text: str = ""
    ids: Sequence[int] | None = None
    sort: Sort = "id"
    limit: int = 50
    offset: int = 0
    after: int | None = None


def _matches(lead: str | None) -> ColumnElement[bool]:
    """Return the condition that a current map matches all given filters. `lead` is given, and its index is used."""
    # An optional parameter (`IS NULL OR ...`) cannot use an index, so the leading filter is a plain comparison.
    others = [name for name in FILTERS if name != lead]
    return and_(
        maps.c.current == 1,
        *([maps.c[lead] == bindparam(lead)] if lead is not None else []),
        *[or_(bindparam(f, type_=maps.c[f].type).is_(None), maps.c[f] == bindparam(f)) for f in others],
    )


def _behind(sort: str) -> ColumnElement[bool]:
    """Return the condition of the cursor. Without a cursor, `after` is below or above all ids."""
    after: ColumnElement[Any] = bindparam("after", type_=maps.c.id.type)
    return maps.c.id < after if sort == "-id" else maps.c.id > after


def _page(where: ColumnElement[bool], sort: str, *, narrow: bool = True) -> Query[Beatmap]:
    if sort in BY_ID:
        where = and_(where, _behind(sort))
    statement = _map.where(where).order_by(*_ORDERS[sort])
    scans = None if narrow else "it walks the index of its order to the end of the page"
    return Query(statement.limit(bindparam("limit")).offset(bindparam("offset")), Beatmap, lane=Lane.SLOW, scans=scans)


def _count(where: ColumnElement[bool], *, narrow: bool = True) -> Query[int]:
    found: Select[Any] = select(literal_column("1")).select_from(maps).where(where).limit(bindparam("most"))
    scans = None if narrow else "it counts the first 10,000 maps that fit"
    return Query(select(func.count()).select_from(found.subquery()), scalar, lane=Lane.SLOW, scans=scans)


_SORTS: Final[tuple[str, ...]] = get_args(Sort)
_ALL_LEADS: Final = (None, *LEADS, *COARSE)
_PAGES: Final = Family(
    product(_ALL_LEADS, _SORTS), lambda key: _page(_matches(key[0]), key[1], narrow=key[0] is not None)
)
_COUNTS: Final = Family(_ALL_LEADS, lambda lead: _count(_matches(lead), narrow=lead is not None))

_among = and_(_matches(None), maps.c.id.in_([bindparam(f"id{n}", type_=maps.c.id.type) for n in range(AMONG_MAX)]))
_AMONG: Final = Family(_SORTS, lambda sort: _page(_among, sort))
_AMONG_COUNT: Final = _count(_among)


def _begins(n: int) -> ColumnElement[bool]:
    """Return the condition that a row of `map_words` has a word that begins with the n-th word of the search."""
    # A range instead of LIKE: both engines read it from the primary key, whatever the collation and wildcards.
    first: ColumnElement[Any] = bindparam(f"from{n}", type_=String())
    last: ColumnElement[Any] = bindparam(f"to{n}", type_=String())
    return and_(map_words.c.word >= first, map_words.c.word < last)


def _has_word(n: int) -> ColumnElement[bool]:
    """Return the condition that the map has the n-th word. An empty word matches every map."""
    row: Select[Any] = (
        select(literal_column("1")).select_from(map_words).where(map_words.c.map_key == maps.c.key, _begins(n))
    )
    prefix: ColumnElement[Any] = bindparam(f"from{n}", type_=String())
    return or_(prefix == "", exists(row))


# The first word is the rarest one. DISTINCT, because a map may have several words with the same beginning.
_candidates = select(map_words.c.map_key).where(_begins(0)).distinct().limit(CANDIDATES_MAX)
_found = and_(maps.c.key.in_(_candidates), _matches(None), *[_has_word(n) for n in range(1, WORDS_MAX)])
_FOUND: Final = Family(_SORTS, lambda sort: _page(_found, sort))
_FOUND_COUNT: Final = _count(_found)
_rows_of_word: Select[Any] = (
    select(literal_column("1")).select_from(map_words).where(_begins(0)).limit(literal_column(str(CANDIDATES_MAX)))
)
_SIZE: Final = Query(select(func.count()).select_from(_rows_of_word.subquery()), scalar, lane=Lane.SLOW)


class MapLists:
    """Reads lists of maps."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, request: Listing) -> tuple[list[Beatmap], int]:
        """Return a page and the total number of maps, counted up to 10,000. Raises Invalid for a text without words."""
        filters = {name: request.filters.get(name) for name in FILTERS}
        after = request.after
        if after is None:
            after = 2**31 - 1 if request.sort == "-id" else 0
        paged = {"limit": request.limit, "offset": request.offset, "after": after}
        params: dict[str, Value]
        if request.text:
            params = await self._words(request.text) | filters
            total = await self._count(_FOUND_COUNT, params)
            return await self._database.all(_FOUND[request.sort], **params, **paged), total
        if request.ids is not None:
            ids = [*request.ids[:AMONG_MAX], *[0] * (AMONG_MAX - len(request.ids))]
            params = {f"id{n}": map_id for n, map_id in enumerate(ids)} | filters
            total = await self._count(_AMONG_COUNT, params)
            return await self._database.all(_AMONG[request.sort], **params, **paged), total
        lead = next((name for name in (*LEADS, *COARSE) if filters[name] is not None), None)
        total = await self._count(_COUNTS[lead], filters)
        # A coarse filter with many matches: walking the index of the order finds a page of matches soon, whereas the
        # index of the filter would need a sort of all of them.
        if lead in COARSE and request.sort not in BY_ID and total > SORTED_MAX:
            lead = None
        return await self._database.all(_PAGES[lead, request.sort], **filters, **paged), total

    async def _count(self, query: Query[int], params: Mapping[str, Value]) -> int:
        return await self._database.one(query, **params, most=LISTED_MAX) or 0

    async def _words(self, text: str) -> dict[str, Value]:
        """Return the ranges of the words as parameters, that of the rarest word first. Raises Invalid."""
        words = words_of(text)
        if not 0 < len(words) <= WORDS_MAX:
            raise Invalid("q", f"1 to {WORDS_MAX} words of letters or digits", text)
        sizes = [(await self._database.one(_SIZE, from0=word, to0=word + LAST) or 0, word) for word in words]
        ordered = [word for _, word in sorted(sizes)] + [""] * (WORDS_MAX - len(words))
        params: dict[str, Value] = {f"from{n}": word for n, word in enumerate(ordered)}
        return params | {f"to{n}": word + LAST for n, word in enumerate(ordered)}
