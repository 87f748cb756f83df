"""The root of the command line."""

import sys

import typer

from kiai import __version__
from kiai.cli import (
    audit,
    backups,
    beatmaps,
    channels,
    clans,
    devices,
    faq,
    filters,
    flags,
    init,
    jobs,
    maintenance,
    medals,
    replays,
    reports,
    sanctions,
    scores,
    serve,
    server_acts,
    tls,
    top,
    users,
    webhooks,
)

app = typer.Typer(
    name="kiai",
    help="An osu! private server. `kiai serve` starts it; no setting is required.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its tracebacks show local variables, e.g. passwords
    rich_markup_mode=None,  # plain text can be searched, piped and tested
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(serve.serve)
app.command("init")(init.init)
sanctions.add_to(users.app)
app.add_typer(users.app, name="users")
app.add_typer(beatmaps.app, name="beatmaps")
app.add_typer(clans.app, name="clans")
app.add_typer(replays.app, name="replays")
app.add_typer(scores.app, name="scores")
app.add_typer(flags.app, name="flags")
app.command("audit")(audit.audit)
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(reports.app, name="reports")
app.add_typer(channels.app, name="channels")
app.add_typer(jobs.app, name="jobs")
app.add_typer(faq.app, name="faq")
app.add_typer(medals.app, name="medals")
app.add_typer(filters.app, name="filter")
app.add_typer(devices.app, name="devices")
app.command("demo")(maintenance.demo)
app.command("recalc")(maintenance.recalc)
app.command("doctor")(maintenance.doctor)
app.add_typer(server_acts.addresses, name="addresses")
app.command("maintenance")(server_acts.maintenance)
app.add_typer(tls.app, name="tls")
app.command("top")(top.top)
app.command("shutdown")(server_acts.shutdown)
app.command("backup")(backups.backup)
app.command("restore")(backups.restore)
app.command("migrate")(maintenance.migrate)


def _print_version(requested: bool) -> None:
    if requested:
        print(f"kiai {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    """An osu! private server. `kiai serve` starts it; no setting is required."""


def run() -> None:
    """Run the command line."""
    try:
        app(prog_name="kiai")  # the installed script would show `python -m ...`
    except BrokenPipeError:
        # The reader has ended, as in `kiai users list | head`. With stderr closed, Python does not report it.
        sys.stderr.close()
        sys.exit(1)
