"""Proves a backup without restoring it: checksums, database, and the files that its rows name. Writes nothing."""

import contextlib
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from kiai.beatmaps import osu_key
from kiai.errors import KiaiError
from kiai.scores.model import replay_key
from kiai.staff.backup_index import ListIndex
from kiai.staff.backup_model import Manifest
from kiai.staff.backup_reading import BackupReader
from kiai.storage.dumping import SQLITE_FILE
from kiai.storage.sqlite_file import copy_faults, rows_with_files

LISTED_MAX: Final = 50  # problems


class BackupReport(msgspec.Struct, frozen=True):
    """The result. `bytes` includes the database, `made_at` is in unix seconds.

    Fields from a manifest that cannot be read are None. `problems` are at most 50 sentences.
    """

    ok: bool
    problems: list[str]
    files: int | None = None
    bytes: int | None = None
    schema: str | None = None
    made_at: int | None = None


def examine(reader: BackupReader, *, schema: str) -> BackupReport:
    """Examine a backup for a server with this schema. Reads every file."""
    try:
        manifest = reader.manifest(engine=None, schema=schema)
    except KiaiError as error:
        return BackupReport(False, [str(error)])
    try:
        problems = list(islice(reader.faults(manifest), LISTED_MAX))
        if not problems and manifest.engine == "sqlite":
            problems = list(islice(_database_problems(reader, manifest, schema), LISTED_MAX))
    except KiaiError as error:
        problems = [str(error)]
    return BackupReport(
        not problems, problems, manifest.files, manifest.size, manifest.schema, manifest.made_at_ms // 1000
    )


def _database_problems(reader: BackupReader, manifest: Manifest, schema: str) -> Iterator[str]:
    with reader.part(f"{reader.name}/{SQLITE_FILE}") as path:
        yield from (f"{SQLITE_FILE}: {fault}" for fault in copy_faults(path))
        if manifest.schema != schema:  # the tables of an older version may have other columns
            return
        with _indexed(reader) as index:
            for what, name in rows_with_files(path):
                key = replay_key(name) if isinstance(name, bytes) else name if "/" in name else osu_key(name)
                if index.find(key) is None:
                    yield f"{what} is not in the backup: {key}"


@contextlib.contextmanager
def _indexed(reader: BackupReader) -> Iterator[ListIndex]:
    """Return an index of the list in a temporary file: a set of a million keys would take 150 MB of memory."""
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(ListIndex(Path(folder, "index.db"))) as index:
        index.add(reader.listed(), reader.name)
        yield index
