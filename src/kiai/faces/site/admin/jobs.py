"""`/admin/jobs`: the runs of jobs with their progress, and the acts to start and to cancel one."""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from kiai.errors import NotFound
from kiai.faces.site.admin.acts import REASON, Act, ActForms, Field, ShownForms, Values
from kiai.faces.site.admin.frame import admin_view, staff_actor, staff_page
from kiai.faces.site.page import Page, Response, SiteRequest, View
from kiai.osu.modes import MODES, mode_text
from kiai.own_account.exports import Export
from kiai.own_account.exports_by_staff import ExportsByStaff
from kiai.staff import Actor
from kiai.staff.audit_reading import AuditReading
from kiai.staff.backup_runs import COMMAND_KIND
from kiai.staff.job_runs import PARAMETER_MAX, PERMISSION, TARGET_KIND, JobDesk, JobRun
from kiai.staff.map_jobs import STATUSES
from kiai.staff.recalculations import PERMISSION as RECALCULATES

PATH: Final = "/admin/jobs"
WORDS: Final = {
    "recalc": "Recalculation",
    "backup": "Backup",
    COMMAND_KIND: "Backup by a command",
    "rehearsal": "Rehearsal of a restore",
    "import": "Import",
    "refresh": "Refresh",
    "medals": "Award of medals",
}
MAP: Final = Field("map", "Map", required=False, most=10, help="The id of a map. Empty: all maps.")
USER: Final = Field("user", "Player", required=False, most=PARAMETER_MAX, help="A name, or # and an id. Empty: all.")
MODE: Final = Field(
    "mode", "Mode", "choice", required=False, options=(("", "All"), *((str(mode), mode_text(mode)) for mode in MODES))
)
STATUS: Final = Field(
    "status",
    "Status",
    "choice",
    required=False,
    options=(("", "Ranked if new, otherwise as before"), *((word, word.capitalize()) for word in STATUSES)),
)


class NewRun(msgspec.Struct, frozen=True):
    """The run that a form starts. It has no row yet, so its id is 0."""

    name: str
    id: int = 0


class ShownRun(msgspec.Struct, frozen=True):
    """A run, and its words as the name of the target."""

    run: JobRun

    @property
    def id(self) -> int:
        """The id of the run."""
        return self.run.id

    @property
    def name(self) -> str:
        """The kind and the number."""
        return f"{WORDS.get(self.run.kind, self.run.kind)} {self.run.id}"


class ShownExport(msgspec.Struct, frozen=True):
    """An export that a player waits for, with the name of the player."""

    export: Export
    name: str

    @property
    def id(self) -> int:
        """The id of the player."""
        return self.export.user_id


class JobPages:
    """The pages of jobs."""

    def __init__(self, audit: AuditReading, desk: JobDesk, exports: ExportsByStaff) -> None:
        self._audit = audit
        self._desk = desk
        self._exports = exports
        self._start_forms = ActForms(
            PATH,
            self._starts(),
            audit,
            kind=TARGET_KIND,
            load=self._new,
            show=self._list_view,
            path_of=lambda new: PATH,
        )
        self._forms = ActForms(
            f"{PATH}/{{run}}",
            [
                Act("cancel", "Cancel", PERMISSION, "{name} is cancelled.",
                    "The work ends within a few seconds. Its results so far stay.", self._cancel, danger=True),
            ],
            audit,
            kind=TARGET_KIND,
            load=self._load,
            show=self._view,
            path_of=lambda found: f"{PATH}/{found.id}",
            possible=_possible,
        )  # fmt: skip
        self._export_forms = ActForms(
            f"{PATH}/exports/{{user}}",
            [
                Act("cancel", "Cancel export", PERMISSION, "",
                    "The player gets no file, and can ask for another export.", self._cancel_export, danger=True,
                    home=PATH),
            ],
            audit,
            kind="user",
            load=self._load_export,
            show=self._view_export,
            path_of=lambda found: f"{PATH}/exports/{found.id}",
        )  # fmt: skip

    def pages(self) -> list[Page]:
        """Return the pages and the forms of the acts."""
        return [
            staff_page(PATH, self._list, PERMISSION),
            staff_page(f"{PATH}/{{run}}", self._forms.page, PERMISSION),
            staff_page(f"{PATH}/exports/{{user}}", self._export_forms.page, PERMISSION),
            *self._export_forms.pages(),
            *self._start_forms.pages(),
            *self._forms.pages(),
        ]

    async def _list(self, request: SiteRequest) -> Response:
        new = await self._new(request)
        return await self._list_view(request, new, await self._start_forms.shown(request, new))

    async def _new(self, request: SiteRequest) -> NewRun:
        return NewRun("a new run")

    async def _list_view(self, request: SiteRequest, new: NewRun, forms: ShownForms) -> View:
        before = request.query.whole("before", 0, at_most=2**31 - 1)
        actor = staff_actor(request)
        found, after = await self._desk.page(actor, before or None)
        values = {
            "runs": [ShownRun(run) for run in found],
            "authors": {actor_id: await self._audit.name_of(actor_id) for actor_id in {run.actor_id for run in found}},
            "exports": [await self._named(export) for export in await self._exports.waiting(actor)],
            "periodic": await self._desk.periodic(actor),
            "next": after,
            "before": before,
            "forms": forms,
        }
        return admin_view(request, "jobs.html", "Jobs", values)

    async def _load(self, request: SiteRequest) -> ShownRun:
        run_id = request.id("run")
        if run_id is None:
            raise NotFound("page")
        return ShownRun(await self._desk.one(staff_actor(request), run_id))

    async def _view(self, request: SiteRequest, found: ShownRun, forms: ShownForms) -> View:
        values = {"found": found, "author": await self._audit.name_of(found.run.actor_id), "forms": forms}
        return admin_view(request, "job.html", found.name, values, crumbs=((PATH, "Jobs"),))

    async def _load_export(self, request: SiteRequest) -> ShownExport:
        return await self._named(await self._exports.one(staff_actor(request), request.id("user") or 0))

    async def _named(self, export: Export) -> ShownExport:
        return ShownExport(export, await self._audit.name_of(export.user_id))

    async def _view_export(self, request: SiteRequest, found: ShownExport, forms: ShownForms) -> View:
        values = {"found": found, "forms": forms}
        return admin_view(request, "export.html", f"Export of {found.name}", values, crumbs=((PATH, "Jobs"),))

    # --- acts

    def _starts(self) -> list[Act[NewRun]]:
        return [
            Act("recalc", "Recalculate pp", RECALCULATES, "The recalculation is queued.",
                "The pp of the plays is computed again, then totals and ranks. A run over all plays may take hours.",
                self._starting("recalc"), (USER, MAP, MODE, REASON)),
            Act("backup", "Back up", PERMISSION, "The backup is queued.",
                "The database and all files are copied into a new folder, see the setting backup_to.",
                self._starting("backup")),
            Act("rehearsal", "Rehearse now", PERMISSION, "The rehearsal is queued.",
                "The newest good backup is restored into a temporary place, checked and removed. The disk needs space "
                "for 1.2 times its size.", self._starting("rehearsal")),
            Act("import", "Import maps", PERMISSION, "The import is queued.",
                "All .osz, .olz and .osu files in the folder import of the data folder are imported. Known maps are "
                "updated.", self._starting("import"), (STATUS, REASON)),
            Act("refresh", "Refresh from upstream", PERMISSION, "The refresh is queued.",
                "Statuses and files of all official sets are compared with upstream, one request a set.",
                self._starting("refresh")),
        ]  # fmt: skip

    def _starting(self, kind: str) -> Callable[[Actor, NewRun, Values], Awaitable[None]]:
        async def start(actor: Actor, new: NewRun, values: Values) -> None:
            given = {name: text for name, text in values.items() if name != "reason"}
            await self._desk.start(actor, kind, given, values["reason"])

        return start

    async def _cancel(self, actor: Actor, found: ShownRun, values: Values) -> None:
        await self._desk.cancel(actor, found.id, values["reason"])

    async def _cancel_export(self, actor: Actor, found: ShownExport, values: Values) -> None:
        await self._exports.cancel(actor, found.id, values["reason"])


def _possible(found: ShownRun, now_ms: int) -> frozenset[str]:
    return frozenset({"cancel"} if found.run.is_active and not found.run.cancelled else ())
