"""Backups: the database at one moment, then the files that it refers to (docs/spec/security.md#backups).

The database is copied first. A file is stored before its row and deleted BACK_UP_MAX_S after it at the earliest
(`files/retiring.py`), so each file that the copied database names can still be copied. The manifest is written last; a
backup without a manifest is incomplete and cannot be restored.
"""

import asyncio
import hashlib
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from kiai import __version__
from kiai.clock import Clock
from kiai.errors import Refused, Unavailable
from kiai.files.port import Files, is_key
from kiai.files.retiring import BACK_UP_MAX_S
from kiai.logs import get_logger
from kiai.storage.dumping import SQLITE_FILE, TABLES
from kiai.storage.tables import metadata

MANIFEST: Final = "manifest.json"
FILES: Final = "files"
LIST: Final = "files.jsonl"
FORMAT: Final = 1
DERIVED_PREFIXES: Final = ("thumbs/", "previews/", "check")  # not backed up: a server creates them again
AT_ONCE: Final = 16  # files in memory at a time
OWNER_ONLY: Final = 0o700

LAST: Final = "last-backup.json"
"""The file in the data folder with the time of the last backup, for the metrics."""

Dump = Callable[[Path], Awaitable[None]]
Progress = Callable[[int], None]


class BackedUpFile(msgspec.Struct, frozen=True):
    """A file of the backup. `key` is its path in the folder `files`, or in the backup for a part of the database."""

    key: str
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """The description of a backup. `engine` is sqlite or postgresql. Sizes are in bytes.

    The parts of the `database` are in the same folder as the manifest.
    """

    format: int
    version: str
    schema: str
    engine: str
    made_at_ms: int
    files: int
    bytes: int
    list_sha256: str
    database: tuple[BackedUpFile, ...]


class LastBackUp(msgspec.Struct, frozen=True):
    """The last successful backup: its start in unix ms, and its size in bytes including the database."""

    at_ms: int
    bytes: int


def record_back_up(data: Path, manifest: Manifest) -> None:
    """Record in the data folder that this backup succeeded. If that fails, only log a warning."""
    record = LastBackUp(manifest.made_at_ms, manifest.bytes + sum(part.size for part in manifest.database))
    try:
        write_record(data / LAST, record)
    except OSError as error:
        get_logger("backup").warning("cannot record the backup", folder=str(data), why=error.strerror)


def write_record(path: Path, record: msgspec.Struct) -> None:
    """Write a file that a server may read at any time, so under another name first. Raises OSError."""
    temporary = path.with_suffix(f".{os.getpid()}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.encode(record))
    os.replace(temporary, path)


def last_back_up(data: Path) -> LastBackUp | None:
    """Return the last backup of this data folder, or None."""
    try:
        return msgspec.json.decode((data / LAST).read_bytes(), type=LastBackUp)
    except (OSError, msgspec.DecodeError):
        return None


async def back_up(
    folder: Path,
    *,
    engine: str,
    schema: str,
    dump: Dump,
    files: Files,
    clock: Clock,
    progress: Progress = lambda done: None,
) -> Manifest:
    """Write a backup into a new or empty folder, which only its owner can read.

    Raises Refused if the folder is not empty or the backup takes longer than BACK_UP_MAX_S, and Unavailable.
    """
    made_at = clock.now_ms()
    # Files whose rows were deleted after the copy of the database may be deleted from this moment on.
    deadline = clock.monotonic() + BACK_UP_MAX_S
    try:
        folder.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise Refused(f"{folder} is not empty; use a separate folder for each backup")
        folder.chmod(OWNER_ONLY)  # the folder may exist already; the database contains passwords and keys
        (folder / FILES).mkdir()
        await dump(folder)
        database = await asyncio.to_thread(_sync_dump, folder)
        count = total = 0
        with open(folder / LIST, "wb") as listing:
            batch: list[str] = []
            async for stored in files.keys(""):
                if not stored.key.startswith(DERIVED_PREFIXES):
                    batch.append(stored.key)
                if clock.monotonic() > deadline:
                    raise Refused(f"the backup took longer than {BACK_UP_MAX_S // 3600} hours and is incomplete")
                if len(batch) == AT_ONCE:
                    for copied in await _copy_files(files, batch, folder):
                        listing.write(msgspec.json.encode(copied) + b"\n")
                        count, total = count + 1, total + copied.size
                    batch.clear()
                    progress(count)
            for copied in await _copy_files(files, batch, folder):
                listing.write(msgspec.json.encode(copied) + b"\n")
                count, total = count + 1, total + copied.size
            listing.flush()
            os.fsync(listing.fileno())
        # The manifest marks the backup as complete, so everything else is on the disk before it.
        sha256 = await asyncio.to_thread(_sha256_of, folder / LIST)
        manifest = Manifest(FORMAT, __version__, schema, engine, made_at, count, total, sha256, database)
        await asyncio.to_thread(_write, folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
    except OSError as error:
        raise Unavailable(f"backup folder {folder}", error.strerror or str(error)) from error
    return manifest


def _sync_dump(folder: Path) -> tuple[BackedUpFile, ...]:
    """Flush the files of the database dump to the disk and return them with their checksums."""
    parts = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
            parts.append(BackedUpFile(path.relative_to(folder).as_posix(), path.stat().st_size, _sha256_of(path)))
    return tuple(parts)


async def _copy_files(files: Files, keys: list[str], folder: Path) -> list[BackedUpFile]:
    copies = await asyncio.gather(*(_copy_file(files, key, folder) for key in keys))
    return [copy for copy in copies if copy is not None]


async def _copy_file(files: Files, key: str, folder: Path) -> BackedUpFile | None:
    data = await files.get(key)
    if data is None:  # deleted since it was listed; the copied database does not name it
        return None
    await asyncio.to_thread(_write, folder / FILES / key, data)
    return BackedUpFile(key, len(data), hashlib.sha256(data).hexdigest())


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sha256_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path, *, engine: str | None, schema: str) -> Manifest:
    """Return the manifest of a backup. Raises Refused if this version and database cannot restore it.

    `engine` is None for any database.
    """
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except OSError as error:
        raise Refused(f"{folder} does not contain a complete backup: {MANIFEST} is missing") from error
    except msgspec.MsgspecError as error:
        raise Refused(f"{folder / MANIFEST} is damaged: {error}") from error
    if manifest.format != FORMAT:
        raise Refused(f"the backup has format {manifest.format}, but this version of kiai reads format {FORMAT}")
    if engine is not None and manifest.engine != engine:
        raise Refused(f"the backup is for {manifest.engine}, but the database is {engine}")
    # A PostgreSQL dump contains rows only and needs the same tables. An SQLite backup is a whole database file, which
    # `kiai migrate` can update; only a newer schema is unknown.
    if manifest.engine == "postgresql" and manifest.schema != schema:
        raise Refused(
            f"the backup has schema {manifest.schema}, but this version of kiai needs {schema}; restore it with the "
            f"version that made it ({manifest.version}), then run `kiai migrate` with this version"
        )
    if manifest.schema > schema:
        raise Refused(
            f"the backup has schema {manifest.schema}, but this version of kiai knows only {schema}; use the version "
            f"that made it ({manifest.version})"
        )
    try:
        sha256 = _sha256_of(folder / LIST)
    except OSError as error:
        raise Refused(f"{LIST} of the backup is missing or cannot be read: {error.strerror}") from error
    if sha256 != manifest.list_sha256:
        raise Refused(f"{folder / LIST} is damaged")
    return manifest


def check(folder: Path, manifest: Manifest) -> None:
    """Verify the checksum of every part and file of a backup, before anything is restored. Raises Refused."""
    for fault in faults(folder, manifest):
        raise Refused(fault)


def faults(folder: Path, manifest: Manifest) -> Iterator[str]:
    """Yield each part and file of a backup that is missing or damaged. Raises Refused if its lists are not usable."""
    # A correct checksum does not prove that a name is harmless: someone may have written both. So the names of the
    # parts and files are verified, too.
    expected = {SQLITE_FILE} if manifest.engine == "sqlite" else {f"{TABLES}/{name}.copy" for name in metadata.tables}
    if {part.key for part in manifest.database} != expected or len(manifest.database) != len(expected):
        raise Refused(f"{folder / MANIFEST} does not name the parts of a {manifest.engine} database")
    count = sum(1 for _ in listed_files(folder))
    if count != manifest.files:
        raise Refused(f"{folder / LIST} lists {count} files, but {MANIFEST} states {manifest.files}")
    for root, parts in ((folder, manifest.database), (folder / FILES, listed_files(folder))):
        for part in parts:
            try:
                sha256 = _sha256_of(root / part.key)
            except OSError as error:
                yield f"{part.key} of the backup is missing or cannot be read: {error.strerror}"
                continue
            if sha256 != part.sha256:
                yield f"{part.key} of the backup is damaged"


async def restore_files(folder: Path, files: Files, progress: Progress = lambda done: None) -> int:
    """Store every file of a verified backup and return their number. Raises Refused."""
    count = 0
    for listed in listed_files(folder):
        try:
            data = await asyncio.to_thread((folder / FILES / listed.key).read_bytes)
        except OSError as error:
            raise Refused(f"{listed.key} of the backup cannot be read: {error.strerror}") from error
        await files.put(listed.key, data)
        count += 1
        progress(count)
    return count


def listed_files(folder: Path) -> Iterator[BackedUpFile]:
    """Yield the files in the list. Raises Refused at an invalid key, which could lead out of the store."""
    with open(folder / LIST, "rb") as listing:
        for number, line in enumerate(listing, 1):
            try:
                listed = msgspec.json.decode(line, type=BackedUpFile)
            except msgspec.MsgspecError as error:
                raise Refused(f"{folder / LIST}, line {number}, is damaged: {error}") from error
            if not is_key(listed.key):
                raise Refused(f"{folder / LIST}, line {number}: {listed.key[:200]!r} is not a valid file name")
            yield listed


def restore_sqlite(folder: Path, path: Path) -> None:
    """Copy the database file of a backup to a path where none exists. Raises Unavailable."""
    # Copied under another name and renamed, so that an interrupted restore leaves no half database behind.
    temporary = path.with_suffix(".restoring")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / SQLITE_FILE, temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise Unavailable(f"data folder {path.parent}", error.strerror or str(error)) from error
