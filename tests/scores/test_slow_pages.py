"""Which reads of profiles, boards and rankings are slow: pages far behind, and filters that few rows may fit."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest
from tests.conftest import Run

from kiai.scores.leaderboards import DEEP, Leaderboards, ModsWanted
from kiai.storage.port import Lane, Query, Value

HD: Final = ModsWanted(all_of=8)
Asks = Callable[[Leaderboards], Awaitable[Any]]


class Noting:
    """A database without rows that notes the lane of each read."""

    def __init__(self) -> None:
        self.lanes: set[Lane] = set()

    async def all(self, query: Query[Any], **params: Value) -> list[Any]:
        """No rows."""
        self.lanes.add(query.lane)
        return []

    async def one(self, query: Query[Any], **params: Value) -> Any:
        """No row."""
        self.lanes.add(query.lane)
        return None


QUICK: Final[dict[str, Asks]] = {
    "best": lambda boards: boards.best_of(3, 0, limit=100),
    "recent": lambda boards: boards.recent_of(3, 0, limit=100),
    "firsts": lambda boards: boards.firsts_of(3, 0, limit=100),
    "most played": lambda boards: boards.most_played(3, 0, limit=100),
    "board": lambda boards: boards.board(1, 0, limit=100),
    "recent on a map": lambda boards: boards.recent_on(1, 0, limit=100),
    "ranking": lambda boards: boards.ranking(0, "pp", limit=100),
    "stats": lambda boards: boards.stats_of(3),
    "grades": lambda boards: boards.grades_on(3, 1),
}
SLOW: Final[dict[str, Asks]] = {
    "best with mods": lambda boards: boards.best_of(3, 0, limit=100, mods=HD),
    "recent with mods": lambda boards: boards.recent_of(3, 0, limit=100, mods=HD),
    "recent passes": lambda boards: boards.recent_of(3, 0, limit=100, include_failed=False),
    "board with mods": lambda boards: boards.board(1, 0, limit=100, mods=HD),
    "pp board with mods": lambda boards: boards.board(1, 4, limit=100, mods=HD),
    "recent on a map with mods": lambda boards: boards.recent_on(1, 0, limit=100, mods=HD),
    "best far behind": lambda boards: boards.best_of(3, 0, limit=100, offset=DEEP),
    "recent far behind": lambda boards: boards.recent_of(3, 0, limit=100, offset=DEEP),
    "most played far behind": lambda boards: boards.most_played(3, 0, limit=100, offset=DEEP),
    "board far behind": lambda boards: boards.board(1, 0, limit=100, offset=DEEP),
    "ranking far behind": lambda boards: boards.ranking(0, "pp", limit=100, offset=DEEP),
    "ranking of a country far behind": lambda boards: boards.ranking(0, "pp", country="nl", limit=1, offset=DEEP),
}


def lanes(run: Run, asks: Asks) -> set[Lane]:
    database = Noting()

    async def ask() -> None:
        await asks(Leaderboards(database))  # type: ignore[arg-type]

    run(ask())
    return database.lanes


@pytest.mark.parametrize("name", QUICK)
def test_what_a_profile_or_a_board_shows_first_is_no_slow_read(run: Run, name: str) -> None:
    assert Lane.SLOW not in lanes(run, QUICK[name])


@pytest.mark.parametrize("name", SLOW)
def test_filters_and_pages_far_behind_are_slow_reads(run: Run, name: str) -> None:
    assert lanes(run, SLOW[name]) == {Lane.SLOW}
