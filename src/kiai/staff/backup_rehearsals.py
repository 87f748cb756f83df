"""Rehearsals: the newest good backup is restored into a temporary place and checked, as runs of the job `rehearsal`.

The server starts one when `backup_rehearse_every` has passed since the last one, and staff may.
"""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from kiai.clock import Clock
from kiai.errors import Refused, WrongState
from kiai.logs import get_logger
from kiai.staff.audit import JOB
from kiai.staff.backup_folder import BackupFolder
from kiai.staff.backup_model import write_record
from kiai.staff.backup_retention import newest_good
from kiai.staff.job_runs import CheckedStart, JobDesk, JobKind, JobProgress, JobRun, JobState

KIND: Final = "rehearsal"
CHECK_EVERY_S: Final = 600.0
RETRY_MS: Final = 86_400_000
"""Time after a failed or cancelled rehearsal in which none starts by itself."""
LAST: Final = "last-rehearsal.json"
"""The file in the data folder with the time of the last rehearsal that succeeded."""

Rehearse = Callable[[str], Awaitable[str]]
"""Restores the backup of this name, checks it, and returns a sentence."""


class LastRehearsal(msgspec.Struct, frozen=True):
    """The end of the last rehearsal that succeeded, in unix ms, and the name of its backup."""

    at_ms: int
    backup: str


def record_rehearsal(data: Path, record: LastRehearsal) -> None:
    """Record in the data folder that a rehearsal succeeded. If that fails, only log a warning."""
    try:
        write_record(data / LAST, record)
    except OSError as error:
        get_logger("backup").warning("cannot record the rehearsal", folder=str(data), why=error.strerror)


def last_rehearsal(data: Path) -> LastRehearsal | None:
    """Return the last rehearsal that succeeded, or None."""
    try:
        return msgspec.json.decode((data / LAST).read_bytes(), type=LastRehearsal)
    except (OSError, msgspec.DecodeError):
        return None


class Rehearsals:
    """Rehearses the backups of `folder`, None without the setting, every `every_ms`, None for never by itself."""

    def __init__(
        self,
        desk: JobDesk,
        folder: BackupFolder | None,
        every_ms: int | None,
        rehearse: Rehearse,
        data: Path,
        clock: Clock,
    ) -> None:
        self._desk = desk
        self._folder = folder
        self._every_ms = every_ms
        self._rehearse = rehearse
        self._data = data
        self._clock = clock
        desk.add(JobKind(KIND, "Rehearsal", self._check, self._run))

    async def start_due(self) -> None:
        """Queue a rehearsal if one is due and there is a good backup. A job calls this on one worker."""
        now = self._clock.now_ms()
        if self._folder is None or self._every_ms is None:
            return
        done = last_rehearsal(self._data)
        if done is not None and 0 <= now - done.at_ms < self._every_ms:
            return
        last = await self._desk.newest(KIND)
        if last is not None:
            wait_ms = self._every_ms if last.state == JobState.DONE else RETRY_MS
            if last.is_active or 0 <= now - last.ended_at_ms < wait_ms:
                return
        if newest_good(await self._folder.backups(), now) is None:
            return
        try:
            run_id = await self._desk.start(JOB, KIND, {})
        except WrongState:  # staff has just started one
            return
        get_logger("backup").info("rehearsal started", run=run_id)

    async def _check(self, given: Mapping[str, str]) -> CheckedStart:
        if self._folder is None:
            raise Refused("the setting backup_to names no place for backups")
        return CheckedStart({})

    async def _run(self, run: JobRun, progress: JobProgress) -> str:
        assert self._folder is not None
        newest = newest_good(await self._folder.backups(), self._clock.now_ms())
        if newest is None:
            raise Refused(f"{self._folder.place.shown} contains no good backup")
        progress.say(f"Restoring {newest.name}.")
        return await self._rehearse(newest.name)
