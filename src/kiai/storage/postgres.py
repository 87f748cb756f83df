"""The PostgreSQL adapter: a pool of asyncpg connections, each with its prepared statements.

Through a pooler such as PgBouncer in transaction mode, a statement outside of a transaction may run on another
connection to the server than the one before. Prepared statements and settings of a connection do not exist there:
nothing is prepared, and each transaction begins with its settings.

A transaction that fails with a deadlock or serialization failure is run again, at most `TRIES_MAX` times in total. This
is safe because a body changes only rows.
"""

import asyncio
import contextlib
import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from time import perf_counter
from typing import Any, Final, TypeVar

import asyncpg
from sqlalchemy.dialects.postgresql import asyncpg as dialects

from kiai.callers import CALLER
from kiai.errors import TooSlow, Unavailable
from kiai.fair_queue import FairQueue
from kiai.logs import get_logger
from kiai.measuring import PoolUsage, Timings
from kiai.storage.compiling import Compiler, Sql
from kiai.storage.port import Command, Lane, Query, Read, Subject, Transaction, UniqueViolation, Value
from kiai.storage.ready_connections import ReadyConnections
from kiai.storage.replica import END_OF_LOG, Replica
from kiai.storage.slow_statements import SlowLane, SlowStatements, shown_plan

R = TypeVar("R")
T = TypeVar("T")

POOL_MAX: Final = 16  # of each worker process
SLOW_POOL_MAX: Final = 4
REPLICA_POOL_MAX: Final = 8
SLOW_WAITING: Final = 64
SLOW_OF_CALLER: Final = 8
SLOW_MS: Final = 2_000
"""Time limit of one statement of the slow lane, in milliseconds."""
SLOW_REPLY_TIMEOUT_S: Final = 2.5
SLOW_WAIT_S: Final = 5.0
STATEMENT_MS: Final = 5_000
# Each reply timeout is longer than the statement limit that the database enforces itself. It ends the wait for a
# database that hangs or whose host is gone.
TIMEOUT_S: Final = 5.5
LONG_REPLY_TIMEOUT_S: Final = 3_600.0
TRIES_MAX: Final = 3
EXPLAINS: Final = "explain"
"""The caller of plans in the queue of the slow lane, where addresses take turns."""
PROBE_MS: Final = 4_999
"""A time limit that no operator sets, to see whether a pooler passes it on."""
USED_WITHIN_S: Final = 10
IS_SERVED: Final = """SELECT EXISTS (SELECT 1 FROM pg_stat_activity
WHERE datname = current_database() AND application_name = $1 AND pid <> pg_backend_pid()
AND ($2::integer IS NULL OR state_change > now() - make_interval(secs => $2::integer)))"""
"""$2: a pooler keeps the connections of a server that has stopped; a server that runs uses them all the time."""
SERVER: Final = "kiai serve"  # application_name of a server's connections


_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # e.g. the database shuts down
    asyncpg.InsufficientResourcesError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
_RETRIED = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
_POSITION: Final = re.compile(r"'[^']*'|\$([0-9]+)")  # and quoted texts, which may contain anything
PREPARED_MAX: Final = 500  # statements of each connection; preparing one again is a round trip
COMBINED_MAX: Final = 512  # texts of statements that are sent together


class _Translated:
    """Raises the errors of the driver as those of the port. A connection that does not answer in time is ended."""

    # PERF: a class takes 0.4 us, a function with `contextmanager` 1.3 us. Each statement needs one or two.

    __slots__ = ("_connection",)

    def __init__(self, connection: Any = None) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None:
            return
        if isinstance(error, asyncpg.UniqueViolationError):
            # Only the name of the constraint: the detail contains the value, e.g. an e-mail address.
            raise UniqueViolation(str(error.constraint_name)) from error
        if isinstance(error, TimeoutError):
            if self._connection is not None:
                self._connection.terminate()  # close() and cancelling the query would wait for the same server
            raise Unavailable("database", "no answer in time") from error
        if isinstance(error, asyncpg.QueryCanceledError):  # statement_timeout; before _LOST, which has its base class
            raise TooSlow("database", str(error)) from error
        if isinstance(error, _LOST):
            raise Unavailable("database", str(error)) from error


async def _no_reset(_: object) -> None:
    # PERF: Saves one round trip for each use of a connection. This module leaves no state on connections.
    return None


def _values(sql: Sql, params: Mapping[str, Value]) -> list[Value]:
    """Return the parameters in order of position, with NUL characters replaced."""
    # PostgreSQL rejects texts with NUL. A search for the replaced text finds no rows, as on SQLite.
    values = [params[name] for name in sql.positions]
    for at, value in enumerate(values):
        if type(value) is str and "\0" in value:
            values[at] = value.replace("\0", "\ufffd")
    return values


class _Session:
    """Reads over one connection. Each statement must answer within `reply_timeout_s` seconds.

    `waited_s` is the wait for the connection. Slow statements are added to `slow` with it and the `lane`.
    """

    def __init__(
        self,
        connection: Any,
        compiler: Compiler,
        reply_timeout_s: float,
        slow: SlowStatements,
        lane: SlowLane,
        waited_s: float,
    ) -> None:
        self._connection = connection
        self._sql = compiler
        self._reply_timeout_s = reply_timeout_s
        self._slow = slow
        self._lane = lane
        self._waited_s = waited_s

    async def one(self, query: Query[R], **params: Value) -> R | None:
        text, values = await self._ready(query, params)
        found = await self._send(query, self._connection.fetchrow, text, *values)
        return None if found is None else query.row(*found)

    async def all(self, query: Query[R], **params: Value) -> list[R]:
        text, values = await self._ready(query, params)
        return list(itertools.starmap(query.row, await self._send(query, self._connection.fetch, text, *values)))

    async def several(self, *reads: Read) -> list[list[Any]]:
        await self._before_read()
        text, values = together([(self._sql[query], params) for query, params in reads])
        found = await self._send(reads[0][0], self._connection.fetchrow, text, *values)
        return [list(itertools.starmap(query.row, rows)) for (query, _), rows in zip(reads, found, strict=True)]

    async def _ready(self, statement: Query[Any] | Command, params: Mapping[str, Value]) -> tuple[str, list[Value]]:
        """Return the text to send for a statement, and its parameters."""
        sql = self._sql[statement]
        return sql.text, _values(sql, params)

    async def _before_read(self) -> None:
        """Called before `several` is sent."""

    async def _send(
        self,
        statement: Query[Any] | Command,
        send: Callable[..., Awaitable[Any]],
        text: str,
        *values: Any,
        recorded: str | None = None,
    ) -> Any:
        """Send a text. A slow one is recorded by the name of the statement, with the text or with `recorded`.

        The text may contain other statements, which may be the slow ones, so that of the statement would mislead.
        """
        began = perf_counter()
        try:
            with _Translated(self._connection):
                return await send(text, *values, timeout=self._reply_timeout_s)
        finally:
            took_s = perf_counter() - began
            if took_s > self._slow.limit_s:
                self._slow.add(statement, recorded or text, self._lane, took_s, self._waited_s)


class _Transaction(_Session):
    """A `Transaction` over the connection of a session. It begins with its first statement, by the text `begin`."""

    reads_ahead = True

    def __init__(self, session: _Session, begin: str) -> None:
        super().__init__(
            session._connection,
            session._sql,
            session._reply_timeout_s,
            session._slow,
            session._lane,
            session._waited_s,
        )
        self._begin_text = begin
        self._has_begun = False
        self._put_off: list[tuple[Command, Mapping[str, Value]]] = []

    async def run(self, command: Command, **params: Value) -> int:
        text, values = await self._ready(command, params)
        tag: str = await self._send(command, self._connection.execute, text, *values)
        last = tag.rpartition(" ")[2]  # e.g. "UPDATE 3", "INSERT 0 1", "DROP INDEX"
        return int(last) if last.isdecimal() else 0

    async def run_many(self, command: Command, rows: Iterable[Mapping[str, Value]]) -> None:
        await self._before_read()
        sql = self._sql[command]
        await self._send(command, self._connection.executemany, sql.text, [_values(sql, row) for row in rows])

    async def lock(self, query: Query[Any], **params: int) -> None:
        await self._flush()
        sql = self._sql[query]
        # PERF: BEGIN and the lock in one round trip. Such a text cannot have parameters, so it contains the numbers.
        # The statements that follow have snapshots of their own, so they see what was committed during the wait.
        text = _replaced(sql.text, lambda position: str(int(params[sql.positions[position - 1]])))
        begin = "" if self._has_begun else f"{self._begin_text}; "
        self._has_begun = True  # also if the lock fails
        await self._send(query, self._connection.execute, begin + text, recorded=sql.text)

    async def later(self, command: Command, **params: Value) -> None:
        self._put_off.append((command, params))

    async def begin(self) -> None:
        """Begin the transaction, if it has not begun."""
        if not self._has_begun:
            await self._execute(self._begin_text)
            self._has_begun = True

    async def commit(self) -> None:
        """Run what was put off, and commit."""
        await self._flush()
        if self._has_begun:
            await self._execute("COMMIT")

    async def roll_back(self) -> None:
        """Roll everything back. A lost connection has done so already."""
        with contextlib.suppress(Unavailable):
            await self._execute("ROLLBACK")

    async def _execute(self, text: str) -> None:
        with _Translated(self._connection):
            await self._connection.execute(text, timeout=self._reply_timeout_s)

    async def _ready(self, statement: Query[Any] | Command, params: Mapping[str, Value]) -> tuple[str, list[Value]]:
        await self.begin()
        if isinstance(statement, Query) and not statement.changes:
            await self._flush()
        if not self._put_off:
            return await super()._ready(statement, params)
        put_off, self._put_off = self._put_off, []
        return in_one([(self._sql[one], own) for one, own in [*put_off, (statement, params)]])

    async def _before_read(self) -> None:
        await self.begin()
        await self._flush()

    async def _flush(self) -> None:
        """Run the commands that were put off."""
        if self._put_off:
            command, params = self._put_off.pop()
            text, values = await self._ready(command, params)
            await self._send(command, self._connection.execute, text, *values)


def in_one(statements: Sequence[tuple[Sql, Mapping[str, Value]]]) -> tuple[str, list[Value]]:
    """Return one statement that changes what all of these change, with the result of the last one."""
    # PostgreSQL runs each part of WITH that changes rows exactly once and to its end, also if nothing reads from it.
    return _in_one(tuple([sql for sql, _ in statements])), [
        value for sql, params in statements for value in _values(sql, params)
    ]


def together(reads: Sequence[tuple[Sql, Mapping[str, Value]]]) -> tuple[str, list[Value]]:
    """Return one SELECT that has the rows of each of these as an array."""
    return _together(tuple([sql for sql, _ in reads])), [
        value for sql, params in reads for value in _values(sql, params)
    ]


# PERF: the texts are cached: making one takes 60 us.


@lru_cache(COMBINED_MAX)
def _in_one(statements: tuple[Sql, ...]) -> str:
    *before, last = _moved(statements)
    parts = ", ".join(f"part{at} AS ({text})" for at, text in enumerate(before))
    return f"WITH {parts} {last}" if parts else last


@lru_cache(COMBINED_MAX)
def _together(reads: tuple[Sql, ...]) -> str:
    parts = [f"ARRAY(SELECT ROW(part.*) FROM ({text}) AS part)" for text in _moved(reads)]  # noqa: S608
    return f"SELECT {', '.join(parts)}"


def _moved(statements: Iterable[Sql]) -> Iterator[str]:
    """Yield the texts of statements whose parameters follow each other."""
    before = 0
    for sql in statements:
        yield _replaced(sql.text, lambda position, before=before: f"${position + before}")  # type: ignore[misc]
        before += len(sql.positions)


def _replaced(text: str, parameter: Callable[[int], str]) -> str:
    return _POSITION.sub(lambda found: parameter(int(found[1])) if found[1] else found[0], text)


async def _create_pool(
    url: str, name: str, *, pooled: bool, min_size: int, max_size: int, statement_ms: int, reply_timeout_s: float
) -> Any:
    # No JIT: compiling one of our statements takes longer than running it.
    settings = {} if pooled else {"statement_timeout": str(statement_ms), "jit": "off"}
    return await asyncpg.create_pool(
        url,
        min_size=min_size,
        max_size=max_size,
        reset=_no_reset,
        timeout=10,
        command_timeout=reply_timeout_s,
        server_settings={"application_name": name, **settings},
        statement_cache_size=0 if pooled else PREPARED_MAX,
    )


async def _is_pooled(url: str, *, serving: bool) -> bool:
    """Return whether a pooler is between here and the server: it refuses or ignores the settings of a connection."""
    try:
        probe = await asyncpg.connect(
            url, timeout=10, statement_cache_size=0, server_settings={"statement_timeout": f"{PROBE_MS}", "jit": "off"}
        )
    except asyncpg.ProtocolViolationError:
        probe = await asyncpg.connect(url, timeout=10, statement_cache_size=0)
    try:
        limit = await probe.fetchval("SELECT current_setting('statement_timeout')")
    finally:
        await probe.close()
    if limit == "0" and serving:
        get_logger("database").warning(
            "the pooler sets no time limit for statements; run ALTER ROLE ... SET statement_timeout = '5s'"
        )
    return bool(limit != f"{PROBE_MS}ms")


class PostgresDatabase:
    """The `Database` port over a PostgreSQL server. Reads of `Lane.SLOW` use `slow_pool`, all others `pool`.

    Slow statements are added to `slow`; without it none are.
    """

    reads_ahead = True

    def __init__(
        self,
        pool: Any,
        slow_pool: Any,
        slow: SlowStatements | None = None,
        *,
        pooled: bool = False,
        replica_pool: Any = None,
    ) -> None:
        self.replica = None if replica_pool is None else Replica(replica_pool, self._end_of_log)
        self._pooled = pooled
        self.slow = slow or SlowStatements()
        self._pool = ReadyConnections(pool)
        self._slow_pool = ReadyConnections(slow_pool)
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
    async def connect(
        cls, url: str, *, serving: bool = False, slow: SlowStatements | None = None, replica: str | None = None
    ) -> "PostgresDatabase":
        """Open the pools. `url` is `postgresql://user:password@host:port/name`. Raises Unavailable.

        With `serving`, the connections have a name by which `is_served` finds them. `slow` as in the constructor.
        `replica` is the URL of a replica, which need not run yet.
        """
        name = SERVER if serving else "kiai"
        try:
            pooled = await _is_pooled(url, serving=serving)
            pool = await _create_pool(
                url,
                name,
                pooled=pooled,
                min_size=1,
                max_size=POOL_MAX,
                statement_ms=STATEMENT_MS,
                reply_timeout_s=TIMEOUT_S,
            )
            slow_pool = await _create_pool(
                url,
                name,
                pooled=pooled,
                min_size=0,  # many servers never run a slow read
                max_size=SLOW_POOL_MAX,
                statement_ms=SLOW_MS,
                reply_timeout_s=SLOW_REPLY_TIMEOUT_S,
            )
            replica_pool = None
            if replica is not None:
                replica_pool = await _create_pool(
                    replica,
                    name,
                    pooled=False,
                    min_size=0,  # it may be down
                    max_size=REPLICA_POOL_MAX,
                    statement_ms=SLOW_MS,
                    reply_timeout_s=SLOW_REPLY_TIMEOUT_S,
                )
        except (OSError, TimeoutError, asyncpg.PostgresError, ValueError) as error:
            raise Unavailable("database", f"cannot connect: {error}") from error
        return cls(pool, slow_pool, slow, pooled=pooled, replica_pool=replica_pool)

    @contextlib.asynccontextmanager
    async def _session(
        self, reply_timeout_s: float = TIMEOUT_S, lane: SlowLane = "loop", asked_at: float | None = None
    ) -> AsyncIterator[_Session]:
        """Use a connection. `asked_at`, by `perf_counter`, is when the caller began to wait for it; None is now."""
        pool = self._slow_pool if lane == "slow" else self._pool
        asked_at = perf_counter() if asked_at is None else asked_at
        with _Translated():
            connection = await pool.acquire()
        try:
            waited_s = perf_counter() - asked_at
            yield _Session(connection, self._sql, reply_timeout_s, self.slow, lane, waited_s)
        except BaseException:
            # A connection that was lost has nothing to give back. The error would replace the first one.
            with contextlib.suppress(TimeoutError, *_LOST):
                await pool.release(connection)
            raise
        # Not in `finally`: after an error or a cancellation the connection may still have something to answer.
        with contextlib.suppress(TimeoutError, *_LOST):
            await pool.give_back(connection)

    async def _read(self, lane: Lane, read: Callable[[_Session], Awaitable[T]], query: Query[Any] | None = None) -> T:
        began = perf_counter()
        try:
            if lane is Lane.JOB:
                # In a transaction, because SET LOCAL removes the time limit only until the end of one.
                return await self._transact(read, long=True)
            if lane is Lane.SLOW:
                async with self._slow.turn(CALLER.get()):
                    if self.replica is not None and (found := await self._from_replica(self.replica, read, "slow")):
                        return found[0]
                    async with self._session(SLOW_REPLY_TIMEOUT_S, "slow", began) as session:
                        if self._pooled:
                            return await self._in_transaction(session, read, SLOW_MS)
                        return await read(session)
            if (
                lane is Lane.BOUNDED
                and self.replica is not None
                and (found := await self._from_replica(self.replica, read, "bounded"))
            ):
                return found[0]
            async with self._session(TIMEOUT_S, lane.value, began) as session:
                return await read(session)
        finally:
            self.timings.since(began, "read", query)

    async def _from_replica(
        self, replica: Replica, read: Callable[[_Session], Awaitable[T]], lane: SlowLane
    ) -> tuple[T] | None:
        """Return the result of a read on the replica, or None if the primary must run it."""
        began = perf_counter()
        async with replica.connection() as connection:
            if connection is None:
                return None
            try:
                found = await read(
                    _Session(connection, self._sql, SLOW_REPLY_TIMEOUT_S, self.slow, lane, perf_counter() - began)
                )
            except TooSlow:
                raise  # the primary would take as long
            except (Unavailable, *_RETRIED) as error:  # e.g. a row that the primary has removed meanwhile
                replica.leave(str(error))
                return None
        self.timings.since(began, "replica")
        return (found,)

    async def _end_of_log(self) -> int:
        async with self._session() as session:
            with _Translated(session._connection):
                return int(await session._connection.fetchval(END_OF_LOG, timeout=TIMEOUT_S))

    def pool(self) -> PoolUsage:
        return PoolUsage(self._pool.in_use + self._slow_pool.in_use, POOL_MAX + SLOW_POOL_MAX)

    def slow_reads(self) -> PoolUsage:
        return self._slow.pool()

    async def one(self, query: Query[R], **params: Value) -> R | None:
        return await self._read(query.lane, lambda session: session.one(query, **params), query)

    async def all(self, query: Query[R], **params: Value) -> list[R]:
        return await self._read(query.lane, lambda session: session.all(query, **params), query)

    async def several(self, *reads: Read) -> list[list[Any]]:
        # Not from the replica: the question for the end of the log would be a round trip of its own, and after a play
        # the replica has not caught up yet.
        return await self._read(Lane.LOOP, lambda session: session.several(*reads))

    async def transaction(self, body: Callable[[Transaction], Awaitable[T]], *, long: bool = False) -> T:
        began = perf_counter()
        try:
            # A transaction that has begun runs to its end, even when its caller is cancelled.
            return await asyncio.shield(asyncio.ensure_future(self._transact(body, long)))
        finally:
            self.timings.since(began, "write")

    async def _transact(self, body: Callable[[_Transaction], Awaitable[T]], long: bool) -> T:
        for tries_left in range(TRIES_MAX - 1, -1, -1):
            try:
                reply_timeout_s = LONG_REPLY_TIMEOUT_S if long else TIMEOUT_S
                async with self._session(reply_timeout_s, "job" if long else "write") as session:
                    return await self._in_transaction(session, body, 0 if long else STATEMENT_MS)
            except _RETRIED as error:
                if not tries_left:
                    raise Unavailable("database", str(error)) from error
        raise AssertionError("unreachable")

    async def _in_transaction(
        self, session: _Session, body: Callable[[_Transaction], Awaitable[T]], statement_ms: int
    ) -> T:
        """Run the body in a transaction with this time limit of its statements; 0 removes the limit."""
        begin = "BEGIN"
        if self._pooled:
            begin = f"BEGIN; SET LOCAL statement_timeout = {statement_ms}; SET LOCAL jit = off"
        elif not statement_ms:
            begin = "BEGIN; SET LOCAL statement_timeout = 0"
        transaction = _Transaction(session, begin)
        try:
            result = await body(transaction)
            await transaction.commit()
        except BaseException:
            await transaction.roll_back()  # the first error counts
            raise
        return result

    async def version(self) -> str | None:
        async with self._session() as session:
            has = await session._connection.fetchval("SELECT to_regclass('alembic_version') IS NOT NULL")
            found = await session._connection.fetchval("SELECT version_num FROM alembic_version") if has else None
        return None if found is None else str(found)

    async def is_served(self) -> bool:
        """Return whether a server, on this host or another, is connected to the same database."""
        async with self._session() as session:
            found = await session._connection.fetchval(IS_SERVED, SERVER, USED_WITHIN_S if self._pooled else None)
        return bool(found)

    async def explain(self, text: str) -> list[str]:
        # Of the slow pool, so that no request of another lane waits for it. PREPARE, because a plan for NULL as the
        # value of each parameter would be another one.
        async with self._slow.turn(EXPLAINS), self._session(SLOW_REPLY_TIMEOUT_S, "slow") as session:
            connection = session._connection
            with _Translated(connection):
                transaction = connection.transaction()
                await transaction.start()
                try:
                    await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
                    await connection.execute(f"PREPARE kiai_explained AS {text}")
                    try:
                        async with connection.transaction():  # an error must not prevent DEALLOCATE
                            return shown_plan(await self._explained(connection))
                    finally:
                        await connection.execute("DEALLOCATE kiai_explained")
                finally:
                    await transaction.rollback()

    async def _explained(self, connection: Any) -> list[str]:
        count = await connection.fetchval(
            "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'kiai_explained'"
        )
        values = f" ({', '.join(['NULL'] * count)})" if count else ""
        return [row[0] for row in await connection.fetch(f"EXPLAIN EXECUTE kiai_explained{values}")]

    async def faults(self) -> list[str]:
        return []  # PostgreSQL enforces foreign keys and verifies page checksums itself

    async def size_bytes(self) -> int:
        async with self._session() as session:
            return int(await session._connection.fetchval("SELECT pg_database_size(current_database())"))

    async def checkpoint(self) -> None:
        """Do nothing: PostgreSQL truncates its log itself (max_wal_size)."""

    def stamp(self) -> int | None:
        return None  # only a query could tell

    def mark(self) -> int | None:
        return None

    def is_untouched(self, subjects: Iterable[Subject], mark: int) -> bool:
        return False

    async def changed(self) -> bool:
        return True  # unknown: PostgreSQL has no cheap counter of commits

    async def close(self) -> None:
        if self.replica is not None:
            await self.replica.close()
        await self._slow_pool.close()
        await self._pool.close()
