"""The place of the setting `backup_to`: which backups it has, when the next one is due, and removing old ones.

Only backups that are named like one of the server are read or removed. Several servers must not share a place, because
each would count and remove the backups of the others.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Final

import msgspec

from kiai.clock import Clock
from kiai.errors import KiaiError, Unavailable
from kiai.files.places import BackupPlace, Missing
from kiai.logs import get_logger
from kiai.osu.durations import duration_text
from kiai.staff.audit import utc_text
from kiai.staff.backup_keys import BackupKey
from kiai.staff.backup_model import FORMATS, LIST, MANIFEST, Manifest
from kiai.staff.backup_removal import remove_shared
from kiai.staff.backup_retention import (
    PARTIAL,
    NextBackup,
    Retention,
    StoredBackup,
    chain,
    newest_good,
    removable,
    time_of_name,
)

PASSES_MAX: Final = 3  # of removals: what shares the files of a removed backup may be removed, too


class BackupFolder:
    """The backups in `place`. `every_s` is the time between two of them in seconds, None if none starts by itself.

    `key` decrypts the lists of encrypted backups in a bucket, which a removal reads.
    """

    def __init__(
        self,
        place: BackupPlace,
        every_s: int | None,
        keep: Retention,
        clock: Clock,
        key: BackupKey | None = None,
    ) -> None:
        self.place = place
        self.key = key
        self._every_s = every_s
        self._keep = keep
        self._clock = clock
        # Contents of manifests in a bucket: a job asks each minute whether a backup is due. Bounded by their number.
        self._read: dict[str, StoredBackup] = {}

    @property
    def every_ms(self) -> int | None:
        """The time between two backups in ms, None if none starts by itself."""
        return None if self._every_s is None else self._every_s * 1000

    async def backups(self) -> list[StoredBackup]:
        """Return all backups, the newest first; none if the place does not exist. Raises Unavailable."""
        return (await asyncio.to_thread(self._read_place))[0]

    def next_at_ms(self, backups: list[StoredBackup]) -> int | None:
        """Return when the next backup is due, in unix ms; now if it is overdue. None if none starts by itself."""
        if self._every_s is None:
            return None
        now = self._clock.now_ms()
        newest = newest_good(backups, now)
        return now if newest is None else max(now, newest.at_ms + self._every_s * 1000)

    async def is_due(self) -> bool:
        """Return whether the newest good backup is older than `every_s`. Raises Unavailable."""
        next_at = self.next_at_ms((await asyncio.to_thread(self._read_place, self._read))[0])
        return next_at is not None and next_at <= self._clock.now_ms()

    async def chain(self) -> NextBackup:
        """Return where a new backup continues. Raises Unavailable."""
        return chain(await self.backups(), shares=not self.place.links)

    async def fault(self) -> str | None:
        """Return what is wrong if no backup succeeded for twice `every_s`, else None."""
        if self._every_s is None:
            return None
        try:
            newest = newest_good(await self.backups(), self._clock.now_ms())
        except Unavailable as error:
            return str(error)
        if newest is None:
            return f"{self.place.shown} contains no good backup"
        if self._clock.now_ms() - newest.at_ms <= 2 * self._every_s * 1000:
            return None
        every = duration_text(self._every_s)
        return (
            f"the newest good backup in {self.place.shown} is of {utc_text(newest.at_ms)}, but backup_every is {every}"
        )

    def writing(self) -> AbstractContextManager[None]:
        """Exclude other processes that write a backup here. Raises WrongState if one does, and Unavailable."""
        return self.place.writing()

    async def prune(self) -> list[str]:
        """Remove the backups that the rule no longer holds, and return their names. Raises Unavailable."""
        return await asyncio.to_thread(self._prune)

    async def discard(self, name: str) -> None:
        """Remove an incomplete backup. Raises Unavailable."""
        await asyncio.to_thread(self._discard, name)

    def _discard(self, name: str) -> None:
        if self.place.links:
            self.place.remove(name)
        else:
            remove_shared(self.place, name, self._read_place()[0], self.key, None)

    def _prune(self) -> list[str]:
        removed: list[str] = []
        for _ in range(PASSES_MAX):
            backups, shared = self._read_place()
            names = removable(backups, self._keep, self._clock.now_ms())
            if not self.place.links:
                damaged = [one.name for one in backups if not one.ok and not one.is_partial]
                if damaged:  # nobody knows which files it shares
                    get_logger("backup").warning("nothing is removed while a backup is damaged", backups=damaged)
                    return removed
                # Removals that were interrupted still have their list.
                names += [name for name in shared if self.place.size(f"{name}/{LIST}") is not None]
            done = [name for name in names if self._remove(name, backups)]
            removed += [name for name in done if name not in removed]
            if not done or self.place.links:
                break
        return removed

    def _remove(self, name: str, backups: list[StoredBackup]) -> bool:
        """Remove a backup. Return False if that fails: the next run tries again, and the new backup is good anyway."""
        try:
            if self.place.links:
                partial = name.removesuffix(PARTIAL) + PARTIAL
                # Renamed first, so that an interrupted removal never looks like a complete backup.
                if partial != name:
                    self.place.rename(name, partial)
                self.place.remove(partial)
            else:
                remaining = [one for one in backups if one.name != name]
                remove_shared(self.place, name, backups, self.key, None)
                backups[:] = remaining
        except KiaiError as error:
            get_logger("backup").warning("cannot remove a backup", backup=name, why=str(error))
            return False
        return True

    def _read_place(
        self, known: Mapping[str, StoredBackup] = MappingProxyType({})
    ) -> tuple[list[StoredBackup], list[str]]:
        """Return the backups, and the names of removed ones whose files others share. `known` are not read again."""
        found, bare = [], []
        for name, touched_ms in self.place.entries().items():
            at_ms = time_of_name(name)
            if at_ms is None:
                continue
            if name.endswith(PARTIAL):
                # The name is the start of the run, which a restart of the server does not change.
                found.append(StoredBackup(name, max(at_ms, touched_ms), ok=False))
                continue
            one = known.get(name) or self._read_backup(name, at_ms)
            if one is None:
                bare.append((name, at_ms))
            else:
                found.append(one)
        if not self.place.links:
            self._read = {one.name: one for one in found if one.ok}
        sources = {source for one in found for source in one.sources}
        found += [StoredBackup(name + PARTIAL, at_ms, ok=False) for name, at_ms in bare if name not in sources]
        ordered = sorted(found, key=lambda one: (one.at_ms, one.name), reverse=True)
        return ordered, [name for name, _ in bare if name in sources]

    def _read_backup(self, name: str, at_ms: int) -> StoredBackup | None:
        """Read what the manifest says; None without one in a bucket.

        `ok` needs the sizes of the database and the list of files, not the checksums.
        """
        try:
            manifest = msgspec.json.decode(self.place.read(f"{name}/{MANIFEST}"), type=Manifest)
            complete = self.place.size(f"{name}/{LIST}") is not None and all(
                self.place.size(f"{name}/{part.key}") == part.stored_size for part in manifest.database
            )
        except Missing:
            return StoredBackup(name, at_ms, ok=False) if self.place.links else None
        except (Unavailable, msgspec.MsgspecError) as error:
            if isinstance(error, Unavailable) and not self.place.links:
                raise
            return StoredBackup(name, at_ms, ok=False)
        if not complete or manifest.format not in FORMATS:
            return StoredBackup(name, at_ms, ok=False)
        return StoredBackup(
            name,
            manifest.made_at_ms,
            ok=True,
            bytes=manifest.size,
            files=manifest.files,
            new_bytes=manifest.size if manifest.new_bytes is None else manifest.new_bytes,
            sequence=manifest.sequence,
            sources=frozenset(manifest.sources),
            passed_over=manifest.passed_over,
        )
