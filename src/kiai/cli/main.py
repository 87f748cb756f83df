"""The root of the command line."""

import importlib
import sys
from typing import Any, Final

import typer
from typer.core import TyperGroup

MODULES: Final = {
    "serve": "serve:serve",
    "init": "init:init",
    "users": "sanctions:app",  # the app of `users.py` with the sanctions
    "beatmaps": "beatmaps:app",
    "clans": "clans:app",
    "replays": "replays:app",
    "scores": "scores:app",
    "flags": "flags:app",
    "audit": "audit:audit",
    "webhooks": "webhooks:app",
    "reports": "reports:app",
    "channels": "channels:app",
    "jobs": "jobs:app",
    "faq": "faq:app",
    "medals": "medals:app",
    "filter": "filters:app",
    "devices": "devices:app",
    "demo": "maintenance:demo",
    "recalc": "maintenance:recalc",
    "doctor": "maintenance:doctor",
    "addresses": "server_acts:addresses",
    "maintenance": "server_acts:maintenance",
    "registration": "server_acts:registration",
    "tls": "tls:app",
    "top": "top:top",
    "profile": "profile:profile",
    "shutdown": "server_acts:shutdown",
    "backup": "backups:backup",
    "backups": "backups:backups",
    "backup-key": "backups:backup_key",
    "restore": "backups:restore",
    "migrate": "maintenance:migrate",
    "upgrade-check": "upgrade:upgrade_check",
}
"""Command -> module and name of its function or app, in the order of `kiai --help`."""


class CommandsOnUse(TyperGroup):
    """The commands, each imported when it is used.

    PERF: the modules of all commands take 0.6 s, which `kiai --version` and the start of the server do not need.
    """

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Return the names of all commands."""
        return list(MODULES)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        """Return a command, None for an unknown name."""
        if cmd_name in MODULES and cmd_name not in self.commands:
            self.commands[cmd_name] = _imported(cmd_name)
        return self.commands.get(cmd_name)

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]
        """Return the command that the arguments name. For an unknown one, the error suggests a similar one."""
        if args and args[0] not in MODULES:
            self.all(ctx)
        return super().resolve_command(ctx, args)

    def all(self, ctx: Any = None) -> dict[str, Any]:
        """Return all commands by name, imported."""
        return {name: self.get_command(ctx, name) for name in MODULES}


def _imported(name: str) -> Any:
    module, _, attribute = MODULES[name].partition(":")
    found = getattr(importlib.import_module(f"kiai.cli.{module}"), attribute)
    one = typer.Typer(rich_markup_mode=None)
    if isinstance(found, typer.Typer):
        one.add_typer(found, name=name)
    else:
        one.command(name)(found)
    return typer.main.get_group(one).commands[name]


app = typer.Typer(
    cls=CommandsOnUse,
    name="kiai",
    help="An osu! private server. `kiai serve` starts it; no setting is required.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its tracebacks show local variables, e.g. passwords
    rich_markup_mode=None,  # plain text can be searched, piped and tested
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(requested: bool) -> None:
    if requested:
        from kiai.version import VERSION  # PERF: in a checkout it starts git, which other commands do not need

        print(f"kiai {VERSION}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    """An osu! private server. `kiai serve` starts it; no setting is required."""


def command_tree() -> CommandsOnUse:
    """Return the root with all commands imported, for programs that read them."""
    tree = typer.main.get_group(app)
    assert isinstance(tree, CommandsOnUse)
    tree.all()
    return tree


def run() -> None:
    """Run the command line."""
    try:
        app(prog_name="kiai")  # the installed script would show `python -m ...`
    except BrokenPipeError:
        # The reader has ended, as in `kiai users list | head`. With stderr closed, Python does not report it.
        sys.stderr.close()
        sys.exit(1)
