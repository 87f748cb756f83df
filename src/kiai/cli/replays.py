"""`kiai replays ...`"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from kiai.cli.common import (
    DatabaseOption,
    DataOption,
    JsonOption,
    Out,
    counted,
    progress_bar,
    settings_of,
    with_services,
)
from kiai.scores.replay_import import STAFF, ReplayReport

if TYPE_CHECKING:
    from kiai.app import Services

app = typer.Typer(help="Replays: .osr files become scores.", no_args_is_help=True)


@app.command("import")
def import_(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help=".osr files and folders of them.")],
    user: Annotated[
        str | None, typer.Option("--user", metavar="NAME", help="Who owns plays whose name has no account here.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Skip replays whose checksum is of no known form, not only doubt them.")
    ] = False,
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Imports replays as if they had been submitted: pp, stats, ranks, leaderboards."""
    out = Out(as_json)

    async def work(services: "Services") -> ReplayReport:
        owner = await services.accounts.user(STAFF, name=user) if user is not None else None
        with progress_bar(out, "Importing replays") as progress:
            return await services.replay_import.import_paths(paths, user=owner, strict=strict, progress=progress)

    report = with_services(out, lambda: settings_of(data, database=database), work)
    out.result(msgspec.to_builtins(report), *_text(report))
    if report.skipped and not report.scores:
        raise typer.Exit(1)


def _text(report: ReplayReport) -> list[str]:
    forms = ", ".join(f"{name} {number}" for name, number in sorted(report.checksums.items()))
    return [
        f"Imported {counted(report.scores, 'score')}{f' (checksums: {forms})' if forms else ''}.",
        *[f"Doubt {one.path}: {one.why}" for one in report.doubts],
        *[f"Skipped {one.path}: {one.why}" for one in report.skipped],
    ]
