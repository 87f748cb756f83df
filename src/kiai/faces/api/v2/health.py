"""Version 2: the health of the server, for keys of developers."""

import msgspec

from kiai.faces.api.operation import Caller, Operation
from kiai.faces.api.params import NoParameters
from kiai.faces.api.v2.paging import NoMeta, Success, get
from kiai.faces.api.v2.server import percent
from kiai.staff import Actor
from kiai.staff.server_health import (
    PERMISSION,
    CheckFinding,
    Disk,
    ParkedRows,
    Pool,
    ServerHealth,
    ServerPart,
    Version,
)


class QueuesData(msgspec.Struct, frozen=True):
    """The work that waits. Ages are in seconds.

    `outbox` and `settling` (totals, maps and scores to compute again) are counted up to 10,000. `webhooks_waiting` are
    messages, `webhooks_parked` are webhooks that are not tried any more; null until they are counted.
    """

    outbox: int
    outbox_oldest: int | None
    outbox_parked: list[ParkedRows]
    settling: int
    settling_oldest: int | None
    webhooks_waiting: int | None
    webhooks_parked: int | None


class SlowStatementData(msgspec.Struct, frozen=True):
    """A slow statement of the database: its slowest run of the last five minutes, and its slow runs since the start."""

    statement: str
    ms: float
    times: int


class CertificateData(msgspec.Struct, frozen=True):
    """A certificate that the server reads itself. `ends` is in unix seconds, null for a file that cannot be read."""

    name: str
    ends: int | None
    days: int | None


class BackupData(msgspec.Struct, frozen=True):
    """The last successful `kiai backup`: its start in unix seconds, and its size."""

    at: int
    bytes: int


class CheckData(msgspec.Struct, frozen=True):
    """The last `kiai doctor`: its time in unix seconds, and the first 100 problems of `total`."""

    at: int
    total: int
    problems: list[CheckFinding]


class HealthData(msgspec.Struct, frozen=True):
    """The health of the server. `uptime` is in percent over 90 days, null without data. `up_since` is in unix seconds.

    `slow_statements` of the last five minutes have the slowest first; at most 20. `backup` and `check` are null if the
    data folder has none.
    """

    parts: list[ServerPart]
    up_since: int
    uptime: float | None
    versions: list[Version]
    disks: list[Disk]
    database_bytes: int
    pools: list[Pool]
    slow_statements: list[SlowStatementData]
    queues: QueuesData
    certificates: list[CertificateData]
    backup: BackupData | None
    check: CheckData | None


class HealthPage(msgspec.Struct, frozen=True):
    """The response of /server/health."""

    status: Success
    data: HealthData
    meta: NoMeta


class HealthV2:
    """The endpoint of the health. The first line of a handler's docstring is the summary in the OpenAPI document."""

    def __init__(self, health: ServerHealth) -> None:
        self._health = health

    async def health(self, caller: Caller, query: NoParameters) -> HealthPage:
        """Parts, versions, disks, pools, slow statements, queues and last checks of the server, for developers."""
        found = await self._health.read(Actor(caller.viewer.user_id, "api"))
        queues, backup, check = found.queues, found.backup, found.check
        data = HealthData(
            parts=found.parts,
            up_since=found.started_at_ms // 1000,
            uptime=percent(found.uptime),
            versions=found.versions,
            disks=found.disks,
            database_bytes=found.database_bytes,
            pools=found.pools,
            slow_statements=[SlowStatementData(one.statement, one.ms, one.times) for one in found.slow_statements],
            queues=QueuesData(
                outbox=queues.outbox,
                outbox_oldest=queues.outbox_oldest_s,
                outbox_parked=queues.outbox_parked,
                settling=queues.settling,
                settling_oldest=queues.settling_oldest_s,
                webhooks_waiting=queues.webhooks_waiting,
                webhooks_parked=queues.webhooks_parked,
            ),
            certificates=[
                CertificateData(one.name, None if one.ends_at_ms is None else one.ends_at_ms // 1000, one.days)
                for one in found.certificates
            ],
            backup=None if backup is None else BackupData(backup.at_ms // 1000, backup.bytes),
            check=None if check is None else CheckData(check.at_ms // 1000, check.total, check.problems),
        )
        return HealthPage("success", data, NoMeta())

    def operations(self) -> list[Operation]:
        """Return the operations of this class."""
        return [get("/server/health", self.health, HealthPage, tag="staff", permission=PERMISSION)]
