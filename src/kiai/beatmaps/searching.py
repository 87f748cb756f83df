"""Search of stored sets for osu!direct (docs/spec/web.md#osudirect)."""

from enum import StrEnum
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Select, and_, bindparam, case, exists, func, literal_column, or_, select

from kiai.beatmaps.model import Beatmap
from kiai.storage.patterns import containing, contains_pattern
from kiai.storage.port import Database, Lane, Query, columns_for
from kiai.storage.tables import maps, sets

PAGE: Final = 100  # sets, as the client expects
PAGES_MAX: Final = 40  # a search reads more rows with each page
WORDS_MAX: Final = 8
MAPS_MAX: Final = 4_000
BOUND_IDS: Final = PAGE


class Order(StrEnum):
    """The orders of osu!direct's lists."""

    NEWEST = "newest"
    TOP_RATED = "top rated"
    MOST_PLAYED = "most played"


class FoundSet(msgspec.Struct, frozen=True):
    """A set in a result. `maps` are its current difficulties, by mode and stars. `osz_size` is in bytes."""

    id: int
    artist: str
    title: str
    creator: str
    last_update_ms: int
    has_video: int
    has_storyboard: int
    osz_size: int | None
    favourites: int
    maps: tuple[Beatmap, ...] = ()


class Search(msgspec.Struct, frozen=True):
    """A search. All words must occur. Empty `statuses` and `mode` None match every one. Pages start at 0."""

    words: tuple[str, ...] = ()
    statuses: tuple[int, ...] = ()
    mode: int | None = None
    order: Order = Order.NEWEST
    page: int = 0


_FIELDS: Final = FoundSet.__struct_fields__[:-1]
_set = select(*[sets.c[name] for name in _FIELDS])


def _matches() -> ColumnElement[bool]:
    """Return the condition that a set has a current difficulty in the mode with one of the statuses."""
    return exists(
        select(literal_column("1"))
        .select_from(maps)
        .where(
            maps.c.set_id == sets.c.id,
            maps.c.current == 1,
            or_(bindparam("mode", type_=maps.c.mode.type).is_(None), maps.c.mode == bindparam("mode")),
            or_(
                bindparam("any_status") == 1,
                maps.c.status.in_([bindparam(f"status{n}") for n in range(3)]),
            ),
        )
    )


def _has_words() -> ColumnElement[bool]:
    text = sets.c.artist + " " + sets.c.title + " " + sets.c.creator + " " + sets.c.source + " " + sets.c.tags
    words: list[Any] = [bindparam(f"word{n}") for n in range(WORDS_MAX)]
    named = exists(
        select(literal_column("1"))
        .select_from(maps)
        .where(
            maps.c.set_id == sets.c.id,
            maps.c.current == 1,
            contains_pattern(maps.c.version, bindparam("version")),
        )
    )
    # The search has no pattern for difficulties then. LIKE would match an empty one with an empty name.
    return or_(
        and_(*[or_(word == "", contains_pattern(text, word)) for word in words]),
        and_(bindparam("version") != "", named),
    )


def _sum_of(column: ColumnElement[Any]) -> ColumnElement[Any]:
    counted: Select[Any] = select(func.coalesce(func.sum(column), 0)).where(
        maps.c.set_id == sets.c.id, maps.c.current == 1
    )
    return counted.scalar_subquery()


_rating = case(
    (_sum_of(maps.c.rating_count) > 0, _sum_of(maps.c.rating_sum) * 1.0 / _sum_of(maps.c.rating_count)), else_=0.0
)
_ORDERS: Final = {
    Order.NEWEST: (sets.c.last_update_ms.desc(), sets.c.id),
    Order.TOP_RATED: (_rating.desc(), sets.c.id),
    Order.MOST_PLAYED: (_sum_of(maps.c.plays).desc(), sets.c.id),
}
_LISTS: Final = {
    order: Query(
        _set.where(_matches(), _has_words()).order_by(*by).limit(bindparam("limit")).offset(bindparam("offset")),
        FoundSet,
        lane=Lane.SLOW,
        scans="a part of a word can be anywhere in a set's texts, and votes and plays are summed over its maps",
    )
    for order, by in _ORDERS.items()
}
_ONE: Final = Query(_set.where(sets.c.id == bindparam("set_id")), FoundSet)
_MAPS_OF: Final = Query(
    select(*columns_for(Beatmap, maps))
    .where(maps.c.current == 1, maps.c.set_id.in_([bindparam(f"id{n}") for n in range(BOUND_IDS)]))
    .order_by(maps.c.set_id, maps.c.mode, maps.c.diff, maps.c.id)
    .limit(MAPS_MAX),
    Beatmap,
    lane=Lane.BOUNDED,
)


class MapSearch:
    """Searches sets."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def sets(self, search: Search) -> tuple[list[FoundSet], bool]:
        """Return a page of 100 sets, and whether there are more."""
        if not 0 <= search.page < PAGES_MAX:
            return [], False
        words = [containing(word) for word in search.words[:WORDS_MAX]]
        if None in words:  # a word with a character that no stored text can have
            return [], False
        statuses = [*search.statuses, *[-9] * 3][:3]
        found = await self._database.all(
            _LISTS[search.order],
            mode=search.mode,
            any_status=int(not search.statuses),
            # A single word may also be the name of a difficulty.
            version=words[0] if len(words) == 1 else "",
            limit=PAGE + 1,  # one more than a page shows whether there are more, without a count
            offset=search.page * PAGE,
            **{f"status{n}": status for n, status in enumerate(statuses)},
            **{f"word{n}": words[n] if n < len(words) else "" for n in range(WORDS_MAX)},
        )
        return await self._with_maps(found[:PAGE]), len(found) > PAGE

    async def one(self, set_id: int) -> FoundSet | None:
        """Return a set by its id, or None."""
        found = await self._database.one(_ONE, set_id=set_id)
        return None if found is None else (await self._with_maps([found]))[0]

    async def _with_maps(self, found: list[FoundSet]) -> list[FoundSet]:
        if not found:
            return []
        # One statement for all sets of the page.
        ids = [found_set.id for found_set in found] + [0] * (BOUND_IDS - len(found))
        maps_by_set: dict[int, list[Beatmap]] = {found_set.id: [] for found_set in found}
        for beatmap in await self._database.all(_MAPS_OF, **{f"id{n}": set_id for n, set_id in enumerate(ids)}):
            maps_by_set[beatmap.set_id].append(beatmap)
        return [msgspec.structs.replace(found_set, maps=tuple(maps_by_set[found_set.id])) for found_set in found]
