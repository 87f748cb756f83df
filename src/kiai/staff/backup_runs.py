"""Backups as runs of the job `backup`, in the place of the setting `backup_to`.

Staff starts them, and the server does when `backup_every` has passed. A backup that is being written has a name that
ends with `.partial`; in a bucket it has no manifest. One that was interrupted begins again.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from kiai.clock import Clock
from kiai.errors import KiaiError, Refused, WrongState
from kiai.logs import get_logger
from kiai.staff.audit import JOB
from kiai.staff.backup_folder import BackupFolder
from kiai.staff.backup_model import Manifest
from kiai.staff.backup_retention import PARTIAL, NextBackup, backup_name, newest_good
from kiai.staff.backups import Progress
from kiai.staff.job_runs import CheckedStart, JobDesk, JobKind, JobProgress, JobRun, JobState

KIND: Final = "backup"
COMMAND_KIND: Final = "backup-command"
"""The kind of the runs that `kiai backup` records. They are elsewhere, so they do not count for `backup_every`."""
CHECK_EVERY_S: Final = 60.0
RETRY_MS: Final = 3_600_000
"""Time after a failed or cancelled run in which none starts by itself: a full disk is not written all the time."""
_BY_ITSELF: Final = {"by": "backup_every"}

Tell = Callable[[str, str], Awaitable[None]]
"""Tells the operator a state (`failed`, `ok` again, `old`) and a sentence about it."""
BackUp = Callable[[str, NextBackup, Progress], Awaitable[Manifest]]
"""Writes and verifies the backup of this name."""


class BackupRuns:
    """Makes backups in `folder`, None without the setting. `check` refuses an unsafe place."""

    def __init__(
        self,
        desk: JobDesk,
        folder: BackupFolder | None,
        back_up: BackUp,
        check: Callable[[], None],
        clock: Clock,
        tell: Tell,
    ) -> None:
        self._desk = desk
        self._folder = folder
        self._back_up = back_up
        self._check_folder = check
        self._clock = clock
        self._tell = tell
        self._told_old = False
        desk.add(JobKind(KIND, "Backup", self._check, self._run))

    async def start_due(self) -> None:
        """Queue a backup if the newest good one is older than `backup_every`. A job calls this on one worker.

        Raises Refused and Unavailable if the folder cannot be used.
        """
        folder = self._folder
        if folder is None or folder.every_ms is None or not await folder.is_due():
            return
        await self._announce_old(folder)
        last = await self._desk.newest(KIND)
        if last is not None:
            # A run that succeeded may be due again sooner, or its folder may be damaged.
            wait_ms = min(RETRY_MS, folder.every_ms) if last.state == JobState.DONE else RETRY_MS
            # A run that ended in the future was dated by a wrong clock.
            if last.is_active or 0 <= self._clock.now_ms() - last.ended_at_ms < wait_ms:
                return
        try:
            run_id = await self._desk.start(JOB, KIND, _BY_ITSELF)
        except WrongState:  # staff has just started one
            return
        get_logger("backup").info("backup started", run=run_id)

    async def _announce_old(self, folder: BackupFolder) -> None:
        """Tell once, and again after a restart, that no backup succeeded for twice `backup_every`."""
        fault = await folder.fault()
        if fault is not None and not self._told_old and newest_good(await folder.backups(), self._clock.now_ms()):
            self._told_old = True
            await self._tell("old", f"{fault}.")
        elif fault is None:
            self._told_old = False

    def _target(self) -> BackupFolder:
        if self._folder is None:
            raise Refused("the setting backup_to names no place for backups")
        return self._folder

    async def _check(self, given: Mapping[str, str]) -> CheckedStart:
        self._target()
        await asyncio.to_thread(self._check_folder)
        return CheckedStart(given if given == _BY_ITSELF else {})

    async def _run(self, run: JobRun, progress: JobProgress) -> str:
        folder = self._target()
        # Read again: of two workers that find a backup due, the second one may queue its run when the first has ended.
        if run.parameters == _BY_ITSELF and not await folder.is_due():
            return "a newer backup exists."
        last = await self._desk.last_ended(KIND)
        had_failed = last is not None and last.state == JobState.FAILED
        try:
            with folder.writing():
                written = await self._write(folder, run, progress)
        except KiaiError as error:
            if not had_failed:
                await self._tell("failed", f"{error}.")
            raise
        self._told_old = False
        if had_failed:
            await self._tell("ok", written)
        return written

    async def _write(self, folder: BackupFolder, run: JobRun, progress: JobProgress) -> str:
        target = backup_name(run.started_at_ms)
        if any(one.name == target for one in await folder.backups()):  # it was interrupted at its end
            return f"{target} exists already."
        partial = target + PARTIAL if folder.place.links else target
        await folder.discard(partial)
        progress.say(f"Writing {target}.")
        try:
            chain = await folder.chain()
            manifest = await self._back_up(partial, chain, lambda files: progress(files, 0))
            if partial != target:
                await asyncio.to_thread(folder.place.rename, partial, target)
        except BaseException:
            with contextlib.suppress(KiaiError):  # e.g. the disk that failed; a later run removes it
                await folder.discard(partial)
            raise
        progress(manifest.files, manifest.files)
        removed = await folder.prune()
        if removed:
            progress.say(f"Removed {', '.join(removed)}.")
        return (
            f"{manifest.files} files and the database are in {target}, {manifest.size / 1e6:.1f} MB, "
            f"{(manifest.new_bytes or 0) / 1e6:.1f} MB of it new, verified."
        )
