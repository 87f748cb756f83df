"""`/admin/reports`: the reports of players, a report, and the act that closes it."""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from kiai.errors import NotFound
from kiai.faces.site.admin.acts import Act, ActForms, Field, ShownForms, Values
from kiai.faces.site.admin.frame import admin_view, staff_actor, staff_page
from kiai.faces.site.admin.named_accounts import account_id
from kiai.faces.site.page import Page, Response, SiteRequest, View
from kiai.staff import Actor
from kiai.staff.audit_reading import AuditReading
from kiai.staff.authority import Authority
from kiai.staff.reports import PERMISSION, STATES, TEXT_MAX, ListedState, Report, Reports, report_id_of

PATH: Final = "/admin/reports"
SIZE: Final = 20
"""Reports of a page."""
PAGES_MAX: Final = 50
_SCORE: Final = re.compile(r"Score ([0-9]{1,18})\b", re.ASCII)
"""The start of the text of a report about a score, see `faces/site/reporting.py`."""


class AboutPlayer(msgspec.Struct, frozen=True):
    """The reports of a page about one player."""

    id: int
    name: str
    reports: Sequence[Report]


class ReportTarget(msgspec.Struct, frozen=True):
    """A report as the target of an act. `id` is that of the reported player, as in the audit row."""

    id: int
    name: str
    report: Report


class ReportDeskPages:
    """The pages of reports in the panel."""

    def __init__(self, authority: Authority, audit: AuditReading, reports: Reports) -> None:
        self._authority = authority
        self._reports = reports
        verdict = Field("text", "Outcome", "textarea", most=TEXT_MAX, help="Staff reads it, and the audit log has it.")
        close: Act[ReportTarget] = Act(
            "close",
            "Close report",
            PERMISSION,
            "{name} is closed.",
            "The report leaves the queue. The players get no message. To act on the player, open the account.",
            self._close,
            (verdict,),
        )
        self._forms = ActForms(
            f"{PATH}/{{report}}",
            [close],
            audit,
            kind="user",
            load=self._load,
            show=self._view,
            path_of=lambda target: f"{PATH}/{target.report.id}",
            possible=lambda target, now_ms: ("close",) if target.report.state == "open" else (),
        )

    def pages(self) -> list[Page]:
        """Return the pages and the form."""
        return [
            staff_page(PATH, self._list, PERMISSION),
            staff_page(f"{PATH}/{{report}}", self._forms.page, PERMISSION),
            *self._forms.pages(),
        ]

    async def _list(self, request: SiteRequest) -> Response:
        query = request.query
        state: ListedState = query.choice("state", STATES, "open")  # type: ignore[assignment]  # one of STATES
        page = query.whole("page", 1, at_least=1, at_most=PAGES_MAX)
        about = query.text("about")
        found: Sequence[Report] = ()
        total = 0
        sentence = "No report waits." if state == "open" and not about else "No report fits."
        try:
            about_id = await account_id(self._authority, about)
        except NotFound:
            sentence = "There is no account of this name."
        else:
            found, total = await self._reports.listed(staff_actor(request), state, about=about_id, page=page, size=SIZE)
        values = {
            "players": together(found),
            "state": state,
            "states": STATES,
            "about": about,
            "sentence": sentence,
            "page": page,
            "last": min(PAGES_MAX, max(1, -(-total // SIZE))),
        }
        return admin_view(request, "reports.html", "Reports", values)

    async def _load(self, request: SiteRequest) -> ReportTarget:
        await self._authority.require(staff_actor(request), PERMISSION)
        report_id = report_id_of(request.path["report"])
        if not report_id:
            raise NotFound("page")
        report = await self._reports.report(report_id)
        return ReportTarget(report.target.id, f"Report {report.id} about {report.target.name}", report)

    async def _view(self, request: SiteRequest, target: ReportTarget, forms: ShownForms) -> View:
        report = target.report
        found, _ = await self._reports.listed(staff_actor(request), "open", about=target.id, size=SIZE + 1)
        others = [one for one in found if one.id != report.id]
        score = _SCORE.match(report.text)
        values = {
            "report": report,
            "others": others[:SIZE],
            "score_id": int(score[1]) if score is not None else None,
            "forms": forms,
        }
        return admin_view(request, "report.html", target.name, values, crumbs=((PATH, "Reports"),))

    async def _close(self, actor: Actor, target: ReportTarget, values: Values) -> None:
        # The state of the report decides between two at once. Other acts on the player do not hinder it.
        await self._reports.close(msgspec.structs.replace(actor, seen_id=None), target.report.id, values["text"])


def together(reports: Sequence[Report]) -> list[AboutPlayer]:
    """Return reports by their player, in the order of the first report about each."""
    by_player: dict[int, list[Report]] = {}
    for report in reports:
        by_player.setdefault(report.target.id, []).append(report)
    return [AboutPlayer(user_id, found[0].target.name, found) for user_id, found in by_player.items()]
