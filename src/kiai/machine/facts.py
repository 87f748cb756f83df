"""Reads the facts about a machine that `checks.py` evaluates. A fact that cannot be read is None; nothing raises."""

import ctypes
import email.utils
import errno
import os
import shutil
import socket
import ssl
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import httpx
import msgspec

import kiai
from kiai.errors import KiaiError
from kiai.machine.checks import (
    CertificateFacts,
    ClockFacts,
    MachineCheck,
    NeededRecord,
    NetworkFacts,
    PortFacts,
    PortState,
    Resolution,
    check_certificate,
    check_clock,
    check_disk,
    check_files,
    check_port,
    check_records,
)
from kiai.machine.open_files import open_files_limit
from kiai.networks import parse_place
from kiai.server_settings import HTTP_PORT, LOCAL_DOMAIN, Settings
from kiai.tls.folder import TlsFolder
from kiai.tls.names import server_names
from kiai.tls.plan import TlsPlan

DIRECTORY_S: Final = 5.0  # for the answer of the ACME authority
CONNECT_S: Final = 2.0
# Addresses of the documentation ranges. Connecting a UDP socket sends nothing; it only selects the source address.
OUTSIDE_IPV4: Final = "192.0.2.1"
OUTSIDE_IPV6: Final = "2001:db8::1"
NOT_SYNCHRONISED: Final = 0x40  # STA_UNSYNC of adjtimex(2)


class MachineReport(msgspec.Struct, frozen=True):
    """The result of all checks. The records are also among the checks, as `dns:NAME`."""

    records: list[NeededRecord]
    checks: list[MachineCheck]


class RunningServer(msgspec.Struct, frozen=True):
    """The server that runs on the data. None for what its data folder does not say."""

    process: int | None = None
    port: int | None = None


def examine(
    settings: Settings,
    plan: TlsPlan,
    now_ms: int,
    running: RunningServer | None = None,
    *,
    unit_files: int | None = None,
) -> MachineReport:
    """Check the machine for a server with these settings and this plan for TLS.

    Takes up to a minute if the DNS does not answer.

    `unit_files` is the limit of open files of the systemd unit that will start the server and let it open low ports.
    """
    authority_s, authority_error = _ask_authority(plan)
    records = check_records(_read_network(settings, plan))
    checks = [MachineCheck(f"dns:{one.name}", one.ok, one.detail) for one in records]
    checks += [check_port(one, may_open_low=unit_files is not None) for one in _read_ports(settings, running)]
    checks.append(check_clock(ClockFacts(now_ms / 1000, _files_time(), authority_s, read_kernel_clock())))
    checks.append(_examine_disk(settings.data))
    checks.append(
        check_files(
            unit_files or open_files_limit(None if running is None else running.process), settings.connections_max
        )
    )
    checks.append(check_certificate(_read_certificate(plan, TlsFolder(settings.data), now_ms, authority_error)))
    return MachineReport(records, checks)


# --- the DNS


def resolve(names: Iterable[str]) -> dict[str, Resolution]:
    """Ask the resolver of this machine for the addresses of all names at once."""
    names = list(names)
    with ThreadPoolExecutor(len(names)) as threads:
        return dict(zip(names, threads.map(_resolve_one, names), strict=True))


def _resolve_one(name: str) -> Resolution:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)):
            return Resolution()
        return Resolution(error=error.strerror or str(error))
    except (OSError, UnicodeError) as error:
        return Resolution(error=str(error))
    addresses = (str(place[0]).partition("%")[0] for *_, place in found)
    return Resolution(tuple(dict.fromkeys(addresses)))


def is_own_address(address: str) -> bool:
    """Return whether this machine has the address. Only then a socket can be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return not ip_address(address).is_unspecified


def outgoing_address() -> str | None:
    """Return the address from which this machine connects to the internet, by IPv4 if it has it, or None."""
    for family, outside in ((socket.AF_INET, OUTSIDE_IPV4), (socket.AF_INET6, OUTSIDE_IPV6)):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((outside, 9))
                return str(probe.getsockname()[0])
        except OSError:
            continue
    return None


def _read_network(settings: Settings, plan: TlsPlan) -> NetworkFacts:
    # The plan has the domain of a server that was started with flags, too.
    found = {} if plan.domain == LOCAL_DOMAIN else resolve(server_names(plan.domain))
    addresses = {one for resolution in found.values() for one in resolution.addresses}
    return NetworkFacts(
        plan.domain,
        found,
        frozenset(filter(is_own_address, addresses)),
        outgoing_address(),
        direct=plan.mode != "off",
        ipv4_only=":" not in settings.host,
    )


# --- ports


def probe_port(host: str, port: int) -> PortState:
    """Return whether a server could listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM):
                return "forbidden"
            return "taken" if error.errno == errno.EADDRINUSE else "no address"
    return "free"


def _read_ports(settings: Settings, running: RunningServer | None) -> list[PortFacts]:
    main = settings.port if running is None or running.port is None else running.port
    wanted = [(settings.host, main, "--port", True)]
    if settings.has_tls and settings.http_port != "off":
        port = HTTP_PORT if settings.http_port is None else settings.http_port
        # As at the start of the server: it needs the default port for the challenges of an authority only.
        challenged = settings.tls == "auto" and settings.acme_challenge == "http-01"
        wanted.append((settings.host, port, "--http-port", settings.http_port is not None or challenged))
    for place, flag in ((settings.irc, "--irc"), (settings.irc_tls, "--irc-tls")):
        if place is not None:
            host, port = parse_place(place, settings.host)
            wanted.append((host, port, flag, True))
    return [
        PortFacts(host, port, probe_port(host, port) if running is None else _probe_server(host, port), flag, required)
        for host, port, flag, required in wanted
        if port != 0  # the system selects a free port
    ]


def _probe_server(host: str, port: int) -> PortState:
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (compared, not bound)
    try:
        socket.create_connection((reachable, port), timeout=CONNECT_S).close()
    except OSError:
        return "silent"
    return "served"


# --- the clock


class _Timex(ctypes.Structure):
    """The begin of `struct timex` of Linux. The rest is reserved, because the kernel writes all of it."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 512),
    )


def read_kernel_clock() -> bool | None:
    """Return whether a program keeps the clock of the system synchronised, or None if the system does not say."""
    if sys.platform != "linux":
        return None
    try:
        timex = _Timex()  # modes 0: only reads
        if ctypes.CDLL(None).adjtimex(ctypes.byref(timex)) < 0:  # forbidden in some containers
            return None
    except (OSError, AttributeError):
        return None
    return not timex.status & NOT_SYNCHRONISED


def _files_time() -> float:
    try:
        return Path(kiai.__file__).stat().st_mtime
    except OSError:
        return 0


def _ask_authority(plan: TlsPlan) -> tuple[float | None, str | None]:
    """Return the time of the ACME authority in unix seconds, or why it did not answer. Only `auto` has one."""
    if plan.mode != "auto":
        return None, None
    try:
        trusted = ssl.create_default_context(cafile=plan.authority_pem)
        answer = httpx.get(plan.directory, verify=trusted, timeout=DIRECTORY_S)
        answer.raise_for_status()
        return email.utils.parsedate_to_datetime(answer.headers.get("date", "")).timestamp(), None
    except ValueError:  # without a date that can be read
        return None, None
    except (httpx.HTTPError, OSError) as error:
        return None, f"{plan.directory}: {error}"


# --- disk, certificate


def _examine_disk(data: Path) -> MachineCheck:
    present = next(folder for folder in (data.absolute(), *data.absolute().parents) if folder.exists())
    try:
        free = shutil.disk_usage(present).free
    except OSError:
        free = None
    return check_disk(str(data), free, writable=os.access(present, os.W_OK | os.X_OK))


def _read_certificate(plan: TlsPlan, folder: TlsFolder, now_ms: int, authority_error: str | None) -> CertificateFacts:
    if plan.mode == "off":
        return CertificateFacts("off", plan.domain)
    # PERF: with TLS only: `cryptography` takes 16 MB.
    from kiai.tls.serving import read_fitting
    from kiai.tls.status import find_faults

    faults: list[str] = []
    made = False
    try:
        state = folder.state()
        if state is not None and state.plan == plan:
            faults, made = find_faults(folder, now_ms), True
        elif plan.mode == "file":
            read_fitting(plan, folder, now_ms)
            made = True
    except KiaiError as error:
        faults = [str(error)]
    return CertificateFacts(plan.mode, plan.domain, tuple(faults), made, authority_error)
