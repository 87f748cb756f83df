"""Inserts deliveries in the transaction of the act that they are about."""

from collections.abc import Mapping, Sequence

import msgspec

from kiai.storage.port import Database, Transaction, Value
from kiai.webhooks import statements
from kiai.webhooks.model import bit_of


async def enqueue(tx: Transaction, event: str, data: Mapping[str, object], at_ms: int) -> None:
    """Insert a delivery for each webhook that wants the event, in the caller's transaction.

    Players in `data` are ids; `directory.PLAYERS` lists their keys. Their names are added when the delivery is sent.
    """
    # PERF: One statement on a table with at most 32 rows, so it is not used on the path of every play. A set of wanted
    # events in memory would save it, but each process would learn of a new webhook later.
    await tx.run(
        statements.ENQUEUE, event=event, at_ms=at_ms, data=msgspec.json.encode(data).decode(), bit=bit_of(event)
    )


async def enqueue_each(tx: Transaction, event: str, data: Sequence[Mapping[str, object]], at_ms: int) -> None:
    """Insert the deliveries of several events of one kind."""
    bit = bit_of(event)
    rows: list[dict[str, Value]] = [
        {"event": event, "at_ms": at_ms, "data": msgspec.json.encode(one).decode(), "bit": bit} for one in data
    ]
    await tx.run_many(statements.ENQUEUE, rows)


async def is_wanted(database: Database, event: str) -> bool:
    """Return whether a webhook wants the event, for callers that would have to read its data first."""
    return await database.one(statements.WANTED, bit=bit_of(event)) is not None


async def parked(database: Database) -> list[tuple[int, int, str]]:
    """Return the parked webhooks as (id, failed tries, last error), for `kiai doctor`."""
    return await database.all(statements.PARKED)
