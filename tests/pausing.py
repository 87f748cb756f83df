"""A database that stops inside a transaction, so that a test decides what happens meanwhile. Nothing sleeps."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar

from tests.patience import patiently

from kiai.storage.port import Command, Database, Query, Transaction, Value
from kiai.storage.postgres import PostgresDatabase

R = TypeVar("R")
T = TypeVar("T")
STUCK_S = 30.0
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


class Pause:
    """Stops the first transaction that has run `statement`, until `go`; on SQLite in the writer thread."""

    def __init__(self, database: Database, statement: Query[Any] | Command) -> None:
        self.database = database
        self._statement = statement
        self._reached = threading.Event()
        self._go = threading.Event()

    async def reached(self, task: "asyncio.Task[Any]") -> None:
        """Returns when a transaction of the task has stopped. Fails when the task ends without."""
        stopped = asyncio.create_task(asyncio.to_thread(self._reached.wait, patiently(STUCK_S)))
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        was_stopped = self._reached.is_set()
        self._reached.set()
        await stopped
        assert was_stopped, "the statement was never run"

    def go(self) -> None:
        """Lets it go on."""
        self._go.set()

    async def after(self, statement: Query[Any] | Command) -> None:
        """Called by the transaction behind each statement."""
        if statement is not self._statement or self._reached.is_set():
            return
        self._reached.set()
        if isinstance(self.database, PostgresDatabase):
            assert await asyncio.to_thread(self._go.wait, patiently(STUCK_S))
        else:
            assert self._go.wait(patiently(STUCK_S))

    async def until_stuck(self, task: "asyncio.Task[Any]") -> None:
        """Returns when the task is done, or waits for the transaction that has stopped."""
        if not isinstance(self.database, PostgresDatabase):
            await asyncio.sleep(0)  # a second transaction stands behind the first one in the queue of the writer
            return
        async with asyncio.timeout(patiently(STUCK_S)):
            while not task.done():
                async with self.database._session() as session:
                    if await session._connection.fetchval(WAITING):
                        return


class _PausingTransaction:
    def __init__(self, tx: Transaction, pause: Pause) -> None:
        self._tx = tx
        self._pause = pause

    async def one(self, query: Query[R], **params: Value) -> R | None:
        found = await self._tx.one(query, **params)
        await self._pause.after(query)
        return found

    async def all(self, query: Query[R], **params: Value) -> list[R]:
        found = await self._tx.all(query, **params)
        await self._pause.after(query)
        return found

    async def run(self, command: Command, **params: Value) -> int:
        count = await self._tx.run(command, **params)
        await self._pause.after(command)
        return count

    async def many(self, command: Command, rows: Iterable[Mapping[str, Value]]) -> None:
        await self._tx.many(command, rows)
        await self._pause.after(command)


class PausingDatabase:
    """The database of a test, whose transactions stop at a `Pause`."""

    def __init__(self, pause: Pause) -> None:
        self._pause = pause

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pause.database, name)

    async def transaction(self, body: Callable[[Transaction], Awaitable[T]], *, long: bool = False) -> T:
        """As the database does it, with a stop in it."""
        return await self._pause.database.transaction(lambda tx: body(_PausingTransaction(tx, self._pause)), long=long)
