"""Reads a backup: its manifest, its list, its files; and finds what is damaged. All functions block."""

import contextlib
import gzip
import hashlib
import itertools
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import Final, Self, TypeVar

import msgspec

from kiai.errors import Refused, Unavailable
from kiai.files.places import BackupPlace, Missing
from kiai.files.port import is_key
from kiai.staff.backup_keys import SEALED, BackupKey
from kiai.staff.backup_model import DATA, FILES, FORMATS, LINE_MAX, LIST, MANIFEST, BackedUpFile, Manifest
from kiai.staff.backup_retention import time_of_name
from kiai.staff.backup_threads import in_order
from kiai.storage.dumping import SQLITE_FILE, TABLES
from kiai.storage.tables import metadata

T = TypeVar("T")
_GZIP: Final = b"\x1f\x8b"


class BackupReader:
    """Reads the backup `name` of a place. `work` is a folder for temporary files, None for that of the system.

    A context manager: it removes its temporary files at the end.
    """

    def __init__(self, place: BackupPlace, name: str, key: BackupKey | None = None, work: Path | None = None) -> None:
        self.place = place
        self.name = name
        self.shown = place.shown_as(name)
        self._key = key
        self._work = work
        self._sealed = False
        self._list: Path | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # --- the manifest

    def manifest(self, *, engine: str | None, schema: str) -> Manifest:
        """Return the manifest. Raises Refused if this version and database cannot restore the backup.

        `engine` is None for any database.
        """
        manifest = self.described()
        if engine is not None and manifest.engine != engine:
            raise Refused(f"the backup is for {manifest.engine}, but the database is {engine}")
        # A PostgreSQL dump contains rows only and needs the same tables. An SQLite backup is a whole database file,
        # which `kiai migrate` can update; only a newer schema is unknown.
        if manifest.engine == "postgresql" and manifest.schema != schema:
            raise Refused(
                f"the backup has schema {manifest.schema}, but this version of kiai needs {schema}; restore it with the"
                f" version that made it ({manifest.version}), then run `kiai migrate` with this version"
            )
        if manifest.schema > schema:
            raise Refused(
                f"the backup has schema {manifest.schema}, but this version of kiai knows only {schema}; use the "
                f"version that made it ({manifest.version})"
            )
        self.unlock(manifest)
        self.check_list(manifest)
        return manifest

    def check_list(self, manifest: Manifest) -> None:
        """Raise Refused unless the list is the one that the manifest describes."""
        try:
            sha256 = _sha256_of(self._list_file())
        except Unavailable as error:
            raise Refused(f"{LIST} of the backup is missing or cannot be read: {error.reason}") from error
        except OSError as error:
            raise Refused(f"{LIST} of the backup is missing or cannot be read: {error.strerror}") from error
        if sha256 != manifest.list_sha256:
            raise Refused(f"{self.place.shown_as(f'{self.name}/{LIST}')} is damaged")

    def described(self) -> Manifest:
        """Return the manifest without further checks. Raises Refused if this version cannot read it."""
        try:
            manifest = msgspec.json.decode(self.place.read(f"{self.name}/{MANIFEST}"), type=Manifest)
        except Missing as error:
            raise Refused(f"{self.shown} does not contain a complete backup: {MANIFEST} is missing") from error
        except msgspec.MsgspecError as error:
            raise Refused(f"{self.place.shown_as(f'{self.name}/{MANIFEST}')} is damaged: {error}") from error
        if manifest.format not in FORMATS:
            raise Refused(
                f"the backup has format {manifest.format}, but this version of kiai reads up to format {FORMATS[-1]}"
            )
        return manifest

    def unlock(self, manifest: Manifest) -> None:
        """Raise Refused unless the key fits the backup."""
        self._sealed = bool(manifest.key_id)
        if not self._sealed:
            return
        if self._key is None:
            raise Refused("the backup is encrypted; name its key with --key FILE or the setting backup_key_file")
        if self._key.id != manifest.key_id:
            raise Refused(
                f"the backup was encrypted with the key {manifest.key_id}, but {self._key.shown} contains the key "
                f"{self._key.id}; name the right file with --key FILE or the setting backup_key_file"
            )

    def unlock_by_content(self) -> None:
        """Like `unlock`, for a backup without a manifest. Raises Refused, Unavailable."""
        start = next(iter(self.place.chunks(f"{self.name}/{LIST}")), b"")
        self._sealed = start.startswith(SEALED)
        if self._sealed and self._key is None:
            raise Refused("the backup is encrypted")

    @property
    def key_id(self) -> str:
        """The id of the key that is used, "" without encryption."""
        return self._key.id if self._sealed and self._key is not None else ""

    # --- files

    def listed(self) -> Iterator[BackedUpFile]:
        """Yield the files in the list. Raises Refused at an invalid key, which could lead out of the store."""
        shown = self.place.shown_as(f"{self.name}/{LIST}")
        with self._opened_list() as listing:
            for number in itertools.count(1):
                try:
                    line = listing.readline(LINE_MAX)
                    if not line:
                        return
                    listed = msgspec.json.decode(line, type=BackedUpFile)
                except (msgspec.MsgspecError, EOFError, zlib.error, gzip.BadGzipFile) as error:
                    raise Refused(f"{shown}, line {number}, is damaged: {error}") from error
                if not is_key(listed.key):
                    raise Refused(f"{shown}, line {number}: {listed.key[:200]!r} is not a valid file name")
                if listed.within and time_of_name(listed.within) is None:
                    raise Refused(f"{shown}, line {number}: {listed.within[:200]!r} is not the name of a backup")
                yield listed

    def _opened_list(self) -> gzip.GzipFile | BufferedReader:
        path = self._list_file()
        with open(path, "rb") as file:
            is_compressed = file.read(len(_GZIP)) == _GZIP
        return gzip.open(path, "rb") if is_compressed else open(path, "rb")

    def _list_file(self) -> Path:
        """Return a local file with the list. Of a bucket or with encryption, it is a copy that is made once."""
        if self._list is None:
            try:
                self._list = self._stack.enter_context(self.part(f"{self.name}/{LIST}"))
            except ValueError as error:
                raise Refused(f"{self.shown}/{LIST} is damaged, or another key encrypted it") from error
        return self._list

    def path_of(self, listed: BackedUpFile) -> str:
        """Return the path of a file of the list."""
        return f"{listed.within or self.name}/{FILES}/{listed.key}"

    def read(self, path: str) -> bytes:
        """Return a small file. Raises Unavailable, and ValueError if it cannot be decrypted."""
        data = self.place.read(path)
        return self._key.open(data) if self._sealed and self._key is not None else data

    def fetch(self, path: str, target: Path) -> None:
        """Copy a file of any size to a local path. Raises Unavailable, OSError, ValueError."""
        if not self._sealed or self._key is None:
            with open(target, "wb") as file:
                for chunk in self.place.chunks(path):
                    file.write(chunk)
            return
        with tempfile.NamedTemporaryFile(dir=self._work) as sealed:
            for chunk in self.place.chunks(path):
                sealed.write(chunk)
            sealed.flush()
            self._key.open_file(Path(sealed.name), target)

    def content(self, path: str, listed: BackedUpFile) -> bytes:
        """Return a small file after a check of its checksum. Raises Refused."""
        try:
            data = self.read(path)
        except Missing as error:
            raise Refused(f"{listed.key} of the backup cannot be read: {error.reason}") from error
        except ValueError:
            data = None
        if data is None or hashlib.sha256(data).hexdigest() != listed.sha256:
            raise Refused(f"{listed.key} of the backup is damaged")
        return data

    def copy(self, path: str, listed: BackedUpFile, target: Path) -> None:
        """Copy a file of any size to a local path, mode 0600, and check its checksum. Raises Refused, OSError."""
        try:
            target.touch(mode=0o600)
            self.fetch(path, target)
            is_whole = _sha256_of(target) == listed.sha256
        except ValueError:
            is_whole = False
        if not is_whole:
            raise Refused(f"{listed.key} of the backup is damaged")

    @contextlib.contextmanager
    def part(self, path: str) -> Iterator[Path]:
        """Return the path of a local file with the content of one: itself, or a temporary copy."""
        local = self.place.local(self.name)
        if local is not None and not self._sealed:
            yield local / path.removeprefix(f"{self.name}/")
            return
        with tempfile.TemporaryDirectory(dir=self._work) as folder:
            copy = Path(folder, "part")
            self.fetch(path, copy)
            yield copy

    def _digest(self, path: str) -> str:
        """Return the checksum of a file of any size."""
        if self._sealed:
            with self.part(path) as local:
                return _sha256_of(local)
        digest = hashlib.sha256()
        for chunk in self.place.chunks(path):
            digest.update(chunk)
        return digest.hexdigest()

    # --- damage

    def check(self, manifest: Manifest) -> None:
        """Verify the checksum of every part and file, before anything is restored. Raises Refused."""
        for fault in self.faults(manifest):
            raise Refused(fault)

    def faults(self, manifest: Manifest, files: Iterable[BackedUpFile] | None = None) -> Iterator[str]:
        """Yield each part and file that is missing or damaged; of all files, or of these.

        Raises Refused if the lists are not usable.
        """
        self.check_lists(manifest)
        for folder, parts, digest in (
            (self.name, manifest.database, self._digest),
            (f"{self.name}/{DATA}", manifest.data, self._digest_of_small),
        ):
            for part in parts:
                if (fault := self._fault(f"{folder}/{part.key}", part, digest)) is not None:
                    yield fault
        for _, fault in self._of_each(self._fault_of, self.listed() if files is None else files):
            if fault is not None:
                yield fault

    def check_lists(self, manifest: Manifest) -> None:
        """Raise Refused unless the manifest names what a backup of its database must have."""
        # A correct checksum does not prove that a name is harmless: someone may have written both. So the names of the
        # parts and files are verified, too.
        shown = self.place.shown_as(f"{self.name}/{MANIFEST}")
        parts = {f"{TABLES}/{name}.copy" for name in metadata.tables}
        expected: Final = {SQLITE_FILE} if manifest.engine == "sqlite" else parts
        if {part.key for part in manifest.database} != expected or len(manifest.database) != len(expected):
            raise Refused(f"{shown} does not name the parts of a {manifest.engine} database")
        for part in manifest.data:
            if not is_key(part.key):
                raise Refused(f"{shown}: {part.key[:200]!r} is not a valid file name")
        count = sum(1 for _ in self.listed())
        if count != manifest.files:
            raise Refused(
                f"{self.place.shown_as(f'{self.name}/{LIST}')} lists {count} files, but {MANIFEST} states "
                f"{manifest.files}"
            )

    def damaged(self, files: Iterable[BackedUpFile]) -> set[str]:
        """Return the keys of those files that are missing or damaged. Raises Unavailable if the place fails."""
        return {listed.key for listed, is_damaged in self._of_each(self._is_damaged, files) if is_damaged}

    def _of_each(
        self, work: Callable[[BackedUpFile], T], files: Iterable[BackedUpFile]
    ) -> Iterator[tuple[BackedUpFile, T]]:
        """Yield each file with its result."""
        if self.place.local(self.name) is None:
            return in_order(work, files)
        # PERF: files of this machine do not wait, and a thread for each would take longer than to read it.
        return ((listed, work(listed)) for listed in files)

    def _is_damaged(self, listed: BackedUpFile) -> bool:
        try:
            return self._digest_of_small(self.path_of(listed)) != listed.sha256
        except (Missing, ValueError):
            return True

    def _digest_of_small(self, path: str) -> str:
        return hashlib.sha256(self.read(path)).hexdigest()

    def _fault_of(self, listed: BackedUpFile) -> str | None:
        return self._fault(self.path_of(listed), listed, self._digest_of_small)

    def _fault(self, path: str, part: BackedUpFile, digest: Callable[[str], str]) -> str | None:
        try:
            if digest(path) == part.sha256:
                return None
        except Unavailable as error:
            return f"{part.key} of the backup is missing or cannot be read: {error.reason}"
        except ValueError:  # it cannot be decrypted
            pass
        return f"{part.key} of the backup is damaged"


def _sha256_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
