"""The command `kiai audit`: the audit log as a list, JSON or CSV."""

import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from kiai.cli.common import Invocation, with_options
from kiai.staff import OPERATOR
from kiai.staff.audit import utc_text
from kiai.staff.audit_csv import csv_head, csv_lines
from kiai.staff.audit_reading import AuditEntry, AuditFilter

if TYPE_CHECKING:
    from kiai.app import Services

PAGE: Final = 1_000


@with_options
def audit(
    call: Invocation,
    actor: Annotated[str | None, typer.Option(metavar="NAME", help="Only acts of this account.")] = None,
    target: Annotated[str | None, typer.Option(metavar="NAME", help="Only acts on this account.")] = None,
    action: Annotated[str, typer.Option(metavar="A", help="Only this action, such as restrict.")] = "",
    source: Annotated[str, typer.Option(metavar="S", help="Only from game, irc, web, api, cli or job.")] = "",
    text: Annotated[str, typer.Option(metavar="T", help="Only rows with this text in the reason or details.")] = "",
    since: Annotated[int, typer.Option(metavar="U", help="Only from this time on, in unix seconds.")] = 0,
    until: Annotated[int | None, typer.Option(metavar="U", help="Only up to this time, in unix seconds.")] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=1_000_000, help="Number of rows.")] = 100,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of text.")] = False,
) -> None:
    """Show the audit log, newest first: every act of staff, players on their own accounts, and jobs."""
    out = call.out

    async def work(services: "Services") -> tuple[list[AuditEntry], int]:
        authority = services.authority
        wanted = AuditFilter(
            actor_id=None if actor is None else (await authority.target(actor)).id,
            target_id=None if target is None else (await authority.target(target)).id,
            action=action,
            source=source,
            text=text,
            since_ms=since * 1000,
            until_ms=2**62 if until is None else until * 1000 + 999,
        )
        rows: list[AuditEntry] = []
        before, total = None, 0
        while len(rows) < limit:
            size = min(PAGE, limit - len(rows))
            page, total = await services.community.audit.page(OPERATOR, wanted, limit=size, before=before)
            rows += page
            if len(page) < size:
                break
            before = page[-1].id
        return rows, max(total, len(rows))

    rows, total = call.run(work)
    if as_csv:
        sys.stdout.write(csv_head() + csv_lines(rows))
        return
    out.result({"rows": [row.fields() for row in rows], "total": total}, *(map(_line, rows) if rows else ["No rows."]))


def _line(row: AuditEntry) -> str:
    actor = row.actor or ("operator" if row.source == "cli" else "server")
    about = row.target or f"{row.target_kind} {row.target_id}"
    reason = f": {row.reason}" if row.reason else ""
    return f"{row.id:>8}  {utc_text(row.at_ms)}  {actor} ({row.source})  {row.action}  {about}{reason}  {row.details}"
