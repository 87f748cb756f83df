"""The search of sets: `/beatmapsets`.

The words of the text and the controls say the same: a form with controls is redirected to the address in which they are
words of the text, and the words of an address fill in the controls.
"""

import math
from collections.abc import Mapping
from typing import Final

import msgspec

from kiai.beatmaps.mirrors import Mirrors
from kiai.beatmaps.set_query import TEXT_MAX, Range, SetQuery, WrongWord, parse, write
from kiai.beatmaps.set_search import (
    CURSOR_MAX,
    SORTS,
    STATUSES,
    Cursor,
    Mine,
    SetSearch,
    SetSearches,
    Sort,
    read_cursor,
    write_cursor,
)
from kiai.errors import Invalid, Unavailable
from kiai.faces.site.locale import Locale
from kiai.faces.site.page import BadParameter, Head, Page, Redirect, Response, SiteRequest, View
from kiai.faces.site.templating import url
from kiai.osu.numbers import is_id

PATH: Final = "/beatmapsets"
MINE: Final[tuple[Mine, ...]] = ("favourites", "played", "unplayed")
CONTROLS: Final = ("stars", "bpm", "length", "key", "year")
"""The conditions that have controls, as two fields each: `stars_from` and `stars_to`."""
DROPS_MAX: Final = 4
"""Filters that the page tries to leave out when nothing matches."""


class Asked(msgspec.Struct, frozen=True):
    """The parameters of the page. `status` is one of `STATUSES` or `MINE`, empty for the default."""

    q: str
    query: SetQuery
    wrong: list[WrongWord]
    mode: int | None
    status: str
    sort: Sort
    reverse: bool

    def address(self, **changes: object) -> str:
        """Return the address of the page with other parameters."""
        values: dict[str, object] = {
            "q": self.q,
            "mode": self.mode,
            "status": self.status,
            "sort": "" if self.sort == "relevance" else self.sort,
            "reverse": "1" if self.reverse else "",
        }
        return url(PATH, **(values | changes))


class SetSearchPages:
    """The page of the search. `upstream`: whether maps that are not stored can be fetched."""

    def __init__(self, searches: SetSearches, mirrors: Mirrors, *, upstream: bool) -> None:
        self._searches = searches
        self._mirrors = mirrors
        self._upstream = upstream

    def pages(self) -> list[Page]:
        """Return the page."""
        return [Page("GET", PATH, self._search)]

    async def _search(self, request: SiteRequest) -> Response:
        asked = _asked(request)
        sent = _address_of_form(request, asked)
        if sent is not None:
            return Redirect(sent, 302)
        viewer = request.visitor.user
        mine: Mine | None = next((one for one in MINE if one == asked.status and viewer is not None), None)
        search = SetSearch(
            _effective(asked, mine),
            asked.sort,
            asked.reverse,
            _cursor(request),
            mine,
            0 if viewer is None else viewer.id,
        )
        values: dict[str, object] = {
            "search": asked,
            "wrong": asked.wrong,
            "ranges": _ranges(request.locale, asked.query),
            "sorts": _sorts(request.locale),
            "mirrored": bool(self._mirrors),
            "failed": False,
            "drops": [],
            "has_filters": asked.address() != PATH,
            "upstream_id": None,
        }
        try:
            found = await self._searches.find(search)
        except Invalid as error:
            if error.field == "cursor":
                raise BadParameter("cursor", error.allowed, str(error.got)) from error
            values["wrong"] = [*asked.wrong, WrongWord(asked.q, f"{error.field} must be {error.allowed}")]
            return self._view(request, asked, values | {"found": _NOTHING, "next": None, "previous": None})
        except Unavailable:  # the slow lane is full, or the statement took too long: only this part fails
            values["failed"] = True
            return self._view(request, asked, values | {"found": _NOTHING, "next": None, "previous": None})
        values |= {
            "found": found,
            "next": None if found.after is None else asked.address(cursor=write_cursor(found.after)),
            "previous": None if found.before is None else asked.address(cursor=write_cursor(found.before)),
        }
        if not found.sets and search.cursor is None:
            values["drops"] = await self._drops(request.locale, asked, search)
            if self._upstream and asked.q.isascii() and asked.q.isdigit() and is_id(int(asked.q[:10])):
                values["upstream_id"] = int(asked.q[:10])
        return self._view(request, asked, values)

    def _view(self, request: SiteRequest, asked: Asked, values: Mapping[str, object]) -> View:
        head = Head(
            title=request.locale.text("Beatmaps"),
            description=request.locale.text("Search the beatmaps of this server by words, stars, length, and more."),
            path=PATH,
        )
        return View("beatmapsets.html", values, head)

    async def _drops(self, locale: Locale, asked: Asked, search: SetSearch) -> list[tuple[str, str]]:
        """Return the filters without which something matches, each with the address that leaves it out."""
        candidates: list[tuple[str, Asked]] = [
            (_label(locale, name), _without(asked, name)) for name in _filters(asked)
        ]
        found = []
        for label, other in candidates[:DROPS_MAX]:
            mine = search.mine if other.status == asked.status else None
            try:
                page = await self._searches.find(
                    SetSearch(_effective(other, mine), other.sort, mine=mine, viewer_id=search.viewer_id, limit=1)
                )
            except (Invalid, Unavailable):
                continue
            if page.sets:
                found.append((label, other.address()))
        return found


class _Nothing(msgspec.Struct, frozen=True):
    sets: tuple[()] = ()
    total: int = 0


_NOTHING: Final = _Nothing()


def _asked(request: SiteRequest) -> Asked:
    parameters = request.query
    q = parameters.text("q", TEXT_MAX)
    query, wrong = parse(q)
    mode_text = parameters.choice("mode", ("0", "1", "2", "3"), "")
    status = parameters.choice("status", (*STATUSES, *MINE), "")
    sort = parameters.choice("sort", SORTS, "relevance")
    return Asked(
        q,
        query,
        wrong,
        # Words of the text come before the parameters.
        query.mode if query.mode is not None else int(mode_text) if mode_text else None,
        query.status or ("" if status == "board" else status),
        next(one for one in SORTS if one == sort),
        parameters.flag("reverse"),
    )


def _cursor(request: SiteRequest) -> Cursor | None:
    text = request.query.text("cursor", CURSOR_MAX)
    try:
        return read_cursor(text) if text else None
    except Invalid as error:
        raise BadParameter("cursor", error.allowed, text) from error


def _effective(asked: Asked, mine: Mine | None) -> SetQuery:
    """Return the query with mode and status of the page."""
    status = asked.status if asked.status in STATUSES else "any" if mine == "favourites" else "board"
    return msgspec.structs.replace(asked.query, mode=asked.mode, status=status)


def _address_of_form(request: SiteRequest, asked: Asked) -> str | None:
    """Return the address that a sent form asks for, or None if the request does not come from the form.

    The field `was` has the text that the form was filled in with. A control that was changed since then replaces the
    words of its condition; other controls only repeat what the text said.
    """
    if "was" not in request.query.values:
        return None
    was_text = request.query.text("was", TEXT_MAX)
    was, _ = parse(was_text)
    ranges = dict(asked.query.ranges)
    for name in CONTROLS:
        before, found = was.ranges.get(name, Range()), ranges.pop(name, Range())
        low = _changed_end(request, name, "from", before.low)
        high = _changed_end(request, name, "to", before.high)
        if low is not None:
            found = msgspec.structs.replace(found, low=low, low_open=False)
        if high is not None:
            found = msgspec.structs.replace(found, high=high, high_open=False)
        if found.is_empty:
            raise BadParameter(f"{name}_to", f"at least {name}_from", _end(found.high))
        if found != Range():
            ranges[name] = found
    parameter = request.query.choice("mode", ("0", "1", "2", "3"), "")
    mode: int | None = int(parameter) if parameter else None
    status = request.query.choice("status", (*STATUSES, *MINE), "")
    if asked.q != was_text:  # words that were typed now come before the controls
        mode = asked.query.mode if asked.query.mode is not None else mode
        status = asked.query.status or status
    changed = asked.q != was_text or ranges != dict(asked.query.ranges)
    query = msgspec.structs.replace(asked.query, ranges=ranges, mode=None, status=None)
    # Wrong words stay in the text, so that the page can explain them.
    q = " ".join((write(query), *(one.word for one in asked.wrong))).strip() if changed else asked.q
    if not changed and (asked.query.mode is not None or asked.query.status is not None):
        q = write(query)
    return asked.address(q=q, mode=mode, status=status)


def _changed_end(request: SiteRequest, name: str, end: str, before: float) -> float | None:
    """Return the number in a control, infinite if it is empty, or None if it is the one that the form showed."""
    text = request.query.text(f"{name}_{end}", 12)
    if text == _end(before):
        return None
    if not text:
        return -math.inf if end == "from" else math.inf
    read, faults = parse(f"{name}>={text}")
    if faults or name not in read.ranges:
        raise BadParameter(f"{name}_{end}", faults[0].why if faults else "a number", text)
    return read.ranges[name].low


def _ranges(locale: Locale, query: SetQuery) -> list[tuple[str, str, str, str]]:
    """Return the controls of ranges: name, label and the two values."""
    rows = []
    for name in CONTROLS:
        found = query.ranges.get(name, Range())
        rows.append((name, _label(locale, name), _end(found.low), _end(found.high)))
    return rows


def _end(number: float) -> str:
    return "" if math.isinf(number) else f"{number:g}"


def _sorts(locale: Locale) -> list[tuple[str, str]]:
    text = locale.text
    words = {
        "relevance": text("Relevance"),
        "ranked": text("Ranked date"),
        "updated": text("Last update"),
        "title": text("Title"),
        "artist": text("Artist"),
        "stars": text("Stars"),
        "plays": text("Plays"),
        "favourites": text("Favourites"),
        "rating": text("Rating"),
    }
    return [("" if sort == "relevance" else sort, words[sort]) for sort in SORTS]


def _filters(asked: Asked) -> list[str]:
    """Return the names of the filters of a search, the narrowest first."""
    names = [name for name, _ in asked.query.texts]
    names += list(asked.query.ranges)
    if asked.status:
        names.append("status")
    if asked.mode is not None:
        names.append("mode")
    if asked.query.words:
        names.append("words")
    return list(dict.fromkeys(names))


def _without(asked: Asked, name: str) -> Asked:
    """Return the search without a filter."""
    query = asked.query
    mode, status = asked.mode, asked.status
    if name == "words":
        query = msgspec.structs.replace(query, words=())
    elif name == "mode":
        query, mode = msgspec.structs.replace(query, mode=None), None
    elif name == "status":
        query, status = msgspec.structs.replace(query, status=None), "any"
    elif name in query.ranges:
        ranges = {other: found for other, found in query.ranges.items() if other != name}
        query = msgspec.structs.replace(query, ranges=ranges)
    else:
        query = msgspec.structs.replace(query, texts=tuple(pair for pair in query.texts if pair[0] != name))
    return msgspec.structs.replace(asked, q=write(query), query=query, mode=mode, status=status)


def _label(locale: Locale, name: str) -> str:
    text = locale.text
    words = {
        "stars": text("Stars"),
        "bpm": text("BPM"),
        "length": text("Length"),
        "key": text("Keys"),
        "year": text("Year"),
        "status": text("Status"),
        "mode": text("Mode"),
        "words": text("Words"),
        "artist": text("Artist"),
        "title": text("Title"),
        "creator": text("Mapper"),
        "source": text("Source"),
        "tag": text("Tags"),
        "difficulty": text("Difficulty"),
    }
    return words.get(name, name.upper())
