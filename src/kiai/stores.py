"""Opens the stores that the settings name: data folder, database, files and shared state."""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from kiai.clock import Clock
from kiai.errors import Refused, Unavailable
from kiai.files.store import FileStore
from kiai.logs import get_logger
from kiai.measuring import PoolUsage, Timings
from kiai.realtime.memory import MemoryRealtime
from kiai.realtime.port import Realtime
from kiai.server_settings import Settings
from kiai.storage.dumping import SQLITE_FILE
from kiai.storage.migrating import migrate, newest
from kiai.storage.port import Database
from kiai.storage.slow_statements import SlowStatements, name_of
from kiai.storage.sqlite import SqliteDatabase
from kiai.storage.sqlite_file import check_files, check_pages, read_schema
from kiai.tracing import TracedTimings

if TYPE_CHECKING:
    from kiai.realtime.redis import RedisRealtime

LOCK_FILE: Final = "kiai.lock"
MADE_BY: Final = "`kiai serve`, `kiai demo`, `kiai migrate` or `kiai restore`"
OWNER_ONLY: Final = 0o700


# --- the data folder


def make_data_folder(data: Path) -> None:
    """Create the data folder if it is missing, and remove the permissions of other users. Raises Unavailable."""
    try:
        data.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
        # Only the owner can change the mode. A folder of another user, shared by group, is left to the operator.
        if data.stat().st_uid == os.geteuid():
            data.chmod(OWNER_ONLY)
    except OSError as error:
        raise unusable_data_folder(data, error) from error


def unusable_data_folder(data: Path, error: OSError) -> Unavailable:
    """Return the error for a data folder that this account cannot use, with instructions for the operator."""
    remedy = "choose another with --data"
    if isinstance(error, PermissionError):  # typical: a folder of root that is mounted into a container
        remedy = f"give it to the account of the server with `chown -R {os.geteuid()} {data}`, or {remedy}"
    return Unavailable(f"data folder {data}", f"{error.strerror}; {remedy}")


def require_data(settings: Settings) -> None:
    """Raise Refused if the data that these settings name does not exist.

    A command with a wrong folder must neither report on an empty server nor create one.
    """
    files = None if settings.files is None or settings.files.startswith("s3://") else Path(settings.files)
    if settings.database is None:
        _require_folder(settings.data, f"data folder {settings.data}", "--data")
        if not _exists(settings.data / SQLITE_FILE):
            raise Refused(
                f"data folder {settings.data} does not contain {SQLITE_FILE}; choose another with --data, "
                f"or create a database there with {MADE_BY}"
            )
    elif settings.files is None:
        _require_folder(settings.data, f"data folder {settings.data}", "--data")
    if files is not None:
        _require_folder(files, f"folder {files} of the files", "--files or KIAI_FILES")


def _require_folder(folder: Path, named: str, option: str) -> None:
    if not _exists(folder):
        raise Refused(f"{named} does not exist; choose another with {option}, or create one with {MADE_BY}")
    if not folder.is_dir():
        raise Refused(f"{named} is not a folder; choose another with {option}")
    # As the effective user, which counts when the file is opened, e.g. under sudo.
    if not os.access(folder, os.R_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise Refused(f"{named} cannot be read by this account; run the command as the account that owns it")


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}; run the command as the account that owns it") from None
    return True


def lock_data_folder(data: Path) -> int:
    """Lock the data folder and return the file descriptor; closing it releases the lock.

    Raises BlockingIOError while a server runs on the folder. The system also releases the lock when the process ends,
    so a killed server leaves no stale lock.
    """
    lock = os.open(data / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    os.truncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return lock


async def is_served(settings: Settings, database: Database) -> bool:
    """Return whether a server runs on this data."""
    if settings.database is not None:
        from kiai.storage.postgres import PostgresDatabase

        assert isinstance(database, PostgresDatabase)
        return await database.is_served()
    try:
        lock = os.open(settings.data / LOCK_FILE, os.O_RDONLY)
    except FileNotFoundError:
        return False
    # A shared lock: two commands that check at the same time do not take each other for a server.
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


# --- the database


def database_url(settings: Settings) -> str:
    """Return the URL of the database."""
    return settings.database or f"sqlite:///{(settings.data / SQLITE_FILE).absolute()}"


def engine_of(settings: Settings) -> str:
    """Return the name of the database engine, `sqlite` or `postgresql`."""
    return "sqlite" if settings.database is None else "postgresql"


async def check_database(settings: Settings) -> None:
    """Check all pages of an existing SQLite database before a server uses it. Raises Damaged and Unavailable."""
    path = settings.data / SQLITE_FILE
    if settings.database is not None or not _exists(path):
        return
    check_files(path)
    if not await asyncio.to_thread(check_pages, path):
        get_logger("serve").warning("database partly checked", why="it is large; `kiai doctor` checks all of it")


async def open_database(settings: Settings, *, serving: bool = False) -> Database:
    """Open the database of these settings, and update the schema if it is SQLite.

    Slow statements are recorded when `serving`. Raises Refused, Damaged and Unavailable.
    """
    slow = SlowStatements(settings.slow_statement_ms if serving else 0)
    if settings.database is None:
        await _migrate_sqlite(settings)
        return SqliteDatabase(settings.data / SQLITE_FILE, slow, serving=serving)
    # PERF: imported only when needed, because asyncpg takes 5 MB.
    from kiai.storage.postgres import PostgresDatabase

    database = await PostgresDatabase.connect(
        settings.database, serving=serving, slow=slow, replica=settings.database_replica if serving else None
    )
    version = await database.version()
    if version != newest():
        await database.close()
        raise Unavailable(
            "database", f"its schema is {version or 'empty'}, but this kiai needs {newest()}; run `kiai migrate` first"
        )
    return database


async def migrate_database(settings: Settings) -> str:
    """Update the schema of the database and return its new revision.

    Creates a missing data folder, SQLite database and local folder for the files. Raises Refused, Damaged and
    Unavailable.
    """
    make_data_folder(settings.data)
    if settings.files is None or not settings.files.startswith("s3://"):
        open_files(settings)
    if settings.database is None:
        await _migrate_sqlite(settings)
    else:
        await asyncio.to_thread(migrate, database_url(settings))
    return newest()


async def _migrate_sqlite(settings: Settings) -> None:
    path = settings.data / SQLITE_FILE
    if _exists(path):
        check_files(path)
        version = read_schema(path, newest=newest())
        if version == newest():
            return
        if version is not None and version > newest():
            raise Unavailable(
                "database", f"{path} has schema {version}, this kiai knows {newest()}; use the kiai that made it"
            )
    await asyncio.to_thread(migrate, database_url(settings))


# --- files and state


def open_files(settings: Settings) -> FileStore:
    """Open the files store. Raises Refused for a bucket without credentials, and Unavailable."""
    location = str(settings.files or settings.data / "files")
    return FileStore.s3(location, os.environ) if location.startswith("s3://") else FileStore.local(Path(location))


def open_state(settings: Settings, clock: Clock) -> Realtime:
    """Open the live state: in this process, or in a Redis that several workers share."""
    if settings.state is None:
        return MemoryRealtime(clock)
    # PERF: imported only when needed, because its library takes 7 MB.
    from kiai.realtime.redis import RedisRealtime

    return RedisRealtime.connect(settings.state, clock)


# --- all of them


class Stores:
    """The opened database, files and live state of one process.

    `shared` is whether the live state is a Redis that several workers use.
    """

    def __init__(self, database: Database, files: FileStore, realtime: Realtime) -> None:
        self.database = database
        self.files = files
        self.realtime = realtime
        self._redis = None if isinstance(realtime, MemoryRealtime) else cast("RedisRealtime", realtime)
        self.shared = self._redis is not None

    def pools(self) -> dict[str, PoolUsage]:
        """Return the usage of each store's pool, by name of the store."""
        found = {"database": self.database.pool(), "slow_reads": self.database.slow_reads()}
        files = self.files.pool()
        if files is not None:
            found["files"] = files
        if self._redis is not None:
            found["state"] = self._redis.pool()
        return found

    @property
    def timings(self) -> dict[str, Timings]:
        """The durations of the calls of each store. The live state has timings only if it is a Redis."""
        found = {"database": self.database.timings, "files": self.files.timings}
        if self._redis is not None:
            found["state"] = self._redis.timings
        return found

    def polls(self) -> dict[str, int]:
        """Return the numbers of polls that a shared `state` has answered, and the `worker` without it."""
        return {} if self._redis is None else self._redis.polls

    async def follow_changes(self) -> None:
        """Read what changes in a shared state until cancelled, so that polls can be answered without it."""
        if self._redis is not None:
            await self._redis.follow()

    def trace(self) -> None:
        """Add the calls of the stores to the traces of requests from now on."""
        self.database.timings = TracedTimings("database", name_of)
        self.files.timings = TracedTimings("files")
        if self._redis is not None:
            self._redis.trace()

    def replica_lag_s(self) -> float | None:
        """Return how far the replica of the database is behind, in seconds, None without one."""
        replica = getattr(self.database, "replica", None)
        return None if replica is None else float(replica.lag_s)

    async def is_state_empty(self) -> bool:
        """Return whether a shared state has no ranks, because Redis is new or has lost its data."""
        return self._redis is not None and await self._redis.is_empty()


@contextlib.asynccontextmanager
async def open_stores(
    settings: Settings, clock: Clock, *, create: bool = True, serving: bool = False
) -> AsyncIterator[Stores]:
    """Open the database, the files and the live state, and close them after the block.

    The schema of an SQLite database is updated. A PostgreSQL database with an old schema is refused, because other
    workers may use it. With `create` a missing SQLite database and its data folder are created, else they are refused.
    `serving` marks this process as a server for commands on the same data. Raises Refused, Damaged and Unavailable; the
    message says what to do.
    """
    if create:
        make_data_folder(settings.data)
    else:
        require_data(settings)
    database = await open_database(settings, serving=serving)
    try:
        realtime = open_state(settings, clock)
        try:
            yield Stores(database, open_files(settings), realtime)
        finally:
            if not isinstance(realtime, MemoryRealtime):
                await cast("RedisRealtime", realtime).close()
    finally:
        await database.close()
