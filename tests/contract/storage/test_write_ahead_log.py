"""The write-ahead log of SQLite shrinks again after a long read has made it grow."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.patience import patiently

from kiai.storage import sqlite
from kiai.storage.port import Command, Transaction
from kiai.storage.sqlite import SqliteDatabase, connect

LIMIT = 256 * 1024


def wal_bytes(path: Path) -> int:
    return path.with_name(f"{path.name}-wal").stat().st_size


def fill(path: Path, rows: int) -> None:
    """Write rows of about 4 KiB, on another connection than the server."""
    writer = connect(path)
    writer.execute("CREATE TABLE IF NOT EXISTS ballast (body BLOB)")
    for _ in range(rows):
        writer.execute("INSERT INTO ballast VALUES (randomblob(4000))")
    writer.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    connect(tmp_path / "kiai.db").close()
    return tmp_path / "kiai.db"


def test_log_that_grew_during_a_long_read_is_truncated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "WAL_BYTES", LIMIT)

    async def scenario() -> None:
        database = SqliteDatabase(path)
        reader = connect(path, read_only=True)
        fill(path, 1)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM ballast").fetchone()
        fill(path, 2_000)
        grown = wal_bytes(path)
        assert grown > 4 * LIMIT

        await database.checkpoint()
        assert wal_bytes(path) == grown, "a reader still needs the log"
        reader.execute("COMMIT")
        await database.checkpoint()
        assert wal_bytes(path) <= LIMIT

        reader.close()
        await database.close()

    asyncio.run(scenario())


def test_log_is_truncated_while_transactions_always_wait(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "WAL_BYTES", LIMIT)
    checkpointed = asyncio.Event()
    fill(path, 1)
    # A statement of some ms, so that the loop queues the next transactions before the writer is done.
    counted = "(WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 10000) SELECT count(*) FROM c)"
    add = Command(text(f"INSERT INTO ballast SELECT randomblob(4000) FROM {counted}"))

    async def scenario() -> None:
        database = SqliteDatabase(path)

        async def body(tx: Transaction) -> None:
            await tx.run(add)

        async def write() -> None:
            while not checkpointed.is_set():
                await database.transaction(body)

        async with asyncio.TaskGroup() as tasks, asyncio.timeout(patiently(30)):
            for _ in range(2 * sqlite.TOGETHER_MAX):
                tasks.create_task(write())
            while wal_bytes(path) <= LIMIT:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await database.checkpoint()
            checkpointed.set()
        await database.close()

    asyncio.run(scenario())


def test_transaction_after_a_truncation_waits_for_the_lock_of_another_process(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "WAL_BYTES", 0)
    monkeypatch.setattr(sqlite, "_whole_ms", lambda seconds: 5_000)  # the same for all transactions
    fill(path, 10)
    add = Command(text("INSERT INTO ballast VALUES ('added')"))

    async def scenario() -> None:
        database = SqliteDatabase(path)

        async def body(tx: Transaction) -> None:
            await tx.run(add)

        await database.transaction(body)
        await database.checkpoint()  # it does not wait for locks itself
        other = connect(path)
        other.execute("BEGIN IMMEDIATE")
        asyncio.get_running_loop().call_later(0.1, other.execute, "ROLLBACK")
        await database.transaction(body)
        assert other.execute("SELECT count(*) FROM ballast WHERE body = 'added'").fetchone() == (2,)
        other.close()
        await database.close()

    asyncio.run(scenario())


def test_small_log_is_not_truncated(path: Path) -> None:
    async def scenario() -> None:
        database = SqliteDatabase(path)
        fill(path, 10)
        before = wal_bytes(path)

        await database.checkpoint()

        assert wal_bytes(path) == before > 0
        await database.close()

    asyncio.run(scenario())


def test_writer_truncates_the_log_when_it_restarts_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "WAL_BYTES", LIMIT)
    writer = connect(path)
    reader = connect(path, read_only=True)
    writer.execute("CREATE TABLE ballast (body BLOB)")
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM ballast").fetchone()
    for _ in range(2_000):
        writer.execute("INSERT INTO ballast VALUES (randomblob(4000))")
    assert wal_bytes(path) > 4 * LIMIT

    reader.execute("COMMIT")
    writer.execute("PRAGMA wal_checkpoint(PASSIVE)")
    writer.execute("INSERT INTO ballast VALUES (randomblob(4000))")

    assert wal_bytes(path) <= LIMIT
    reader.close()
    writer.close()
