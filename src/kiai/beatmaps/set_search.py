"""The search of sets for the website and the API: filters, orders and words over the catalogue.

A page is read by keyset: it starts behind the value and the id of the last set of the page before. Without words, a
statement walks the index of its order. With words, it reads at most `CANDIDATES_MAX` sets with the rarest of the words,
and sorts those that match. The favourites of a player, and the sets that a player has played if they are few, work the
same way.
"""

import base64
import binascii
import calendar
import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Final, Literal, get_args

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Double,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal_column,
    or_,
    select,
    tuple_,
)

from kiai.beatmaps.model import BOARD_STATUSES, Beatmap, MapStatus
from kiai.beatmaps.set_query import Range, SetQuery
from kiai.beatmaps.words import LAST, TextOfSet, words_of
from kiai.clock import Clock
from kiai.errors import Invalid
from kiai.storage.families import Family
from kiai.storage.port import Database, Lane, Query, Value, columns_for, scalar
from kiai.storage.tables import catalogue, favourites, maps, play_counts, set_words, sets

PAGE: Final = 20
PAGE_MAX: Final = 50
CANDIDATES_MAX: Final = 2_000
"""Sets that a search for words reads."""
PLAYED_MAX: Final = 2_000
"""Maps of a player that are read first if the search is for sets that they have played."""
TERMS_MAX: Final = 8
TOTAL_MAX: Final = 1_000
"""Totals are counted up to this number. A larger one is unknown."""
TOTALS_MAX: Final = 512
"""Totals in the cache."""
TOTAL_S: Final = 60.0
CURSOR_MAX: Final = 512

Sort = Literal["relevance", "ranked", "updated", "title", "artist", "stars", "plays", "favourites", "rating"]
SORTS: Final[tuple[Sort, ...]] = get_args(Sort)
_ASCENDING: Final = ("title", "artist")
"""Orders that begin with the lowest value; the others begin with the highest."""
Mine = Literal["favourites", "played", "unplayed"]
STATUSES: Final[Mapping[str, tuple[int, ...]]] = {
    "board": BOARD_STATUSES,
    "ranked": (MapStatus.RANKED, MapStatus.APPROVED),
    "loved": (MapStatus.LOVED,),
    "qualified": (MapStatus.QUALIFIED,),
    "pending": (MapStatus.PENDING,),
    "any": tuple(MapStatus)[1:],
}

_columns: Final = {
    "ranked": catalogue.c.ranked_at_ms,
    "updated": catalogue.c.updated_ms,
    "title": catalogue.c.title,
    "artist": catalogue.c.artist,
    "stars": catalogue.c.stars_max,
    "plays": catalogue.c.plays,
    "favourites": catalogue.c.favourites,
    "rating": catalogue.c.rating,
}
_RANGES: Final = {
    "stars": "diff",
    "bpm": "bpm",
    "length": "total_length",
    "ar": "ar",
    "od": "od",
    "cs": "cs",
    "hp": "hp",
}
_ALL_BITS: Final = 2**30 - 1
_NO_END: Final = 1e15
_MODES_OF_PLAYS: Final = (0, 1, 2, 3, 4, 5, 6, 8)
# Weights of the texts in relevance, highest first.
_WEIGHTS: Final = (
    (TextOfSet.TITLE, 16),
    (TextOfSet.ARTIST, 8),
    (TextOfSet.CREATOR, 6),
    (TextOfSet.VERSION, 4),
    (TextOfSet.SOURCE, 2),
)


class SetFigures(msgspec.Struct, frozen=True):
    """A set as the search shows it. Times in unix ms; `ranked_at_ms` is 0 without a board; `osz_size` is in bytes."""

    id: int
    artist: str
    title: str
    artist_unicode: str
    title_unicode: str
    creator: str
    source: str
    tags: str
    last_update_ms: int
    has_video: int
    has_storyboard: int
    osz_size: int | None
    favourites: int
    ranked_at_ms: int
    plays: int
    rating: float


class CatalogueSet(msgspec.Struct, frozen=True):
    """A set with its current maps, by mode and stars."""

    figures: SetFigures
    maps: tuple[Beatmap, ...]


class Cursor(msgspec.Struct, frozen=True):
    """A place in an order: between the set with this value and id and the next one, or `before` it."""

    value: float | str
    set_id: int
    before: bool = False


class SetSearch(msgspec.Struct, frozen=True):
    """A search of sets. `mine` needs a `viewer_id`. `reverse` turns the order around."""

    query: SetQuery = SetQuery()
    sort: Sort = "relevance"
    reverse: bool = False
    cursor: Cursor | None = None
    mine: Mine | None = None
    viewer_id: int = 0
    limit: int = PAGE


class FoundSets(msgspec.Struct, frozen=True):
    """A page of a search. `total` is None above 1,000. `after` and `before` are the cursors of the next pages."""

    sets: list[CatalogueSet]
    total: int | None
    after: Cursor | None
    before: Cursor | None


# --- statements


def _param(name: str, kind: Any) -> ColumnElement[Any]:
    return bindparam(name, type_=kind)


def _of_maps() -> ColumnElement[bool]:
    """Return the condition that one current map of the set matches all filters that concern a map."""
    bounds = [
        maps.c[column].between(_param(f"{name}_least", Double()), _param(f"{name}_most", Double()))
        for name, column in _RANGES.items()
    ]
    key_bit = literal_column("1").op("<<")(cast(func.round(maps.c.cs), Integer))
    return exists(
        select(literal_column("1"))
        .select_from(maps)
        .where(
            maps.c.set_id == catalogue.c.set_id,
            maps.c.current == 1,
            literal_column("1").op("<<")(maps.c.mode).op("&")(_param("modes", Integer())) != 0,
            maps.c.status >= 0,
            literal_column("1").op("<<")(maps.c.status).op("&")(_param("statuses", Integer())) != 0,
            *bounds,
            or_(
                _param("keys", Integer()) == _ALL_BITS,
                and_(maps.c.mode == 3, key_bit.op("&")(_param("keys", Integer())) != 0),
            ),
        )
    )


def _played() -> ColumnElement[bool]:
    # Nested, so that the engines look up each map of the set instead of reading all maps that the player has played.
    counted: Select[Any] = (
        select(literal_column("1"))
        .select_from(play_counts)
        .where(
            play_counts.c.user_id == _param("viewer_id", Integer()),
            play_counts.c.mode.in_([literal_column(str(mode)) for mode in _MODES_OF_PLAYS]),
            play_counts.c.map_key == maps.c.key,
        )
    )
    return exists(
        select(literal_column("1"))
        .select_from(maps)
        .where(maps.c.set_id == catalogue.c.set_id, maps.c.current == 1, exists(counted))
    )


def _favourite() -> ColumnElement[bool]:
    return exists(
        select(literal_column("1"))
        .select_from(favourites)
        .where(favourites.c.user_id == _param("viewer_id", Integer()), favourites.c.set_id == catalogue.c.set_id)
    )


def _matches() -> ColumnElement[bool]:
    """Return the condition of all filters without the words."""
    year_of = case((catalogue.c.ranked_at_ms > 0, catalogue.c.ranked_at_ms), else_=catalogue.c.updated_ms)
    mine = _param("mine", String())
    return and_(
        catalogue.c.modes.op("&")(_param("modes", Integer())) != 0,
        catalogue.c.statuses.op("&")(_param("statuses", Integer())) != 0,
        or_(_param("keys", Integer()) == _ALL_BITS, catalogue.c.key_counts.op("&")(_param("keys", Integer())) != 0),
        *[
            and_(
                catalogue.c[f"{name}_max"] >= _param(f"{name}_least", Double()),
                catalogue.c[f"{name}_min"] <= _param(f"{name}_most", Double()),
            )
            for name in _RANGES
        ],
        year_of >= _param("from_ms", BigInteger()),
        year_of < _param("to_ms", BigInteger()),
        # The columns above can match with several maps together. One of the maps must match all of them.
        or_(_param("exact", Integer()) == 0, _of_maps()),
        or_(mine != "favourites", _favourite()),
        or_(mine != "played", _played()),
        or_(mine != "unplayed", ~_played()),
    )


def _begins(n: int) -> ColumnElement[bool]:
    """Return the condition that a row of `set_words` fits the n-th term: its range of words and its texts."""
    return and_(
        set_words.c.word >= _param(f"from{n}", String()),
        set_words.c.word < _param(f"to{n}", String()),
        set_words.c.fields.op("&")(_param(f"fields{n}", Integer())) != 0,
    )


def _has_term(n: int) -> ColumnElement[bool]:
    found: Select[Any] = (
        select(literal_column("1")).select_from(set_words).where(set_words.c.set_id == catalogue.c.set_id, _begins(n))
    )
    return or_(_param(f"from{n}", String()) == "", exists(found))


def _weight(n: int) -> ColumnElement[Any]:
    """Return the weight of the best text that contains the n-th term. A whole word weighs more than its beginning."""
    weight = case(*[(set_words.c.fields.op("&")(int(text)) != 0, weight) for text, weight in _WEIGHTS], else_=1) * case(
        (set_words.c.word == _param(f"from{n}", String()), 2), else_=1
    )
    best = select(func.max(weight)).where(set_words.c.set_id == catalogue.c.set_id, _begins(n)).scalar_subquery()
    return case((_param(f"from{n}", String()) == "", 0), else_=func.coalesce(best, 0))


def _relevance() -> ColumnElement[Any]:
    total = _weight(0)
    for n in range(1, TERMS_MAX):
        total = total + _weight(n)
    return cast(total, Double)


# DISTINCT, because a set may have several words with the same beginning.
_with_word = select(set_words.c.set_id).where(_begins(0)).distinct().limit(CANDIDATES_MAX)
_favourites_of = select(favourites.c.set_id).where(favourites.c.user_id == _param("viewer_id", Integer()))
_played_maps = (
    select(play_counts.c.map_key).where(play_counts.c.user_id == _param("viewer_id", Integer())).limit(PLAYED_MAX)
)
_played_sets = select(maps.c.set_id).where(maps.c.key.in_(_played_maps))
_terms = [_has_term(n) for n in range(1, TERMS_MAX)]
_LEADS: Final[Mapping[str, ColumnElement[bool]]] = {
    "words": and_(catalogue.c.set_id.in_(_with_word), *_terms),
    "favourites": catalogue.c.set_id.in_(_favourites_of),
    "played": catalogue.c.set_id.in_(_played_sets),
}


def _behind(value: ColumnElement[Any], kind: Any, *, descending: bool) -> ColumnElement[bool]:
    here = tuple_(value, catalogue.c.set_id)
    there = tuple_(_param("value", kind), _param("set_id", Integer()))
    return here < there if descending else here > there


def _page(where: ColumnElement[bool], value: ColumnElement[Any], kind: Any, *, descending: bool) -> Query[Any]:
    order = (value.desc(), catalogue.c.set_id.desc()) if descending else (value, catalogue.c.set_id)
    found: Select[Any] = (
        select(catalogue.c.set_id, value.label("value"))
        .where(where, _matches(), _behind(value, kind, descending=descending))
        .order_by(*order)
        .limit(_param("limit", Integer()))
    )
    return Query(found, lambda set_id, value: (set_id, value), lane=Lane.SLOW)


def _by_index(sort: str, *, descending: bool) -> Query[Any]:
    column = _columns[sort]
    return _page(literal_column("1 = 1"), column, column.type, descending=descending)


_sort_param = _param("sort", String())
_number: Final = case(
    *[(_sort_param == sort, cast(column, Double)) for sort, column in _columns.items() if sort not in _ASCENDING],
    else_=literal_column("0.0"),
)
_text: Final = case((_sort_param == "artist", catalogue.c.artist), else_=catalogue.c.title)
_DIRECTIONS: Final = (True, False)
_WALKS: Final = Family(product(_columns, _DIRECTIONS), lambda key: _by_index(key[0], descending=key[1]))
_BY_NUMBER: Final = Family(
    product(_LEADS, _DIRECTIONS), lambda key: _page(_LEADS[key[0]], _number, Double(), descending=key[1])
)
_BY_TEXT: Final = Family(
    product(_LEADS, _DIRECTIONS), lambda key: _page(_LEADS[key[0]], _text, String(), descending=key[1])
)
_BY_RELEVANCE: Final = Family(
    _DIRECTIONS, lambda descending: _page(_LEADS["words"], _relevance(), Double(), descending=descending)
)


def _count(where: ColumnElement[bool]) -> Query[int]:
    found: Select[Any] = (
        select(literal_column("1")).select_from(catalogue).where(where, _matches()).limit(TOTAL_MAX + 1)
    )
    return Query(select(func.count()).select_from(found.subquery()), scalar, lane=Lane.SLOW)


_COUNT_ALL: Final = _count(literal_column("1 = 1"))
_COUNTS: Final = Family(_LEADS, lambda lead: _count(_LEADS[lead]))
_rows_of_word: Select[Any] = select(literal_column("1")).where(_begins(0)).limit(CANDIDATES_MAX)
_SIZE: Final = Query(select(func.count()).select_from(_rows_of_word.subquery()), scalar, lane=Lane.SLOW)
_PLAYED: Final = Query(
    select(func.count()).select_from(
        select(literal_column("1"))
        .select_from(play_counts)
        .where(play_counts.c.user_id == _param("viewer_id", Integer()))
        .limit(PLAYED_MAX + 1)
        .subquery()
    ),
    scalar,
)

_figures = select(
    *[sets.c[name] for name in SetFigures.__struct_fields__[:13]],
    func.coalesce(catalogue.c.ranked_at_ms, 0),
    func.coalesce(catalogue.c.plays, 0),
    func.coalesce(catalogue.c.rating, 0.0),
).select_from(sets.outerjoin(catalogue, catalogue.c.set_id == sets.c.id))
_ids = [bindparam(f"id{n}", type_=Integer()) for n in range(PAGE_MAX)]
_SETS: Final = Query(_figures.where(sets.c.id.in_(_ids)), SetFigures, lane=Lane.BOUNDED)
_SET: Final = Query(_figures.where(sets.c.id == bindparam("id")), SetFigures)
MAPS_MAX: Final = 2_000
_MAPS: Final = Query(
    select(*columns_for(Beatmap, maps))
    .where(maps.c.current == 1, maps.c.set_id.in_(_ids))
    .order_by(maps.c.set_id, maps.c.mode, maps.c.diff, maps.c.id)
    .limit(MAPS_MAX),
    Beatmap,
    lane=Lane.BOUNDED,
)


class SetSearches:
    """Searches the catalogue."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._totals: dict[Any, tuple[float, int]] = {}

    async def find(self, search: SetSearch) -> FoundSets:
        """Return a page of sets. Raises Invalid for more than 8 words, and for a cursor of another order."""
        limit = min(search.limit, PAGE_MAX)
        terms = await self._terms(search.query)
        filters = _filters(search)
        lead = await self._lead(search, terms)
        sort: Sort = "ranked" if search.sort == "relevance" and not terms else search.sort
        backwards = search.cursor is not None and search.cursor.before
        descending = (sort not in _ASCENDING) != search.reverse
        statement = _statement(lead, sort, descending=descending != backwards)
        params = filters | (terms if lead == "words" else {})
        if lead is not None and sort != "relevance":
            params["sort"] = sort
        params |= _place(search.cursor, sort, descending=descending != backwards)
        found = await self._database.all(statement, **params, limit=limit + 1)
        more, found = len(found) > limit, found[:limit]
        if backwards:
            found.reverse()
        total = await self._total(search, lead, filters | (terms if lead == "words" else {}))
        has_next, has_previous = (True, more) if backwards else (more, search.cursor is not None)
        return FoundSets(
            await self._sets([set_id for set_id, _ in found]),
            None if total > TOTAL_MAX else total,
            Cursor(found[-1][1], found[-1][0]) if found and has_next else None,
            Cursor(found[0][1], found[0][0], before=True) if found and has_previous else None,
        )

    async def one(self, set_id: int) -> CatalogueSet | None:
        """Return a set with its current maps, or None if it has none."""
        figures = await self._database.one(_SET, id=set_id)
        if figures is None:
            return None
        found = await self._database.all(_MAPS, **_id_params([set_id]))
        return CatalogueSet(figures, tuple(found)) if found else None

    async def _lead(self, search: SetSearch, terms: Mapping[str, Value]) -> str | None:
        if terms:
            return "words"
        if search.mine == "favourites":
            return "favourites"
        # Many played maps: walking the index of the order finds a page of played sets soon.
        if (
            search.mine == "played"
            and (await self._database.one(_PLAYED, viewer_id=search.viewer_id) or 0) <= PLAYED_MAX
        ):
            return "played"
        return None

    async def _total(self, search: SetSearch, lead: str | None, params: dict[str, Value]) -> int:
        key = None if search.mine else (lead, tuple(params.values()))
        now = self._clock.monotonic()
        if key is not None and (known := self._totals.pop(key, None)) is not None and known[0] > now:
            self._totals[key] = known  # the least recently used one is the first
            return known[1]
        total = await self._database.one(_COUNT_ALL if lead is None else _COUNTS[lead], **params) or 0
        if key is not None:
            self._totals[key] = now + TOTAL_S, total
            if len(self._totals) > TOTALS_MAX:
                del self._totals[next(iter(self._totals))]
        return total

    async def _terms(self, query: SetQuery) -> dict[str, Value]:
        """Return the parameters of the words, those of the rarest word first; empty without words."""
        terms = [(word, word + LAST, _ALL_BITS) for text in query.words for word in words_of(text)]
        for field, text in query.texts:
            # A whole word: no character of a word sorts before this one.
            terms += [(word, word + "\x01", _BITS_BY_FIELD[field]) for word in words_of(text)]
        if not terms:
            if query.words or query.texts:
                raise Invalid("q", "words of letters or digits", " ".join((*query.words, *(t for _, t in query.texts))))
            return {}
        if len(terms) > TERMS_MAX:
            raise Invalid("q", f"at most {TERMS_MAX} words", f"{len(terms)} words")
        if len(terms) > 1:
            sizes = [
                await self._database.one(_SIZE, from0=first, to0=last, fields0=fields) for first, last, fields in terms
            ]
            terms = [term for _, term in sorted(zip(sizes, terms, strict=True), key=lambda one: one[0] or 0)]
        params: dict[str, Value] = {}
        for n, (first, last, fields) in enumerate([*terms, *[("", "", 0)] * (TERMS_MAX - len(terms))]):
            params |= {f"from{n}": first, f"to{n}": last, f"fields{n}": fields}
        return params

    async def _sets(self, ids: Sequence[int]) -> list[CatalogueSet]:
        if not ids:
            return []
        params = _id_params(ids)
        by_id = {figures.id: figures for figures in await self._database.all(_SETS, **params)}
        of_set: dict[int, list[Beatmap]] = {set_id: [] for set_id in ids}
        for beatmap in await self._database.all(_MAPS, **params):
            of_set[beatmap.set_id].append(beatmap)
        return [CatalogueSet(by_id[set_id], tuple(of_set[set_id])) for set_id in ids if set_id in by_id]


_BITS_BY_FIELD: Final = {
    "artist": int(TextOfSet.ARTIST),
    "title": int(TextOfSet.TITLE),
    "creator": int(TextOfSet.CREATOR),
    "source": int(TextOfSet.SOURCE),
    "tag": int(TextOfSet.TAGS),
    "difficulty": int(TextOfSet.VERSION),
}


def _statement(lead: str | None, sort: Sort, *, descending: bool) -> Query[Any]:
    if lead is None:
        return _WALKS[sort, descending]
    if sort == "relevance":
        return _BY_RELEVANCE[descending]
    return (_BY_TEXT if sort in _ASCENDING else _BY_NUMBER)[lead, descending]


def _place(cursor: Cursor | None, sort: Sort, *, descending: bool) -> dict[str, Value]:
    """Return the parameters of the place where a page starts: before the first set without a cursor."""
    is_text = sort in _ASCENDING
    if cursor is not None:
        if isinstance(cursor.value, str) != is_text:
            raise Invalid("cursor", "one of the same order", cursor.value)
        value: Value = cursor.value
        if sort in ("ranked", "updated", "plays", "favourites"):
            value = int(float(cursor.value))
        return {"value": value, "set_id": cursor.set_id}
    if is_text:
        return {"value": LAST * 2 if descending else "", "set_id": 2**31 - 1 if descending else -1}
    return {"value": 2**62 if descending else -1, "set_id": 2**31 - 1 if descending else -1}


def _filters(search: SetSearch) -> dict[str, Value]:
    query = search.query
    ranges = dict(query.ranges)
    keys = _ALL_BITS
    if (wanted := ranges.pop("key", None)) is not None:
        keys = sum(1 << number for number in range(1, 19) if wanted.least <= number <= wanted.most)
    years = ranges.pop("year", Range())
    status = query.status or ("any" if search.mine == "favourites" else "board")
    modes = 15 if query.mode is None else 1 << query.mode
    params: dict[str, Value] = {
        "modes": modes,
        "statuses": sum(1 << number for number in STATUSES[status]),
        "keys": keys,
        "from_ms": _year_ms(math.ceil(years.least)) if years.least > -math.inf else -(2**62),
        "to_ms": _year_ms(math.floor(years.most) + 1) if years.most < math.inf else 2**62,
        # With one filter of a map, or none, the columns of the set are enough.
        "exact": int(bool(ranges) or keys != _ALL_BITS or (query.mode is not None and status != "any")),
        "mine": search.mine or "",
        "viewer_id": search.viewer_id,
    }
    for name in _RANGES:
        wanted = ranges.get(name, Range())
        params[f"{name}_least"] = max(wanted.least, -_NO_END)
        params[f"{name}_most"] = min(wanted.most, _NO_END)
    return params


def _year_ms(year: int) -> int:
    return calendar.timegm((min(max(year, 1970), 9999), 1, 1, 0, 0, 0)) * 1000


def _id_params(ids: Sequence[int]) -> dict[str, Value]:
    return {f"id{n}": ids[n] if n < len(ids) else 0 for n in range(PAGE_MAX)}


# --- cursors as text


def write_cursor(cursor: Cursor) -> str:
    """Return a cursor as text for an address."""
    body = msgspec.json.encode([cursor.value, cursor.set_id, int(cursor.before)])
    return base64.urlsafe_b64encode(body).decode().rstrip("=")


def read_cursor(text: str) -> Cursor:
    """Return the cursor of a text of `write_cursor`. Raises Invalid."""
    try:
        body = base64.urlsafe_b64decode(text[:CURSOR_MAX].encode() + b"=" * (-len(text) % 4))
        value, set_id, before = msgspec.json.decode(body, type=tuple[float | str, int, int])
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise Invalid("cursor", "one that a page of this search gave", text) from error
    number_is_sane = isinstance(value, str) or abs(value) < 2**62
    if not 0 <= set_id < 2**31 or not number_is_sane or (isinstance(value, str) and "\0" in value):
        raise Invalid("cursor", "one that a page of this search gave", text)
    return Cursor(value, set_id, bool(before))
