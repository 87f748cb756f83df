"""What can be told about an SQLite file before it is used: whether it is one, whole, and kiai's.

A damaged file must be refused before anything is written to it: SQLite drops a write-ahead log that it cannot read,
and with it the last transactions, without a word.
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
"""How long the check of a start may take. A file that is not read to the end by then is used all the same."""
INSTRUCTIONS: Final = 100_000  # of SQLite's machine between two looks at the clock, some milliseconds

VERSION: Final = "alembic_version"
_DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_WORDS: Final = ("no such table", "no such column", "Could not decode")
_WAL_HEADER: Final = 32
_WAL_MAGIC: Final = 0x377F0682  # its lowest bit says in which byte order checksums are computed
_WAL_VERSION: Final = 3_007_000


def damaged(part: str, fault: str) -> Damaged:
    """The error for a database file that cannot be used, with what to do about it."""
    fault = " ".join(fault.split())
    return Damaged(
        part,
        fault,
        "restore a back-up into a new folder with `kiai restore`, or save what can be read with sqlite3's .recover",
    )


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error of SQLite means that the file is damaged, and not that it is busy, full or locked."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the lowest byte is the primary code
    return code in _DAMAGE or str(error).startswith(_WORDS)


def first_of(faults: Sequence[str]) -> str:
    """The first fault, and how many more there are."""
    return faults[0] if len(faults) == 1 else f"{faults[0]} (and {len(faults) - 1} more faults)"


def check_files(path: Path) -> None:
    """Refuses a database file, or a write-ahead log beside it, that SQLite would take for a new or empty one.

    Reads two headers; says nothing about the rest of the file. Raises Damaged, Unavailable.
    """
    try:
        if path.stat().st_size == 0:
            raise damaged(str(path), "it is empty, a file of 0 bytes")
        wal = path.with_name(f"{path.name}-wal")
        with contextlib.suppress(FileNotFoundError), open(wal, "rb") as file:
            header = file.read(_WAL_HEADER)
            if any(header) and not _is_wal_header(header):
                raise damaged(str(wal), "its header is not that of a write-ahead log, so the last changes are lost")
    except OSError as error:
        raise Unavailable("database", f"{path}: {error.strerror}") from error


def _is_wal_header(header: bytes) -> bool:
    """Whether SQLite would read the log behind this header (sqlite.org/fileformat2.html, section 4.1)."""
    if len(header) < _WAL_HEADER:
        return True  # cut while it was made: nothing was committed to it yet
    magic = int.from_bytes(header[:4], "big")
    if magic & ~1 != _WAL_MAGIC or int.from_bytes(header[4:8], "big") != _WAL_VERSION:
        return False
    order: Final = "big" if magic & 1 else "little"
    first = second = 0
    for at in range(0, 24, 8):
        first = (first + int.from_bytes(header[at : at + 4], order) + second) & 0xFFFFFFFF
        second = (second + int.from_bytes(header[at + 4 : at + 8], order) + first) & 0xFFFFFFFF
    return header[24:] == first.to_bytes(4, "big") + second.to_bytes(4, "big")


def read_schema(path: Path, *, newest: str) -> str | None:
    """The schema revision of a database file; None for one in which nothing was made yet.

    A file whose schema is the `newest` one must hold every table and column of it. Raises Refused for a file that is
    not kiai's, Damaged for one that lacks a part, Unavailable.
    """
    found: dict[str, set[str]] = {}
    with _opened(path) as connection:
        for table, column in connection.execute(
            "SELECT m.name, p.name FROM sqlite_master m, pragma_table_info(m.name) p WHERE m.type = 'table'"
        ):
            found.setdefault(table, set()).add(column)
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if VERSION in found else None
    version = None if row is None else str(row[0])
    if not found.keys() - {VERSION}:  # what is left of a first start that was interrupted
        return version
    if not found.keys() & metadata.tables.keys():
        raise Refused(f"{path} is not a database of kiai: it holds the tables {', '.join(sorted(found)[:5])}")
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
    """Reads every page of the file; False when the time was over before that. Raises Damaged, Unavailable."""
    until = time.monotonic() + within_s
    with _opened(path) as connection:
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


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that only reads, and whose errors are ours."""
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
        try:
            connection.execute("PRAGMA busy_timeout = 5000")
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        if is_damage(error):
            raise damaged(str(path), str(error)) from error
        raise Unavailable("database", f"{path}: {error}") from error
