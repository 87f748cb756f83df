"""Which parts of the server work now, and in which minutes of the last 90 days it was up.

A job adds a sample every minute. A sample needs the database, so minutes in which the server or its database was down
have none, and count as down. Samples of one day are one row, so that the table has at most 91 rows.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec
from sqlalchemy import bindparam, delete, insert, select, update

from kiai.accounts import Accounts
from kiai.clock import Clock
from kiai.errors import KiaiError
from kiai.files.port import Files
from kiai.realtime.port import Realtime
from kiai.storage.port import Command, Database, Query, Transaction, UniqueViolation
from kiai.storage.tables import uptime_days

CHECK_S: Final = 1.0  # the time limit of one check
REMEMBERED_S: Final = 1.0  # a result is reused for this time, so that a flood of requests does not load the stores
DAYS: Final = 90
MINUTE_MS: Final = 60_000
MINUTES_OF_DAY: Final = 1_440
SAMPLE_EVERY_S: Final = 20.0
"""Period of the job. Shorter than a minute, so that a slow run does not leave a minute out; each minute counts once."""
OK: Final = "ok"

Check = Callable[[], Awaitable[object]]


def readiness_checks(accounts: Accounts, realtime: Realtime, files: Files) -> dict[str, Check]:
    """Return the parts of the server: a name, and a call that raises KiaiError while that part does not answer."""
    return {"database": accounts.total, "state": realtime.online_count, "files": files.check}


class Components:
    """Checks the parts of the server."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._checked_at = float("-inf")
        self._last = dict.fromkeys(checks, "not checked yet")

    async def states(self) -> dict[str, str]:
        """Return `ok` or the reason of each part. A reason is for the operator, not for the public."""
        if time.monotonic() - self._checked_at > REMEMBERED_S:
            # Set before the checks run: concurrent requests get the previous result instead of checking as well.
            self._checked_at = time.monotonic()
            names, checks = list(self._checks), list(self._checks.values())
            states = await asyncio.gather(*[_state_of(check) for check in checks])
            self._last = dict(zip(names, states, strict=True))
        return dict(self._last)


async def _state_of(check: Check) -> str:
    try:
        async with asyncio.timeout(CHECK_S):
            await check()
    except (KiaiError, TimeoutError) as error:
        return str(error) or f"no answer in {CHECK_S:g} s"
    return OK


class UptimeDay(msgspec.Struct, frozen=True):
    """A day (days since 1970-01-01, UTC): the minutes in which all parts worked, only some worked, and none did.

    The minutes before the first sample of all, and those to come, belong to no group.
    """

    day: int
    up: int
    impaired: int
    down: int

    @property
    def share(self) -> float | None:
        """The share of minutes in which the server was up, also impaired, from 0 to 1; None without data."""
        known = self.up + self.impaired + self.down
        return (self.up + self.impaired) / known if known else None


class _Row(msgspec.Struct, frozen=True):
    day: int
    first_minute: int
    last_minute: int
    up: int
    impaired: int


_COLUMNS: Final = _Row.__struct_fields__
_DAYS: Final = Query(
    select(*[uptime_days.c[n] for n in _COLUMNS])
    .where(uptime_days.c.day > bindparam("after"))
    .order_by(uptime_days.c.day)
    .limit(DAYS),
    _Row,
)
_COUNT: Final = Command(
    update(uptime_days)
    .where(uptime_days.c.day == bindparam("of_day"), uptime_days.c.last_minute < bindparam("minute"))
    .values(
        up=uptime_days.c.up + bindparam("is_up"),
        impaired=uptime_days.c.impaired + bindparam("is_impaired"),
        last_minute=bindparam("minute"),
    )
)
_KNOWN: Final = Query(select(uptime_days.c.day).where(uptime_days.c.day == bindparam("day")), lambda day: day)
_BEGIN: Final = Command(insert(uptime_days).values({n: bindparam(n) for n in _COLUMNS}))
_FORGET: Final = Command(delete(uptime_days).where(uptime_days.c.day <= bindparam("until")))


class Uptime:
    """Counts the minutes in which the server was up."""

    def __init__(self, database: Database, components: Components, clock: Clock) -> None:
        self.components = components
        self._database = database
        self._clock = clock
        self.started_at_ms = clock.now_ms()
        """When this process started, in unix ms."""

    async def sample(self) -> None:
        """Count the present minute, once. A job calls this on one worker at a time."""
        minute = self._clock.now_ms() // MINUTE_MS
        day = minute // MINUTES_OF_DAY
        up = int(all(state == OK for state in (await self.components.states()).values()))

        async def body(tx: Transaction) -> None:
            counted = await tx.run(_COUNT, of_day=day, minute=minute, is_up=up, is_impaired=1 - up)
            if not counted and await tx.one(_KNOWN, day=day) is None:
                await tx.run(_BEGIN, day=day, first_minute=minute, last_minute=minute, up=up, impaired=1 - up)
                await tx.run(_FORGET, until=day - DAYS)

        # Suppressed: another worker has counted the first minute of the day.
        with contextlib.suppress(UniqueViolation):
            await self._database.transaction(body)

    async def days(self) -> list[UptimeDay]:
        """Return the last 90 days, oldest first. The present minute counts once it has a sample."""
        now = self._clock.now_ms() // MINUTE_MS
        today = now // MINUTES_OF_DAY
        rows = {row.day: row for row in await self._database.all(_DAYS, after=today - DAYS)}
        first = min((row.first_minute for row in rows.values()), default=now)
        return [_day_of(day, rows.get(day), first, now) for day in range(today - DAYS + 1, today + 1)]


def _day_of(day: int, row: _Row | None, first: int, now: int) -> UptimeDay:
    begin, end = day * MINUTES_OF_DAY, (day + 1) * MINUTES_OF_DAY
    expected = max(0, min(end, now) - max(begin, first))
    if row is None:
        return UptimeDay(day, 0, 0, expected)
    counted = row.up + row.impaired
    return UptimeDay(day, row.up, row.impaired, max(0, expected - counted))


def share_of(days: list[UptimeDay]) -> float | None:
    """Return the share of minutes in which the server was up over these days, from 0 to 1; None without data."""
    up = sum(day.up + day.impaired for day in days)
    known = up + sum(day.down for day in days)
    return up / known if known else None
