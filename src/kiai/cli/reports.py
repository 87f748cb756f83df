"""The commands `kiai reports ...`, and `kiai users devices`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal, cast

import typer

from kiai.cli import users
from kiai.cli.common import DatabaseOption, DataOption, JsonOption, Output, pluralized, settings_of, with_services
from kiai.staff import OPERATOR

if TYPE_CHECKING:
    from kiai.app import Services
    from kiai.staff.devices import DeviceMatch
    from kiai.staff.reports import Report

app = typer.Typer(help="Read and close players' reports about players.", no_args_is_help=True)

StateChoice = Literal["open", "closed", "all"]
LISTED_MAX: Final = 100


@app.command("list")
def list_(
    state: Annotated[str, typer.Option("--state", metavar="S", help="open, closed or all.")] = "open",
    page: Annotated[int, typer.Option("--page", metavar="N", min=1, max=100, help="Page of 100 reports.")] = 1,
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List reports: open ones oldest first, the others newest first."""
    out = Output(as_json)
    if state not in ("open", "closed", "all"):
        raise typer.BadParameter("must be open, closed or all", param_hint="--state")

    async def work(services: "Services") -> tuple[Sequence["Report"], int]:
        return await services.community.reports.listed(OPERATOR, cast(StateChoice, state), page=page, size=LISTED_MAX)

    found, total = with_services(out, lambda: settings_of(data, database=database), work)
    out.result(
        {"reports": found, "total": total},
        *(_line(report) for report in found),
        f"{pluralized(total, 'report')}.",
    )


@app.command("close")
def close(
    report_id: Annotated[int, typer.Argument(metavar="ID", help="Id of the report.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The outcome, which only staff sees.")],
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Close an open report."""
    out = Output(as_json)

    async def work(services: "Services") -> "Report":
        return await services.community.reports.close(OPERATOR, report_id, text)

    report = with_services(out, lambda: settings_of(data, database=database), work)
    out.result(report, f"Report {report.id} about {report.target.name} is closed.")


@users.app.command("devices")
def devices(
    name: users.Name,
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List other accounts that share hardware or an address with a player. Shows kinds of matches, never values."""
    out = Output(as_json)

    async def work(services: "Services") -> list["DeviceMatch"]:
        account = await services.accounts.account(name)
        return await services.community.devices.matches(OPERATOR, account)

    matches = with_services(out, lambda: settings_of(data, database=database), work)
    lines = [
        f"{match.player.id:>8}  {match.player.name:<15}  {', '.join(match.kinds)}"
        f"{'  restricted' if match.player.restricted else ''}"
        for match in matches
    ]
    out.result({"matches": matches}, *lines, f"{pluralized(len(matches), 'account')}.")


def _line(report: "Report") -> str:
    at = datetime.fromtimestamp(report.at, UTC)
    text = report.text or "no text"
    line = f"{report.id:>6}  {at:%Y-%m-%d %H:%M}  {report.reporter.name} about {report.target.name} ({report.kind})"
    return f"{line}: {text}" + (f"  [closed: {report.verdict}]" if report.state == "closed" else "")
