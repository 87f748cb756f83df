"""The health of the server, for developers: its parts, versions, disks, pools, queues, certificates and checks."""

import asyncio
import contextlib
import functools
import platform
import shutil
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Final

import msgspec

from kiai.clock import Clock
from kiai.logs import get_logger
from kiai.measuring import PoolUsage
from kiai.scores.reconciling import Reconciler
from kiai.served_figures import SlowStatement
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority
from kiai.staff.backup_model import LastBackUp, last_back_up, write_record
from kiai.staff.doctor import Diagnosis
from kiai.storage.outbox import Outbox
from kiai.storage.port import Database
from kiai.uptime import Uptime, share_of
from kiai.version import VERSION
from kiai.webhooks import Webhooks

PERMISSION: Final = "server.health"
PACKAGES: Final = ("falcon", "msgspec", "rosu-pp-py", "sqlalchemy", "uvicorn")
CHECKED: Final = "last-doctor.json"
PROBLEMS_MAX: Final = 100
DAY_MS: Final = 86_400_000


class CheckFinding(msgspec.Struct, frozen=True):
    """A problem that `kiai doctor` found. `invariant` is its key, such as `I1`."""

    invariant: str
    what: str
    repairable: bool


class LastCheck(msgspec.Struct, frozen=True):
    """The last run of `kiai doctor` on this data folder: its time in unix ms, and its first 100 problems of `total`."""

    at_ms: int
    total: int
    problems: list[CheckFinding]


class ServerPart(msgspec.Struct, frozen=True):
    """A part of the server, and `ok` or the reason why it does not work."""

    name: str
    state: str


class Version(msgspec.Struct, frozen=True):
    """The version of kiai, of Python, of the database's schema or of a package."""

    name: str
    version: str


class Disk(msgspec.Struct, frozen=True):
    """The disk of a folder, in bytes. `place` is `data` or `files`."""

    place: str
    free_bytes: int
    total_bytes: int


class Pool(msgspec.Struct, frozen=True):
    """A pool of connections, threads or processes: `in_use` of `capacity`, summed over the workers."""

    name: str
    in_use: int
    capacity: int
    waiting: int
    refused: int


class ParkedRows(msgspec.Struct, frozen=True):
    """Rows of the outbox of one kind whose delivery has failed too often."""

    kind: str
    rows: int


class Queues(msgspec.Struct, frozen=True):
    """The work that waits. None for a figure that is not known yet.

    `outbox` and `settling` are counted up to 10,000; the age of the oldest one is in seconds. `webhooks_waiting` are
    messages, `webhooks_parked` are webhooks that are not tried any more.
    """

    outbox: int
    outbox_oldest_s: int | None
    outbox_parked: list[ParkedRows]
    settling: int
    settling_oldest_s: int | None
    webhooks_waiting: int | None
    webhooks_parked: int | None


class CertificateState(msgspec.Struct, frozen=True):
    """A certificate that this server reads. `days` are left, rounded down; None for a file that cannot be read."""

    name: str
    ends_at_ms: int | None
    days: int | None


class HealthReport(msgspec.Struct, frozen=True):
    """The health. `uptime` is the share of the last 90 days from 0 to 1, None without data.

    `slow_statements` are those of the last five minutes, the slowest first; at most 20.
    """

    parts: list[ServerPart]
    started_at_ms: int
    uptime: float | None
    versions: list[Version]
    disks: list[Disk]
    database_bytes: int
    pools: list[Pool]
    slow_statements: list[SlowStatement]
    queues: Queues
    certificates: list[CertificateState]
    backup: LastBackUp | None
    check: LastCheck | None


class ServerHealth:
    """Reads the health for accounts with the permission.

    `disks` are the folders whose disks may fill up, `certificates` the files of certificates, by name. `read_pools`
    returns the usage of the pools of this process; the server replaces it by the sum of its workers. `read_slow`
    returns the slow statements of all workers of a server.
    """

    def __init__(
        self,
        authority: Authority,
        uptime: Uptime,
        database: Database,
        outbox: Outbox,
        reconciler: Reconciler,
        webhooks: Webhooks,
        clock: Clock,
        data: Path,
        disks: Mapping[str, Path],
        certificates: Mapping[str, str],
        read_pools: Callable[[], Mapping[str, PoolUsage]],
    ) -> None:
        self._authority = authority
        self._uptime = uptime
        self._database = database
        self._outbox = outbox
        self._reconciler = reconciler
        self._webhooks = webhooks
        self._clock = clock
        self._data = data
        self._disks = disks
        self._certificates = certificates
        self.read_pools = read_pools
        self.read_slow: Callable[[], list[SlowStatement]] = list

    async def read(self, actor: Actor) -> HealthReport:
        """Return the health. Raises NotAllowed, and Unavailable while the database does not answer."""
        await self._authority.require(actor, PERMISSION)
        now = self._clock.now_ms()
        parts, schema, size, days, queues, local = await asyncio.gather(
            self._uptime.components.states(),
            self._database.version(),
            self._database.size_bytes(),
            self._uptime.days(),
            self._read_queues(now),
            asyncio.to_thread(self._read_folders, now),
        )
        versions = {"kiai": VERSION, "schema": schema or "", "python": platform.python_version()}
        versions |= _package_versions()
        return HealthReport(
            parts=[ServerPart(name, state) for name, state in parts.items()],
            started_at_ms=self._uptime.started_at_ms,
            uptime=share_of(days),
            versions=[Version(name, version) for name, version in versions.items()],
            disks=local.disks,
            database_bytes=size,
            pools=[
                Pool(name, pool.in_use, pool.size, pool.waiting, pool.refused)
                for name, pool in sorted(self.read_pools().items())
            ],
            slow_statements=self.read_slow(),
            queues=queues,
            certificates=local.certificates,
            backup=local.backup,
            check=local.check,
        )

    async def _read_queues(self, now_ms: int) -> Queues:
        backlog, settling = await asyncio.gather(self._outbox.backlog(), self._reconciler.pending())
        return Queues(
            outbox=backlog.rows,
            outbox_oldest_s=_age_s(backlog.oldest_ms, now_ms),
            outbox_parked=[ParkedRows(kind, rows) for kind, rows in sorted(backlog.parked_kinds.items())],
            settling=settling.left,
            settling_oldest_s=_age_s(settling.since_ms, now_ms),
            webhooks_waiting=self._webhooks.waiting,
            webhooks_parked=self._webhooks.parked,
        )

    def _read_folders(self, now_ms: int) -> "_Folders":
        """Read files and disks. Blocking."""
        disks = []
        for place, folder in self._disks.items():
            with contextlib.suppress(OSError):  # e.g. unmounted, which `parts` reports
                usage = shutil.disk_usage(folder)
                disks.append(Disk(place, usage.free, usage.total))
        return _Folders(
            disks,
            [read_certificate(name, Path(path), now_ms) for name, path in self._certificates.items()],
            last_back_up(self._data),
            last_check(self._data),
        )


class _Folders(msgspec.Struct, frozen=True):
    disks: list[Disk]
    certificates: list[CertificateState]
    backup: LastBackUp | None
    check: LastCheck | None


@functools.cache
def _package_versions() -> dict[str, str]:
    """Return the versions of the main packages. Each is parsed from a file, which took a quarter of the health page."""
    return {name: metadata.version(name) for name in PACKAGES}


def _age_s(since_ms: int | None, now_ms: int) -> int | None:
    return None if since_ms is None else max(0, (now_ms - since_ms) // 1000)


def read_certificate(name: str, path: Path, now_ms: int) -> CertificateState:
    """Return when the first certificate of a PEM file ends, and the days until then."""
    from cryptography import x509  # here: it takes memory, and most servers have no certificate

    try:
        ends_at = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return CertificateState(name, None, None)
    ends_at_ms = int(ends_at.timestamp() * 1000)
    return CertificateState(name, ends_at_ms, (ends_at_ms - now_ms) // DAY_MS)


def record_check(data: Path, diagnosis: Diagnosis, at_ms: int) -> None:
    """Record in the data folder what `kiai doctor` has found. If that fails, only log a warning."""
    problems = [CheckFinding(one.invariant, one.what, one.repairable) for one in diagnosis.problems[:PROBLEMS_MAX]]
    try:
        write_record(data / CHECKED, LastCheck(at_ms, len(diagnosis.problems), problems))
    except OSError as error:
        get_logger("doctor").warning("cannot record the check", folder=str(data), why=error.strerror)


def last_check(data: Path) -> LastCheck | None:
    """Return the last check of this data folder, or None."""
    try:
        return msgspec.json.decode((data / CHECKED).read_bytes(), type=LastCheck)
    except (OSError, msgspec.DecodeError):
        return None
