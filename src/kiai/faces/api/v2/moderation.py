"""Version 2: reports, and devices that accounts share."""

from typing import Annotated, Literal

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
from kiai.staff import Actor
from kiai.staff.devices import PERMISSION as SEES_DEVICES
from kiai.staff.devices import DeviceMatch, Devices
from kiai.staff.reports import ID_MAX as REPORT_ID_MAX
from kiai.staff.reports import KIND_MAX, TEXT_MAX, Report, Reports
from kiai.staff.reports import PERMISSION as HANDLES_REPORTS

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


class ModerationV2:
    """The endpoints about reports and shared devices."""

    def __init__(self, accounts: Accounts, reports: Reports, devices: Devices) -> None:
        self._accounts = accounts
        self._reports = reports
        self._devices = devices

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
        ]


def _actor(caller: Caller) -> Actor:
    return Actor(user_id=caller.viewer.user_id, source="api")
