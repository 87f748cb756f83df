"""The commands `kiai tls export`, `status` and `renew`."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from kiai.cli.common import DataOption, JsonOption, Output, errors_as_exit, settings_of
from kiai.clock import SystemClock
from kiai.errors import Unavailable
from kiai.server_settings import Settings

if TYPE_CHECKING:
    from kiai.tls.folder import TlsFolder
    from kiai.tls.plan import TlsPlan
    from kiai.tls.status import TlsStatus

app = typer.Typer(help="Show, export and renew the certificate for https.", no_args_is_help=True)
ROOT_MODE = 0o644  # the root is public: players import it


@app.command("export")
def export(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="File to write; by default stdout.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Export the root of the local authority, which players of a test server import."""
    out = Output(as_json)
    with errors_as_exit(out):
        folder, _ = _folder_and_plan(data)
        from kiai.tls.authority import export_root

        root = export_root(folder)
        if file is not None:
            try:
                file.write_text(root.pem, "ascii")
                file.chmod(ROOT_MODE)
            except OSError as error:
                raise Unavailable(f"file {file}", f"{error.strerror}; choose another") from error
        shown = root.pem.rstrip("\n").split("\n") if file is None else [f"Wrote the root to {file}.", root.sha256]
        out.result(root, *shown)


@app.command("status")
def status(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show the certificate that the server sends, and the last error."""
    out = Output(as_json)
    with errors_as_exit(out):
        folder, plan = _folder_and_plan(data)
        _show(out, _read(folder, plan))


@app.command("renew")
def renew(
    force: Annotated[bool, typer.Option("--force", help="Renew also a certificate that is not due.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Renew the certificate now if a third of its life or less is left. The server takes it over within 10 seconds."""
    out = Output(as_json)
    with errors_as_exit(out):
        settings, folder, plan = _settings_and_plan(data)
        if settings.database is not None and plan.mode == "auto":
            asyncio.run(_renew_for_all(settings, folder, plan, force=force))
        else:
            from kiai.tls.renewal import obtain

            obtain(plan, folder, SystemClock().now_ms(), force=force)
        _show(out, _read(folder, plan))


async def _renew_for_all(settings: Settings, folder: "TlsFolder", plan: "TlsPlan", *, force: bool) -> None:
    """Renew the certificate that the machines of a cluster share."""
    from kiai.secret_box import SecretBox
    from kiai.shared_certificate import SharedCertificate
    from kiai.stores import open_database
    from kiai.tls.renewal import obtain_for_all

    database, clock = await open_database(settings), SystemClock()
    try:
        sharing = SharedCertificate(database, SecretBox(settings.data, clock), plan, folder, clock)
        await obtain_for_all(plan, folder, clock.now_ms(), sharing, force=force)
    finally:
        await database.close()


def _folder_and_plan(data: Path | None) -> "tuple[TlsFolder, TlsPlan]":
    _, folder, plan = _settings_and_plan(data)
    return folder, plan


def _settings_and_plan(data: Path | None) -> "tuple[Settings, TlsFolder, TlsPlan]":
    # PERF: the modules for certificates take longer to import than the command line.
    from kiai.stores import require_data
    from kiai.tls.folder import TlsFolder
    from kiai.tls.plan import plan_of
    from kiai.tls.status import current_plan

    settings = settings_of(data)
    require_data(settings)
    folder = TlsFolder(settings.data)
    return settings, folder, current_plan(plan_of(settings), folder)


def _read(folder: "TlsFolder", plan: "TlsPlan") -> "TlsStatus":
    from kiai.tls.status import read_status

    return read_status(plan, folder, SystemClock().now_ms())


def _show(out: Output, found: "TlsStatus") -> None:
    lines = [f"TLS: {found.mode}"]
    if found.names:
        lines += [
            f"Names: {', '.join(found.names)}",
            f"Issuer: {found.issuer}",
            f"Days left: {found.days_left}",
        ]
    if found.last_error:
        lines.append(f"Last error: {found.last_error}")
    out.result(msgspec.to_builtins(found), *lines)
