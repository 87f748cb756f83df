"""The outbox: what must not be lost between a commit and its consequence.

Whoever commits a change leaves a row in that same transaction (`tell`); the server delivers rows at least once to
receivers that do not mind twice. It works across processes: a command beside a running server is followed by it.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from sqlalchemy import bindparam, column, delete, func, insert, select

from kiai.failpoints import Reach, nothing_fails
from kiai.storage.port import Command, Database, Query, Transaction
from kiai.storage.tables import outbox

DELIVERED_AT_ONCE: Final = 500

COUNTED_MAX: Final = 10_000

Receiver = Callable[[Sequence[str]], Awaitable[object]]
"""Is given the payloads of one kind, each once, in their order."""

_TELL = Command(insert(outbox).values({name: bindparam(name) for name in ("at_ms", "kind", "payload")}))
_TOLD = Query(
    select(outbox.c.id, outbox.c.kind, outbox.c.payload).order_by(outbox.c.id).limit(DELIVERED_AT_ONCE),
    lambda *row: row,
)
_DONE = Command(delete(outbox).where(outbox.c.id == bindparam("row_id")))


_BACKLOG = Query(
    select(func.count(), func.min(column("at_ms"))).select_from(
        select(outbox.c.at_ms).order_by(outbox.c.id).limit(COUNTED_MAX).subquery()
    ),
    lambda rows, oldest: Backlog(rows, oldest),
)


async def tell(tx: Transaction, kind: str, payload: int | str, now_ms: int) -> None:
    """Leaves a consequence: `payload` is mostly the id of what it is about."""
    await tx.run(_TELL, at_ms=now_ms, kind=kind, payload=str(payload))


class Backlog(NamedTuple):
    """What waits to be delivered: how many rows, counted up to COUNTED_MAX, and since when the first one of them."""

    rows: int
    oldest_ms: int | None


class Outbox:
    """Delivers. A kind without receiver is nobody's business here."""

    def __init__(self, database: Database, reach: Reach = nothing_fails) -> None:
        self._database = database
        self._reach = reach
        self._receivers: dict[str, list[Receiver]] = {}

    def to(self, kind: str, receiver: Receiver) -> None:
        """From now on rows of this kind go to `receiver` too."""
        self._receivers.setdefault(kind, []).append(receiver)

    async def deliver(self) -> int:
        """Delivers every row there is; how many. Rows whose receiver fails stay for the next time."""
        if not await self._database.changed():
            return 0
        delivered = 0
        while rows := await self._database.all(_TOLD):
            kinds: dict[str, dict[str, None]] = {}
            for _, kind, payload in rows:
                kinds.setdefault(kind, {})[payload] = None
            for kind, payloads in kinds.items():
                for receiver in self._receivers.get(kind, ()):
                    await receiver(list(payloads))
            self._reach("submit.outbox_taken")
            await self._done([row[0] for row in rows])
            delivered += len(rows)
        return delivered

    async def backlog(self) -> Backlog:
        """What waits. Reads at most COUNTED_MAX rows, along the primary key."""
        found = await self._database.one(_BACKLOG)
        assert found is not None
        return found

    async def _done(self, row_ids: Sequence[int]) -> None:
        # These rows and no others: one with a lower number may have been committed since they were read.
        async def body(tx: Transaction) -> None:
            await tx.many(_DONE, [{"row_id": row_id} for row_id in row_ids])

        await self._database.transaction(body)
