"""The commands `kiai reports ...`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal, cast

import typer

from kiai.cli.common import Invocation, pluralized, with_options
from kiai.staff import OPERATOR

if TYPE_CHECKING:
    from kiai.app import Services
    from kiai.staff.reports import Report

app = typer.Typer(help="Read and close players' reports about players.", no_args_is_help=True)

StateChoice = Literal["open", "closed", "all"]
LISTED_MAX: Final = 100


@app.command("list")
@with_options
def list_(
    call: Invocation,
    state: Annotated[str, typer.Option("--state", metavar="S", help="open, closed or all.")] = "open",
    page: Annotated[int, typer.Option("--page", metavar="N", min=1, max=100, help="Page of 100 reports.")] = 1,
) -> None:
    """List reports: open ones oldest first, the others newest first."""
    out = call.out
    if state not in ("open", "closed", "all"):
        raise typer.BadParameter("must be open, closed or all", param_hint="--state")

    async def work(services: "Services") -> tuple[Sequence["Report"], int]:
        return await services.community.reports.listed(OPERATOR, cast(StateChoice, state), page=page, size=LISTED_MAX)

    found, total = call.run(work)
    out.result(
        {"reports": found, "total": total},
        *(_line(report) for report in found),
        f"{pluralized(total, 'report')}.",
    )


@app.command("close")
@with_options
def close(
    call: Invocation,
    report_id: Annotated[int, typer.Argument(metavar="ID", help="Id of the report.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The outcome, which only staff sees.")],
) -> None:
    """Close an open report."""
    out = call.out

    async def work(services: "Services") -> "Report":
        return await services.community.reports.close(OPERATOR, report_id, text)

    report = call.run(work)
    out.result(report, f"Report {report.id} about {report.target.name} is closed.")


def _line(report: "Report") -> str:
    at = datetime.fromtimestamp(report.at, UTC)
    text = report.text or "no text"
    line = f"{report.id:>6}  {at:%Y-%m-%d %H:%M}  {report.reporter.name} about {report.target.name} ({report.kind})"
    return f"{line}: {text}" + (f"  [closed: {report.verdict}]" if report.state == "closed" else "")
