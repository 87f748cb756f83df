"""Statements that take longer than a limit: what is recorded of them, their lines in the log, and their plans."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import bindparam, delete, func, literal, select
from structlog.testing import capture_logs
from tests import engines
from tests.conftest import Run
from tests.contract.storage.statements import ADD_USER, COUNT, COUNTERS, VALUE, add
from tests.contract.storage.test_lanes import ENDLESS

from kiai.clock import ManualClock
from kiai.errors import TooSlow
from kiai.storage import postgres, sqlite
from kiai.storage.port import Command, Database, Lane, Query, Transaction, scalar
from kiai.storage.postgres import PostgresDatabase
from kiai.storage.slow_statements import (
    LINES_AT_ONCE,
    OTHERS,
    STATEMENTS_MAX,
    UNREPORTED_MAX,
    SlowStatements,
    name_of,
)
from kiai.storage.sqlite import SqliteDatabase
from kiai.storage.tables import counters, users

MODULE: Final = __name__
SECRET: Final = "only Anna knows"
LIMIT_MS: Final = 20
BUSY_ROWS: Final = 300_000


def counting(lane: Lane) -> Query[Any]:
    """Return a query that takes longer than the limit."""
    up_to = select(literal(1).label("n")).cte("up_to", recursive=True)
    up_to = up_to.union_all(select(up_to.c.n + 1).where(up_to.c.n < BUSY_ROWS))
    rows = select(func.count()).select_from(up_to).where(literal("a") != bindparam("secret"))
    return Query(rows, scalar, lane=lane)


BUSY: Final = {lane: counting(lane) for lane in Lane}
FORGET: Final = Command(delete(users).where(users.c.email == bindparam("email")))


@asynccontextmanager
async def limited(url: str, limit_ms: int = LIMIT_MS) -> AsyncIterator[Database]:
    """Open a database that records statements above this limit."""
    slow = SlowStatements(limit_ms)
    database: Database
    if url.startswith("sqlite:///"):
        database = SqliteDatabase(Path(url.removeprefix("sqlite:///")), slow)
    else:
        database = await PostgresDatabase.connect(url, slow=slow)
    try:
        yield database
    finally:
        await database.close()


async def lines_of(database: Database) -> list[Any]:
    with capture_logs() as logged:
        await database.slow.report(database.explain)
    return [line for line in logged if line["event"] == "slow statement"]


@pytest.mark.parametrize("lane", Lane, ids=[lane.value for lane in Lane])
def test_slow_read_of_each_lane_has_a_line_with_name_time_and_plan(database_url: str, run: Run, lane: Lane) -> None:
    async def work() -> None:
        async with limited(database_url) as database:
            await database.one(BUSY[lane], secret=SECRET)

            [line] = await lines_of(database)

        assert line["statement"] == f"{MODULE}.BUSY[{lane}]"
        assert (line["lane"], line["times"]) == (lane.value, 1)
        assert line["log_level"] == ("info" if lane is Lane.JOB else "warning")
        assert line["ms"] > LIMIT_MS
        assert 0 <= line["waited_ms"] < line["ms"]
        assert any("up_to" in row for row in line["sql"])
        assert any("up_to" in row for row in line["plan"])
        assert SECRET not in str(line)

    run(work())


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_slow_statement_that_was_sent_with_others_has_the_text_and_the_plan_of_all(database_url: str, run: Run) -> None:
    async def work() -> None:
        async with limited(database_url) as database:
            await database.several((VALUE, {"name": "plays"}), (BUSY[Lane.LOOP], {"secret": SECRET}))

            [line] = await lines_of(database)

        assert any("counters" in row for row in line["sql"])
        assert any("up_to" in row for row in line["sql"])
        assert any("up_to" in row for row in line["plan"])
        assert SECRET not in str(line)

    run(work())


def test_quick_statements_are_not_recorded(database_url: str, run: Run) -> None:
    async def work() -> None:
        async with limited(database_url, 60_000) as database:
            await add(database, plays=1)
            assert await database.one(VALUE, name="plays") == 1

            assert await lines_of(database) == []
            assert (database.slow.counts, database.slow.slowest()) == ({}, {})

    run(work())


def test_without_a_limit_nothing_is_recorded(database_url: str, run: Run) -> None:
    async def work() -> None:
        async with engines.opened(database_url) as database:
            await database.one(BUSY[Lane.LOOP], secret=SECRET)

            assert not database.slow.is_on
            assert await lines_of(database) == []

    run(work())


def test_wait_for_the_connection_is_told_apart(database_url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "POOL_MAX", 1)
    wait_s = 0.2

    async def busy(tx: Transaction) -> None:
        await tx.one(BUSY[Lane.LOOP], secret=SECRET)

    async def occupy(tx: Transaction) -> None:
        if database_url.startswith("sqlite:///"):
            time.sleep(wait_s)  # noqa: ASYNC251 (the body runs in the writer thread)
        else:
            await asyncio.sleep(wait_s)

    async def work() -> None:
        async with limited(database_url) as database:
            await asyncio.gather(database.transaction(occupy), database.transaction(busy))

            [line] = await lines_of(database)

        assert line["lane"] == "write"
        assert line["waited_ms"] > 0.9 * wait_s * 1000
        assert line["ms"] > LIMIT_MS

    run(work())


def test_statement_that_the_engine_ends_is_recorded(
    database_url: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "SLOW_S", 0.1)
    monkeypatch.setattr(postgres, "SLOW_MS", 100)

    async def work() -> None:
        async with limited(database_url) as database:
            with pytest.raises(TooSlow):
                await database.one(ENDLESS)

            assert [line["lane"] for line in await lines_of(database)] == ["slow"]

    run(work())


@pytest.mark.parametrize("statement", [COUNT, FORGET, ADD_USER, COUNTERS], ids=["update", "delete", "insert", "select"])
def test_plan_does_not_run_the_statement(database_url: str, run: Run, statement: "Query[Any] | Command") -> None:
    async def work() -> None:
        async with limited(database_url) as database:
            await add(database, plays=1)
            text = database._sql[statement].text  # type: ignore[attr-defined]

            plans = [await database.explain(text) for _ in range(2)]  # nothing of the first one is in the way

            assert plans[0] == plans[1]
            assert await database.one(VALUE, name="plays") == 1
            assert database.slow.slowest() == {}

    run(work())


def test_failed_plan_leaves_the_connection_usable(database_url: str, run: Run) -> None:
    async def work() -> None:
        async with limited(database_url) as database:
            for _ in range(2):
                with pytest.raises(Exception, match="no_such_table"):
                    await database.explain("SELECT n FROM no_such_table")

            assert await database.explain(database._sql[COUNTERS].text)  # type: ignore[attr-defined]

    run(work())


# --- lines and figures, without a database


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def slow(clock: ManualClock) -> SlowStatements:
    return SlowStatements(100, clock.monotonic)


async def planned(text: str) -> list[str]:
    return [f"SCAN {text}"]


def reported(slow: SlowStatements, run: Run, explain: Callable[[str], Any] = planned) -> list[Any]:
    with capture_logs() as logged:
        run(slow.report(explain))
    return logged


def test_statement_has_one_line_a_minute_that_counts_the_runs_without_one(
    slow: SlowStatements, clock: ManualClock, run: Run
) -> None:
    slow.add(VALUE, "a", "loop", 0.2)
    first = reported(slow, run)
    for took_s in (0.3, 0.9, 0.1):
        slow.add(VALUE, "a", "loop", took_s, 0.05)
        clock.advance(1)
        assert reported(slow, run) == []
    clock.advance(60)
    later = reported(slow, run)
    clock.advance(60)

    assert [(line["times"], line["ms"], line["plan"]) for line in first] == [(1, 200.0, ["SCAN a"])]
    assert [(line["times"], line["ms"], line["waited_ms"]) for line in later] == [(3, 900.0, 50.0)]
    assert reported(slow, run) == []
    assert list(slow.counts.values()) == [4]


def test_slowest_run_is_that_of_the_last_minutes(slow: SlowStatements, clock: ManualClock, run: Run) -> None:
    slow.add(VALUE, "a", "loop", 2.0)
    slow.add(COUNT, "b", "write", 1.0)
    reported(slow, run)
    clock.advance(180)
    slow.add(VALUE, "a", "loop", 0.5)
    reported(slow, run)

    assert list(slow.slowest().items()) == [(name_of(VALUE), 2.0), (name_of(COUNT), 1.0)]
    clock.advance(180)
    assert slow.slowest() == {name_of(VALUE): 0.5}


def test_line_without_a_plan_says_why(slow: SlowStatements, run: Run) -> None:
    async def failing(text: str) -> list[str]:
        raise OSError("no connection")

    slow.add(VALUE, "a", "loop", 0.2)

    [line] = reported(slow, run, failing)

    assert "plan" not in line
    assert line["no_plan"] == "OSError: no connection"


def test_table_queue_and_lines_are_bounded(slow: SlowStatements, clock: ManualClock, run: Run) -> None:
    for number in range(3 * UNREPORTED_MAX):
        slow.add(Query(select(counters.c.name), scalar), f"statement {number}", "loop", 0.2)

    assert len(reported(slow, run)) == LINES_AT_ONCE
    assert len(slow._records) == STATEMENTS_MAX
    assert sum(slow.counts.values()) == UNREPORTED_MAX
    assert len(slow.counts) <= STATEMENTS_MAX + 1


def test_statements_beyond_the_table_are_counted_together(slow: SlowStatements, run: Run) -> None:
    slow.counts |= {f"module.{number}": 1 for number in range(STATEMENTS_MAX)}

    slow.add(VALUE, "a", "loop", 0.2)
    reported(slow, run)

    assert slow.counts[OTHERS] == 1


def test_name_is_the_variable_of_the_statement_or_the_line_that_builds_it() -> None:
    def built() -> Query[Any]:
        return Query(select(counters.c.name), scalar)

    assert name_of(VALUE.in_lane(Lane.JOB)) == "tests.contract.storage.statements.VALUE"
    assert name_of(BUSY[Lane.SLOW]) == f"{MODULE}.BUSY[{Lane.SLOW}]"
    assert name_of(built()).rpartition(":")[0] == MODULE
    assert name_of(built()).rpartition(":")[2].isdigit()
