"""Reads of one lane never wait for those of another; slow reads have a deadline, a bound, and turns by caller."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from sqlalchemy import func, literal, select
from tests import engines
from tests.conftest import Run
from tests.contract.storage.statements import VALUE, add
from tests.patience import patiently

from kiai.callers import CALLER
from kiai.errors import TooSlow, Unavailable
from kiai.storage import postgres, sqlite
from kiai.storage.port import Database, Lane, Query, only


def counting(most: int, lane: Lane) -> Query[Any]:
    """Counts to `most`, a row at a time, and answers with it."""
    up_to = select(literal(1).label("n")).cte("up_to", recursive=True)
    up_to = up_to.union_all(select(up_to.c.n + 1).where(up_to.c.n < most))
    return Query(select(func.count()).select_from(up_to), only, lane=lane)


ENDLESS: Final = counting(2_000_000_000, Lane.SLOW)
LONG: Final = counting(3_000_000, Lane.JOB)
QUICK: Final = {lane: VALUE.at(lane) for lane in Lane}
HOUR_S: Final = 3_600.0


def places(database: Database) -> int:
    """How many slow reads the adapter runs at once."""
    return 1 if isinstance(database, sqlite.SqliteDatabase) else postgres.SLOW_POOL_MAX


def allow(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Sets the deadline of slow reads for databases that are opened from now on; their wait has none."""
    monkeypatch.setattr(sqlite, "SLOW_S", seconds)
    monkeypatch.setattr(postgres, "SLOW_MS", int(seconds * 1000))
    monkeypatch.setattr(postgres, "SLOW_ANSWER_S", seconds + 0.5)
    for adapter in (sqlite, postgres):
        monkeypatch.setattr(adapter, "SLOW_WAIT_S", HOUR_S)


def ask(database: Database, query: Query[Any], caller: str) -> "asyncio.Task[Any]":
    """Starts a read on behalf of a caller."""
    before = CALLER.set(caller)
    try:
        return asyncio.create_task(database.one(query, **({"name": "plays"} if query in QUICK.values() else {})))
    finally:
        CALLER.reset(before)


@asynccontextmanager
async def full(database: Database) -> AsyncIterator[list["asyncio.Task[Any]"]]:
    """Every place of the slow lane is taken by a read of `hog` that does not end."""
    hogs = [ask(database, ENDLESS, "hog") for _ in range(places(database))]
    await asyncio.sleep(0)
    try:
        yield hogs
    finally:
        for one in hogs:
            one.cancel()
        await asyncio.gather(*hogs, return_exceptions=True)


def test_a_slow_read_ends_at_its_deadline_and_the_next_is_answered(
    database_url: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(monkeypatch, 0.2)

    async def story() -> int | None:
        async with engines.opened(database_url) as database:
            await add(database, plays=5)
            for _ in range(places(database) + 1):
                with pytest.raises(TooSlow):
                    await database.one(ENDLESS)
            allow(monkeypatch, patiently(60))
        async with engines.opened(database_url) as database:
            return await database.one(QUICK[Lane.SLOW], name="plays")

    assert run(story()) == 5


def test_nothing_else_waits_for_slow_reads(database_url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch, HOUR_S)

    async def story() -> tuple[list[int | None], list[bool]]:
        async with engines.opened(database_url) as database:
            await add(database, plays=5)
            async with full(database) as hogs:
                for _ in range(8):
                    hogs.append(ask(database, ENDLESS, "hog"))
                async with asyncio.timeout(patiently(30)):
                    await add(database, others=1)
                    found = [await database.one(QUICK[lane], name="plays") for lane in Lane if lane is not Lane.SLOW]
                return found, [one.done() for one in hogs]

    found, done = run(story())
    assert found == [5, 5, 5]
    assert not any(done)


def test_callers_take_turns_however_many_reads_one_of_them_has_waiting(
    database_url: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(monkeypatch, HOUR_S)

    async def story() -> list[str]:
        async with engines.opened(database_url) as database:
            await add(database, plays=5)
            ended: list[str] = []
            async with full(database) as hogs:
                waiting = []
                for name in ("hog",) * 8 + ("guest",):
                    waiting.append(ask(database, QUICK[Lane.SLOW], name))
                    waiting[-1].set_name(name)
                    waiting[-1].add_done_callback(lambda one: ended.append(one.get_name()))
                await asyncio.sleep(0)
                hogs[0].cancel()
                async with asyncio.timeout(patiently(30)):
                    await asyncio.gather(*waiting)
            return ended

    assert "guest" in run(story())[:2]


def test_a_caller_with_too_many_reads_waiting_is_refused_at_once_and_others_are_not(
    database_url: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(monkeypatch, HOUR_S)

    async def story() -> tuple[int, bool]:
        async with engines.opened(database_url) as database, full(database) as hogs:
            hogs += [ask(database, ENDLESS, "hog") for _ in range(40)]
            refused = 0
            async with asyncio.timeout(patiently(30)):
                while refused < 40 - sqlite.SLOW_OF_CALLER:
                    await asyncio.sleep(0)
                    refused = sum(1 for one in hogs if one.done() and isinstance(one.exception(), Unavailable))
            guest = ask(database, QUICK[Lane.SLOW], "guest")
            await asyncio.sleep(0)
            is_waiting = not guest.done()
            guest.cancel()
            await asyncio.gather(guest, return_exceptions=True)
            return refused, is_waiting

    assert run(story()) == (40 - sqlite.SLOW_OF_CALLER, True)
    assert sqlite.SLOW_OF_CALLER == postgres.SLOW_OF_CALLER


def test_a_read_whose_caller_is_gone_makes_room(database_url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch, HOUR_S)

    async def story() -> int | None:
        async with engines.opened(database_url) as database:
            await add(database, plays=5)
            async with full(database) as hogs:
                hogs[0].cancel()
                async with asyncio.timeout(patiently(30)):
                    return await database.one(QUICK[Lane.SLOW], name="plays")

    assert run(story()) == 5


def test_a_job_takes_as_long_as_it_takes(database_url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch, 0.01)
    monkeypatch.setattr(postgres, "STATEMENT_MS", 200)

    async def story() -> int | None:
        async with engines.opened(database_url) as database:
            return await database.one(LONG)

    assert run(story()) == 3_000_000


def test_closing_ends_what_still_reads(tmp_path: Any, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch, HOUR_S)

    async def story() -> list[Any]:
        with engines.fresh("sqlite", tmp_path) as url:
            database = await engines.connect(url)
            reading = [ask(database, ENDLESS, "hog") for _ in range(3)]
            await asyncio.sleep(0)
            async with asyncio.timeout(patiently(30)):
                await database.close()
            return await asyncio.gather(*reading, return_exceptions=True)

    assert all(isinstance(one, Unavailable) for one in run(story()))
