"""Lanes of the reads of profiles, boards and rankings: deep pages and filters are slow reads."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest
from tests.conftest import Run

from kiai.scores.boards import Boards
from kiai.scores.grades import Grades
from kiai.scores.listing_parts import DEEP, ModsFilter
from kiai.scores.profiles import Profiles
from kiai.scores.rankings import Rankings
from kiai.storage.port import Lane, Query, Value

HD: Final = ModsFilter(all_of=8)
Asks = Callable[[Any], Awaitable[Any]]
"""A read, given the database."""


class Noting:
    """A database without rows that records the lane of each read."""

    def __init__(self) -> None:
        self.lanes: set[Lane] = set()

    async def all(self, query: Query[Any], **params: Value) -> list[Any]:
        """Return no rows."""
        self.lanes.add(query.lane)
        return []

    async def one(self, query: Query[Any], **params: Value) -> Any:
        """Return no row."""
        self.lanes.add(query.lane)
        return None


QUICK: Final[dict[str, Asks]] = {
    "best": lambda database: Profiles(database).best_of(3, 0, limit=100),
    "recent": lambda database: Profiles(database).recent_of(3, 0, limit=100),
    "firsts": lambda database: Profiles(database).firsts_of(3, 0, limit=100),
    "most played": lambda database: Profiles(database).most_played(3, 0, limit=100),
    "board": lambda database: Boards(database).best_on(1, 0, limit=100),
    "recent on a map": lambda database: Boards(database).recent_on(1, 0, limit=100),
    "ranking": lambda database: Rankings(database).page(0, "pp", limit=100),
    "stats": lambda database: Profiles(database).stats_of(3),
    "grades": lambda database: Grades(database).on_map(3, 1),
}
SLOW: Final[dict[str, Asks]] = {
    "best with mods": lambda database: Profiles(database).best_of(3, 0, limit=100, mods=HD),
    "recent with mods": lambda database: Profiles(database).recent_of(3, 0, limit=100, mods=HD),
    "recent passes": lambda database: Profiles(database).recent_of(3, 0, limit=100, include_failed=False),
    "board with mods": lambda database: Boards(database).best_on(1, 0, limit=100, mods=HD),
    "pp board with mods": lambda database: Boards(database).best_on(1, 4, limit=100, mods=HD),
    "recent on a map with mods": lambda database: Boards(database).recent_on(1, 0, limit=100, mods=HD),
    "best far behind": lambda database: Profiles(database).best_of(3, 0, limit=100, offset=DEEP),
    "recent far behind": lambda database: Profiles(database).recent_of(3, 0, limit=100, offset=DEEP),
    "most played far behind": lambda database: Profiles(database).most_played(3, 0, limit=100, offset=DEEP),
    "board far behind": lambda database: Boards(database).best_on(1, 0, limit=100, offset=DEEP),
    "ranking far behind": lambda database: Rankings(database).page(0, "pp", limit=100, offset=DEEP),
    "ranking of a country far behind": lambda database: Rankings(database).page(
        0, "pp", country="nl", limit=1, offset=DEEP
    ),
}


def lanes(run: Run, asks: Asks) -> set[Lane]:
    database = Noting()

    async def ask() -> None:
        await asks(database)

    run(ask())
    return database.lanes


@pytest.mark.parametrize("name", QUICK)
def test_first_pages_of_profiles_and_boards_are_not_slow_reads(run: Run, name: str) -> None:
    assert Lane.SLOW not in lanes(run, QUICK[name])


@pytest.mark.parametrize("name", SLOW)
def test_filters_and_deep_pages_are_slow_reads(run: Run, name: str) -> None:
    assert lanes(run, SLOW[name]) == {Lane.SLOW}
