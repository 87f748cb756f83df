"""The outbox: side effects of commits that must survive a crash of the process.

The transaction that changes the rows also inserts an outbox row (`enqueue`). The server delivers each row at least
once, so receivers must be idempotent. The table connects processes: a server delivers the rows of a command line tool.

Kinds are delivered independently. A row whose receiver fails is retried after 1, 2, 4 ... seconds, and parked after
`TRIES_MAX` failures; parked rows wait for `retry_parked`. A receiver that does not finish in time fails for all rows of
the call. When a receiver raises Unavailable, its kind waits, and the failure does not count as a try.
"""

import asyncio
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from sqlalchemy import bindparam, column, delete, func, insert, select, update

from kiai.clock import Clock
from kiai.errors import Unavailable
from kiai.failpoints import Reach, nothing_fails
from kiai.logs import get_logger
from kiai.storage.port import Command, Database, Query, Transaction
from kiai.storage.tables import outbox

DELIVERED_AT_ONCE: Final = 500
COUNTED_MAX: Final = 10_000
TRIES_MAX: Final = 8  # also in the conditions of the indexes `ix_outbox_kind` and `ix_outbox_parked`
WAIT_MS: Final = 1_000  # after the first failure; doubles after each further one
KINDS_MAX: Final = 100
RECEIVER_S: Final = 120.0  # loading all ranks into the shared state takes seconds

Receiver = Callable[[Sequence[str]], Awaitable[object]]
"""Gets the payloads of one kind in order, without duplicates."""

_ENQUEUE = Command(insert(outbox).values({name: bindparam(name) for name in ("at_ms", "kind", "payload")}))
# A recursive query that jumps along `ix_outbox_kind` from one kind to the next. Its cost grows with the number of
# kinds; GROUP BY would read all rows that wait.
_first = select(func.min(outbox.c.kind)).where(outbox.c.tries < TRIES_MAX)
_kinds = select(_first.scalar_subquery().label("kind")).cte("kinds", recursive=True)
_kinds = _kinds.union_all(
    select(_first.where(outbox.c.kind > _kinds.c.kind).correlate(_kinds).scalar_subquery()).where(
        _kinds.c.kind.is_not(None)
    )
)
_KINDS = Query(
    select(
        _kinds.c.kind,
        select(func.min(outbox.c.id))
        .where(outbox.c.kind == _kinds.c.kind, outbox.c.tries < TRIES_MAX)
        .correlate(_kinds)
        .scalar_subquery(),
    )
    .where(_kinds.c.kind.is_not(None))
    .limit(KINDS_MAX),
    lambda kind, first: (first, kind),
)
_PENDING = Query(
    select(outbox.c.id, outbox.c.payload, outbox.c.tries)
    .where(
        outbox.c.kind == bindparam("kind"),
        outbox.c.tries < TRIES_MAX,
        outbox.c.retry_at_ms <= bindparam("now_ms"),
        outbox.c.id > bindparam("after"),
    )
    .order_by(outbox.c.id)
    .limit(DELIVERED_AT_ONCE),
    lambda *row: row,
)
_DONE = Command(delete(outbox).where(outbox.c.id == bindparam("row_id")))
_FAILED = Command(
    update(outbox)
    .where(outbox.c.id == bindparam("row_id"))
    .values(tries=outbox.c.tries + 1, retry_at_ms=bindparam("again_ms"))
)
_RETRY_PARKED = Command(update(outbox).where(outbox.c.tries >= TRIES_MAX).values(tries=0, retry_at_ms=0))
_BACKLOG = Query(
    select(func.count(), func.min(column("at_ms"))).select_from(
        select(outbox.c.at_ms).where(outbox.c.tries < TRIES_MAX).order_by(outbox.c.id).limit(COUNTED_MAX).subquery()
    ),
    lambda rows, oldest: (rows, oldest),
)
_parked_kinds = select(outbox.c.kind).where(outbox.c.tries >= TRIES_MAX).limit(COUNTED_MAX).subquery()
_PARKED = Query(
    select(_parked_kinds.c.kind, func.count()).group_by(_parked_kinds.c.kind), lambda kind, rows: (kind, rows)
)


async def enqueue(tx: Transaction, kind: str, payload: int | str, now_ms: int) -> None:
    """Insert a row in the caller's transaction. `payload` is usually the id of the changed row."""
    await tx.run(_ENQUEUE, at_ms=now_ms, kind=kind, payload=str(payload))


async def enqueue_each(tx: Transaction, kind: str, payloads: Iterable[int | str], now_ms: int) -> None:
    """Insert a row for each payload, in order."""
    await tx.run_many(_ENQUEUE, [{"at_ms": now_ms, "kind": kind, "payload": str(payload)} for payload in payloads])


async def enqueue_later(tx: Transaction, kind: str, payload: int | str, now_ms: int) -> None:
    """Insert a row together with other changes of the caller's transaction (`Transaction.later`)."""
    await tx.later(_ENQUEUE, at_ms=now_ms, kind=kind, payload=str(payload))


async def retry_parked(tx: Transaction) -> int:
    """Reset the parked rows, so that they are tried again. Return their number."""
    return await tx.run(_RETRY_PARKED)


class Backlog(NamedTuple):
    """The number of rows that wait (at most COUNTED_MAX are counted) and the time of the oldest one.

    `parked_kinds` has the number of parked rows of each kind.
    """

    rows: int
    oldest_ms: int | None
    parked_kinds: Mapping[str, int]

    @property
    def parked(self) -> int:
        """The number of parked rows of all kinds."""
        return sum(self.parked_kinds.values())


class _Hung(Exception):
    """A receiver has not finished in time."""


class Outbox:
    """Delivers outbox rows to the receivers of their kinds. Rows of a kind without a receiver are deleted.

    A receiver must finish within `receiver_s` seconds.
    """

    def __init__(
        self, database: Database, clock: Clock, reach: Reach = nothing_fails, *, receiver_s: float = RECEIVER_S
    ) -> None:
        self._database = database
        self._clock = clock
        self._reach = reach
        self._receiver_s = receiver_s
        self._receivers: dict[str, list[Receiver]] = {}
        self._has_undelivered = False  # rows that wait for a retry: `changed()` does not report them

    def subscribe(self, kind: str, receiver: Receiver) -> None:
        """Add a receiver for rows of this kind."""
        self._receivers.setdefault(kind, []).append(receiver)

    async def deliver(self) -> int:
        """Deliver all rows that are due. Return their number. Raises Unavailable when a receiver does."""
        # PERF: Called four times a second. Without a commit since the last call there is nothing to read.
        if not await self._database.changed() and not self._has_undelivered:
            return 0
        # Set before the work: when a delivery raises, the next call must look again.
        self._has_undelivered = True
        delivered = 0
        unavailable: Unavailable | None = None
        kinds = sorted(await self._database.all(_KINDS))
        for _, kind in kinds:
            try:
                delivered += await self._deliver(kind)
            except Unavailable as error:
                unavailable = error  # deliver the other kinds first
        if unavailable is not None:
            raise unavailable
        # PERF: on PostgreSQL every call gets here, nearly always without a row.
        self._has_undelivered = bool(kinds) and bool(await self._database.all(_KINDS))
        return delivered

    async def _deliver(self, kind: str) -> int:
        delivered = after = 0
        while rows := await self._database.all(_PENDING, kind=kind, now_ms=self._clock.now_ms(), after=after):
            after = rows[-1][0]
            failed = await self._receive(kind, [payload for _, payload, _ in rows])
            # A process that dies here delivers these rows again at its next start.
            self._reach("submit.outbox_taken")
            await self._record(kind, rows, failed)
            delivered += len([1 for _, payload, _ in rows if payload not in failed])
            if len(rows) < DELIVERED_AT_ONCE:
                break
        return delivered

    async def _receive(self, kind: str, payloads: Sequence[str]) -> set[str]:
        """Pass the payloads to all receivers. Return those that a receiver failed on. Raises Unavailable."""
        failed: set[str] = set()
        unique = list(dict.fromkeys(payloads))
        for receiver in self._receivers.get(kind, ()):
            try:
                await self._call(receiver, unique)
            except Unavailable:
                raise
            except _Hung as error:
                get_logger("outbox").error("delivery timed out", kind=kind, rows=len(unique), exc_info=error)
                failed.update(unique)
            except Exception:  # find the payload that fails, so that the others are not retried with it
                failed |= await self._receive_each(kind, receiver, unique)
        return failed

    async def _call(self, receiver: Receiver, payloads: Sequence[str]) -> None:
        """Call the receiver. Raises _Hung after `receiver_s` seconds, and all errors of the receiver."""
        deadline = asyncio.timeout(self._receiver_s)
        try:
            async with deadline:
                await receiver(payloads)
        except TimeoutError as error:
            if deadline.expired():
                raise _Hung(f"{len(payloads)} rows were not delivered within {self._receiver_s:g} s") from error
            raise  # the receiver's own timeout

    async def _receive_each(self, kind: str, receiver: Receiver, payloads: Sequence[str]) -> set[str]:
        failed: set[str] = set()
        first: Exception | None = None
        for at, payload in enumerate(payloads):
            try:
                await self._call(receiver, [payload])
            except Unavailable:
                raise
            except _Hung as error:  # it would hang on the others as well
                first = error
                failed.update(payloads[at:])
                break
            except Exception as error:
                first = first or error
                failed.add(payload)
        if first is not None:  # one log line for all rows: a broken receiver fails on each of them
            get_logger("outbox").error("delivery failed", kind=kind, rows=len(failed), exc_info=first)
        return failed

    async def _record(self, kind: str, rows: Sequence[tuple[int, str, int]], failed: Container[str]) -> None:
        """Delete the delivered rows and schedule the retry of the failed ones."""
        # By id, not up to the highest id: a row with a lower id may have been committed since these were read.
        now = self._clock.now_ms()
        done = [{"row_id": row_id} for row_id, payload, _ in rows if payload not in failed]
        again = [
            {"row_id": row_id, "again_ms": now + WAIT_MS * 2**tries}
            for row_id, payload, tries in rows
            if payload in failed
        ]
        parked = [row_id for row_id, payload, tries in rows if payload in failed and tries + 1 >= TRIES_MAX]
        if parked:
            get_logger("outbox").error("delivery given up", kind=kind, rows=len(parked), first=parked[0])

        async def body(tx: Transaction) -> None:
            if done:
                await tx.run_many(_DONE, done)
            if again:
                await tx.run_many(_FAILED, again)

        await self._database.transaction(body)

    async def backlog(self) -> Backlog:
        """Count the rows that wait and those that are parked. Reads at most COUNTED_MAX rows of each."""
        found = await self._database.one(_BACKLOG)
        assert found is not None
        rows, oldest_ms = found
        return Backlog(rows, oldest_ms, dict(await self._database.all(_PARKED)))
