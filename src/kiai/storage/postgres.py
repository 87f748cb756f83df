"""PostgreSQL as the database: asyncpg on a pool, statements prepared once a connection.

The pool's reset query is off: connections are only used through this module, which leaves no state on them. A deadlock
or serialization failure is retried a bounded number of times, because a body changes nothing but rows.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from time import perf_counter
from typing import Any, Final, TypeVar

import asyncpg
from sqlalchemy.dialects.postgresql import asyncpg as dialects

from kiai.callers import CALLER
from kiai.errors import TooSlow, Unavailable
from kiai.fair_queue import FairQueue
from kiai.measuring import Pool, Timings
from kiai.storage.compiling import Compiler, Sql
from kiai.storage.port import Command, Lane, Query, Taken, Transaction, Value

R = TypeVar("R")
T = TypeVar("T")

POOL_MAX: Final = 16
SLOW_POOL_MAX: Final = 4
SLOW_WAITING: Final = 64
SLOW_OF_CALLER: Final = 8
SLOW_MS: Final = 2_000
"""How long one statement of the slow lane may take, in milliseconds."""
SLOW_ANSWER_S: Final = 2.5
SLOW_WAIT_S: Final = 5.0
ACQUIRE_S: Final = 2.0
STATEMENT_MS: Final = 5_000
ANSWER_S: Final = 5.5  # a server that stands still does not end statements by itself
LONG_ANSWER_S: Final = 3_600.0
TRIES_MAX: Final = 3
SERVER: Final = "kiai serve"


_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # a query cancelled, a server shut down
    asyncpg.InsufficientResourcesError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
_RETRIED = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)


@contextlib.contextmanager
def _translated(connection: Any = None) -> Any:
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        raise Taken(str(error.constraint_name)) from error  # its detail holds the value: an e-mail, say
    except TimeoutError as error:
        if connection is not None:
            connection.terminate()  # to cancel would be to wait for the same server
        raise Unavailable("database", "no answer in time") from error
    except asyncpg.QueryCanceledError as error:
        raise TooSlow("database", str(error)) from error
    except _LOST as error:
        raise Unavailable("database", str(error)) from error


async def _no_reset(_: object) -> None:
    return None


def _values(sql: Sql, params: Mapping[str, Value]) -> list[Value]:
    """The parameters in their order. PostgreSQL holds no NUL in a text: what looks for one finds nothing."""
    values = [params[name] for name in sql.positions]
    for at, value in enumerate(values):
        if type(value) is str and "\0" in value:
            values[at] = value.replace("\0", "\ufffd")
    return values


class _Session:
    """One connection and what can be asked of it."""

    def __init__(self, connection: Any, compiler: Compiler, answer_s: float = ANSWER_S) -> None:
        self._connection = connection
        self._sql = compiler
        self._answer_s = answer_s

    async def one(self, query: Query[R], **params: Value) -> R | None:
        sql = self._sql[query]
        with _translated(self._connection):
            found = await self._connection.fetchrow(sql.text, *_values(sql, params), timeout=self._answer_s)
        return None if found is None else query.row(*found)

    async def all(self, query: Query[R], **params: Value) -> list[R]:
        sql = self._sql[query]
        with _translated(self._connection):
            rows = await self._connection.fetch(sql.text, *_values(sql, params), timeout=self._answer_s)
        return list(itertools.starmap(query.row, rows))

    async def run(self, command: Command, **params: Value) -> int:
        sql = self._sql[command]
        with _translated(self._connection):
            tag: str = await self._connection.execute(sql.text, *_values(sql, params), timeout=self._answer_s)
        return int(tag.rpartition(" ")[2] or 0)

    async def many(self, command: Command, rows: Iterable[Mapping[str, Value]]) -> None:
        sql = self._sql[command]
        values = [_values(sql, row) for row in rows]
        with _translated(self._connection):
            await self._connection.executemany(sql.text, values, timeout=self._answer_s)


async def _open(url: str, name: str, most: int, *, least: int, statement_ms: int, answer_s: float) -> Any:
    return await asyncpg.create_pool(
        url,
        min_size=least,
        max_size=most,
        reset=_no_reset,
        timeout=10,
        command_timeout=answer_s,
        server_settings={"application_name": name, "statement_timeout": str(statement_ms), "jit": "off"},
    )


class PostgresDatabase:
    """The `Database` port over a PostgreSQL server. Slow reads have connections of their own, `slow_pool`."""

    def __init__(self, pool: Any, slow_pool: Any) -> None:
        self._pool = pool
        self._slow_pool = slow_pool
        self._slow = FairQueue(
            "database",
            running_max=SLOW_POOL_MAX,
            waiting_max=SLOW_WAITING,
            per_caller_max=SLOW_OF_CALLER,
            wait_s=SLOW_WAIT_S,
        )
        self.timings = Timings()
        self._sql = Compiler(dialects.dialect())  # type: ignore[no-untyped-call]

    @classmethod
    async def connect(cls, url: str, *, serving: bool = False) -> "PostgresDatabase":
        """Opens the pool; `url` is `postgresql://user:password@host:port/name`. Raises Unavailable when unreachable.

        The connections of a server (`serving`) carry a name by which `is_served` finds them.
        """
        name = SERVER if serving else "kiai"
        try:
            pool = await _open(url, name, POOL_MAX, least=1, statement_ms=STATEMENT_MS, answer_s=ANSWER_S)
            slow_pool = await _open(url, name, SLOW_POOL_MAX, least=0, statement_ms=SLOW_MS, answer_s=SLOW_ANSWER_S)
        except (OSError, TimeoutError, asyncpg.PostgresError, ValueError) as error:
            raise Unavailable("database", f"cannot connect: {error}") from error
        return cls(pool, slow_pool)

    @contextlib.asynccontextmanager
    async def _session(self, answer_s: float = ANSWER_S, *, slow: bool = False) -> AsyncIterator[_Session]:
        pool = self._slow_pool if slow else self._pool
        with _translated():
            connection = await pool.acquire(timeout=ACQUIRE_S)
        try:
            yield _Session(connection, self._sql, answer_s)
        finally:
            await pool.release(connection)

    async def _read(self, lane: Lane, ask: Callable[[_Session], Awaitable[T]]) -> T:
        began = perf_counter()
        try:
            if lane is Lane.JOB:
                return await self._transact(ask, long=True)
            if lane is Lane.SLOW:
                async with self._slow.place(CALLER.get()), self._session(SLOW_ANSWER_S, slow=True) as session:
                    return await ask(session)
            async with self._session() as session:
                return await ask(session)
        finally:
            self.timings.since(began, "read")

    def pool(self) -> Pool:
        in_use = sum(pool.get_size() - pool.get_idle_size() for pool in (self._pool, self._slow_pool))
        return Pool(in_use, POOL_MAX + SLOW_POOL_MAX)

    async def one(self, query: Query[R], **params: Value) -> R | None:
        return await self._read(query.lane, lambda session: session.one(query, **params))

    async def all(self, query: Query[R], **params: Value) -> list[R]:
        return await self._read(query.lane, lambda session: session.all(query, **params))

    async def transaction(self, body: Callable[[Transaction], Awaitable[T]], *, long: bool = False) -> T:
        began = perf_counter()
        try:
            # A transaction that has begun is never abandoned half-way, even when its caller is gone.
            return await asyncio.shield(asyncio.ensure_future(self._transact(body, long)))
        finally:
            self.timings.since(began, "write")

    async def _transact(self, body: Callable[[_Session], Awaitable[T]], long: bool) -> T:
        for tries_left in range(TRIES_MAX - 1, -1, -1):
            try:
                async with self._session(LONG_ANSWER_S if long else ANSWER_S) as session:
                    with _translated(session._connection):
                        transaction = session._connection.transaction()
                        await transaction.start()
                        if long:
                            await session._connection.execute("SET LOCAL statement_timeout = 0")
                    try:
                        result = await body(session)
                    except BaseException:
                        with contextlib.suppress(Unavailable), _translated(session._connection):
                            await transaction.rollback()
                        raise
                    with _translated(session._connection):
                        await transaction.commit()
                    return result
            except _RETRIED as error:
                if not tries_left:
                    raise Unavailable("database", str(error)) from error
        raise AssertionError("unreachable")

    async def version(self) -> str | None:
        async with self._session() as session:
            has = await session._connection.fetchval("SELECT to_regclass('alembic_version') IS NOT NULL")
            found = await session._connection.fetchval("SELECT version_num FROM alembic_version") if has else None
        return None if found is None else str(found)

    async def is_served(self) -> bool:
        """Whether a server, on this host or another, is connected to the same database."""
        async with self._session() as session:
            found = await session._connection.fetchval(
                "SELECT EXISTS (SELECT 1 FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = $1 AND pid <> pg_backend_pid())",
                SERVER,
            )
        return bool(found)

    async def faults(self) -> list[str]:
        return []  # PostgreSQL holds its references and page checksums by itself

    async def size_bytes(self) -> int:
        async with self._session() as session:
            return int(await session._connection.fetchval("SELECT pg_database_size(current_database())"))

    async def checkpoint(self) -> None:
        """PostgreSQL has max_wal_size."""

    async def changed(self) -> bool:
        return True

    async def close(self) -> None:
        await self._slow_pool.close()
        await self._pool.close()
