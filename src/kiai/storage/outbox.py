"""The outbox: what must not be lost between a commit and its consequence.

Whoever commits a change leaves a row in that same transaction (`tell`); the server delivers rows at least once to
receivers that do not mind twice. It works across processes: a command beside a running server is followed by it.

Kinds do not wait for one another. A row whose receiver fails is tried again after 1, 2, 4 ... seconds, and parked after
`TRIES_MAX` failures: nobody tries it any more until `revive`. A store that is away is no fault of a row: the kind waits
and no try is counted.
"""

from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
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
TRIES_MAX: Final = 8
WAIT_MS: Final = 1_000  # after the first failure, twice as long after each further one
KINDS_MAX: Final = 100

Receiver = Callable[[Sequence[str]], Awaitable[object]]
"""Is given the payloads of one kind, each once, in their order."""

_TELL = Command(insert(outbox).values({name: bindparam(name) for name in ("at_ms", "kind", "payload")}))
_first = select(func.min(outbox.c.kind)).where(outbox.c.tries < TRIES_MAX)
_kinds = select(_first.scalar_subquery().label("kind")).cte("kinds", recursive=True)
_kinds = _kinds.union_all(
    select(_first.where(outbox.c.kind > _kinds.c.kind).correlate(_kinds).scalar_subquery()).where(
        _kinds.c.kind.is_not(None)
    )
)
# The kinds that wait, each with its first row: a jump along the index for each kind, however many rows wait.
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
_TOLD = Query(
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
_REVIVE = Command(update(outbox).where(outbox.c.tries >= TRIES_MAX).values(tries=0, retry_at_ms=0))
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


async def tell(tx: Transaction, kind: str, payload: int | str, now_ms: int) -> None:
    """Leaves a consequence: `payload` is mostly the id of what it is about."""
    await tx.run(_TELL, at_ms=now_ms, kind=kind, payload=str(payload))


async def revive(tx: Transaction) -> int:
    """Has the parked rows tried again; how many there were."""
    return await tx.run(_REVIVE)


class Backlog(NamedTuple):
    """What waits to be delivered: how many rows, counted up to COUNTED_MAX, and since when the first one of them.

    `parked_kinds`: how many rows of each kind were given up.
    """

    rows: int
    oldest_ms: int | None
    parked_kinds: Mapping[str, int]

    @property
    def parked(self) -> int:
        """How many rows were given up."""
        return sum(self.parked_kinds.values())


class Outbox:
    """Delivers. A kind without receiver is nobody's business here."""

    def __init__(self, database: Database, clock: Clock, reach: Reach = nothing_fails) -> None:
        self._database = database
        self._clock = clock
        self._reach = reach
        self._receivers: dict[str, list[Receiver]] = {}
        self._left = False  # rows that were not delivered the last time, though nobody has committed since

    def to(self, kind: str, receiver: Receiver) -> None:
        """From now on rows of this kind go to `receiver` too."""
        self._receivers.setdefault(kind, []).append(receiver)

    async def deliver(self) -> int:
        """Delivers every row whose time has come; how many. Raises Unavailable when a receiver's store is away."""
        if not await self._database.changed() and not self._left:
            return 0
        self._left = True
        delivered = 0
        away: Unavailable | None = None
        for _, kind in sorted(await self._database.all(_KINDS)):
            try:
                delivered += await self._deliver(kind)
            except Unavailable as error:
                away = error
        if away is not None:
            raise away
        self._left = bool(await self._database.all(_KINDS))
        return delivered

    async def _deliver(self, kind: str) -> int:
        delivered = after = 0
        while rows := await self._database.all(_TOLD, kind=kind, now_ms=self._clock.now_ms(), after=after):
            after = rows[-1][0]
            failed = await self._receive(kind, [payload for _, payload, _ in rows])
            self._reach("submit.outbox_taken")
            await self._note(kind, rows, failed)
            delivered += len([1 for _, payload, _ in rows if payload not in failed])
        return delivered

    async def _receive(self, kind: str, payloads: Sequence[str]) -> set[str]:
        """Gives these to every receiver; those that one of them cannot take. Raises Unavailable."""
        failed: set[str] = set()
        once = list(dict.fromkeys(payloads))
        for receiver in self._receivers.get(kind, ()):
            try:
                await receiver(once)
            except Unavailable:
                raise
            except Exception:  # one of them: the others are delivered one by one
                failed |= await self._receive_each(kind, receiver, once)
        return failed

    async def _receive_each(self, kind: str, receiver: Receiver, payloads: Sequence[str]) -> set[str]:
        failed: set[str] = set()
        first: Exception | None = None
        for payload in payloads:
            try:
                await receiver([payload])
            except Unavailable:
                raise
            except Exception as error:
                first = first or error
                failed.add(payload)
        if first is not None:  # one line, however many: a receiver that is broken fails at every row
            get_logger("outbox").error("delivery failed", kind=kind, rows=len(failed), exc_info=first)
        return failed

    async def _note(self, kind: str, rows: Sequence[tuple[int, str, int]], failed: Container[str]) -> None:
        # These rows and no others: one with a lower number may have been committed since they were read.
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
            await tx.many(_DONE, done)
            await tx.many(_FAILED, again)

        await self._database.transaction(body)

    async def backlog(self) -> Backlog:
        """What waits, and what was given up. Reads at most COUNTED_MAX rows of each."""
        found = await self._database.one(_BACKLOG)
        assert found is not None
        rows, oldest_ms = found
        return Backlog(rows, oldest_ms, dict(await self._database.all(_PARKED)))
