"""The command `kiai replays import`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from kiai.cli.common import (
    DatabaseOption,
    DataOption,
    JsonOption,
    Output,
    pluralized,
    progress_bar,
    settings_of,
    with_services,
)
from kiai.scores.replay_import import STAFF, ReplayReport

if TYPE_CHECKING:
    from kiai.app import Services

app = typer.Typer(help="Import replays as scores.", no_args_is_help=True)


@app.command("import")
def import_(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help=".osr files, or folders that contain them.")],
    user: Annotated[
        str | None, typer.Option("--user", metavar="NAME", help="Account for replays whose player has no account here.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Skip replays with an unknown form of checksum instead of flagging them.")
    ] = False,
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import replays as scores with pp, as if the game had submitted them."""
    out = Output(as_json)

    async def work(services: "Services") -> ReplayReport:
        # As staff, so that replays can be imported for a restricted player, too.
        owner = await services.accounts.user(STAFF, name=user) if user is not None else None
        with progress_bar(out, "Importing replays") as progress:
            return await services.replay_import.import_paths(paths, user=owner, strict=strict, progress=progress)

    report = with_services(out, lambda: settings_of(data, database=database), work)
    out.result(msgspec.to_builtins(report), *_text(report))
    # An import succeeds if it imported anything; replays that are stored already are skipped.
    if report.skipped and not report.scores:
        raise typer.Exit(1)


def _text(report: ReplayReport) -> list[str]:
    forms = ", ".join(f"{name} {number}" for name, number in sorted(report.checksums.items()))
    return [
        f"Imported {pluralized(report.scores, 'score')}{f' (checksums: {forms})' if forms else ''}.",
        *[f"Flagged {replay.path}: {replay.why}" for replay in report.doubts],
        *[f"Skipped {replay.path}: {replay.why}" for replay in report.skipped],
    ]
