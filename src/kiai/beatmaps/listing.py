"""Lists of current maps: by filters, by ids, by words, in several orders. Each statement walks one index.

Which index depends on what is asked: the most selective filter leads, else the order does. A search for words takes the
rarest of them, at most `CANDIDATES_MAX` maps, and looks at those only: what one search costs has a bound.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, get_args

import msgspec
from sqlalchemy import ColumnElement, Select, String, and_, bindparam, exists, func, literal_column, or_, select

from kiai.beatmaps.model import Beatmap
from kiai.beatmaps.words import LAST, words_of
from kiai.errors import Invalid
from kiai.storage.port import Database, Lane, Query, Value, columns_for, only
from kiai.storage.tables import map_words, maps

LISTED_MAX: Final = 10_000  # a total is counted no further than this
CANDIDATES_MAX: Final = 2_000
WORDS_MAX: Final = 8
AMONG_MAX: Final = 100
FILTERS: Final = ("set_id", "status", "artist", "creator", "filename", "mode", "frozen")
LEADS: Final = ("set_id", "filename", "creator", "artist")
"""Filters that few maps fit, the most selective first: their index leads, whatever the order."""
COARSE: Final = ("status", "mode", "frozen")
"""Filters that may fit many maps. Their index leads in the order of ids, or while few enough fit to sort them."""
SORTED_MAX: Final = 2_000

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
    """What is wanted: values of `FILTERS` (None for any), words that all occur, ids, an order, and a page.

    `after` continues behind the map with this id in the order of ids, upward or downward.
    """

    filters: Mapping[str, Value] = {}
    text: str = ""
    ids: Sequence[int] | None = None
    sort: Sort = "id"
    limit: int = 50
    offset: int = 0
    after: int | None = None


def _matches(lead: str | None) -> ColumnElement[bool]:
    """A current map that fits every filter given; `lead` is one that is given, and has the index."""
    others = [name for name in FILTERS if name != lead]
    return and_(
        maps.c.current == 1,
        *([maps.c[lead] == bindparam(lead)] if lead is not None else []),
        *[or_(bindparam(f, type_=maps.c[f].type).is_(None), maps.c[f] == bindparam(f)) for f in others],
    )


def _behind(sort: str) -> ColumnElement[bool]:
    """Behind the cursor where the order has one; `after` is below or above all ids when there is none."""
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
    return Query(select(func.count()).select_from(found.subquery()), only, lane=Lane.SLOW, scans=scans)


_SORTS: Final[tuple[str, ...]] = get_args(Sort)
_ALL_LEADS: Final = (None, *LEADS, *COARSE)
_PAGES: Final = {
    (lead, sort): _page(_matches(lead), sort, narrow=lead is not None) for lead in _ALL_LEADS for sort in _SORTS
}
_COUNTS: Final = {lead: _count(_matches(lead), narrow=lead is not None) for lead in _ALL_LEADS}

_among = and_(_matches(None), maps.c.id.in_([bindparam(f"id{n}", type_=maps.c.id.type) for n in range(AMONG_MAX)]))
_AMONG: Final = {sort: _page(_among, sort) for sort in _SORTS}
_AMONG_COUNT: Final = _count(_among)


def _begins(n: int) -> ColumnElement[bool]:
    """Whether a row of `map_words` is of a word that begins with the n-th."""
    first: ColumnElement[Any] = bindparam(f"from{n}", type_=String())
    last: ColumnElement[Any] = bindparam(f"to{n}", type_=String())
    return and_(map_words.c.word >= first, map_words.c.word < last)


def _has_word(n: int) -> ColumnElement[bool]:
    """Whether the map has the n-th word; an empty one is none."""
    row: Select[Any] = (
        select(literal_column("1")).select_from(map_words).where(map_words.c.map_key == maps.c.key, _begins(n))
    )
    asked: ColumnElement[Any] = bindparam(f"from{n}", type_=String())
    return or_(asked == "", exists(row))


_candidates = select(map_words.c.map_key).where(_begins(0)).distinct().limit(CANDIDATES_MAX)
_found = and_(maps.c.key.in_(_candidates), _matches(None), *[_has_word(n) for n in range(1, WORDS_MAX)])
_FOUND: Final = {sort: _page(_found, sort) for sort in _SORTS}
_FOUND_COUNT: Final = _count(_found)
_rows_of_word: Select[Any] = (
    select(literal_column("1")).select_from(map_words).where(_begins(0)).limit(literal_column(str(CANDIDATES_MAX)))
)
_SIZE: Final = Query(select(func.count()).select_from(_rows_of_word.subquery()), only, lane=Lane.SLOW)


class MapLists:
    """Reads pages of maps."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, wanted: Listing) -> tuple[list[Beatmap], int]:
        """A page, and how many maps there are in all, counted up to 10,000. Raises Invalid for text without a word."""
        filters = {name: wanted.filters.get(name) for name in FILTERS}
        after = wanted.after
        if after is None:
            after = 2**31 - 1 if wanted.sort == "-id" else 0
        paged = {"limit": wanted.limit, "offset": wanted.offset, "after": after}
        params: dict[str, Value]
        if wanted.text:
            params = await self._words(wanted.text) | filters
            total = await self._count(_FOUND_COUNT, params)
            return await self._database.all(_FOUND[wanted.sort], **params, **paged), total
        if wanted.ids is not None:
            ids = [*wanted.ids[:AMONG_MAX], *[0] * (AMONG_MAX - len(wanted.ids))]
            params = {f"id{n}": one for n, one in enumerate(ids)} | filters
            total = await self._count(_AMONG_COUNT, params)
            return await self._database.all(_AMONG[wanted.sort], **params, **paged), total
        lead = next((name for name in (*LEADS, *COARSE) if filters[name] is not None), None)
        total = await self._count(_COUNTS[lead], filters)
        if lead in COARSE and wanted.sort not in BY_ID and total > SORTED_MAX:
            lead = None
        return await self._database.all(_PAGES[lead, wanted.sort], **filters, **paged), total

    async def _count(self, query: Query[int], params: Mapping[str, Value]) -> int:
        return await self._database.one(query, **params, most=LISTED_MAX) or 0

    async def _words(self, text: str) -> dict[str, Value]:
        """The ranges of the words as parameters, that of the rarest word first."""
        words = words_of(text)
        if not 0 < len(words) <= WORDS_MAX:
            raise Invalid("q", f"1 to {WORDS_MAX} words of letters or digits", text)
        sizes = [(await self._database.one(_SIZE, from0=word, to0=word + LAST) or 0, word) for word in words]
        ordered = [word for _, word in sorted(sizes)] + [""] * (WORDS_MAX - len(words))
        params: dict[str, Value] = {f"from{n}": word for n, word in enumerate(ordered)}
        return params | {f"to{n}": word + LAST for n, word in enumerate(ordered)}
