"""Migrations lead to the schema that `tables` declares, may be run again, and by two processes at once."""

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, make_url
from sqlalchemy.exc import SAWarning
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from tests import engines
from tests.conftest import Run
from tests.contract.storage.statements import COUNTERS, USER_IDS, Counter, add

from kiai.storage.migrating import migrate, newest
from kiai.storage.tables import metadata


@pytest.fixture(params=engines.ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine in turn."""
    return str(request.param)


@pytest.fixture
def migrated_url(engine: str, tmp_path: Path) -> Iterator[str]:
    """A database with the newest schema."""
    with engines.fresh(engine, tmp_path) as url:
        yield url


@pytest.fixture
def empty_url(engine: str, tmp_path: Path) -> Iterator[str]:
    """A database without any schema."""
    with engines.fresh(engine, tmp_path, empty=True) as url:
        yield url


def on(url: str, work: Callable[[Connection], Any]) -> Any:
    """Does work on a connection of SQLAlchemy's own."""
    if url.startswith("sqlite"):
        with create_engine(url, poolclass=NullPool).begin() as connection:
            return work(connection)

    async def story() -> Any:
        engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"), poolclass=NullPool)
        async with engine.begin() as connection:
            return await connection.run_sync(work)

    return asyncio.run(story())


def schema(connection: Connection) -> dict[str, list[str]]:
    """What the engine itself says of its tables, columns, constraints and indexes; a line each, sorted."""

    def ask(sql: str) -> list[str]:
        return sorted(" ".join(str(cell) for cell in row) for row in connection.exec_driver_sql(sql))

    if connection.dialect.name == "sqlite":
        found = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")
        # A table is its columns and constraints in any order, and the options behind the bracket.
        return {
            name: sorted(part.strip().removesuffix(",") for part in sql.splitlines())
            for name, sql in found
            if sql is not None and name != "alembic_version"
        }
    mine = "NOT IN ('alembic_version', 'alembic_version_pkc')"
    return {
        "columns": ask(
            "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default,"
            " is_identity, identity_generation, identity_start FROM information_schema.columns"
            f" WHERE table_schema = 'public' AND table_name {mine}"
        ),
        "constraints": ask(
            "SELECT conrelid::regclass, conname, pg_get_constraintdef(oid) FROM pg_constraint"
            f" WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text {mine}"
        ),
        "indexes": ask(f"SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename {mine}"),
    }


def test_migrations_lead_to_the_schema_that_is_declared(empty_url: str, migrated_url: str) -> None:
    on(empty_url, metadata.create_all)

    declared, migrated = on(empty_url, schema), on(migrated_url, schema)

    assert len(declared) > 2
    assert migrated == declared


def test_alembic_finds_nothing_left_to_migrate(migrated_url: str) -> None:
    def differences(connection: Connection) -> list[Any]:
        # SQLite has no identity columns, and Alembic takes that for a default that is missing.
        defaults = connection.dialect.name != "sqlite"
        context = MigrationContext.configure(connection, opts={"compare_server_default": defaults})
        with warnings.catch_warnings():
            # SQLite's indexes with DESC cannot be reflected; the test above compares them word by word.
            warnings.filterwarnings("ignore", "Skipped unsupported reflection of expression-based index", SAWarning)
            return list(compare_metadata(context, metadata))

    assert on(migrated_url, differences) == []


def test_a_new_database_holds_the_bot_and_its_version(empty_url: str, run: Run) -> None:
    migrate(empty_url)

    async def story() -> tuple[str | None, list[int], list[Counter]]:
        async with engines.opened(empty_url) as database:
            return await database.version(), await database.all(USER_IDS), await database.all(COUNTERS)

    assert run(story()) == (newest(), [1], [Counter("users", 0)])


def test_migrating_again_changes_nothing(migrated_url: str, run: Run) -> None:
    async def story() -> list[Counter]:
        async with engines.opened(migrated_url) as database:
            await add(database, plays=7)
            await asyncio.to_thread(migrate, migrated_url)
            await asyncio.to_thread(migrate, migrated_url)
            assert await database.version() == newest()
            return await database.all(COUNTERS)

    before = on(migrated_url, schema)
    assert run(story()) == [Counter("users", 0), Counter("plays", 7)]
    assert on(migrated_url, schema) == before


def test_two_processes_that_migrate_at_once_do_no_harm(empty_url: str, migrated_url: str, run: Run) -> None:
    code = "import sys; from kiai.storage.migrating import migrate; input(); migrate(sys.argv[1])"
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code, empty_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    told = [process.communicate(timeout=30)[0] for process in processes]

    assert [process.returncode for process in processes] == [0, 0], told
    assert on(empty_url, schema) == on(migrated_url, schema)

    async def story() -> list[int]:
        async with engines.opened(empty_url) as database:
            return await database.all(USER_IDS)

    assert run(story()) == [1]


def test_a_migrated_file_keeps_its_write_ahead_log(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    migrate(f"sqlite:///{path}")

    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
