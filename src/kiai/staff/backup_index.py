"""Finds files in lists of backups by key, with a temporary SQLite database instead of memory.

A dict of a million files would take several hundred MB.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from kiai.errors import Unavailable
from kiai.staff.backup_model import BackedUpFile

ROWS_AT_ONCE: Final = 10_000


class ListIndex:
    """The files of one or more lists. `path` is a new file; the caller removes it. Raises Unavailable."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._translated():
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._connection.executescript(
                "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
                "CREATE TABLE files (key TEXT, within TEXT, size INTEGER, stored INTEGER, modified_ms INTEGER,"
                " sha256 BLOB, PRIMARY KEY (key, within)) WITHOUT ROWID"
            )

    def add(self, files: Iterable[BackedUpFile], name: str) -> None:
        """Add the list of the backup `name`."""
        rest = (
            (one.key, one.within or name, one.size, one.stored, one.modified_ms, bytes.fromhex(one.sha256))
            for one in files
        )
        with self._translated():
            while rows := list(islice(rest, ROWS_AT_ONCE)):
                self._connection.execute("BEGIN")
                self._connection.executemany("INSERT OR IGNORE INTO files VALUES (?, ?, ?, ?, ?, ?)", rows)
                self._connection.execute("COMMIT")

    def find(self, key: str) -> BackedUpFile | None:
        """Return a file, with the name of the backup that contains it."""
        with self._translated():
            row = self._connection.execute(
                "SELECT size, sha256, stored, modified_ms, within FROM files WHERE key = ?", (key,)
            ).fetchone()
        return None if row is None else BackedUpFile(key, row[0], row[1].hex(), row[2], row[3], row[4])

    def contains(self, key: str, within: str) -> bool:
        """Return whether a list has this key, as a file of the backup `within`."""
        with self._translated():
            found = self._connection.execute("SELECT 1 FROM files WHERE key = ? AND within = ?", (key, within))
            return found.fetchone() is not None

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise Unavailable(f"folder {self._path.parent}", str(error)) from error
