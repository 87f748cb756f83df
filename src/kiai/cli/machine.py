"""Helpers of `kiai init` and `kiai doctor --network`: the running server, the checks, their lines."""

from kiai.clock import SystemClock
from kiai.machine.checks import MachineCheck
from kiai.machine.facts import MachineReport, RunningServer, examine
from kiai.osu.numbers import whole_number
from kiai.served_port import read_port
from kiai.server_settings import Settings
from kiai.stores import LOCK_FILE
from kiai.tls.folder import TlsFolder
from kiai.tls.plan import plan_of
from kiai.tls.status import current_plan


def running_server(settings: Settings) -> RunningServer:
    """Return what the data folder says about the server that runs on it."""
    process = None
    if settings.database is None:
        try:
            process = whole_number((settings.data / LOCK_FILE).read_text("ascii").strip())
        except (OSError, UnicodeDecodeError):
            process = None  # the server has just ended
    has_tls = TlsFolder(settings.data).state() is not None  # a server without TLS removes the state
    return RunningServer(process, read_port(settings.data) if settings.is_local or has_tls else None)


def examine_machine(settings: Settings, running: RunningServer | None) -> list[MachineCheck]:
    """Check the machine for the server that was last started on the data or, if none was, for these settings."""
    plan = current_plan(plan_of(settings), TlsFolder(settings.data))
    return examine(settings, plan, SystemClock().now_ms(), running).checks


def examine_new(settings: Settings, running: RunningServer | None, *, unit_files: int | None) -> MachineReport:
    """Check the machine for a server that will be started with these settings."""
    return examine(settings, plan_of(settings), SystemClock().now_ms(), running, unit_files=unit_files)


def check_line(check: MachineCheck) -> str:
    """Return a check as a line of text."""
    return f"  {shown(check.ok):<7}  {check.name}: {check.detail}"


def shown(ok: bool | None) -> str:
    """Return the result of a check as a word."""
    return {True: "ok", False: "wrong", None: "unknown"}[ok]
