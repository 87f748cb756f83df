"""Reads of one lane do not wait for other lanes. Slow reads have a deadline and a bounded queue with turns."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from sqlalchemy import column, func, literal, select, table
from tests import engines
from tests.conftest import Run
from tests.contract.storage.statements import VALUE, add
from tests.patience import patiently

from kiai.callers import CALLER
from kiai.errors import TooSlow, Unavailable
from kiai.storage import postgres, sqlite
from kiai.storage.port import Database, Lane, Query, scalar


def counting(most: int, lane: Lane) -> Query[Any]:
    """Return a query that counts to `most`, row by row."""
    up_to = select(literal(1).label("n")).cte("up_to", recursive=True)
    up_to = up_to.union_all(select(up_to.c.n + 1).where(up_to.c.n < most))
    return Query(select(func.count()).select_from(up_to), scalar, lane=lane)


ENDLESS: Final = counting(2_000_000_000, Lane.SLOW)
LONG: Final = counting(3_000_000, Lane.JOB)
QUICK: Final = {lane: VALUE.in_lane(lane) for lane in Lane}
UNLIMITED_S: Final = 120.0
"""A limit that no test waits for. It ends an endless read whose cancellation got lost, before it fills the disk."""
_RUNNING: Final = (
    table("pg_stat_activity", *map(column, ("pid", "query", "state", "datname", "wait_event_type"))),
    column("query").like("%up_to%"),
    column("state") == "active",
    column("datname") == func.current_database(),
    column("pid") != func.pg_backend_pid(),  # the text of the queries below has the name as well
)
ACTIVE: Final = Query(
    select(func.count())
    .select_from(_RUNNING[0])
    .where(*_RUNNING[1:], func.coalesce(column("wait_event_type"), "") != "Client"),
    scalar,
    lane=Lane.JOB,
)
"""The endless reads that PostgreSQL runs now.

A read whose statement has not arrived completely is active as well, and waits for the client.
"""
CANCEL: Final = Query(
    select(func.count(func.pg_cancel_backend(column("pid")))).select_from(_RUNNING[0]).where(*_RUNNING[1:]),
    scalar,
    lane=Lane.JOB,
)


def slow_reads_at_once(database: Database) -> int:
    """Return the number of slow reads that the adapter runs at the same time."""
    return 1 if isinstance(database, sqlite.SqliteDatabase) else postgres.SLOW_POOL_MAX


def set_slow_limit(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Set the time limit of slow reads for databases opened later. Their wait gets no limit."""
    monkeypatch.setattr(sqlite, "SLOW_S", seconds)
    monkeypatch.setattr(postgres, "SLOW_MS", int(seconds * 1000))
    monkeypatch.setattr(postgres, "SLOW_REPLY_TIMEOUT_S", seconds + patiently(5.0))  # only for a server that hangs
    for adapter in (sqlite, postgres):
        monkeypatch.setattr(adapter, "SLOW_WAIT_S", patiently(UNLIMITED_S))


def start_read(database: Database, query: Query[Any], caller: str) -> "asyncio.Task[Any]":
    """Start a read as this caller."""
    before = CALLER.set(caller)
    try:
        return asyncio.create_task(database.one(query, **({"name": "plays"} if query in QUICK.values() else {})))
    finally:
        CALLER.reset(before)


@asynccontextmanager
async def full_slow_lane(database: Database) -> AsyncIterator[list["asyncio.Task[Any]"]]:
    """Occupy the slow lane with endless reads of the caller `hog`."""
    hogs = [start_read(database, ENDLESS, "hog") for _ in range(slow_reads_at_once(database))]
    await asyncio.sleep(0)
    try:
        # PostgreSQL forgets a cancellation that comes before the statement has begun.
        if not isinstance(database, sqlite.SqliteDatabase):
            async with asyncio.timeout(patiently(30)):
                while (await database.one(ACTIVE) or 0) < len(hogs):  # noqa: ASYNC110 (another process begins them)
                    await asyncio.sleep(0.01)
        yield hogs
    finally:
        for one in hogs:
            one.cancel()
        ended = asyncio.gather(*hogs, return_exceptions=True)
        # Once more for a cancellation that PostgreSQL has forgotten: its connection is given back only after the read.
        while not isinstance(database, sqlite.SqliteDatabase) and not ended.done():
            await database.one(CANCEL)
            await asyncio.wait([ended], timeout=0.1)
        await ended


def test_slow_read_ends_at_its_deadline_and_the_next_one_works(
    database_url: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_slow_limit(monkeypatch, 0.2)

    async def scenario() -> int | None:
        async with engines.opened(database_url) as database:
            await add(database, plays=5)
            for _ in range(slow_reads_at_once(database) + 1):
                with pytest.raises(TooSlow):
                    await database.one(ENDLESS)
            set_slow_limit(monkeypatch, patiently(60))
        async with engines.opened(database_url) as database:
            return await database.one(QUICK[Lane.SLOW], name="plays")

    assert run(scenario()) == 5


def test_other_lanes_do_not_wait_for_slow_reads(database_url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    set_slow_limit(monkeypatch, patiently(UNLIMITED_S))

    async def scenario() -> tuple[list[int | None], list[bool]]:
        async with engines.opened(database_url) as database:
            await add(database, plays=5)
            async with full_slow_lane(database) as hogs:
                for _ in range(8):
                    hogs.append(start_read(database, ENDLESS, "hog"))
                async with asyncio.timeout(patiently(30)):
                    await add(database, others=1)
                    found = [await database.one(QUICK[lane], name="plays") for lane in Lane if lane is not Lane.SLOW]
                return found, [one.done() for one in hogs]

    found, done = run(scenario())
    assert found == [5, 5, 5]
    assert not any(done)


def test_callers_take_turns_when_one_has_many_reads_waiting(
    database_url: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_slow_limit(monkeypatch, patiently(UNLIMITED_S))

    async def scenario() -> list[str]:
        async with engines.opened(database_url) as database:
            await add(database, plays=5)
            ended: list[str] = []
            async with full_slow_lane(database) as hogs:
                waiting = []
                for name in ("hog",) * 8 + ("guest",):
                    waiting.append(start_read(database, QUICK[Lane.SLOW], name))
                    waiting[-1].set_name(name)
                    waiting[-1].add_done_callback(lambda one: ended.append(one.get_name()))
                await asyncio.sleep(0)
                hogs[0].cancel()
                async with asyncio.timeout(patiently(30)):
                    await asyncio.gather(*waiting)
            return ended

    assert "guest" in run(scenario())[:2]


def test_caller_with_too_many_waiting_reads_is_rejected_and_others_are_not(
    database_url: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_slow_limit(monkeypatch, patiently(UNLIMITED_S))

    async def scenario() -> tuple[int, bool]:
        async with engines.opened(database_url) as database, full_slow_lane(database) as hogs:
            hogs += [start_read(database, ENDLESS, "hog") for _ in range(40)]
            refused = 0
            async with asyncio.timeout(patiently(30)):
                while refused < 40 - sqlite.SLOW_OF_CALLER:
                    await asyncio.sleep(0)
                    refused = sum(1 for one in hogs if one.done() and isinstance(one.exception(), Unavailable))
            guest = start_read(database, QUICK[Lane.SLOW], "guest")
            await asyncio.sleep(0)
            is_waiting = not guest.done()
            guest.cancel()
            await asyncio.gather(guest, return_exceptions=True)
            return refused, is_waiting

    assert run(scenario()) == (40 - sqlite.SLOW_OF_CALLER, True)
    assert sqlite.SLOW_OF_CALLER == postgres.SLOW_OF_CALLER


def test_read_of_a_cancelled_caller_frees_its_turn(
    database_url: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_slow_limit(monkeypatch, patiently(UNLIMITED_S))

    async def scenario() -> int | None:
        async with engines.opened(database_url) as database:
            await add(database, plays=5)
            async with full_slow_lane(database) as hogs:
                hogs[0].cancel()
                async with asyncio.timeout(patiently(30)):
                    return await database.one(QUICK[Lane.SLOW], name="plays")

    assert run(scenario()) == 5


def test_job_has_no_time_limit(database_url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    set_slow_limit(monkeypatch, 0.01)
    monkeypatch.setattr(postgres, "STATEMENT_MS", 200)

    async def scenario() -> int | None:
        async with engines.opened(database_url) as database:
            return await database.one(LONG)

    assert run(scenario()) == 3_000_000


def test_close_interrupts_running_reads(tmp_path: Any, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    set_slow_limit(monkeypatch, patiently(UNLIMITED_S))

    async def scenario() -> list[Any]:
        with engines.fresh("sqlite", tmp_path) as url:
            database = await engines.connect(url)
            reading = [start_read(database, ENDLESS, "hog") for _ in range(3)]
            await asyncio.sleep(0)
            async with asyncio.timeout(patiently(30)):
                await database.close()
            return await asyncio.gather(*reading, return_exceptions=True)

    assert all(isinstance(one, Unavailable) for one in run(scenario()))
