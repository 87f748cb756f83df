"""`kiai replays ...`"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from kiai.cli.common import DatabaseOption, DataOption, JsonOption, Out, progress_bar, settings_of, with_services
from kiai.scores.replays import STAFF, ReplayReport

if TYPE_CHECKING:
    from kiai.app import Services

app = typer.Typer(help="Replays: .osr files become scores.", no_args_is_help=True)


@app.command("import")
def import_(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help=".osr files and folders of them.")],
    user: Annotated[
        str | None, typer.Option("--user", metavar="NAME", help="Who owns plays whose name has no account here.")
    ] = None,
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Imports replays as if they had been submitted: pp, stats, ranks, leaderboards."""
    out = Out(as_json)

    async def work(services: "Services") -> ReplayReport:
        owner = await services.accounts.user(STAFF, name=user) if user is not None else None
        with progress_bar(out, "Importing replays") as progress:
            return await services.replay_import.import_paths(paths, user=owner, progress=progress)

    report = with_services(out, lambda: settings_of(data, database=database), work)
    lines = [f"Imported {report.scores} scores.", *[f"Skipped {one.path}: {one.why}" for one in report.skipped]]
    out.result({"scores": report.scores, "skipped": msgspec.to_builtins(report.skipped)}, "\n".join(lines))
    if report.skipped and not report.scores:
        raise typer.Exit(1)
