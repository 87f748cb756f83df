"""The parts of a backup: its manifest, its list of files, and their names."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from kiai.logs import get_logger

MANIFEST: Final = "manifest.json"
FILES: Final = "files"
DATA: Final = "data"
LIST: Final = "files.jsonl"
FORMAT: Final = 2
COMPRESSED_FORMAT: Final = 3
FORMATS: Final = (1, FORMAT, COMPRESSED_FORMAT)
"""The formats that this version reads. 1 has neither files of the data folder, nor encryption, nor shared files.

In 3, the list is compressed with gzip. Short lists are not, so that earlier versions read the backup.
"""
COMPRESSED_FROM: Final = 1 << 20
"""The size of a list in bytes from which it is compressed. Each backup has one, of 170 MB for a million files."""
LINE_MAX: Final = 16_384
"""The largest line of a list in bytes, so that a damaged list takes little memory."""
DERIVED_PREFIXES: Final = ("thumbs/", "previews/", "cards/", "analyses/", "check")
"""Keys that are not backed up: a server creates these files again."""
IMMUTABLE_PREFIXES: Final = ("replays/", "osu/")
"""Keys that contain a checksum of their file, so a file of the same size is the same file."""

LAST: Final = "last-backup.json"
"""The file in the data folder with the time of the last backup, for the metrics."""


class BackedUpFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file of the backup. `key` is its path in the folder `files` or `data`, or in the backup for the database.

    `size` and `sha256` are those of the plain content, `stored` is the size with encryption, None without.
    `modified_ms` is when the server has written the file; 0 if a later change might not show in it. `within` is the
    backup of the same bucket that has the file, "" for this one.
    """

    key: str
    size: int
    sha256: str
    stored: int | None = None
    modified_ms: int = 0
    within: str = ""

    @property
    def stored_size(self) -> int:
        """The size in the backup."""
        return self.size if self.stored is None else self.stored


class Manifest(msgspec.Struct, frozen=True):
    """The description of a backup. `engine` is sqlite or postgresql. Sizes are in bytes, without encryption.

    - `files` is the number of files of the store, `bytes` the size of these and of the `data` folder's files.
    - `base` is the backup whose files were not copied again. For `sequence` and `passed_over` see
      `backup_retention.NextBackup`.
    - `new_files` and `new_bytes` were written by this backup, with its list; None in format 1.
    - `key_id` names the key of an encrypted backup, "" without encryption.
    - `sources` are the other backups that contain files of this one, in a bucket, with their number of files.

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
    data: tuple[BackedUpFile, ...] = ()
    base: str = ""
    sequence: int = 0
    passed_over: tuple[str, ...] = ()
    new_files: int | None = None
    new_bytes: int | None = None
    key_id: str = ""
    sources: Mapping[str, int] = {}

    @property
    def size(self) -> int:
        """The size of the database and all files."""
        return self.bytes + sum(part.size for part in self.database)


class LastBackUp(msgspec.Struct, frozen=True):
    """The last successful backup: its start in unix ms, and its size in bytes including the database."""

    at_ms: int
    bytes: int


def record_back_up(data: Path, manifest: Manifest) -> None:
    """Record in the data folder that this backup succeeded. If that fails, only log a warning."""
    record = LastBackUp(manifest.made_at_ms, manifest.size)
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
