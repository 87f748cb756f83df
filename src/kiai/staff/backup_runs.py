"""Backups as runs of the job `backup`, each in a folder of its own inside the folder of the setting `backup_to`.

Staff starts them, and the server does when `backup_every` has passed. A backup that is being written has a name that
ends with `.partial`. One that was interrupted begins again.
"""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from kiai.clock import Clock
from kiai.errors import Refused, Unavailable, WrongState
from kiai.logs import get_logger
from kiai.staff.audit import JOB
from kiai.staff.backup_folder import BackupFolder
from kiai.staff.backup_retention import PARTIAL, backup_name
from kiai.staff.backups import Manifest, Progress
from kiai.staff.job_runs import CheckedStart, JobDesk, JobKind, JobProgress, JobRun, JobState

KIND: Final = "backup"
CHECK_EVERY_S: Final = 60.0
RETRY_MS: Final = 3_600_000
"""Time after a failed or cancelled run in which none starts by itself: a full disk is not written all the time."""
_BY_ITSELF: Final = {"by": "backup_every"}

BackUp = Callable[[Path, Progress], Awaitable[Manifest]]


class BackupRuns:
    """Makes backups in `folder`, None without the setting. `back_up` writes and verifies one.

    `check` refuses an unsafe folder.
    """

    def __init__(
        self, desk: JobDesk, folder: BackupFolder | None, back_up: BackUp, check: Callable[[Path], None], clock: Clock
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
            raise Refused("the setting backup_to names no folder for backups")
        return self._folder

    async def _check(self, given: Mapping[str, str]) -> CheckedStart:
        await asyncio.to_thread(self._check_folder, self._target().path)
        return CheckedStart(given if given == _BY_ITSELF else {})

    async def _run(self, run: JobRun, progress: JobProgress) -> str:
        folder = self._target()
        # Read again: of two workers that find a backup due, the second one may queue its run when the first has ended.
        if run.parameters == _BY_ITSELF and not await folder.is_due():
            return "a newer backup exists."
        with folder.writing():
            return await self._write(folder, run, progress)

    async def _write(self, folder: BackupFolder, run: JobRun, progress: JobProgress) -> str:
        target = folder.path / backup_name(run.started_at_ms)
        partial = target.with_name(target.name + PARTIAL)
        await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)
        progress.say(f"Writing {target.name}.")
        try:
            manifest = await self._back_up(partial, lambda files: progress(files, 0))
            try:
                await asyncio.to_thread(os.replace, partial, target)
            except OSError as error:
                raise Unavailable(f"backup folder {target}", error.strerror or str(error)) from error
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)
            raise
        progress(manifest.files, manifest.files)
        size = manifest.bytes + sum(part.size for part in manifest.database)
        removed = await folder.prune()
        if removed:
            progress.say(f"Removed {', '.join(removed)}.")
        return f"{manifest.files} files and the database are in {target.name}, {size / 1e6:.1f} MB, verified."
