"""Backups of the stores that the settings name, and restoring them. Opens the places and keys of backups."""

import asyncio
import contextlib
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from kiai.clock import Clock
from kiai.errors import Refused, Unavailable
from kiai.files.bucket_place import BucketPlace
from kiai.files.folder_place import FolderPlace
from kiai.files.places import BackupPlace
from kiai.files.port import Files
from kiai.files.retiring import BACK_UP_MAX_S
from kiai.files.store import open_bucket
from kiai.osu.durations import parse_duration
from kiai.server_settings import PREFIX, Settings, config_file, retention_counts
from kiai.staff.backup_data import data_files, restore_data_file
from kiai.staff.backup_examination import BackupReport, examine
from kiai.staff.backup_folder import BackupFolder
from kiai.staff.backup_keys import BackupKey, read_key
from kiai.staff.backup_model import DATA, BackedUpFile, Manifest, record_back_up
from kiai.staff.backup_reading import BackupReader
from kiai.staff.backup_rehearsals import LastRehearsal, record_rehearsal
from kiai.staff.backup_retention import NextBackup, Retention
from kiai.staff.backup_threads import AT_ONCE
from kiai.staff.backups import BackupSource, BackupWriter, Progress
from kiai.staff.server_health import CheckFinding
from kiai.storage.dumping import SQLITE_FILE, TABLES, dump_postgres, dump_sqlite, load_postgres
from kiai.storage.migrating import newest
from kiai.storage.sqlite_file import check_pages, first_of
from kiai.stores import engine_of, make_data_folder, migrate_database, open_files
from kiai.together import together

SPACE_FACTOR: Final = 1.2
SPACE_LEFT_BYTES: Final = 536_870_912
"""A rehearsal needs the size of the backup times this factor, and leaves this much of the disk free."""
DOCTOR_S: Final = 6 * 3_600
UNCHECKED: Final = ("I8", "I15", "I16")
"""Findings that a good backup may have: undelivered rows, an old certificate, no backups."""
WORK: Final = ".backup-work-"
"""Start of the names of folders for temporary files in the data folder."""


class Restored(msgspec.Struct, frozen=True):
    """The number of restored files, and the files of the data folder that existed with other content and stay."""

    files: int
    kept: list[str]


# --- places


def is_bucket(text: str) -> bool:
    """Return whether the text names a bucket and not a folder."""
    return text.startswith("s3://")


def open_place(text: str) -> BackupPlace:
    """Open a folder or bucket with backups. Raises Refused for a bucket without credentials, and Unavailable."""
    return BucketPlace(open_bucket(text, os.environ), text) if is_bucket(text) else FolderPlace(Path(text))


def open_backup(text: str, key: BackupKey | None, work: Path | None = None) -> BackupReader:
    """Return a reader of the backup with this path or URL. Raises Refused, Unavailable."""
    if is_bucket(text):
        place, _, name = text.rstrip("/").rpartition("/")
        if place.count("/") < 2 or not name:
            raise Refused(f"{text} is not a backup; name one of the backups that `kiai backups` lists")
        return BackupReader(open_place(place), name, key, work)
    path = Path(text).absolute()
    return BackupReader(FolderPlace(path.parent), path.name, key, work)


def open_key(path: Path | None) -> BackupKey | None:
    """Read the key of backups; None without a path. Raises Refused."""
    return None if path is None else read_key(path)


def backup_folder(settings: Settings, clock: Clock) -> BackupFolder | None:
    """Return the place of the setting `backup_to`, None without it. Raises Refused, Unavailable."""
    if settings.backup_to is None:
        return None
    every = None if settings.backup_every is None else parse_duration(settings.backup_every)
    keep = Retention(**retention_counts(settings.backup_keep))
    return BackupFolder(open_place(settings.backup_to), every, keep, clock, open_key(settings.backup_key_file))


def check_outside(settings: Settings, target: str) -> None:
    """Refuse a place inside the data: the backup would be lost with the data and copied by the next backup."""
    if is_bucket(target):
        files = settings.files or ""
        if is_bucket(files) and f"{target.rstrip('/')}/".startswith(f"{files.rstrip('/')}/"):
            raise Refused(f"{target} is inside {files}, which is backed up; choose another bucket or prefix")
        return
    resolved = Path(target).resolve()  # a symbolic link can lead into the data
    files_folder = Path(settings.files) if settings.files and not is_bucket(settings.files) else settings.data
    for place in (settings.data, files_folder):
        if place.resolve() in (resolved, *resolved.parents):
            raise Refused(f"{target} is inside {place}, which is backed up; choose a folder outside of it")


# --- writing


async def back_up(
    settings: Settings,
    files: Files,
    clock: Clock,
    place: BackupPlace,
    name: str,
    progress: Progress = lambda files: None,
    *,
    key: BackupKey | None,
    chain: NextBackup = NextBackup(),  # noqa: B008, it is frozen
    verified: bool = False,
) -> Manifest:
    """Write the backup `name` of the current data. `progress` gets the number of files.

    `verified` reads what was written again and compares the checksums; for SQLite it also checks the pages of the
    copy. Raises Refused, Damaged and Unavailable.
    """
    url = settings.database

    async def dump(into: Path) -> None:
        if url is None:
            await dump_sqlite(settings.data / SQLITE_FILE, into)
        else:
            await dump_postgres(url, into)

    source = BackupSource(engine_of(settings), newest(), dump, files, lambda: data_files(settings.data, config_file()))
    with work_folder(settings.data) as work:
        writer = BackupWriter(place, name, source, work, clock, key=key, chain=chain, progress=progress)
        check = (lambda path: check_pages(path, within_s=BACK_UP_MAX_S)) if verified else None
        manifest = await writer.write(check)
    await asyncio.to_thread(record_back_up, settings.data, manifest)
    return manifest


@contextlib.contextmanager
def work_folder(data: Path) -> Iterator[Path]:
    """Make a folder for temporary files in the data folder, and remove those of dead processes after a day.

    Raises Unavailable.
    """
    home = data if data.is_dir() else None  # a worker without a data folder uses that of the system
    try:
        if home is not None:
            for old in home.glob(f"{WORK}*"):
                if old.is_dir() and time.time() - old.stat().st_mtime > BACK_UP_MAX_S:
                    shutil.rmtree(old, ignore_errors=True)
        made = Path(tempfile.mkdtemp(prefix=WORK, dir=home))
    except OSError as error:
        raise Unavailable(f"data folder {data}", f"{error.strerror}; a backup needs temporary files there") from error
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


# --- reading


async def examine_backup(reader: BackupReader) -> BackupReport:
    """Examine a backup of either database engine, and write nothing."""
    return await asyncio.to_thread(examine, reader, schema=newest())


async def restore(settings: Settings, reader: BackupReader) -> Restored:
    """Fill an empty database, the files store and the data folder from a backup. Raises Refused and Unavailable.

    A backup in a folder is verified first. One in a bucket is verified while it is read, because a download of all
    files takes long; the database, which comes last, completes the restored server.
    """
    manifest = await asyncio.to_thread(reader.manifest, engine=engine_of(settings), schema=newest())
    await asyncio.to_thread(reader.check if reader.place.links else reader.check_lists, manifest)
    if settings.database is None:
        if (settings.data / SQLITE_FILE).exists():
            raise Refused(f"{settings.data / SQLITE_FILE} already exists; restore into a new data folder")
        make_data_folder(settings.data)
    else:
        await migrate_database(settings)
    kept = await asyncio.to_thread(_restore_data, reader, manifest, settings.data)
    # The database last: an interrupted restore leaves only unused files and can be repeated.
    count = await _restore_files(reader, open_files(settings))
    if settings.database is None:
        await asyncio.to_thread(_restore_sqlite, reader, manifest, settings.data / SQLITE_FILE)
    else:
        await _restore_postgres(reader, manifest, settings.database)
    return Restored(count, kept)


def _restore_data(reader: BackupReader, manifest: Manifest, data: Path) -> list[str]:
    return [
        part.key
        for part in manifest.data
        if not restore_data_file(data, part.key, reader.content(f"{reader.name}/{DATA}/{part.key}", part))
    ]


async def _restore_files(reader: BackupReader, files: Files) -> int:
    count = 0
    with ThreadPoolExecutor(AT_ONCE, "restore") as threads:

        async def restore_one(listed: BackedUpFile) -> None:
            read = asyncio.get_running_loop().run_in_executor
            await files.put(listed.key, await read(threads, reader.content, reader.path_of(listed), listed))

        rest = reader.listed()
        while some := list(islice(rest, AT_ONCE)):
            await together(*map(restore_one, some))
            count += len(some)
    return count


def _restore_sqlite(reader: BackupReader, manifest: Manifest, path: Path) -> None:
    """Copy the database file of a backup to a path where none exists. Raises Refused, Unavailable."""
    # Copied under another name and renamed, so that an interrupted restore leaves no half database behind.
    temporary = path.with_suffix(".restoring")
    try:
        reader.copy(f"{reader.name}/{SQLITE_FILE}", manifest.database[0], temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise Unavailable(f"data folder {path.parent}", error.strerror or str(error)) from error


async def _restore_postgres(reader: BackupReader, manifest: Manifest, url: str) -> None:
    def copy(folder: Path) -> None:
        (folder / TABLES).mkdir()
        for part in manifest.database:
            reader.copy(f"{reader.name}/{part.key}", part, folder / part.key)

    with tempfile.TemporaryDirectory() as folder:
        await asyncio.to_thread(copy, Path(folder))
        await load_postgres(url, Path(folder))


# --- rehearsals


def rehearsal_every_ms(settings: Settings) -> int | None:
    """Return the time between two rehearsals in ms, None if none starts by itself."""
    every = parse_duration(settings.backup_rehearse_every)  # None for off
    return None if every is None or not settings.backup_every else every * 1000


async def rehearse(settings: Settings, place: BackupPlace, name: str, key: BackupKey | None, clock: Clock) -> str:
    """Restore a backup into a temporary place, run `kiai doctor` there, and return a sentence about the result.

    The files are in the data folder meanwhile; a dump of PostgreSQL goes to a new database of the same server. Raises
    Refused if the disk is too small or the restored server is damaged, and Unavailable.
    """
    with work_folder(settings.data) as work, BackupReader(place, name, key, work) as reader:
        manifest = await asyncio.to_thread(reader.described)
        needed = int(manifest.size * SPACE_FACTOR) + SPACE_LEFT_BYTES
        free = shutil.disk_usage(work).free
        if free < needed:
            raise Refused(
                f"a rehearsal of {name} needs {needed / 1e9:.1f} GB in {work.parent}, but {free / 1e9:.1f} GB are "
                "free; free some, or set backup_rehearse_every to off"
            )
        target = msgspec.structs.replace(settings, data=work / "data", database=None, files=None)
        if settings.database is None:
            problems = await _restored_problems(target, reader)
        else:
            async with temporary_postgres(settings.database) as url:
                problems = await _restored_problems(msgspec.structs.replace(target, database=url), reader)
    serious = [one.what for one in problems if not one.repairable and one.invariant not in UNCHECKED]
    if serious:
        raise Refused(f"{name} restores to a damaged server: {first_of(serious)}")
    record_rehearsal(settings.data, LastRehearsal(clock.now_ms(), name))
    repairable = sum(one.repairable for one in problems)
    return (
        f"{name} restores to a good server with {manifest.files} files, {manifest.size / 1e6:.1f} MB; "
        f"`kiai doctor` finds {repairable} differences that it can repair."
    )


async def _restored_problems(target: Settings, reader: BackupReader) -> list[CheckFinding]:
    """Restore a backup, and return what `kiai doctor` finds there. It is a process of its own: it takes long."""
    await restore(target, reader)
    variables = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    if target.database is not None:
        variables[f"{PREFIX}DATABASE"] = target.database
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "kiai", "doctor", "--json", "--data", str(target.data.absolute()),
        cwd=target.data, env=variables, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(DOCTOR_S):
            output, errors = await process.communicate()
    except TimeoutError as error:
        raise Refused(f"`kiai doctor` took longer than {DOCTOR_S // 3600} hours on the restored server") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        return msgspec.json.decode(output, type=_Diagnosed).problems
    except msgspec.DecodeError as error:
        lines = errors.decode(errors="replace").strip().splitlines()
        raise Refused(f"`kiai doctor` failed on the restored server: {lines[-1] if lines else 'no output'}") from error


class _Diagnosed(msgspec.Struct):
    problems: list[CheckFinding]


@contextlib.asynccontextmanager
async def temporary_postgres(url: str) -> AsyncIterator[str]:
    """Make an empty database on the same server, and drop it at the end. Raises Unavailable."""
    import asyncpg

    name = f"kiai_rehearsal_{secrets.token_hex(4)}"
    try:
        connection = await asyncpg.connect(url, timeout=10)
        try:
            await connection.execute(f'CREATE DATABASE "{name}"')
            try:
                yield urlsplit(url)._replace(path=f"/{name}").geturl()
            finally:
                await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        finally:
            await connection.close()
    except asyncpg.InsufficientPrivilegeError as error:
        raise Unavailable(
            "rehearsal", "the account of the database may not make one; ALTER ROLE ... CREATEDB allows it"
        ) from error
    except (OSError, asyncpg.PostgresError) as error:
        raise Unavailable("database", str(error)) from error
