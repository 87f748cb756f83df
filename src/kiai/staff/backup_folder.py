"""The folder of the setting `backup_to`: which backups it has, when the next one is due, and removing old ones.

Only folders that are named like a backup of the server are read or removed. Several servers must not share a folder,
because each would count and remove the backups of the others.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from kiai.clock import Clock
from kiai.errors import Unavailable, WrongState
from kiai.logs import get_logger
from kiai.osu.durations import duration_text
from kiai.staff.audit import utc_text
from kiai.staff.backup_retention import PARTIAL, Retention, StoredBackup, newest_good, removable, time_of_name
from kiai.staff.backups import FORMAT, LIST, MANIFEST, Manifest

LOCK: Final = ".writing.lock"


class BackupFolder:
    """The backups in `path`. `every_s` is the time between two of them in seconds, None if none starts by itself."""

    def __init__(self, path: Path, every_s: int | None, keep: Retention, clock: Clock) -> None:
        self.path = path
        self._every_s = every_s
        self._keep = keep
        self._clock = clock

    @property
    def every_ms(self) -> int | None:
        """The time between two backups in ms, None if none starts by itself."""
        return None if self._every_s is None else self._every_s * 1000

    async def backups(self) -> list[StoredBackup]:
        """Return all backups, the newest first; none if the folder does not exist. Raises Unavailable."""
        return await asyncio.to_thread(_read_folder, self.path)

    def next_at_ms(self, backups: list[StoredBackup]) -> int | None:
        """Return when the next backup is due, in unix ms; now if it is overdue. None if none starts by itself."""
        if self._every_s is None:
            return None
        now = self._clock.now_ms()
        newest = newest_good(backups, now)
        return now if newest is None else max(now, newest.at_ms + self._every_s * 1000)

    async def is_due(self) -> bool:
        """Return whether the newest good backup is older than `every_s`. Raises Unavailable."""
        next_at = self.next_at_ms(await self.backups())
        return next_at is not None and next_at <= self._clock.now_ms()

    async def fault(self) -> str | None:
        """Return what is wrong if no backup succeeded for twice `every_s`, else None."""
        if self._every_s is None:
            return None
        try:
            newest = newest_good(await self.backups(), self._clock.now_ms())
        except Unavailable as error:
            return str(error)
        if newest is None:
            return f"{self.path} contains no good backup"
        if self._clock.now_ms() - newest.at_ms <= 2 * self._every_s * 1000:
            return None
        every = duration_text(self._every_s)
        return f"the newest good backup in {self.path} is of {utc_text(newest.at_ms)}, but backup_every is {every}"

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Exclude other processes that write a backup here, e.g. a worker that has lost its lease without noticing.

        Raises WrongState if one does, and Unavailable if the folder cannot be used.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise Unavailable(f"backup folder {self.path}", error.strerror or str(error)) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise WrongState(f"another process writes a backup to {self.path}") from error
            yield
        finally:
            os.close(descriptor)

    async def prune(self) -> list[str]:
        """Remove the backups that the rule no longer holds, and return their names. Raises Unavailable."""
        names = removable(await self.backups(), self._keep, self._clock.now_ms())
        return [name for name in names if await asyncio.to_thread(_remove, self.path / name)]


def _read_folder(path: Path) -> list[StoredBackup]:
    found = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                at_ms = time_of_name(entry.name)
                if at_ms is not None and entry.is_dir(follow_symlinks=False):
                    with contextlib.suppress(FileNotFoundError):  # a run has just renamed it
                        found.append(_read_backup(Path(entry.path), at_ms))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Unavailable(f"backup folder {path}", error.strerror or str(error)) from error
    return sorted(found, key=lambda one: (one.at_ms, one.name), reverse=True)


def _read_backup(folder: Path, at_ms: int) -> StoredBackup:
    """Read what the manifest says. `ok` needs the sizes of the database and the list of files, not the checksums."""
    if folder.name.endswith(PARTIAL):
        # The name is the start of the run, which a restart of the server does not change.
        touched_ms = int(folder.stat().st_mtime * 1000)
        return StoredBackup(folder.name, max(at_ms, touched_ms), ok=False)
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
        complete = (folder / LIST).is_file() and all(
            (folder / part.key).stat().st_size == part.size for part in manifest.database
        )
    except (OSError, ValueError, msgspec.MsgspecError):  # ValueError: a zero byte in a name
        return StoredBackup(folder.name, at_ms, ok=False)
    if not complete or manifest.format != FORMAT:
        return StoredBackup(folder.name, at_ms, ok=False)
    size = manifest.bytes + sum(part.size for part in manifest.database)
    return StoredBackup(folder.name, manifest.made_at_ms, ok=True, bytes=size, files=manifest.files)


def _remove(folder: Path) -> bool:
    """Remove a backup. Return False if that fails: the next run tries again, and the new backup is good anyway."""
    partial = folder.with_name(folder.name.removesuffix(PARTIAL) + PARTIAL)
    try:
        # Renamed first, so that an interrupted removal never looks like a complete backup.
        os.replace(folder, partial)
        shutil.rmtree(partial)
    except OSError as error:
        get_logger("backup").warning("cannot remove a backup", folder=str(folder), why=error.strerror)
        return False
    return True
