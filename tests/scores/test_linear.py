"""The cost of recalculation, of the doctor's checks and of its repair is linear in the number of scores."""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

import pytest
from tests import engines
from tests.builders import World, a_map, a_play, a_player
from tests.conftest import Run

from kiai.scores import rebuilding
from kiai.scores.performance import Performance
from kiai.scores.recalculation import Recalculation
from kiai.storage import sqlite

SMALL: Final = 60  # players and maps; each player has a score on three of the maps
GROWTH: Final = 9
SLACK: Final = 1.4


class Steps:
    """The number of steps of SQLite's virtual machine on all connections, in hundreds."""

    def __init__(self) -> None:
        self.taken = 0

    def count(self) -> int:
        """Count a hundred steps. SQLite calls this."""
        self.taken += 1
        return 0


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """Count steps of all databases opened later."""
    counted = Steps()
    connect = sqlite.connect

    def counting(path: Path, **options: Any) -> sqlite3.Connection:
        connection = connect(path, **options)
        connection.set_progress_handler(counted.count, 100)
        return connection

    monkeypatch.setattr(sqlite, "connect", counting)
    return counted


def multiply(path: Path, size: int) -> None:
    """Copy the only player, map and score until there are `size` players and maps and three scores for each player."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        numbers = f"WITH n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {size - 1})"

        def copies(table: str, source: str, **changed: str) -> None:
            names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            values = [changed.get(name, f'{table}."{name}"') for name in names if changed.get(name) != ""]
            listed = ", ".join(f'"{name}"' for name in names if changed.get(name) != "")
            connection.execute(f"INSERT INTO {table} ({listed}) {numbers} SELECT {', '.join(values)} FROM {source}")

        word = "'p' || (users.id + n.n)"
        first = "WHERE users.id = (SELECT max(id) FROM users)"
        copies("users", f"users, n {first}", id="users.id + n.n", name=word, safe_name=word, email=word)
        copies("maps", "maps, n", key="maps.key + n.n", id="maps.id + n.n", md5="printf('%032x', n.n)")
        user, on = "scores.user_id + n.n", f"1 + (n.n * 7 + three.column1) % {size}"
        three = "scores, n, (VALUES (0), (1), (2)) AS three"
        copies("scores", three, id="", user_id=user, map_key=on, checksum="randomblob(16)")
        connection.execute("UPDATE counters SET value = (SELECT count(*) FROM users WHERE id > 1) WHERE name = 'users'")


@pytest.fixture
def work(steps: Steps, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], dict[str, int]]:
    """Return a function that fills a new database with `size` players and maps and measures each kind of work."""
    monkeypatch.setattr(rebuilding, "ROWS_AT_ONCE", 20)
    monkeypatch.setattr("kiai.staff.doctor.USERS_AT_ONCE", 2)

    def measured(size: int) -> dict[str, int]:
        with engines.fresh("sqlite", tmp_path) as url:
            database = run(engines.connect(url))
            assert isinstance(database, sqlite.SqliteDatabase)
            world = World(database, run, tmp_path / str(size))
            world.record(a_play(by=world.add_player(a_player()), on=world.add_map(a_map())))
            multiply(database.path, size)
            recalculation = Recalculation(
                database, world.beatmaps, cast(Performance, world.performance), world.rebuilder, world.clock, at_once=2
            )
            found: dict[str, int] = {}
            for name, todo in (
                ("rebuild", world.rebuilder.everything),
                ("doctor", world.doctor.examine),
                ("recalc", recalculation.run),
            ):
                before = steps.taken
                run(todo())
                found[name] = steps.taken - before
            run(database.close())
        return found

    return measured


def test_cost_grows_linearly_with_the_number_of_scores(work: Callable[[int], dict[str, int]]) -> None:
    small, large = work(SMALL), work(SMALL * GROWTH)

    growth = {name: large[name] / small[name] for name in small}
    assert all(one <= SLACK * GROWTH for one in growth.values()), (growth, small, large)
