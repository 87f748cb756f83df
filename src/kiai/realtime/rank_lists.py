"""The rank lists of the adapter in memory.

Each mode has sorted lists of ints, one for the world and one for each country. The ints sort by pp descending, then
user id ascending. A rank is a bisection and never counts users.

PERF: the lists share their ints, and a user has one flat tuple for all modes: a rank of a user with 16 takes 87 bytes
instead of the 253 that a dict and a tuple for each mode take.
"""

import heapq
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sortedcontainers import SortedList

from kiai.realtime.port import USER_ID_MAX, Rank, RankEntry

UNRANKED: Final = Rank()
SORTED_AT_ONCE: Final = 10_000  # see `_sorted`


class _Country:
    """The list of one country in one mode, and the list of the world in this mode."""

    __slots__ = ("mode", "ranking", "world")

    def __init__(self, mode: int, world: "SortedList[int]") -> None:
        self.mode = mode
        self.world = world
        self.ranking: SortedList[int] = SortedList()


class RankLists:
    """The lists of all modes."""

    __slots__ = ("_countries", "_placed", "_worlds")

    def __init__(self) -> None:
        self._worlds: dict[int, SortedList[int]] = {}
        self._countries: dict[tuple[int, str], _Country] = {}
        self._placed: dict[int, tuple[Any, ...]] = {}
        """By user: the country's list and the key in each mode with a rank, alternately."""

    def add(self, entries: Sequence[RankEntry]) -> None:
        """Add users to lists that are not sorted yet. Of two entries for the same user and mode, the later counts."""
        placed = self._placed
        for entry in entries:
            places = _without(placed.get(entry.user_id, ()), entry.mode)
            if entry.pp > 0:
                places = (*places, self._country(entry), _key(entry))
            placed[entry.user_id] = places

    def sort(self) -> None:
        """Fill the lists with the users that have been added. Call it once, before the first read."""
        by_world: dict[int, list[int]] = {mode: [] for mode in self._worlds}
        by_country: dict[_Country, list[int]] = {country: [] for country in self._countries.values()}
        for user_id, places in list(self._placed.items()):
            if not places:
                del self._placed[user_id]
            for country, key in _pairs(places):
                by_world[country.mode].append(key)
                by_country[country].append(key)
        for mode, keys in by_world.items():
            self._worlds[mode].update(_sorted(keys))
        for country, keys in by_country.items():
            country.ranking.update(_sorted(keys))

    def _country(self, entry: RankEntry) -> _Country:
        found = self._countries.get((entry.mode, entry.country))
        if found is None:
            world = self._worlds.get(entry.mode)
            if world is None:
                world = self._worlds[entry.mode] = SortedList()
            found = self._countries[entry.mode, entry.country] = _Country(entry.mode, world)
        return found

    def place(self, entry: RankEntry) -> None:
        """Move the user to the entry's place, or remove it from the mode if the entry has no pp."""
        places = self._placed.get(entry.user_id, ())
        new = (self._country(entry), _key(entry)) if entry.pp > 0 else None
        for old in _pairs(places):
            if old == new:
                return
            if old[0].mode == entry.mode:
                _remove(*old)
                places = _without(places, entry.mode)
        if new is not None:
            country, key = new
            country.world.add(key)
            country.ranking.add(key)
            places = (*places, country, key)
        self._placed[entry.user_id] = places
        if not places:
            del self._placed[entry.user_id]

    def remove(self, user_id: int) -> None:
        """Remove the user from all lists."""
        for country, key in _pairs(self._placed.pop(user_id, ())):
            _remove(country, key)

    def ranks_of(self, user_id: int) -> dict[int, Rank]:
        """Return the ranks of a user by mode."""
        return {country.mode: _rank(country, key) for country, key in _pairs(self._placed.get(user_id, ()))}

    def rank_of(self, user_id: int, mode: int) -> Rank:
        """Return the rank of a user in one mode, zeros without one."""
        for country, key in _pairs(self._placed.get(user_id, ())):
            if country.mode == mode:
                return _rank(country, key)
        return UNRANKED

    def ranking(self, mode: int, country: str | None) -> "SortedList[int] | None":
        """Return the list of the world or of a country. `user_of` reads its ints."""
        if country is None:
            return self._worlds.get(mode)
        found = self._countries.get((mode, country))
        return None if found is None else found.ranking


def user_of(key: int) -> int:
    """Return the id of the user with this int in a list."""
    return key & USER_ID_MAX


def _key(entry: RankEntry) -> int:
    # PERF: one int sorts like the tuple (-pp, user_id), and the user id is its lower 31 bits.
    assert 0 < entry.user_id <= USER_ID_MAX
    return (-entry.pp << 31) | entry.user_id


def _pairs(places: tuple[Any, ...]) -> "zip[tuple[_Country, int]]":
    return zip(places[::2], places[1::2], strict=True)


def _without(places: tuple[Any, ...], mode: int) -> tuple[Any, ...]:
    for at in range(0, len(places), 2):
        if places[at].mode == mode:
            return places[:at] + places[at + 2 :]
    return places


def _remove(country: _Country, key: int) -> None:
    country.world.remove(key)
    country.ranking.remove(key)


def _rank(country: _Country, key: int) -> Rank:
    return Rank(country.world.bisect_left(key) + 1, country.ranking.bisect_left(key) + 1)


def _sorted(keys: list[int]) -> Iterable[int]:
    # PERF: in pieces, because one sort of 100,000 keys would block the interpreter, and so the event loop, for 40 ms.
    return heapq.merge(*(sorted(keys[start : start + SORTED_AT_ONCE]) for start in range(0, len(keys), SORTED_AT_ONCE)))
