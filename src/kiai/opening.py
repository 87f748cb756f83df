"""Opens what the settings name: the data folder, the database, the files, and the state that workers share."""

import asyncio
import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kiai.clock import Clock
from kiai.errors import Refused, Unavailable
from kiai.files.store import FileStore
from kiai.logs import get_logger
from kiai.realtime.memory import MemoryRealtime
from kiai.realtime.port import Realtime
from kiai.staff.backups import check, read_manifest, restore_files, restore_sqlite
from kiai.storage.dumping import SQLITE_FILE, load_postgres
from kiai.storage.migrating import migrate, newest
from kiai.storage.port import Database
from kiai.storage.sqlite import SqliteDatabase
from kiai.storage.sqlite_file import check_files, check_pages, read_schema

if TYPE_CHECKING:
    from kiai.settings import Settings

LOCK_FILE: Final = "kiai.lock"
MADE_BY: Final = "`kiai serve`, `kiai demo`, `kiai migrate` or `kiai restore`"
OWNER_ONLY: Final = 0o700


# --- the data folder


def make_data_folder(data: Path) -> None:
    """Makes the data folder if it is missing, and closes it to everybody but its owner. Raises Unavailable."""
    try:
        data.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
        if data.stat().st_uid == os.geteuid():
            data.chmod(OWNER_ONLY)
    except OSError as error:
        raise Unavailable(f"data folder {data}", f"{error.strerror}; choose another with --data") from error


def require_data(settings: "Settings") -> None:
    """Raises Refused where these settings name no data: a command on a misspelt folder must not answer for an empty
    one, nor make it."""
    files = None if settings.files is None or settings.files.startswith("s3://") else Path(settings.files)
    if settings.database is None:
        _require_folder(settings.data, f"data folder {settings.data}", "--data")
        if not _exists(settings.data / SQLITE_FILE):
            raise Refused(
                f"data folder {settings.data} holds no {SQLITE_FILE}; name another with --data, "
                f"or make a database there with {MADE_BY}"
            )
    elif settings.files is None:
        _require_folder(settings.data, f"data folder {settings.data}", "--data")
    if files is not None:
        _require_folder(files, f"folder {files} of the files", "--files or KIAI_FILES")


def _require_folder(folder: Path, named: str, option: str) -> None:
    if not _exists(folder):
        raise Refused(f"{named} does not exist; name another with {option}, or make one with {MADE_BY}")
    if not folder.is_dir():
        raise Refused(f"{named} is not a folder; name another with {option}")
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
    """A descriptor that holds the data folder until it is closed. Raises BlockingIOError while a server runs on it."""
    lock = os.open(data / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    os.truncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return lock


async def is_served(settings: "Settings", database: Database) -> bool:
    """Whether a server runs on this data."""
    if settings.database is not None:
        from kiai.storage.postgres import PostgresDatabase

        assert isinstance(database, PostgresDatabase)
        return await database.is_served()
    try:
        lock = os.open(settings.data / LOCK_FILE, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


# --- the database


def database_url(settings: "Settings") -> str:
    """Where the database is, as a URL."""
    return settings.database or f"sqlite:///{(settings.data / SQLITE_FILE).absolute()}"


def engine_of(settings: "Settings") -> str:
    """`sqlite` or `postgresql`."""
    return "sqlite" if settings.database is None else "postgresql"


async def check_database(settings: "Settings") -> None:
    """Reads the whole of an SQLite database that is there, before a server uses it. Raises Damaged, Unavailable."""
    path = settings.data / SQLITE_FILE
    if settings.database is not None or not _exists(path):
        return
    check_files(path)
    if not await asyncio.to_thread(check_pages, path):
        get_logger("serve").warning("database only checked in part", why="it is large; `kiai doctor` checks all of it")


async def open_database(settings: "Settings", *, serving: bool = False) -> Database:
    """The database of these settings; SQLite is brought up to date. Raises Refused, Damaged, Unavailable."""
    if settings.database is None:
        await _migrate_sqlite(settings)
        return SqliteDatabase(settings.data / SQLITE_FILE)
    from kiai.storage.postgres import PostgresDatabase  # asyncpg is another 5 MB

    database = await PostgresDatabase.connect(settings.database, serving=serving)
    version = await database.version()
    if version != newest():
        await database.close()
        raise Unavailable(
            "database", f"its schema is {version or 'empty'}, this kiai wants {newest()}; run `kiai migrate` first"
        )
    return database


async def migrate_database(settings: "Settings") -> str:
    """Brings the database of these settings up to date; the revision it has then.

    Makes what is missing: the data folder, an SQLite database, a local folder for the files. Raises Refused, Damaged,
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


async def _migrate_sqlite(settings: "Settings") -> None:
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


def open_files(settings: "Settings") -> FileStore:
    """Where the files are. Raises Refused for a bucket without credentials, Unavailable."""
    place = str(settings.files or settings.data / "files")
    return FileStore.s3(place, os.environ) if place.startswith("s3://") else FileStore.local(Path(place))


def open_state(settings: "Settings", clock: Clock) -> Realtime:
    """What is live: in this process, or in a Redis that several workers share."""
    if settings.state is None:
        return MemoryRealtime(clock)
    from kiai.realtime.redis import RedisRealtime  # its library is another 7 MB

    return RedisRealtime.connect(settings.state, clock)


# --- from a back-up


async def restore(settings: "Settings", folder: Path) -> int:
    """Fills an empty database and the files store from a back-up; how many files. Raises Refused, Unavailable."""
    manifest = await asyncio.to_thread(read_manifest, folder, engine=engine_of(settings), schema=newest())
    await asyncio.to_thread(check, folder, manifest)
    if settings.database is None:
        if (settings.data / SQLITE_FILE).exists():
            raise Refused(f"{settings.data / SQLITE_FILE} is there already; restore into a new data folder")
        make_data_folder(settings.data)
    else:
        await migrate_database(settings)
    # The database last: a restore that was stopped leaves files that nothing refers to, and can be repeated.
    count = await restore_files(folder, open_files(settings))
    if settings.database is None:
        await asyncio.to_thread(restore_sqlite, folder, settings.data / SQLITE_FILE)
    else:
        await load_postgres(settings.database, folder)
    return count
