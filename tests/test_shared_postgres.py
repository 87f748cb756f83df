"""The PostgreSQL database that tests share: what one test leaves does not reach the next one."""

import asyncio
import threading
from typing import Any

import asyncpg
import pytest
from sqlalchemy import NullPool, create_engine, make_url, select, text
from tests import engines, shared_postgres
from tests.shared_postgres import SharedPostgres

from kiai.storage.port import Query
from kiai.storage.tables import users

USER = """INSERT INTO users (name, safe_name, email, created_at_ms, active_at_ms)
VALUES ('alice', 'alice', 'alice@example.org', 1, 1)"""
PLAYER = "INSERT INTO old_names (user_id, name, safe_name, released_at_ms) VALUES (3, 'al', 'al', 1)"
SEEDED = ("UPDATE switches SET value = 1", "DELETE FROM channels", "UPDATE counters SET value = 7")
NAMES: Query[str] = Query(select(users.c.name).where(users.c.id >= 3).order_by(users.c.id), row=str)


@pytest.fixture
def shared() -> SharedPostgres:
    """The database of this process."""
    return shared_postgres.shared()


def contents(url: str) -> dict[str, list[Any]]:
    """Return the rows of every table in order of its place on disk, and the state of every sequence."""
    with create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool).connect() as connection:

        def of(statement: str) -> list[Any]:
            return [tuple(row) for row in connection.execute(text(statement))]

        tables = {row[0]: of(f"SELECT * FROM {row[0]}") for row in of(shared_postgres.TABLES)}
        sequences = of("SELECT seqrelid::regclass::text, pg_sequence_last_value(seqrelid) FROM pg_sequence ORDER BY 1")
    return {**tables, "sequences": sequences}


@pytest.mark.parametrize("large_bytes", [0, shared_postgres.LARGE_BYTES], ids=["truncated", "deleted"])
def test_rows_and_sequences_are_those_after_the_migrations(large_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_postgres, "LARGE_BYTES", large_bytes)
    shared = SharedPostgres()
    with engines.postgres_database() as url:
        before = contents(url)
    assert before["switches"]
    engines.execute(shared.url, USER, PLAYER, *SEEDED)
    assert contents(shared.url)["users"][1][0] == 3

    assert shared.clean()
    assert contents(shared.url) == before


def test_a_test_has_the_same_connections_as_the_one_before(shared: SharedPostgres) -> None:
    assert names(shared) == []
    pids = processes(shared)
    engines.execute(shared.url, USER)
    assert names(shared) == ["alice"]
    assert shared_postgres.shared() is shared
    assert names(shared) == []
    assert processes(shared) == pids


def names(shared: SharedPostgres) -> list[str]:
    """Return the names of players, over a connection of the pool."""
    with shared.loop():
        database = shared.lend()
        found = shared.run(database.all(NAMES))
        shared.run(database.close())
    return found


def processes(shared: SharedPostgres) -> list[int]:
    """Return the ids of the processes of PostgreSQL that the shared connections use."""
    statement = "SELECT pid FROM pg_stat_activity WHERE application_name = $1 ORDER BY pid"

    async def read() -> list[int]:
        connection = await asyncpg.connect(shared.url)
        try:
            return [row[0] for row in await connection.fetch(statement, shared_postgres.OURS)]
        finally:
            await connection.close()

    return asyncio.run(read())


def test_a_closed_adapter_refuses_statements(shared: SharedPostgres) -> None:
    with shared.loop():
        database = shared.lend()
        shared.run(database.close())
        with pytest.raises(Exception, match="pool is closed"):
            shared.run(database.all(NAMES))


def test_a_statement_that_changes_the_schema_is_refused(shared: SharedPostgres) -> None:
    with pytest.raises(asyncpg.RaiseError, match="tests share this database: CREATE INDEX"):
        engines.execute(shared.url, "CREATE INDEX another ON users (priv)")


def test_connections_and_transactions_that_a_test_has_left_open_are_ended(shared: SharedPostgres) -> None:
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(shared.url))
        runner.run(connection.execute(f"BEGIN; {USER}"))
        assert shared_postgres.shared() is shared
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            runner.run(connection.execute("COMMIT"))
    assert names(shared) == []


def test_after_a_test_that_did_not_give_a_connection_back_there_is_another_database(shared: SharedPostgres) -> None:
    with shared.loop():
        shared.run(shared.lend()._pool.acquire())
    assert shared_postgres.shared() is not shared


def test_after_a_crash_there_is_another_database(shared: SharedPostgres) -> None:
    for pid in processes(shared):
        engines.execute(engines.postgres_url(), f"SELECT pg_terminate_backend({pid}, 10000)")
    following = shared_postgres.shared()
    assert following is not shared
    assert names(following) == []


def test_tasks_timers_and_threads_end_with_the_test(shared: SharedPostgres) -> None:
    ended, worked = [], threading.Event()
    timers: list[asyncio.TimerHandle] = []
    tasks: list[asyncio.Task[None]] = []

    async def start() -> None:
        async def wait() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(True)

        tasks.append(asyncio.ensure_future(wait()))
        loop = asyncio.get_running_loop()
        timers.append(loop.call_later(600, print))
        loop.run_in_executor(None, worked.set)
        await asyncio.sleep(0)

    with shared.loop():
        shared.run(start())
        assert not ended
    assert ended
    assert worked.is_set()
    assert timers[0].cancelled()
