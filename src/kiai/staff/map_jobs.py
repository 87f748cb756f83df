"""Jobs on maps that staff starts: the import of a folder of the server, and the check of all sets with upstream."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from kiai.beatmaps import Importer, ImportReport
from kiai.beatmaps.importing import FormerRevision, sources_in
from kiai.beatmaps.model import STATUS_BY_WORD, MapStatus
from kiai.beatmaps.refreshing import BeatmapRefresher
from kiai.errors import Invalid, Refused, Unavailable
from kiai.staff.audit import Actor
from kiai.staff.job_runs import CheckedStart, JobDesk, JobKind, JobProgress, JobRun

FOLDER: Final = "import"
"""The folder in the data folder whose files the import reads."""
STATUSES: Final = ("pending", "ranked", "approved", "qualified", "loved")
FAILURES_MAX: Final = 10
"""Sets that upstream may fail for in a row."""

RecordImport = Callable[[Actor, Sequence[FormerRevision]], Awaitable[None]]


class MapJobs:
    """The jobs `import` and `refresh`. Without a `refresher`, a refresh is refused.

    `record_import` writes the audit rows of known maps that an import changed.
    """

    def __init__(
        self,
        desk: JobDesk,
        importer: Importer,
        refresher: BeatmapRefresher | None,
        record_import: RecordImport,
        data: Path,
    ) -> None:
        self._importer = importer
        self._refresher = refresher
        self._record_import = record_import
        self._folder = data / FOLDER
        desk.add(JobKind("import", "Import", self._check_import, self._import))
        desk.add(JobKind("refresh", "Refresh", self._check_refresh, self._refresh))

    # --- import

    async def _check_import(self, given: Mapping[str, str]) -> CheckedStart:
        """Check the parameter `status`, a word; without it new maps are ranked and known maps keep theirs."""
        status = given.get("status", "")
        if status and status not in STATUSES:
            raise Invalid("status", f"one of {', '.join(STATUSES)}", status)
        if not await asyncio.to_thread(self._folder.is_dir):
            raise Refused(f"the data folder has no folder {FOLDER!r} with files to import")
        return CheckedStart({"status": status} if status else {})

    async def _import(self, run: JobRun, progress: JobProgress) -> str:
        word = run.parameters.get("status")
        status = None if word is None else STATUS_BY_WORD[word]
        actor = Actor(run.actor_id, run.source)
        found = ImportReport()
        sources = await asyncio.to_thread(lambda: list(sources_in([self._folder], found)))
        sets = maps = 0
        skipped = [f"{file.path}: {file.why}" for file in found.skipped]
        for done, source in enumerate(sources):
            progress(done, len(sources))
            # Whole, also if the run is cancelled meanwhile: a change of a status has its row in the audit log.
            report = await _whole(self._import_source(actor, source, status))
            sets, maps = sets + report.sets, maps + report.maps
            for file in report.skipped:
                progress.say(f"{file.path}: {file.why}")
            skipped += [file.path for file in report.skipped]
        progress(len(sources), len(sources))
        for line in skipped if not sources else ():
            progress.say(line)
        return f"{maps} maps in {sets} sets imported, {len(skipped)} files skipped."

    async def _import_source(self, actor: Actor, source: list[Path], status: MapStatus | None) -> ImportReport:
        report = await self._importer.import_source(source, status=status)
        if report.changed:
            await self._record_import(actor, report.changed)
        return report

    # --- refresh

    async def _check_refresh(self, given: Mapping[str, str]) -> CheckedStart:
        if self._refresher is None:
            raise Refused("this server has no upstream for beatmaps")
        return CheckedStart({})

    async def _refresh(self, run: JobRun, progress: JobProgress) -> str:
        if self._refresher is None:  # the setting was removed meanwhile
            raise Refused("this server has no upstream for beatmaps")
        total = await self._refresher.count()
        checked, failed, in_a_row = run.done, 0, 0
        async for set_id, fault in self._refresher.refresh_after(run.position):
            checked += 1
            failed, in_a_row = (failed + 1, in_a_row + 1) if fault else (failed, 0)
            if fault:
                progress.say(f"set {set_id}: {fault}")
            if in_a_row == FAILURES_MAX:
                raise Unavailable("upstream", f"it failed for {FAILURES_MAX} sets in a row, the last one with: {fault}")
            progress(checked, max(total, checked))
            progress.position = set_id
        return f"{checked} sets checked, {failed} failed."


async def _whole(work: Coroutine[Any, Any, ImportReport]) -> ImportReport:
    """Finish the work before a cancellation has its effect."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
