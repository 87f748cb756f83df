"""Backups that staff starts: runs of the job `backup`, each in a folder of its own inside the folder of the setting.

A backup that is being written has a name that ends with `.partial`. One that was interrupted begins again.
"""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from kiai.errors import Refused, Unavailable
from kiai.staff.backups import Manifest, Progress
from kiai.staff.job_runs import CheckedStart, JobDesk, JobKind, JobProgress, JobRun

KIND: Final = "backup"
PARTIAL: Final = ".partial"

BackUp = Callable[[Path, Progress], Awaitable[Manifest]]


class BackupRuns:
    """Makes backups in `folder`, the setting `backup_to`. `back_up` writes one; `check` refuses an unsafe folder."""

    def __init__(self, desk: JobDesk, folder: Path | None, back_up: BackUp, check: Callable[[Path], None]) -> None:
        self._folder = folder
        self._back_up = back_up
        self._check_folder = check
        desk.add(JobKind(KIND, "Backup", self._check, self._run))

    def _target(self) -> Path:
        if self._folder is None:
            raise Refused("the setting backup_to names no folder for backups")
        return self._folder

    async def _check(self, given: Mapping[str, str]) -> CheckedStart:
        await asyncio.to_thread(self._check_folder, self._target())
        return CheckedStart({})

    async def _run(self, run: JobRun, progress: JobProgress) -> str:
        began = datetime.fromtimestamp(run.started_at_ms // 1000, UTC)
        target = self._target() / f"kiai-{began:%Y%m%dT%H%M%S}Z"
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
        return f"{manifest.files} files and the database are in {target.name}, {size / 1e6:.1f} MB."
