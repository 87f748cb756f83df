"""The command line's root."""

import sys

import typer

from kiai import __version__
from kiai.cli import backups, beatmaps, maintenance, replays, serving, users

app = typer.Typer(
    name="kiai",
    help="kiai: an osu! private server. `kiai serve` starts everything; no setting is needed.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(serving.serve)
app.add_typer(users.app, name="users")
app.add_typer(beatmaps.app, name="beatmaps")
app.add_typer(replays.app, name="replays")
app.command("demo")(maintenance.demo)
app.command("recalc")(maintenance.recalc)
app.command("doctor")(maintenance.doctor)
app.command("backup")(backups.backup)
app.command("restore")(backups.restore)
app.command("migrate")(maintenance.migrate)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"kiai {__version__}")
        raise typer.Exit


@app.callback()
def root(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Prints it.")) -> None:
    """kiai: an osu! private server. `kiai serve` starts everything; no setting is needed."""


def run() -> None:
    """Runs the command line."""
    try:
        app(prog_name="kiai")  # not `python -m kiai`, which is how the script beside Python starts it
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
