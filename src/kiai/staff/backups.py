"""Back-ups: the database as of one moment, then the files it refers to (docs/spec/security.md#back-ups).

A file is stored before the row that names it, and deleted no sooner than BACK_UP_MAX_S after it (files/retiring.py);
so a database that is copied first never names a file that is not there to be copied. The manifest is written last: a
back-up without one was not finished, and is not restored from.
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
MADE_AGAIN: Final = ("thumbs/", "previews/", "check")  # derived: a server makes them anew
AT_ONCE: Final = 16
OWNER_ONLY: Final = 0o700

LAST: Final = "last-backup.json"
"""In the data folder: when the last back-up was made, for whoever watches the server."""

Dump = Callable[[Path], Awaitable[None]]
Progress = Callable[[int], None]


class Kept(msgspec.Struct, frozen=True):
    """A file of the back-up, by its path below the folder of files (of the database: below the back-up's)."""

    key: str
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """What a back-up is. `engine` is sqlite or postgresql; sizes in bytes; the `database` lies beside the manifest."""

    format: int
    version: str
    schema: str
    engine: str
    made_at_ms: int
    files: int
    bytes: int
    list_sha256: str
    database: tuple[Kept, ...]


class LastBackUp(msgspec.Struct, frozen=True):
    """A back-up that succeeded: when it was begun, and its size with the database."""

    at_ms: int
    bytes: int


def note_back_up(data: Path, manifest: Manifest) -> None:
    """Notes in the data folder that this back-up succeeded. A folder that takes no note costs no back-up."""
    made = LastBackUp(manifest.made_at_ms, manifest.bytes + sum(part.size for part in manifest.database))
    path = data / LAST
    unfinished = path.with_suffix(f".{os.getpid()}")
    try:
        with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(made))
        os.replace(unfinished, path)
    except OSError as error:
        get_logger("backup").warning("not noted for the metrics", folder=str(data), why=error.strerror)


def last_back_up(data: Path) -> LastBackUp | None:
    """The last back-up of this data folder; None when there was none."""
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
    """Writes a back-up into a folder that is empty or not there yet. Raises Refused and Unavailable.

    The folder is closed to everybody but its owner: passwords and keys are in it. Raises Refused when it takes longer
    than BACK_UP_MAX_S, since files that it has still to copy may be deleted from then on.
    """
    made_at = clock.now_ms()
    ends = clock.monotonic() + BACK_UP_MAX_S
    try:
        folder.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise Refused(f"{folder} is not empty; give each back-up a folder of its own")
        folder.chmod(OWNER_ONLY)
        (folder / FILES).mkdir()
        await dump(folder)
        database = await asyncio.to_thread(_dumped, folder)
        count = total = 0
        with open(folder / LIST, "wb") as listing:
            batch: list[str] = []
            async for stored in files.keys(""):
                if not stored.key.startswith(MADE_AGAIN):
                    batch.append(stored.key)
                if clock.monotonic() > ends:
                    raise Refused(f"the back-up took longer than {BACK_UP_MAX_S // 3600} hours and is not whole")
                if len(batch) == AT_ONCE:
                    for kept in await _copy_out(files, batch, folder):
                        listing.write(msgspec.json.encode(kept) + b"\n")
                        count, total = count + 1, total + kept.size
                    batch.clear()
                    progress(count)
            for kept in await _copy_out(files, batch, folder):
                listing.write(msgspec.json.encode(kept) + b"\n")
                count, total = count + 1, total + kept.size
            listing.flush()
            os.fsync(listing.fileno())
        sha256 = await asyncio.to_thread(_sha256_of, folder / LIST)
        manifest = Manifest(FORMAT, __version__, schema, engine, made_at, count, total, sha256, database)
        await asyncio.to_thread(_write, folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
    except OSError as error:
        raise Unavailable(f"back-up folder {folder}", error.strerror or str(error)) from error
    return manifest


def _dumped(folder: Path) -> tuple[Kept, ...]:
    """What the dump left in the folder, on the disk for good."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
            found.append(Kept(path.relative_to(folder).as_posix(), path.stat().st_size, _sha256_of(path)))
    return tuple(found)


async def _copy_out(files: Files, keys: list[str], folder: Path) -> list[Kept]:
    found = await asyncio.gather(*(_copy_one(files, key, folder) for key in keys))
    return [one for one in found if one is not None]


async def _copy_one(files: Files, key: str, folder: Path) -> Kept | None:
    data = await files.get(key)
    if data is None:  # removed since it was listed, so that nothing refers to it
        return None
    await asyncio.to_thread(_write, folder / FILES / key, data)
    return Kept(key, len(data), hashlib.sha256(data).hexdigest())


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sha256_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path, *, engine: str, schema: str) -> Manifest:
    """The manifest of a back-up that can be restored here. Raises Refused for one that cannot."""
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except OSError as error:
        raise Refused(f"{folder} holds no finished back-up: there is no {MANIFEST}") from error
    except msgspec.MsgspecError as error:
        raise Refused(f"{folder / MANIFEST} is damaged: {error}") from error
    if manifest.format != FORMAT:
        raise Refused(f"the back-up has format {manifest.format}, this kiai reads {FORMAT}")
    if manifest.engine != engine:
        raise Refused(f"the back-up is of {manifest.engine}, the database here is {engine}")
    if engine == "postgresql" and manifest.schema != schema:
        raise Refused(
            f"the back-up has schema {manifest.schema}, this kiai wants {schema}; restore with the kiai that made it, "
            "then run `kiai migrate` with this one"
        )
    if manifest.schema > schema:
        raise Refused(f"the back-up has schema {manifest.schema}, this kiai knows {schema}; use the kiai that made it")
    try:
        sha256 = _sha256_of(folder / LIST)
    except OSError as error:
        raise Refused(f"the back-up lacks {LIST}: {error.strerror}") from error
    if sha256 != manifest.list_sha256:
        raise Refused(f"{folder / LIST} is damaged")
    return manifest


def check(folder: Path, manifest: Manifest) -> None:
    """Holds everything in a back-up against its checksum, before anything is restored from it. Raises Refused.

    A checksum says that the list is whole, not that it names files of ours: each name is judged as well.
    """
    expected = {SQLITE_FILE} if manifest.engine == "sqlite" else {f"{TABLES}/{one}.copy" for one in metadata.tables}
    if {part.key for part in manifest.database} != expected or len(manifest.database) != len(expected):
        raise Refused(f"{folder / MANIFEST} does not name the parts of a {manifest.engine} database")
    listed = sum(1 for _ in _listed(folder))
    if listed != manifest.files:
        raise Refused(f"{folder / LIST} names {listed} files, {MANIFEST} says {manifest.files}")
    for root, parts in ((folder, manifest.database), (folder / FILES, _listed(folder))):
        for kept in parts:
            try:
                sha256 = _sha256_of(root / kept.key)
            except OSError as error:
                raise Refused(f"the back-up lacks {kept.key}: {error.strerror}") from error
            if sha256 != kept.sha256:
                raise Refused(f"{kept.key} of the back-up is damaged")


async def restore_files(folder: Path, files: Files, progress: Progress = lambda done: None) -> int:
    """Puts every file of a back-up that was checked into the store; how many. Raises Refused."""
    count = 0
    for kept in _listed(folder):
        try:
            data = await asyncio.to_thread((folder / FILES / kept.key).read_bytes)
        except OSError as error:
            raise Refused(f"{kept.key} of the back-up cannot be read: {error.strerror}") from error
        await files.put(kept.key, data)
        count += 1
        progress(count)
    return count


def _listed(folder: Path) -> Iterator[Kept]:
    """The files of the list. Raises Refused at a line that names none of ours: it could lead out of the store."""
    with open(folder / LIST, "rb") as listing:
        for number, line in enumerate(listing, 1):
            try:
                kept = msgspec.json.decode(line, type=Kept)
            except msgspec.MsgspecError as error:
                raise Refused(f"{folder / LIST}, line {number}, is damaged: {error}") from error
            if not is_key(kept.key):
                raise Refused(f"{folder / LIST}, line {number}: {kept.key[:200]!r} is no name of a file in a store")
            yield kept


def restore_sqlite(folder: Path, path: Path) -> None:
    """Puts the database file of a back-up where there is none. Raises Unavailable."""
    temporary = path.with_suffix(".restoring")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / SQLITE_FILE, temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise Unavailable(f"data folder {path.parent}", error.strerror or str(error)) from error
