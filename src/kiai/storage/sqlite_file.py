"""Checks of an SQLite file before its use: it is a database, undamaged, and belongs to kiai.

A damaged file must be rejected before anything is written to it. SQLite silently discards a write-ahead log that it
cannot read, and the last transactions with it.
"""

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from kiai.errors import Damaged, Refused, Unavailable
from kiai.storage.tables import metadata

CHECK_S: Final = 20.0
"""Time limit of the check at start-up, in seconds. A file that is too large to be read in this time is used anyway."""
INSTRUCTIONS: Final = 100_000  # of SQLite's virtual machine between two checks of the clock: a few milliseconds

VERSION: Final = "alembic_version"
_DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# A damaged schema table or text shows as one of these messages, with a general error code.
_DAMAGE_MESSAGES: Final = ("no such table", "no such column", "Could not decode")
_WAL_HEADER: Final = 32
_WAL_MAGIC: Final = 0x377F0682  # the lowest bit gives the byte order of the checksums
_WAL_VERSION: Final = 3_007_000


def damaged(part: str, fault: str) -> Damaged:
    """Return the error for a damaged database file, with instructions for the operator."""
    fault = " ".join(fault.split())  # SQLite reports some faults over several lines
    return Damaged(
        part,
        fault,
        "restore a backup into a new folder with `kiai restore`, or recover the readable rows with sqlite3's .recover",
    )


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether an error of SQLite means that the file is damaged; busy, full or locked does not."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the lowest byte is the primary code
    return code in _DAMAGE or str(error).startswith(_DAMAGE_MESSAGES)


def is_of_disk(error: sqlite3.Error) -> bool:
    """Return whether the disk is the reason of an error. A full one is reported in both ways."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def unusable(error: sqlite3.Error, path: Path | None = None) -> Unavailable:
    """Return the error for a database that cannot be used now, with instructions if its disk is the reason."""
    reason = str(error) if path is None else f"{path}: {error}"
    if is_of_disk(error):
        reason += "; free space on its disk, or check the disk"
    return Unavailable("database", reason)


def first_of(faults: Sequence[str]) -> str:
    """Return the first fault and the number of the others, as one sentence."""
    return faults[0] if len(faults) == 1 else f"{faults[0]} (and {len(faults) - 1} more faults)"


def check_files(path: Path) -> None:
    """Reject a database file or write-ahead log that SQLite would treat as empty, and overwrite.

    Reads only the size of the file and the header of the log. Raises Damaged, Unavailable.
    """
    try:
        if path.stat().st_size == 0:
            raise damaged(str(path), "it is empty, a file of 0 bytes")
        wal = path.with_name(f"{path.name}-wal")
        with contextlib.suppress(FileNotFoundError), open(wal, "rb") as file:
            header = file.read(_WAL_HEADER)
            # A header of zeros is not damage: the file was allocated, but nothing was written before a power cut.
            if any(header) and not _is_wal_header(header):
                raise damaged(str(wal), "it has no header of a write-ahead log, so the last changes are lost")
    except OSError as error:
        raise Unavailable("database", f"{path}: {error.strerror}") from error


def _is_wal_header(header: bytes) -> bool:
    """Return whether SQLite would read a log with this header (sqlite.org/fileformat2.html, section 4.1)."""
    if len(header) < _WAL_HEADER:
        return True  # the process died while it created the log, before the first commit
    magic = int.from_bytes(header[:4], "big")
    if magic & ~1 != _WAL_MAGIC or int.from_bytes(header[4:8], "big") != _WAL_VERSION:
        return False
    # The checksum of the format: two running sums over the 32-bit words of the first 24 bytes.
    order: Final = "big" if magic & 1 else "little"
    first = second = 0
    for at in range(0, 24, 8):
        first = (first + int.from_bytes(header[at : at + 4], order) + second) & 0xFFFFFFFF
        second = (second + int.from_bytes(header[at + 4 : at + 8], order) + first) & 0xFFFFFFFF
    return header[24:] == first.to_bytes(4, "big") + second.to_bytes(4, "big")


def read_schema(path: Path, *, newest: str) -> str | None:
    """Return the schema revision of a database file, or None for a database without tables.

    A file with the `newest` revision must have all its tables and columns. Raises Refused for the database of another
    program, Damaged when a table or column is missing, Unavailable.
    """
    found: dict[str, set[str]] = {}
    with _opened(path) as connection:
        for table, column in connection.execute(
            "SELECT m.name, p.name FROM sqlite_master m, pragma_table_info(m.name) p WHERE m.type = 'table'"
        ):
            found.setdefault(table, set()).add(column)
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if VERSION in found else None
    version = None if row is None else str(row[0])
    if not found.keys() - {VERSION}:  # the first start was interrupted before the migrations
        return version
    if not found.keys() & metadata.tables.keys():
        raise Refused(f"{path} is not a database of kiai: it has the tables {', '.join(sorted(found)[:5])}")
    if version is None:
        raise damaged(str(path), f"the table {VERSION} is missing or empty")
    if version == newest:
        _check_complete(path, found)
    return version


def _check_complete(path: Path, found: Mapping[str, set[str]]) -> None:
    for name, table in metadata.tables.items():
        if name not in found:
            raise damaged(str(path), f"the table {name} is missing")
        if missing := {column.name for column in table.columns} - found[name]:
            raise damaged(str(path), f"the column {min(missing)} of the table {name} is missing")


def check_pages(path: Path, *, within_s: float = CHECK_S) -> bool:
    """Check all pages of the file. Return False when `within_s` seconds were too short. Raises Damaged, Unavailable."""
    until = time.monotonic() + within_s
    with _opened(path) as connection:
        # quick_check does not compare indexes with their tables, which would take much longer.
        connection.set_progress_handler(lambda: time.monotonic() > until, INSTRUCTIONS)
        try:
            faults = [row[0] for row in connection.execute("PRAGMA quick_check(20)") if row[0] != "ok"]
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                return False
            raise
    if faults:
        raise damaged(str(path), first_of(faults))
    return True


_FILE_ROWS: Final = (
    ("SELECT score_id, md5 FROM replays ORDER BY score_id", "the replay of score"),
    ("SELECT id, avatar FROM users WHERE avatar IS NOT NULL ORDER BY id", "the avatar of user"),
    ("SELECT id, cover FROM users WHERE cover IS NOT NULL ORDER BY id", "the cover of user"),
    ("SELECT id, icon FROM clans WHERE icon IS NOT NULL ORDER BY id", "the icon of clan"),
    ("SELECT id, md5 FROM maps ORDER BY key", "the .osu file of map"),
)


def copy_faults(path: Path) -> list[str]:
    """Return damaged pages of a copy of a database, or else its broken references. Raises Damaged, Unavailable.

    No process may write to the file. Creates no file next to it.
    """
    with _opened(path, "mode=ro&immutable=1") as connection:
        damages = [row[0] for row in connection.execute("PRAGMA integrity_check(20)") if row[0] != "ok"]
        return damages or [
            f"{row[0]} row {row[1]} refers to nothing in {row[2]}"
            for row in connection.execute("PRAGMA foreign_key_check")
        ]


def rows_with_files(path: Path) -> Iterator[tuple[str, str | bytes]]:
    """Yield what a row of a copy describes, and the md5 or key of its file. Raises Damaged, Unavailable."""
    with _opened(path, "mode=ro&immutable=1") as connection:
        for statement, what in _FILE_ROWS:
            for id_, name in connection.execute(statement):
                yield f"{what} {id_}", name


def temporary_files_in(folder: Path) -> str:
    """Return the statement with which SQLite sorts in files of a folder, for all connections of the process.

    By default it uses /tmp, which often is in memory: an index over 10,000,000 scores needs 600 MB there.
    """
    # A folder that is gone later is no fault: SQLite uses /tmp again.
    quoted = str(folder.absolute()).replace("'", "''")
    return f"PRAGMA temp_store_directory = '{quoted}'"


@contextlib.contextmanager
def _opened(path: Path, options: str = "mode=ro") -> Iterator[sqlite3.Connection]:
    """Open a read-only connection. Errors of SQLite become Damaged or Unavailable."""
    try:
        connection = sqlite3.connect(f"file:{path}?{options}", uri=True, isolation_level=None)
        try:
            connection.execute("PRAGMA busy_timeout = 5000")
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        if is_damage(error):
            raise damaged(str(path), str(error)) from error
        raise unusable(error, path) from error
