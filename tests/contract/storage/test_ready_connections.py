"""Connections to PostgreSQL go straight from one statement to the next, and back to the pool when they should."""

import asyncio
import contextlib
from typing import Any, cast

import asyncpg
import pytest
from sqlalchemy import Integer, func, literal_column, select
from tests.builders import Run

from kiai.storage.port import Database, Query, Transaction, scalar
from kiai.storage.postgres import POOL_MAX, PostgresDatabase
from kiai.storage.ready_connections import CHECKED_EVERY, UNUSED_S, ReadyConnections

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

BACKEND: Query[int | None] = Query(select(func.pg_backend_pid(type_=Integer)), scalar)
SLEEP: Query[int | None] = Query(select(func.pg_backend_pid(type_=Integer), func.pg_sleep(0.2)), lambda pid, _: pid)
FAILS: Query[int | None] = Query(select(literal_column("1 / 0", Integer)), scalar)


def ready(database: Database) -> ReadyConnections:
    return cast(PostgresDatabase, database)._pool


def test_connection_is_used_again_without_the_pool(database: Database, run: Run) -> None:
    async def scenario() -> tuple[set[int | None], int]:
        first = await database.one(BACKEND)
        pool = ready(database)._pool
        cast(Any, ready(database))._pool = None  # any use of it would fail
        pids = {await database.one(BACKEND) for _ in range(10)}
        ready(database)._pool = pool
        assert first in pids
        return pids, ready(database).in_use

    pids, in_use = run(scenario())
    assert len(pids) == 1
    assert in_use == 0


def test_more_callers_than_connections_all_get_an_answer(database: Database, run: Run) -> None:
    async def scenario() -> list[int | None]:
        await asyncio.gather(*(database.one(BACKEND) for _ in range(POOL_MAX)))
        return await asyncio.gather(*(database.one(SLEEP) for _ in range(3 * POOL_MAX)))

    pids = run(scenario())
    assert None not in pids
    assert len(set(pids)) <= POOL_MAX


def test_connection_that_the_server_has_closed_is_not_used_again(database: Database, run: Run) -> None:
    async def scenario() -> int | None:
        lost = await database.one(BACKEND)
        url = cast(Any, ready(database)._pool)._connect_args[0]
        other = await asyncpg.connect(url)
        await other.execute("SELECT pg_terminate_backend($1)", lost)
        await other.close()
        await asyncio.sleep(0.2)  # until the loop has read the end of the connection
        found = await database.one(BACKEND)
        assert found != lost
        return found

    assert run(scenario())


def test_connection_goes_back_to_the_pool_after_an_error(database: Database, run: Run) -> None:
    async def scenario() -> int:
        await database.one(BACKEND)
        with pytest.raises(asyncpg.DivisionByZeroError):
            await database.one(FAILS)
        return len(ready(database)._ready)

    assert run(scenario()) == 0


def test_answer_of_a_cancelled_read_goes_to_nobody(database: Database, run: Run) -> None:
    async def body(tx: Transaction) -> int | None:
        return await tx.one(BACKEND)

    async def scenario() -> list[int | None]:
        found = []
        for _ in range(20):
            asking = asyncio.create_task(database.one(SLEEP))
            await asyncio.sleep(0.005)
            asking.cancel()
            await asyncio.wait([asking])
            assert asking.cancelled()
            found.append(await database.transaction(body))
        return found

    assert None not in run(scenario())


def test_connections_that_are_not_needed_go_back_to_the_pool(database: Database, run: Run) -> None:
    async def scenario() -> None:
        await asyncio.gather(*(database.one(SLEEP) for _ in range(4)))
        own = ready(database)
        assert len(own._ready) == 4
        own._ready = [(connection, since - UNUSED_S) for connection, since in own._ready]
        for _ in range(4):
            await database.one(BACKEND)
        assert len(own._ready) == 1
        assert own.in_use == 0

    run(scenario())


def test_connection_that_is_used_all_the_time_goes_back_to_the_pool_now_and_then(database: Database, run: Run) -> None:
    async def scenario() -> list[int]:
        found = []
        for _ in range(2 * CHECKED_EVERY):
            await database.one(BACKEND)
            found.append(len(ready(database)._ready))
        return found

    assert run(scenario()).count(0) == 2


def test_open_transaction_does_not_reach_the_next_caller(database: Database, run: Run) -> None:
    async def body(tx: Transaction) -> None:
        with contextlib.suppress(asyncpg.DivisionByZeroError):
            await tx.lock(FAILS)

    async def scenario() -> int | None:
        await database.one(BACKEND)
        await database.transaction(body)
        return await database.one(BACKEND)

    assert run(scenario())


def test_lost_connections_do_not_count_as_used(database: Database, run: Run) -> None:
    async def scenario() -> int:
        await asyncio.gather(*(database.one(SLEEP) for _ in range(4)))
        own = ready(database)
        for connection, _ in own._ready:
            connection.terminate()
        return own.in_use

    assert run(scenario()) == 0
