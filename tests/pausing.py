"""A database that pauses inside a transaction, so that a test can run other code meanwhile, without sleeping."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar

from tests.patience import patiently

from kiai.storage.port import Command, Database, Query, Read, Transaction, Value
from kiai.storage.postgres import PostgresDatabase

R = TypeVar("R")
T = TypeVar("T")
STUCK_S = 30.0
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


class Pause:
    """Pauses the first transaction that has run `statement` until `go`. On SQLite it blocks the writer thread."""

    def __init__(self, database: Database, statement: Query[Any] | Command) -> None:
        self.database = database
        self._statement = statement
        self._reached = threading.Event()
        self._go = threading.Event()

    async def reached(self, task: "asyncio.Task[Any]") -> None:
        """Wait until a transaction of the task has paused. Fail if the task ends first."""
        stopped = asyncio.create_task(asyncio.to_thread(self._reached.wait, patiently(STUCK_S)))
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        was_stopped = self._reached.is_set()
        self._reached.set()
        await stopped
        assert was_stopped, "the statement was never run"

    def go(self) -> None:
        """Continue the transaction."""
        self._go.set()

    async def after(self, statement: Query[Any] | Command) -> None:
        """Called by the transaction after each statement."""
        if statement is not self._statement or self._reached.is_set():
            return
        self._reached.set()
        if isinstance(self.database, PostgresDatabase):
            assert await asyncio.to_thread(self._go.wait, patiently(STUCK_S))
        else:
            assert self._go.wait(patiently(STUCK_S))

    async def until_stuck(self, task: "asyncio.Task[Any]") -> None:
        """Wait until the task has ended, or waits for the paused transaction."""
        if not isinstance(self.database, PostgresDatabase):
            await asyncio.sleep(0)  # a second transaction waits in the queue of the writer thread
            return
        async with asyncio.timeout(patiently(STUCK_S)):
            while not task.done():
                async with self.database._session() as session:
                    if await session._connection.fetchval(WAITING):
                        return


class _PausingTransaction:
    def __init__(self, tx: Transaction, pause: Pause) -> None:
        self._tx = tx
        self.reads_ahead = tx.reads_ahead
        self._pause = pause

    async def one(self, query: Query[R], **params: Value) -> R | None:
        found = await self._tx.one(query, **params)
        await self._pause.after(query)
        return found

    async def all(self, query: Query[R], **params: Value) -> list[R]:
        found = await self._tx.all(query, **params)
        await self._pause.after(query)
        return found

    async def several(self, *reads: Read) -> list[list[Any]]:
        found = await self._tx.several(*reads)
        for query, _ in reads:
            await self._pause.after(query)
        return found

    async def lock(self, query: Query[Any], **params: int) -> None:
        await self._tx.lock(query, **params)
        await self._pause.after(query)

    async def later(self, command: Command, **params: Value) -> None:
        await self._tx.later(command, **params)
        await self._pause.after(command)

    async def run(self, command: Command, **params: Value) -> int:
        count = await self._tx.run(command, **params)
        await self._pause.after(command)
        return count

    async def run_many(self, command: Command, rows: Iterable[Mapping[str, Value]]) -> None:
        await self._tx.run_many(command, rows)
        await self._pause.after(command)


class PausingDatabase:
    """The database of a test, whose transactions stop at a `Pause`."""

    def __init__(self, pause: Pause) -> None:
        self._pause = pause

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pause.database, name)

    async def transaction(self, body: Callable[[Transaction], Awaitable[T]], *, long: bool = False) -> T:
        """Run the transaction with the pause in it."""
        return await self._pause.database.transaction(lambda tx: body(_PausingTransaction(tx, self._pause)), long=long)
