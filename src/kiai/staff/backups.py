"""Writes backups: the database at one moment, then the files that it refers to (docs/spec/security.md#backups).

The database is copied first. A file is stored before its row and deleted BACK_UP_MAX_S after it at the earliest
(`files/retiring.py`), so each file that the copied database names can still be copied. The manifest is written last; a
backup without a manifest is incomplete and cannot be restored.

A file that the backup before (the *base*) contains is not copied again. A folder gets a hard link to it. In a bucket,
the list says which backup contains it. A rotating part of these files is read and compared with its checksum, so that a
damaged one is found within some weeks and copied again.
"""

import asyncio
import gzip
import hashlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec

from kiai.clock import Clock
from kiai.errors import KiaiError, Refused, Unavailable
from kiai.files.places import BackupPlace
from kiai.files.port import Files, StoredFile
from kiai.files.retiring import BACK_UP_MAX_S
from kiai.logs import get_logger
from kiai.staff.backup_index import ListIndex
from kiai.staff.backup_keys import BackupKey
from kiai.staff.backup_model import (
    COMPRESSED_FORMAT,
    COMPRESSED_FROM,
    DATA,
    DERIVED_PREFIXES,
    FILES,
    FORMAT,
    IMMUTABLE_PREFIXES,
    LIST,
    MANIFEST,
    BackedUpFile,
    Manifest,
)
from kiai.staff.backup_reading import BackupReader
from kiai.staff.backup_retention import NextBackup
from kiai.staff.backup_threads import AT_ONCE
from kiai.together import together
from kiai.version import VERSION

LISTED_AT_ONCE: Final = 1_000
FAST: Final = 1  # of gzip: a higher level saves little, because a list is mostly checksums
COPIED_AT_ONCE: Final = 1 << 20  # bytes
UNCHANGED_MS: Final = 2_000
"""A file that was written later than this before the backup may change without a change of its time."""
CHECKED_PARTS: Final = 30
CHECKED_FILES: Final = 50_000
CHECKED_BYTES: Final = 1_073_741_824
"""Each backup checks one of at least 30 parts of the files that it does not copy, about this many and this much."""

Dump = Callable[[Path], Awaitable[None]]
Progress = Callable[[int], None]


class BackupSource(msgspec.Struct, frozen=True):
    """The parts of the server to back up.

    `dump` writes the database into a folder, `data` yields files of the data folder by key.
    """

    engine: str
    schema: str
    dump: Dump
    files: Files
    data: Callable[[], Iterable[tuple[str, bytes]]] = tuple


class BackupWriter:
    """Writes one backup, `name` in `place`. `work` is an empty folder for temporary files.

    `chain` names the backup whose files are not copied again. With a `key` everything is encrypted except the manifest.
    `progress` gets the number of files.
    """

    def __init__(
        self,
        place: BackupPlace,
        name: str,
        source: BackupSource,
        work: Path,
        clock: Clock,
        *,
        key: BackupKey | None = None,
        chain: NextBackup = NextBackup(),  # noqa: B008, it is frozen
        progress: Progress = lambda done: None,
    ) -> None:
        self._place = place
        self._name = name
        self._source = source
        self._work = work
        self._clock = clock
        self._key = key
        self._base = chain.base
        self._chain = chain
        self._progress = progress
        self._old: BackupReader | None = None
        self._index: ListIndex | None = None
        self._made_at = clock.now_ms()
        self._parts = CHECKED_PARTS
        self._count = self._bytes = self._new_files = self._new_bytes = 0
        self._sources: dict[str, int] = {}
        self._threads = ThreadPoolExecutor(AT_ONCE, "backup")

    async def write(self, check_database: Callable[[Path], object] | None = None) -> Manifest:
        """Write the backup. Raises Refused if it takes longer than BACK_UP_MAX_S, and Unavailable.

        With `check_database`, everything is read again and compared with its checksum before the manifest is written.
        The function gets a local copy of an SQLite database.
        """
        # Files whose rows were deleted after the copy of the database may be deleted from this moment on.
        deadline = self._clock.monotonic() + BACK_UP_MAX_S
        try:
            await asyncio.to_thread(self._place.prepare, self._name)
            database = await self._write_database()
            data = await asyncio.to_thread(self._write_data)
            await asyncio.to_thread(self._open_base)
            try:
                with open(self._list, "wb") as listing, open(self._new_list, "wb") as new:
                    async for batch in self._batches():
                        if self._clock.monotonic() > deadline:
                            raise Refused(
                                f"the backup took longer than {BACK_UP_MAX_S // 3600} hours and is incomplete"
                            )
                        carried, rest = await asyncio.to_thread(self._carry, batch)
                        listing.writelines(self._lines(carried))
                        for at in range(0, len(rest), AT_ONCE):
                            copied = await self._copy_files(rest[at : at + AT_ONCE])
                            lines = list(self._lines(copied))
                            listing.writelines(lines)
                            new.writelines(lines)
                        self._progress(self._count)
            finally:
                self._threads.shutdown(wait=False)
                await asyncio.to_thread(self._close_base)
            return await asyncio.to_thread(self._finish, database, data, check_database)
        except OSError as error:
            raise Unavailable(f"folder {self._work}", error.strerror or str(error)) from error

    def _verify(self, manifest: Manifest, check_database: Callable[[Path], object]) -> None:
        with BackupReader(self._place, self._name, self._key, self._work) as reader:
            reader.unlock(manifest)
            reader.check_list(manifest)
            for fault in reader.faults(manifest, self._new()):
                raise Refused(fault)
            if manifest.engine == "sqlite":
                with reader.part(f"{self._name}/{manifest.database[0].key}") as path:
                    check_database(path)

    # --- the base

    def _open_base(self) -> None:
        """Read the list of the base. A base that cannot be used only costs a full copy."""
        if self._base is None:
            return
        old = BackupReader(self._place, self._base, self._key, self._work)
        index = ListIndex(self._work / "index.db")
        try:
            manifest = old.described()
            if manifest.key_id != ("" if self._key is None else self._key.id):
                raise Refused("it has another key")
            manifest = old.manifest(engine=None, schema=manifest.schema)
            index.add(old.listed(), self._base)
        except (KiaiError, OSError, ValueError) as error:
            get_logger("backup").warning("all files are copied again", base=self._base, why=str(error))
            index.close()
            old.__exit__()
            self._base = None
            return
        self._old, self._index = old, index
        self._parts = max(CHECKED_PARTS, manifest.files // CHECKED_FILES, manifest.bytes // CHECKED_BYTES)

    def _close_base(self) -> None:
        if self._index is not None:
            self._index.close()
        if self._old is not None:
            self._old.__exit__()

    def _carry(self, batch: list[StoredFile]) -> tuple[list[BackedUpFile], list[StoredFile]]:
        """Take the files that did not change from the base. Return them, and those to copy."""
        if self._index is None or self._old is None or self._base is None:
            return [], batch
        carried, rest = [], []
        found = [(stored, self._index.find(stored.key)) for stored in batch]
        same = {stored.key: old for stored, old in found if old is not None and _is_unchanged(stored, old)}
        damaged = self._old.damaged(old for old in same.values() if self._is_checked(old))
        for stored in batch:
            old = same.get(stored.key)
            if old is None:
                rest.append(stored)
            elif old.key in damaged:
                get_logger("backup").error("damaged file in a backup, copied again", backup=self._base, file=old.key)
                rest.append(stored)
            elif not self._place.links:
                self._sources[old.within] = self._sources.get(old.within, 0) + 1
                carried.append(old)
            elif self._place.link(f"{self._name}/{FILES}/{old.key}", f"{self._base}/{FILES}/{old.key}"):
                carried.append(msgspec.structs.replace(old, within=""))
            else:
                rest.append(stored)
        return carried, rest

    def _is_checked(self, old: BackedUpFile) -> bool:
        return int(old.sha256[:12], 16) % self._parts == self._chain.sequence % self._parts

    # --- copies

    async def _batches(self) -> AsyncIterator[list[StoredFile]]:
        batch: list[StoredFile] = []
        async for stored in self._source.files.keys(""):
            if not stored.key.startswith(DERIVED_PREFIXES):
                batch.append(stored)
            if len(batch) == LISTED_AT_ONCE:
                yield batch
                batch = []
        yield batch

    async def _copy_files(self, files: list[StoredFile]) -> list[BackedUpFile]:
        copies = [one for one in await together(*map(self._copy_file, files)) if one is not None]
        self._new_files += len(copies)
        self._new_bytes += sum(copy.stored_size for copy in copies)
        return copies

    async def _copy_file(self, stored: StoredFile) -> BackedUpFile | None:
        data = await self._source.files.get(stored.key)
        if data is None:  # deleted since it was listed; the copied database does not name it
            return None
        # Not `to_thread`: on two cores, asyncio has six threads for the whole server.
        write = asyncio.get_running_loop().run_in_executor
        copy = await write(self._threads, self._write, f"{FILES}/{stored.key}", stored.key, data)
        is_final = stored.modified_ms < self._made_at - UNCHANGED_MS and len(data) == stored.size
        return msgspec.structs.replace(copy, modified_ms=stored.modified_ms if is_final else 0)

    def _write(self, path: str, key: str, data: bytes) -> BackedUpFile:
        sealed = data if self._key is None else self._key.seal(data)
        self._place.write(f"{self._name}/{path}", sealed)
        size = None if self._key is None else len(sealed)
        return BackedUpFile(key, len(data), hashlib.sha256(data).hexdigest(), size)

    def _write_data(self) -> tuple[BackedUpFile, ...]:
        parts = [self._write(f"{DATA}/{key}", key, data) for key, data in self._source.data()]
        self._bytes += sum(part.size for part in parts)
        self._new_bytes += sum(part.stored_size for part in parts)
        return tuple(parts)

    # --- the database

    async def _write_database(self) -> tuple[BackedUpFile, ...]:
        local = self._place.local(self._name)
        into = self._work / "database" if local is None or self._key is not None else local
        into.mkdir(mode=0o700, exist_ok=True)
        await self._source.dump(into)
        return await asyncio.to_thread(self._upload_database, into)

    def _upload_database(self, folder: Path) -> tuple[BackedUpFile, ...]:
        parts = []
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                parts.append(self._upload(path.relative_to(folder).as_posix(), path))
                if folder.parent == self._work:  # the disk may be too small for two copies
                    path.unlink()
        return tuple(parts)

    def _upload(self, key: str, path: Path) -> BackedUpFile:
        """Store a local file of any size."""
        size, sha256 = path.stat().st_size, _sha256_of(path)
        stored, source = None, path
        if self._key is not None:
            source = self._work / "sealed"
            self._key.seal_file(path, source)
            stored = source.stat().st_size
        self._place.upload(f"{self._name}/{key}", source)
        if source != path:
            source.unlink()
        self._new_bytes += size if stored is None else stored
        return BackedUpFile(key, size, sha256, stored)

    # --- the lists

    @property
    def _list(self) -> Path:
        return self._work / LIST

    @property
    def _new_list(self) -> Path:
        return self._work / "new.jsonl"

    def _lines(self, files: list[BackedUpFile]) -> Iterator[bytes]:
        for one in files:
            self._count += 1
            self._bytes += one.size
            yield msgspec.json.encode(one) + b"\n"

    def _compressed_list(self) -> Path:
        """Compress the list, and remove the plain one."""
        path = self._work / "list.gz"
        with open(self._list, "rb") as plain, gzip.open(path, "wb", compresslevel=FAST) as compressed:
            shutil.copyfileobj(plain, compressed, COPIED_AT_ONCE)
        self._list.unlink()
        return path

    def _new(self) -> Iterator[BackedUpFile]:
        with open(self._new_list, "rb") as listing:
            for line in listing:
                yield msgspec.json.decode(line, type=BackedUpFile)

    def _finish(
        self,
        database: tuple[BackedUpFile, ...],
        data: tuple[BackedUpFile, ...],
        check_database: Callable[[Path], object] | None,
    ) -> Manifest:
        is_long = self._list.stat().st_size >= COMPRESSED_FROM
        listed = self._upload(LIST, self._compressed_list() if is_long else self._list)
        manifest = Manifest(
            COMPRESSED_FORMAT if is_long else FORMAT,
            VERSION,
            self._source.schema,
            self._source.engine,
            self._made_at,
            self._count,
            self._bytes,
            listed.sha256,
            database,
            data=data,
            base=self._base or "",
            sequence=self._chain.sequence,
            passed_over=self._chain.passed_over,
            new_files=self._new_files,
            new_bytes=self._new_bytes,
            key_id="" if self._key is None else self._key.id,
            sources=self._sources,
        )
        if check_database is not None:
            self._verify(manifest, check_database)
        # The manifest marks the backup as complete, so everything else is on the disk before it.
        self._place.sync(self._name)
        self._place.write(f"{self._name}/{MANIFEST}", msgspec.json.format(msgspec.json.encode(manifest)))
        self._place.sync(self._name)
        return manifest


def _is_unchanged(stored: StoredFile, old: BackedUpFile) -> bool:
    if stored.size != old.size:
        return False
    return stored.key.startswith(IMMUTABLE_PREFIXES) or 0 < old.modified_ms == stored.modified_ms


def _sha256_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
