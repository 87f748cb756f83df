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
from kiai.staff.backup_retention import PARTIAL, NextBackup, backup_name
from kiai.staff.backups import Progress
from kiai.staff.job_runs import CheckedStart, JobDesk, JobKind, JobProgress, JobRun, JobState

KIND: Final = "backup"
CHECK_EVERY_S: Final = 60.0
RETRY_MS: Final = 3_600_000
"""Time after a failed or cancelled run in which none starts by itself: a full disk is not written all the time."""
_BY_ITSELF: Final = {"by": "backup_every"}

BackUp = Callable[[str, NextBackup, Progress], Awaitable[Manifest]]
"""Writes and verifies the backup of this name."""


class BackupRuns:
    """Makes backups in `folder`, None without the setting. `check` refuses an unsafe place."""

    def __init__(
        self, desk: JobDesk, folder: BackupFolder | None, back_up: BackUp, check: Callable[[], None], clock: Clock
    ) -> None:
        self._desk = desk
        self._folder = folder
        self._back_up = back_up
        self._check_folder = check
        self._clock = clock
        desk.add(JobKind(KIND, "Backup", self._check, self._run))

    async def start_due(self) -> None:
        """Queue a backup if the newest good one is older than `backup_every`. A job calls this on one worker.

        Raises Refused and Unavailable if the folder cannot be used.
        """
        folder = self._folder
        if folder is None or folder.every_ms is None or not await folder.is_due():
            return
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
        with folder.writing():
            return await self._write(folder, run, progress)

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
