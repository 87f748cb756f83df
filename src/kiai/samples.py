"""The server's own figures, one row a minute, for charts that need no monitoring system.

Each worker reads the counters of all workers of its server at the end of a minute and writes the difference. The row
that covers most of the minute stays, so several workers leave one row. Servers that share a database (several machines,
each with its own shared memory) write a row each under their names, and a chart combines them:

- counts are added: requests, errors, submissions
- of the rest the largest value counts: the seconds covered, p99, lag, and the players online, which every server reads
  from the shared state

A job combines rows that are older than a day in the same way, to one row for 15 minutes, and deletes them after 90
days. A minute without a row is a gap. It has no values, not even zeros.
"""

import contextlib
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec
from sqlalchemy import BigInteger, Integer, and_, bindparam, cast, delete, func, insert, literal_column, select, update

from kiai.clock import Clock
from kiai.measuring import P99, Reading, quantile
from kiai.storage.port import Command, Database, Query, Transaction, UniqueViolation, scalar
from kiai.storage.tables import samples

MINUTE_MS: Final = 60_000
DAY_MINUTES: Final = 1_440
DAYS: Final = 90
KEPT_MINUTES: Final = DAY_MINUTES + 120
"""Age of a row that is combined. The two hours are for rows that waited for the database."""
THINNED_MINUTES: Final = 15
POINTS: Final = 240
"""The maximum of points of a chart whose caller does not choose the step."""
POINTS_MAX: Final = 1_440
STEPS: Final = (1, 2, 3, 6, 15, 30, 60, 120, 180, 360, 720, 1_440)
"""The steps of charts, in minutes. Steps from 15 on are multiples of 15, and start at full multiples of themselves."""
CHECK_EVERY_S: Final = 1.0
SETTLED_MS: Final = 5_000  # a minute belongs to a chart this long after its end, when its row is written
SPAN_MIN_S: Final = 5.0  # rates over a shorter time say little, so it becomes a part of the next minute
SPAN_MAX_S: Final = 300.0  # a reading after a longer pause says nothing about a minute
BETTER_S: Final = 5  # a row replaces another one that covers at least 5 s less
WAITING_MAX: Final = 60
THINNED_AT_ONCE: Final = 100
NAME_MAX: Final = 64


class Sample(msgspec.Struct, frozen=True):
    """The figures of a minute (unix time in minutes), or of the minutes that begin with it.

    `seconds` is the time that the counts cover: 0 for a gap. It is up to 5 s longer than the minutes of a server that
    has started just before them. A value that is not known is None.
    """

    minute: int
    seconds: int
    requests: int
    errors: int
    submissions: int
    p99_ms: float | None
    lag_ms: float | None
    online: int | None

    @property
    def at_ms(self) -> int:
        """When the first minute begins, in unix ms."""
        return self.minute * MINUTE_MS

    @property
    def is_gap(self) -> bool:
        """Whether the server wrote no sample, because it was down or could not write."""
        return self.seconds == 0

    @property
    def requests_per_s(self) -> float | None:
        """Requests per second, while the server was up."""
        return self.requests / self.seconds if self.seconds else None


class Series(msgspec.Struct, frozen=True):
    """Samples at equal distances, oldest first, with the gaps. `step` is the distance in minutes."""

    step: int
    samples: list[Sample]


class SampleTotals(msgspec.Struct, frozen=True):
    """Sums over the rows of all servers."""

    requests: int
    errors: int
    submissions: int


_VALUES: Final = Sample.__struct_fields__[1:]
_COUNTS: Final = ("requests", "errors", "submissions")
_of_time = and_(samples.c.minute >= bindparam("since"), samples.c.minute < bindparam("until"))
# One row a minute: the servers of that minute. The numbers of spans are computed here, because PostgreSQL cannot tell
# that two expressions with parameters are the same one.
_minutes = (
    select(
        ((samples.c.minute - bindparam("since", type_=Integer)) // bindparam("step", type_=Integer)).label("span"),
        *[cast(func.sum(samples.c[name]), BigInteger).label(name) for name in _COUNTS],
        *[func.max(samples.c[name]).label(name) for name in _VALUES if name not in _COUNTS],
    )
    .where(_of_time)
    .group_by(samples.c.minute)
    .subquery("minutes")
)
_SPANS: Final = Query(
    select(
        _minutes.c.span,
        *[
            cast(func.sum(_minutes.c[name]), BigInteger).label(name)
            if name in (*_COUNTS, "seconds")
            else func.max(_minutes.c[name]).label(name)
            for name in _VALUES
        ],
    )
    .group_by(_minutes.c.span)
    .order_by(_minutes.c.span)
    .limit(POINTS_MAX),
    lambda *row: row,
)

_TOTALS: Final = Query(
    select(*[cast(func.coalesce(func.sum(samples.c[name]), 0), BigInteger) for name in _COUNTS]).where(
        samples.c.minute >= bindparam("since")
    ),
    SampleTotals,
)

_of_row = and_(samples.c.minute == bindparam("of_minute"), samples.c.server == bindparam("of_server"))
_IMPROVE: Final = Command(
    update(samples)
    .where(_of_row, samples.c.seconds <= bindparam("seconds", type_=Integer) - BETTER_S)
    .values({name: bindparam(name) for name in _VALUES})
)
_KNOWN: Final = Query(select(samples.c.minute).where(_of_row).limit(1), scalar)
_ADD: Final = Command(
    insert(samples).values({name: bindparam(name) for name in ("minute", "server", "minutes", *_VALUES)})
)
_OLDEST_WHOLE: Final = Query(
    select(samples.c.minute)
    .where(samples.c.minutes == literal_column("1"), samples.c.minute < bindparam("before"))
    .order_by(samples.c.minute)
    .limit(1),
    scalar,
)
_CLEAR: Final = Command(delete(samples).where(_of_time))
_OLDEST: Final = Query(
    select(samples.c.minute).where(samples.c.minute < bindparam("before")).order_by(samples.c.minute).limit(1), scalar
)
_FORGET: Final = Command(delete(samples).where(samples.c.minute < bindparam("before")))


class Samples:
    """Stores and reads the rows."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def add(self, server: str, sample: Sample) -> None:
        """Store a server's row of a minute, unless there is one already that covers about as much of the minute."""
        values = msgspec.structs.asdict(sample)
        minute = values.pop("minute")

        async def body(tx: Transaction) -> None:
            if await tx.run(_IMPROVE, of_minute=minute, of_server=server, **values):
                return
            if await tx.one(_KNOWN, of_minute=minute, of_server=server) is None:
                await tx.run(_ADD, minute=minute, server=server, minutes=1, **values)

        try:
            await self._database.transaction(body)
        except UniqueViolation:  # another worker was a moment faster; this row may still be the better one
            await self._database.transaction(body)

    async def last(self, minutes: int = DAY_MINUTES, step: int | None = None) -> Series:
        """Return the last `minutes` (15 to 129,600) with a sample for each `step` minutes.

        `step` is one of `STEPS`, at least `finest_step(minutes)`. The default is the smallest one with at most
        240 samples. The present minute is not included.
        """
        step = max(finest_step(minutes), _step_of(minutes, POINTS)) if step is None else step
        until = (self._clock.now_ms() - SETTLED_MS) // MINUTE_MS
        if step >= THINNED_MINUTES:
            # Rows for 15 minutes begin at multiples of 15, so a span that begins elsewhere would miss some minutes.
            until = -(-until // step) * step
        count = -(-minutes // step)
        since = until - count * step
        found = {row[0]: row[1:] for row in await self._database.all(_SPANS, since=since, until=until, step=step)}
        return Series(
            step,
            [
                Sample(since + at * step, *found[at])
                if at in found
                else Sample(since + at * step, 0, 0, 0, 0, None, None, None)
                for at in range(count)
            ],
        )

    async def totals(self, since: int) -> SampleTotals:
        """Return the sums since a minute (unix time in minutes, not longer ago than a day)."""
        return await self._database.one(_TOTALS, since=since) or SampleTotals(0, 0, 0)

    async def thin(self) -> None:
        """Combine rows older than a day to one for 15 minutes, and delete those older than 90 days. A job calls this.

        Each quarter of an hour is one transaction, and at most 100 are combined in one call. A call that is interrupted
        loses nothing; the next one continues.
        """
        now = self._clock.now_ms() // MINUTE_MS
        before = (now - KEPT_MINUTES) // THINNED_MINUTES * THINNED_MINUTES

        async def combine(tx: Transaction) -> bool:
            oldest = await tx.one(_OLDEST_WHOLE, before=before)
            if oldest is None:
                return False
            begin = oldest - oldest % THINNED_MINUTES
            of_time = {"since": begin, "until": begin + THINNED_MINUTES}
            [row] = await tx.all(_SPANS, **of_time, step=THINNED_MINUTES)
            await tx.run(_CLEAR, **of_time)
            values = dict(zip(_VALUES, row[1:], strict=True))
            await tx.run(_ADD, minute=begin, server="", minutes=THINNED_MINUTES, **values)
            return True

        async def forget(tx: Transaction) -> bool:
            first = now - DAYS * DAY_MINUTES
            oldest = await tx.one(_OLDEST, before=first)
            if oldest is None:
                return False
            # A day at a time, so that a server that was off for months does not hold up other writes.
            await tx.run(_FORGET, before=min(oldest + DAY_MINUTES, first))
            return True

        for step in (forget, combine):
            # Suppressed: another worker has combined the same rows.
            with contextlib.suppress(UniqueViolation):
                for _ in range(THINNED_AT_ONCE):
                    if not await self._database.transaction(step):
                        break


def finest_step(minutes: int) -> int:
    """Return the smallest step of a chart of the last `minutes`: 1 within a day, else at least 15."""
    return _step_of(minutes, POINTS_MAX) if minutes <= DAY_MINUTES else max(15, _step_of(minutes, POINTS_MAX))


def _step_of(minutes: int, most: int) -> int:
    """Return the smallest step with at most `most` points."""
    return next((step for step in STEPS if minutes <= step * most), STEPS[-1])


class Sampler:
    """Reads the figures of a server once a minute, in each of its workers.

    `read` returns the sum over the workers, `bounds_ms` are the bounds of its durations. `server` names the server
    among those that share the database. While the database is unavailable, up to 60 rows wait for it.
    """

    def __init__(
        self,
        samples: Samples,
        server: str,
        read: Callable[[], Reading],
        bounds_ms: tuple[float, ...],
        clock: Clock,
    ) -> None:
        self._samples = samples
        self._server = server[:NAME_MAX]
        self._read = read
        self._bounds_ms = bounds_ms
        self._clock = clock
        self._minute = 0
        self._began = 0.0
        self._first: Reading | None = None
        self._waiting: deque[Sample] = deque(maxlen=WAITING_MAX)

    def begin(self) -> None:
        """Take the first reading. Without this call, `run` takes it."""
        self._take()

    async def run(self) -> None:
        """Write the row of the last minute, once it is over. A job calls this every second."""
        if self._first is None or self._clock.now_ms() // MINUTE_MS != self._minute:
            self._take()
        await self._write()

    async def finish(self) -> None:
        """Write the row of the minute that is not over. A worker calls this when it ends."""
        if self._first is not None:
            self._take()
            await self._write()

    def _take(self) -> None:
        """Add the figures since the last reading to the rows that wait, and begin the next one."""
        now = self._read()
        first, seconds = self._first, self._clock.monotonic() - self._began
        if first is not None and seconds < SPAN_MIN_S:
            self._minute = self._clock.now_ms() // MINUTE_MS  # the counts of the last seconds belong to the next row
            return
        if first is not None and seconds <= SPAN_MAX_S:
            if not now.has_counters_of(first):
                return  # a slot of the shared memory could not be read; the next call reads again
            durations = [ended - began for ended, began in zip(now.durations, first.durations, strict=True)]
            self._waiting.append(
                Sample(
                    self._minute,
                    round(seconds),
                    now.requests - first.requests,
                    now.errors - first.errors,
                    now.submissions - first.submissions,
                    quantile(self._bounds_ms, durations, P99),
                    now.lag_ms,
                    now.online,
                )
            )
        self._first, self._minute, self._began = now, self._clock.now_ms() // MINUTE_MS, self._clock.monotonic()

    async def _write(self) -> None:
        while self._waiting:
            await self._samples.add(self._server, self._waiting[0])
            self._waiting.popleft()
