"""Version 2: reports, devices that accounts share, and single scores that staff hides."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from kiai.accounts import Accounts
from kiai.accounts.model import FIRST_PLAYER_ID, ID_MAX
from kiai.faces.api.operation import Caller, Operation
from kiai.faces.api.params import NoParameters
from kiai.faces.api.v2.paging import (
    ID_IN_PATH,
    SCORE_IN_PATH,
    NoMeta,
    PageMeta,
    PageQuery,
    Success,
    get,
    number_in_path,
    post,
)
from kiai.faces.api.v2.staff import NamedId
from kiai.staff import Actor
from kiai.staff.devices import PERMISSION as SEES_DEVICES
from kiai.staff.devices import DeviceMatch, Devices
from kiai.staff.reasons import REASON_MAX
from kiai.staff.reports import ID_MAX as REPORT_ID_MAX
from kiai.staff.reports import KIND_MAX, TEXT_MAX, Report, Reports
from kiai.staff.reports import PERMISSION as HANDLES_REPORTS
from kiai.staff.wipes import HIDES_SCORES, Wipes

SCORE_ID_MAX: Final = 2**63 - 1
PlayerId = Annotated[int, Meta(ge=FIRST_PLAYER_ID, le=ID_MAX, description="The id of the player.")]


class ReportsQuery(PageQuery, frozen=True):
    """The parameters of /reports."""

    state: Annotated[Literal["open", "closed", "all"], Meta(description="Reports in this state.")] = "open"
    player_id: Annotated[PlayerId, Meta(description="Only reports about this player.")] | None = None


class ReportsPage(msgspec.Struct, frozen=True):
    """The response of /reports: open ones oldest first, the others newest first."""

    status: Success
    data: list[Report]
    meta: PageMeta


class ReportPage(msgspec.Struct, frozen=True):
    """The response with one report."""

    status: Success
    data: Report
    meta: NoMeta


class NewReport(msgspec.Struct, frozen=True):
    """A report about a player. `text` may be empty unless `kind` is Other."""

    player_id: PlayerId
    kind: Annotated[str, Meta(min_length=1, max_length=KIND_MAX, description="A word for the offence, e.g. Spamming.")]
    text: Annotated[str, Meta(max_length=TEXT_MAX, description="A description of the offence.")]


class CreatedReport(msgspec.Struct, frozen=True):
    """The id of a new report."""

    id: int


class CreatedReportPage(msgspec.Struct, frozen=True):
    """The response of a new report."""

    status: Success
    data: CreatedReport
    meta: NoMeta


class Closing(msgspec.Struct, frozen=True):
    """The outcome of a report, which only staff sees."""

    text: Annotated[str, Meta(min_length=1, max_length=TEXT_MAX, description="The outcome.")]


class DevicesPage(msgspec.Struct, frozen=True):
    """The response of /players/{id}/devices: accounts with a sanction first. The list is complete up to 100 a kind."""

    status: Success
    data: list[DeviceMatch]
    meta: PageMeta


class ScoreHiding(msgspec.Struct, frozen=True):
    """Whether to hide a score, and why."""

    hidden: Annotated[bool, Meta(description="true hides the score, false shows it again.")]
    reason: Annotated[str, Meta(min_length=1, max_length=REASON_MAX, description="The reason, for the audit log.")]


class HiddenState(msgspec.Struct, frozen=True):
    """A score that was hidden or shown again, and its player."""

    score_id: int
    player: NamedId
    hidden: bool


class HiddenStatePage(msgspec.Struct, frozen=True):
    """The response of /scores/{id}/hidden."""

    status: Success
    data: HiddenState
    meta: NoMeta


class ModerationV2:
    """The endpoints about reports, shared devices and hidden scores."""

    def __init__(self, accounts: Accounts, reports: Reports, devices: Devices, wipes: Wipes) -> None:
        self._accounts = accounts
        self._reports = reports
        self._devices = devices
        self._wipes = wipes

    async def reports(self, caller: Caller, query: ReportsQuery) -> ReportsPage:
        """Reports of players about players, for moderators."""
        found, total = await self._reports.listed(
            _actor(caller), query.state, about=query.player_id, page=query.page, size=query.page_size
        )
        return ReportsPage("success", list(found), PageMeta(total, query.page, query.page_size))

    async def report(self, caller: Caller, query: NoParameters, body: NewReport) -> CreatedReportPage:
        """Report a player to the staff."""
        target = await self._accounts.user(caller.viewer, id=body.player_id)
        report_id = await self._reports.send(caller.viewer.user_id, target, body.kind, body.text, source="api")
        return CreatedReportPage("success", CreatedReport(report_id), NoMeta())

    async def close(self, caller: Caller, query: NoParameters, body: Closing, id: str) -> ReportPage:  # noqa: A002
        """Close an open report, for moderators."""
        report_id = number_in_path("id", id, most=REPORT_ID_MAX)
        return ReportPage("success", await self._reports.close(_actor(caller), report_id, body.text), NoMeta())

    async def devices(self, caller: Caller, query: NoParameters, id: str) -> DevicesPage:  # noqa: A002
        """Other accounts on a player's devices and addresses, for moderators."""
        player = await self._accounts.user(caller.viewer, id=number_in_path("id", id))
        matches = await self._devices.matches(_actor(caller), player)
        return DevicesPage("success", matches, PageMeta(len(matches), 1, max(1, len(matches))))

    async def hide_score(self, caller: Caller, query: NoParameters, body: ScoreHiding, id: str) -> HiddenStatePage:  # noqa: A002
        """Hide one score, or show it again, for administrators. The player's next best takes its place."""
        act = self._wipes.hide_score if body.hidden else self._wipes.unhide_score
        done = await act(_actor(caller), number_in_path("id", id, least=0, most=SCORE_ID_MAX), body.reason)
        player = NamedId(done.player.id, done.player.name)
        return HiddenStatePage("success", HiddenState(done.score_id, player, body.hidden), NoMeta())

    def operations(self) -> list[Operation]:
        """Return the operations of this class."""
        report = {"id": SCORE_IN_PATH | {"minimum": 1, "description": "The report's id."}}
        return [
            get("/reports", self.reports, ReportsPage, tag="staff", query=ReportsQuery, permission=HANDLES_REPORTS),
            post("/reports", self.report, CreatedReportPage, NewReport, tag="staff", creates=True),
            post(
                "/reports/{id}/close",
                self.close,
                ReportPage,
                Closing,
                tag="staff",
                permission=HANDLES_REPORTS,
                in_path=report,
            ),
            get(
                "/players/{id}/devices",
                self.devices,
                DevicesPage,
                tag="staff",
                in_path={"id": ID_IN_PATH},
                permission=SEES_DEVICES,
            ),
            post(
                "/scores/{id}/hidden",
                self.hide_score,
                HiddenStatePage,
                ScoreHiding,
                tag="staff",
                permission=HIDES_SCORES,
                in_path={"id": SCORE_IN_PATH},
            ),
        ]


def _actor(caller: Caller) -> Actor:
    return Actor(user_id=caller.viewer.user_id, source="api")
