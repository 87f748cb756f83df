"""Migrations produce the schema that `tables` declares, can be repeated, and can run in two processes at once."""

import asyncio
import contextlib
import json
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, make_url
from sqlalchemy.exc import SAWarning
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from tests import engines
from tests.conftest import Run
from tests.contract.storage.statements import ADD_USER, COUNTERS, USER_IDS, Counter, add
from tests.patience import patiently

from kiai.storage.migrating import VERSIONS, migrate, newest
from kiai.storage.port import Transaction
from kiai.storage.tables import metadata


@pytest.fixture(params=engines.ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine."""
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


def migrate_to(url: str, revision: str) -> None:
    """Migrate an empty database to an older revision."""
    config = Config()
    config.set_main_option("script_location", str(VERSIONS.parent))
    config.attributes["url"] = url
    command.upgrade(config, revision)


def on_connection(url: str, work: Callable[[Connection], Any]) -> Any:
    """Run `work` on a connection of SQLAlchemy."""
    if url.startswith("sqlite"):
        with create_engine(url, poolclass=NullPool).begin() as connection:
            return work(connection)

    async def scenario() -> Any:
        engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"), poolclass=NullPool)
        async with engine.begin() as connection:
            return await connection.run_sync(work)

    return asyncio.run(scenario())


def parts(sql: str) -> list[str]:
    """Return a table as the set of its columns and constraints, and the options after the bracket.

    SQLite appends a column that was added later to the line before it, so the text is split at commas outside of
    brackets.
    """
    found = [""]
    depth = 0
    for character in " ".join(sql.split()):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 1:
            found.append("")
        else:
            found[-1] += character
    head, _, first = found[0].partition("(")
    last, _, options = found[-1].rpartition(")")
    columns = [last] if len(found) == 1 else [first, *found[1:-1], last]
    return [head.strip(), *sorted(column.strip() for column in columns), options.strip()]


def schema(connection: Connection) -> dict[str, list[str]]:
    """Return the tables, columns, constraints and indexes in the catalogue of the engine, one sorted line each."""

    def ask(sql: str) -> list[str]:
        return sorted(" ".join(str(cell) for cell in row) for row in connection.exec_driver_sql(sql))

    if connection.dialect.name == "sqlite":
        found = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")
        return {name: parts(sql) for name, sql in found if sql is not None and name != "alembic_version"}
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


def test_migrations_produce_the_declared_schema(empty_url: str, migrated_url: str) -> None:
    on_connection(empty_url, metadata.create_all)

    declared, migrated = on_connection(empty_url, schema), on_connection(migrated_url, schema)

    assert len(declared) > 2
    assert migrated == declared


# Alembic skips the index of lower-case file names; the test above compares it by its text.
@pytest.mark.filterwarnings("ignore:autogenerate skipping")
def test_alembic_finds_no_difference_to_the_tables(migrated_url: str) -> None:
    def differences(connection: Connection) -> list[Any]:
        # SQLite has no identity columns, and Alembic takes that for a default that is missing.
        defaults = connection.dialect.name != "sqlite"
        context = MigrationContext.configure(connection, opts={"compare_server_default": defaults})
        with warnings.catch_warnings():
            # SQLite's indexes with DESC cannot be reflected; the test above compares them word by word.
            warnings.filterwarnings("ignore", "Skipped unsupported reflection of expression-based index", SAWarning)
            return list(compare_metadata(context, metadata))

    assert on_connection(migrated_url, differences) == []


def test_new_database_has_the_bot_and_the_newest_version(empty_url: str, run: Run) -> None:
    migrate(empty_url)

    async def scenario() -> tuple[str | None, list[int], list[Counter]]:
        async with engines.opened(empty_url) as database:
            return await database.version(), await database.all(USER_IDS), await database.all(COUNTERS)

    assert run(scenario()) == (newest(), [1], [Counter("users", 0)])


def test_migrating_again_changes_nothing(migrated_url: str, run: Run) -> None:
    async def scenario() -> list[Counter]:
        async with engines.opened(migrated_url) as database:
            await add(database, plays=7)
            await asyncio.to_thread(migrate, migrated_url)
            await asyncio.to_thread(migrate, migrated_url)
            assert await database.version() == newest()
            return await database.all(COUNTERS)

    before = on_connection(migrated_url, schema)
    assert run(scenario()) == [Counter("users", 0), Counter("plays", 7)]
    assert on_connection(migrated_url, schema) == before


def test_two_processes_can_migrate_at_the_same_time(empty_url: str, migrated_url: str, run: Run) -> None:
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
    outputs = [process.communicate(timeout=patiently(30))[0] for process in processes]

    assert [process.returncode for process in processes] == [0, 0], outputs
    assert on_connection(empty_url, schema) == on_connection(migrated_url, schema)

    async def scenario() -> list[int]:
        async with engines.opened(empty_url) as database:
            return await database.all(USER_IDS)

    assert run(scenario()) == [1]


def test_migrated_file_still_has_its_write_ahead_log(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    migrate(f"sqlite:///{path}")

    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_first_schema_with_rows_migrates_to_the_newest(empty_url: str, migrated_url: str) -> None:
    def fill(connection: Connection) -> None:
        for sql in (
            "INSERT INTO users (name, safe_name, email, priv, country, created_at_ms, active_at_ms, avatar)"
            " VALUES ('Alice', 'alice', 'a@example.org', 3, 'nl', 5, 6, 'face')",
            "INSERT INTO old_names (user_id, name, safe_name, released_at_ms) VALUES (3, 'Al', 'al', 5)",
            "INSERT INTO relationships (user_id, target_id, kind, added_at_ms) VALUES (3, 1, 1, 5)",
            "UPDATE counters SET value = 1 WHERE name = 'users'",
        ):
            connection.exec_driver_sql(sql)

    def rows(connection: Connection) -> list[list[tuple[Any, ...]]]:
        return [
            [tuple(row) for row in connection.exec_driver_sql(sql)]
            for sql in (
                "SELECT id, name, email, priv, country, created_at_ms, active_at_ms, avatar FROM users ORDER BY id",
                "SELECT user_id, name FROM old_names",
                "SELECT user_id, target_id, kind FROM relationships",
                "SELECT name, value FROM counters",
            )
        ]

    migrate_to(empty_url, "0001")
    on_connection(empty_url, fill)
    before = on_connection(empty_url, rows)

    migrate(empty_url)

    assert on_connection(empty_url, schema) == on_connection(migrated_url, schema)
    assert len(before[0]) == 2
    assert on_connection(empty_url, rows) == before
    added = "SELECT DISTINCT friends_only_dms FROM users"
    assert on_connection(empty_url, lambda connection: connection.exec_driver_sql(added).all()) == [(0,)]


def test_first_player_after_a_migration_gets_the_next_id(empty_url: str, run: Run) -> None:
    migrate_to(empty_url, "0001")
    migrate(empty_url)

    async def scenario() -> int | None:
        async def body(tx: Transaction) -> int | None:
            return await tx.one(ADD_USER, name="alice", email="a@example.org")

        async with engines.opened(empty_url) as database:
            return await database.transaction(body)

    assert run(scenario()) == 3


def test_new_database_has_the_default_channels(migrated_url: str) -> None:
    sql = (
        "SELECT name, read_priv, write_priv, auto_join, moderated, archived FROM channels"
        " WHERE topic <> '' AND length(topic) < 64 ORDER BY id"
    )

    # docs/spec/chat.md#channels
    assert on_connection(migrated_url, lambda connection: connection.exec_driver_sql(sql).all()) == [
        ("#osu", 1, 2, 1, 0, 0),
        ("#announce", 1, 24576, 1, 0, 0),
        ("#lobby", 1, 2, 0, 0, 0),
        ("#supporter", 48, 48, 0, 0, 0),
        ("#staff", 28672, 28672, 1, 0, 0),
        ("#admin", 24576, 24576, 1, 0, 0),
        ("#dev", 16384, 16384, 1, 0, 0),
    ]


def test_maps_from_before_the_migration_are_found_by_their_words(empty_url: str) -> None:
    columns = "key, id, set_id, md5, mode, artist, title, version, creator, last_update_ms, total_length, hit_length, "
    columns += "max_combo, objects, bpm, cs, od, ar, hp, diff"
    migrate_to(empty_url, "0004")

    def fill_maps(connection: Connection) -> None:
        connection.exec_driver_sql("INSERT INTO sets (id, added_at_ms, last_update_ms) VALUES (1, 0, 0)")
        for n in range(1, 1_502):
            values = f"{n}, {n}, 1, '{n:032x}', 0, 'Some Artist', 'Title_{n}', 'Hard', 'Me, Myself', 0, 1, 1, 1, 1"
            connection.exec_driver_sql(f"INSERT INTO maps ({columns}) VALUES ({values}, 1, 1, 1, 1, 1, 1)")

    on_connection(empty_url, fill_maps)
    migrate(empty_url)

    counted = "SELECT count(*) FROM map_words"
    words = "SELECT word FROM map_words WHERE map_key = 1501 ORDER BY word"
    assert on_connection(empty_url, lambda connection: connection.exec_driver_sql(counted).scalar()) == 1_501 * 7
    assert [row[0] for row in on_connection(empty_url, lambda connection: connection.exec_driver_sql(words).all())] == [
        "1501", "artist", "hard", "me", "myself", "some", "title",
    ]  # fmt: skip


def test_recalculations_from_before_the_migration_become_runs(empty_url: str) -> None:
    queued = (
        ("queued recalc 8", {"id": 8, "actor_id": 4, "map_id": None, "user_id": 5, "mode": 0}, 20),
        ("queued recalc 7", {"id": 7, "actor_id": 0, "map_id": 77, "user_id": None, "mode": None}, 10),
        ("queued medals 9", {"id": 9, "actor_id": 4}, 30),
    )
    migrate_to(empty_url, "0037")

    def fill_progress(connection: Connection) -> None:
        progress = metadata.tables["progress"]
        for job, state, at_ms in queued:
            connection.execute(progress.insert().values(job=job, state=json.dumps(state), at_ms=at_ms))

    on_connection(empty_url, fill_progress)
    migrate(empty_url)

    runs = "SELECT kind, params, state, actor_id, source, requested_at_ms FROM job_runs ORDER BY id"
    left = "SELECT job FROM progress"
    assert [tuple(row) for row in on_connection(empty_url, lambda one: one.exec_driver_sql(runs).all())] == [
        ("recalc", '{"map":"77"}', 0, 0, "cli", 10),
        ("recalc", '{"mode":"0","user":"#5"}', 0, 4, "game", 20),
    ]
    assert [row[0] for row in on_connection(empty_url, lambda one: one.exec_driver_sql(left).all())] == [
        "queued medals 9"
    ]
