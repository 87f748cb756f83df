"""The start page of staff: the work that waits, the figures of today, the newest acts, and what is wrong.

Each part is read on its own and within a time limit. A part that cannot be read is None; the others are still there.
Numbers stop at a limit (`Upto`), so that the price of the page does not grow with the tables.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Integer, Select, bindparam, func, literal_column, select

from kiai.accounts.visibility import visible
from kiai.clock import Clock
from kiai.errors import KiaiError
from kiai.logs import get_logger
from kiai.osu.privileges import may
from kiai.samples import MINUTE_MS, Samples, SampleTotals
from kiai.server_settings import RegistrationState
from kiai.staff.audit import Actor
from kiai.staff.audit_reading import AuditEntry, AuditFilter, AuditReading
from kiai.staff.authority import Authority
from kiai.staff.server_health import PERMISSION as HEALTH
from kiai.staff.server_health import HealthReport, ServerHealth
from kiai.staff.switches import Switches
from kiai.storage.port import Database, Lane, Query
from kiai.storage.tables import integrity_flags, logins, map_requests, reports, users, webhooks
from kiai.uptime import Components

T = TypeVar("T")

PERMISSION: Final = "audit.read_own"
PART_S: Final = 2.0  # the time limit of one part
DAY_MS: Final = 86_400_000
WAITING_MAX: Final = 100
DAY_MAX: Final = 1_000
ACTS_SHOWN: Final = 10


class Upto(msgspec.Struct, frozen=True):
    """A number of rows. With `more` there are more rows, which were not counted."""

    count: int
    more: bool


class WaitingWork(msgspec.Struct, frozen=True):
    """Work of one kind, a key of `WAITING`. `found` is None if it cannot be read."""

    kind: str
    found: Upto | None


class StaffDay(msgspec.Struct, frozen=True):
    """The figures since midnight (UTC). Those that cannot be read are None.

    `totals` are those of the server's own samples, without the minute that is not over.
    """

    logins: Upto | None
    registrations: Upto | None
    totals: SampleTotals | None


class StaffStart(msgspec.Struct, frozen=True):
    """The start page. A part that cannot be read is None.

    `parts` are the parts of the server, with `ok` or the reason why one does not work. `health` is only for those with
    the permission, as `sees_health` says. `acts` are the newest acts that the reader may see.
    `switched_registration` says who may register if staff has decided so against the setting.
    """

    waiting: list[WaitingWork]
    day: StaffDay
    acts: list[AuditEntry] | None
    parts: dict[str, str] | None
    health: HealthReport | None
    sees_health: bool
    under_maintenance: bool
    switched_registration: RegistrationState | None


def _count(rows: Select[Any], most: int, scans: str | None = None) -> Query[Upto]:
    # One row more than the limit says whether there are more.
    counted = select(func.count()).select_from(rows.limit(most + 1).subquery())
    return Query(counted, lambda count: Upto(min(count, most), count > most), lane=Lane.BOUNDED, scans=scans)


_one: ColumnElement[int] = literal_column("1", Integer)
_requests = map_requests.join(users, (users.c.id == map_requests.c.user_id) & visible())
WAITING: Final = {
    "flags": ("flags.handle", _count(select(_one).where(integrity_flags.c.state == literal_column("0")), WAITING_MAX)),
    "reports": ("reports.handle", _count(select(_one).where(reports.c.closed_at_ms.is_(None)), WAITING_MAX)),
    "map requests": (
        "beatmaps.requests",
        _count(select(_one).select_from(_requests), WAITING_MAX, "it stops at 101 open requests"),
    ),
    "deletions": ("users.delete", _count(select(_one).where(users.c.deletes_at_ms > 0), WAITING_MAX)),
    "webhooks": ("webhooks.write", _count(select(_one).where(webhooks.c.parked == literal_column("1")), WAITING_MAX)),
}
"""Kind of work -> the permission to do it, and the number that waits."""


def _newest_since(newest: Select[Any], what: str) -> Query[Upto]:
    # Ids grow with time, so the newest rows come by the primary key, and the time needs no index.
    rows = newest.limit(DAY_MAX + 1).subquery()
    counted = select(func.count()).select_from(rows).where(rows.c[0] >= bindparam("since_ms"))
    return Query(
        counted,
        lambda count: Upto(min(count, DAY_MAX), count > DAY_MAX),
        lane=Lane.BOUNDED,
        scans=f"it reads the newest 1,001 {what}",
    )


_LOGINS: Final = _newest_since(select(logins.c.at_ms).order_by(logins.c.id.desc()), "logins")
_REGISTRATIONS: Final = _newest_since(select(users.c.created_at_ms).order_by(users.c.id.desc()), "accounts")


class StartOfStaff:
    """Reads the start page."""

    def __init__(
        self,
        database: Database,
        authority: Authority,
        audit: AuditReading,
        samples: Samples,
        components: Components,
        health: ServerHealth,
        switches: Switches,
        clock: Clock,
        *,
        part_s: float = PART_S,
    ) -> None:
        self._database = database
        self._authority = authority
        self._audit = audit
        self._samples = samples
        self._components = components
        self._health = health
        self._switches = switches
        self._clock = clock
        self._part_s = part_s

    async def read(self, actor: Actor) -> StaffStart:
        """Return the start page of an account. Raises NotAllowed."""
        priv = await self._authority.require(actor, PERMISSION)
        sees_health = may(priv, HEALTH)
        waiting, day, acts, parts, health = await asyncio.gather(
            self._read_waiting(priv),
            self._read_day(),
            self._alone("acts", self._newest_acts, actor),
            self._alone("parts", self._components.states),
            self._alone("health", self._read_health, actor, sees_health),
        )
        switches = self._switches
        states = (switches.under_maintenance(), switches.switched_registration())
        return StaffStart(waiting, day, acts, parts, health, sees_health, *states)

    async def _read_waiting(self, priv: int) -> list[WaitingWork]:
        kinds = [kind for kind, (permission, _) in WAITING.items() if may(priv, permission)]
        found = await asyncio.gather(*[self._alone(kind, self._waiting, kind) for kind in kinds])
        return [WaitingWork(kind, one) for kind, one in zip(kinds, found, strict=True)]

    async def _read_day(self) -> StaffDay:
        since_ms = self._clock.now_ms() // DAY_MS * DAY_MS
        entered, registered, totals = await asyncio.gather(
            self._alone("logins", self._since, _LOGINS, since_ms),
            self._alone("registrations", self._since, _REGISTRATIONS, since_ms),
            self._alone("samples", self._samples.totals, since_ms // MINUTE_MS),
        )
        return StaffDay(entered, registered, totals)

    async def _newest_acts(self, actor: Actor) -> list[AuditEntry]:
        return await self._audit.rows(actor, AuditFilter(), limit=ACTS_SHOWN)

    async def _waiting(self, kind: str) -> Upto | None:
        return await self._database.one(WAITING[kind][1])

    async def _since(self, query: Query[Upto], since_ms: int) -> Upto | None:
        return await self._database.one(query, since_ms=since_ms)

    async def _read_health(self, actor: Actor, sees_health: bool) -> HealthReport | None:
        return await self._health.read(actor) if sees_health else None

    async def _alone(self, part: str, read: Callable[..., Awaitable[T]], *arguments: object) -> T | None:
        """Return a part, or None if it cannot be read, whatever the reason is."""
        try:
            async with asyncio.timeout(self._part_s):
                return await read(*arguments)
        except (KiaiError, OSError, TimeoutError) as error:
            get_logger("staff").warning("part of the start page not read", part=part, why=str(error) or "no answer")
            return None
