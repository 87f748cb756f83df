"""Evaluates the facts about a machine: does the DNS lead to it, can the server open its ports, is the clock right?

A check is None where the facts do not suffice, for example behind a router, whose address this machine does not know.
Each detail is a phrase that says what was found and, if it is wrong, what to do.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Final, Literal

import msgspec

from kiai.listening import ALLOWED_BY
from kiai.machine.open_files import needed_files
from kiai.server_settings import LOCAL_DOMAIN
from kiai.tls.names import server_names
from kiai.tls.plan import Mode

LOCAL_ADDRESS: Final = "127.0.0.1"
LOOPBACK_IPV6: Final = "::1"
LABEL_MAX: Final = 63  # characters, as the DNS requires
NAME_MAX: Final = 253
LONGEST_LABEL: Final = 6  # of the names below the domain: `assets`
CLOCK_ERROR_MAX_S: Final = 60
"""One-time codes of authenticator apps last 30 seconds, and authorities reject requests of another time."""
FILES_AGE_S: Final = 86_400  # the time of a file may be that of another time zone
DISK_MIN_BYTES: Final = 1 << 30
PortState = Literal["free", "taken", "forbidden", "no address", "served", "silent"]
"""`served`: the running server listens on it. `silent`: a server runs on this data, but does not listen on it."""


class MachineCheck(msgspec.Struct, frozen=True):
    """The result of a check. `ok` is None if it cannot be known; `detail` is a phrase for the operator."""

    name: str
    ok: bool | None
    detail: str


class NeededRecord(msgspec.Struct, frozen=True):
    """A DNS record that players need. `value` is None if this machine does not know its public address."""

    name: str
    type: Literal["A", "AAAA"]
    value: str | None
    ok: bool | None
    detail: str


class Resolution(msgspec.Struct, frozen=True):
    """The addresses of a name, or why the resolver did not answer. No address and no error: the name has no record."""

    addresses: tuple[str, ...] = ()
    error: str | None = None


class NetworkFacts(msgspec.Struct, frozen=True):
    """`own` are those of the resolved addresses that this machine has; `outgoing` is the source of its connections.

    `direct` is whether kiai itself serves https, without a proxy, `ipv4_only` whether it listens on IPv4 only.
    """

    domain: str
    found: Mapping[str, Resolution]
    own: frozenset[str]
    outgoing: str | None
    direct: bool
    ipv4_only: bool = True


class PortFacts(msgspec.Struct, frozen=True):
    """A port of the server. It starts without one that is not `required`. `flag` is the option that sets it."""

    host: str
    port: int
    state: PortState
    flag: str
    required: bool = True


class ClockFacts(msgspec.Struct, frozen=True):
    """Times in unix seconds. `files_s` is that of kiai's own files, `authority_s` what the ACME authority said.

    `kept` is whether a program keeps the clock of the system, None if the system does not say.
    """

    now_s: float
    files_s: float
    authority_s: float | None = None
    kept: bool | None = None


class CertificateFacts(msgspec.Struct, frozen=True):
    """`faults` are sentences. `made` is whether the data folder has a certificate yet, or the operator's file has."""

    mode: Mode
    domain: str
    faults: tuple[str, ...] = ()
    made: bool = False
    authority_error: str | None = None


def check_domain(domain: str) -> str | None:
    """Return why clients cannot use this domain, or None."""
    try:
        ip_address(domain)
    except ValueError:
        pass
    else:
        return "a name such as kiai.example: game clients need names below it, which an address does not have"
    if len(domain) > NAME_MAX - LONGEST_LABEL - 1:
        return f"a name of at most {NAME_MAX - LONGEST_LABEL - 1} characters"
    for label in domain.split("."):
        if not 0 < len(label) <= LABEL_MAX or label.startswith("-") or label.endswith("-"):
            return f"labels of 1 to {LABEL_MAX} characters with dots between them, none with - at its end"
    return None


# --- the DNS


def check_records(facts: NetworkFacts) -> list[NeededRecord]:
    """Return the records that the domain needs, in the order of `server_names`."""
    if facts.domain == LOCAL_DOMAIN:
        local = "needs no record; a program that does not resolve it needs a line in its hosts file"
        return [NeededRecord(name, "A", LOCAL_ADDRESS, None, local) for name in server_names(facts.domain)]
    value = _expected(facts)
    kind: Literal["A", "AAAA"] = "AAAA" if value is not None and _is_ipv6(value) else "A"
    records = []
    for name in server_names(facts.domain):
        ok, detail = _check_name(facts.found.get(name, Resolution()), facts, value)
        records.append(NeededRecord(name, kind, value, ok, detail))
    return records


def _expected(facts: NetworkFacts) -> str | None:
    """Return the address that the records need: that of this machine or, behind a router, that of the domain."""
    if facts.outgoing is not None and ip_address(facts.outgoing).is_global:
        return facts.outgoing
    present = facts.found.get(facts.domain, Resolution()).addresses
    if facts.ipv4_only:
        present = tuple(one for one in present if not _is_ipv6(one))
    own = [one for one in present if one in facts.own]
    public = [one for one in present if ip_address(one).is_global]
    return next(iter([*own, *public]), None)


def _check_name(found: Resolution, facts: NetworkFacts, value: str | None) -> tuple[bool | None, str]:
    if found.error is not None:
        return False, f"the resolver does not answer ({found.error}); check the DNS settings of this machine"
    wanted = value or "the public address of this server"
    if not found.addresses:
        return False, f"has no record; add one with {wanted}"
    shown = ", ".join(found.addresses)
    if facts.direct and facts.ipv4_only and any(_is_ipv6(one) and one != LOOPBACK_IPV6 for one in found.addresses):
        return False, f'has an AAAA record ({shown}), but kiai listens on IPv4 only; remove it, or set host = "::"'
    own = [one for one in found.addresses if one in facts.own]
    if own:
        if all(ip_address(one).is_loopback for one in own):
            return True, f"points at {shown}, which only this machine can reach"
        return True, f"points at {shown}"
    if not facts.direct:
        return None, f"points at {shown}; a proxy there must pass requests to this server"
    behind_router = facts.outgoing is None or not ip_address(facts.outgoing).is_global
    if behind_router and any(ip_address(one).is_global for one in found.addresses):
        return None, f"points at {shown}; this machine is behind a router, which must forward the ports to it"
    return False, f"points at {shown}, not at this machine; change it to {wanted}"


def _is_ipv6(address: str) -> bool:
    return ":" in address


# --- ports, clock, disk, limits, certificate


def check_port(facts: PortFacts, *, may_open_low: bool = False) -> MachineCheck:
    """Check a port. `may_open_low` is whether the server will have the permission that this command lacks."""
    state, where = facts.state, f"{facts.host}:{facts.port}"
    if state == "forbidden" and may_open_low:
        return _port_check(facts, True, "the systemd unit may open it")
    if state in ("free", "served"):
        return _port_check(facts, True, "free" if state == "free" else "the server listens on it")
    if state == "silent":
        return _port_check(facts, None, "the running server does not listen on it; it has other options")
    detail = {
        "taken": f"another program listens on {where}; stop it, or choose another with {facts.flag}",
        "forbidden": f"this account may not open {where}; choose another with {facts.flag}, or allow it {ALLOWED_BY}",
        "no address": f"this machine does not have the address {facts.host}; choose another with --host",
    }[state]
    return _port_check(facts, False if facts.required else None, detail)


def _port_check(facts: PortFacts, ok: bool | None, detail: str) -> MachineCheck:
    if ok is None and facts.state != "silent":
        detail = f"{detail}. Without it, http is not redirected to https"
    return MachineCheck(f"port:{facts.port}", ok, detail)


def check_clock(facts: ClockFacts) -> MachineCheck:
    """Check the clock by the ACME authority if it answered, otherwise by the system and by the time of kiai's files."""
    if facts.authority_s is not None:
        error_s = round(facts.now_s - facts.authority_s)
        if abs(error_s) > CLOCK_ERROR_MAX_S:
            way = "ahead of" if error_s > 0 else "behind"
            return MachineCheck(
                "clock", False, f"{abs(error_s)} seconds {way} that of the ACME authority; set it, e.g. with chrony"
            )
        return MachineCheck("clock", True, "agrees with that of the ACME authority")
    if facts.now_s < facts.files_s - FILES_AGE_S:
        return MachineCheck(
            "clock",
            False,
            f"says {_day(facts.now_s)}, but kiai is from {_day(facts.files_s)}; set it, e.g. with chrony",
        )
    if facts.kept:
        return MachineCheck("clock", True, "the system keeps it synchronised")
    unknown = "nothing to compare it with" if facts.kept is None else "no program of this system keeps it synchronised"
    return MachineCheck("clock", None, f"{unknown}; it says {_day(facts.now_s)}")


def _day(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M UTC")


def check_disk(folder: str, free_bytes: int | None, *, writable: bool) -> MachineCheck:
    """Check the disk of the data folder. `free_bytes` is None if the system does not say."""
    if not writable:
        return MachineCheck("disk", False, f"this account cannot write to {folder}; change its owner or its mode")
    if free_bytes is None:
        return MachineCheck("disk", None, f"the free space of {folder} is not known")
    shown = f"{free_bytes / (1 << 30):,.1f} GiB free for {folder}"
    if free_bytes < DISK_MIN_BYTES:
        return MachineCheck("disk", False, f"only {shown}; free some, or choose another folder with --data")
    return MachineCheck("disk", True, shown)


def check_files(limit: int, connections: int) -> MachineCheck:
    """Check the limit of open files for the setting connections_max."""
    needed = needed_files(connections)
    if limit < needed:
        return MachineCheck(
            "files",
            False,
            f"{limit:,} open files are allowed, but {connections:,} connections need {needed:,}; raise the limit "
            "(LimitNOFILE= of a systemd unit, `ulimit -Hn` of a shell), or lower connections_max",
        )
    return MachineCheck("files", True, f"{limit:,} open files are allowed, {needed:,} are needed")


def check_certificate(facts: CertificateFacts) -> MachineCheck:
    """Check the certificate and, with `auto`, whether the authority answers."""
    if facts.mode == "off":
        local = facts.domain == LOCAL_DOMAIN
        return MachineCheck("tls", None, "off" if local else "off; a proxy in front must serve https")
    faults = list(facts.faults)
    if facts.authority_error is not None:
        faults.append(f"the ACME authority does not answer: {facts.authority_error}")
    if faults:
        return MachineCheck("tls", False, "; ".join(faults))
    if not facts.made:
        return MachineCheck("tls", None, "the first start makes the certificate")
    return MachineCheck("tls", True, "the certificate is valid for all names")


def all_ok(checks: Iterable[MachineCheck]) -> bool:
    """Return whether no check has failed. A check that cannot be made does not count."""
    return all(one.ok is not False for one in checks)
