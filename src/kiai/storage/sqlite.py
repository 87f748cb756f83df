"""SQLite as the database: reads on the event loop, writes in one writer thread.

An indexed read takes about 10 us, less than handing it to a thread would, so reads run where they are asked. Writes
wait for the disk, so they go to one writer thread, one transaction after another: SQLite has one writer anyway, and a
queue in front of it is fair where lock time-outs are not. Reads of the other lanes have a thread, a connection and a
queue each, so that none of them waits for those of another lane.

A transaction begins within `WAIT_S` of being asked for, or fails: its time in the queue and its wait for a lock that
another process holds come out of the same budget. Long transactions are jobs, which wait for as long as it takes to
have their turn.
"""

import asyncio
import contextlib
import itertools
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any, Final, TypeVar

from sqlalchemy.dialects import sqlite as dialects

from kiai.callers import CALLER
from kiai.errors import TooSlow, Unavailable
from kiai.fair_queue import FairQueue
from kiai.logs import get_logger
from kiai.measuring import Pool, Timings
from kiai.storage.compiling import Compiler
from kiai.storage.port import Command, Lane, Query, Taken, Transaction, Value
from kiai.storage.sqlite_file import damaged, first_of, is_damage

R = TypeVar("R")
T = TypeVar("T")

WAITING_MAX: Final = 1_000
WAIT_S: Final = 5.0
"""How long a transaction waits for its turn and for the lock of another process together."""
READ_BUSY_MS: Final = 250  # readers of a WAL file hardly ever wait, and these wait on the event loop
CACHE_KIB: Final = 32 * 1024
MAPPED_BYTES: Final = 16 * 1024**3
WAL_BYTES: Final = 64 * 1024**2
"""What may stay of the write-ahead log between two uses, and the size from which it is emptied by a job."""
LONG_CACHE_KIB: Final = 256 * 1024
ASIDES_WAITING: Final = 1_000
ASIDES_OF_CALLER: Final = 200
SLOW_WAITING: Final = 64
SLOW_OF_CALLER: Final = 8
SLOW_WAIT_S: Final = 5.0
JOB_WAIT_S: Final = 3_600.0
SLOW_S: Final = 2.0
"""How long one statement of the slow lane may take, in seconds."""
AGAIN_S: Final = 0.1  # between two interrupts: one that comes before its statement has begun does nothing


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection with the house's pragmas; `path` must exist for a read-only one. Raises Unavailable."""
    try:
        connection = sqlite3.connect(
            f"file:{path}?mode={'ro' if read_only else 'rwc'}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=512,
        )
        connection.execute(f"PRAGMA busy_timeout = {READ_BUSY_MS if read_only else _whole_ms(WAIT_S)}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute("PRAGMA temp_store = MEMORY")
        if read_only:
            # Readers take pages straight from the system's cache: a board's rows lie far apart, and copying each page
            # into a cache of our own costs more than the row.
            connection.execute(f"PRAGMA mmap_size = {MAPPED_BYTES}")
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            # A score is acknowledged only when it would survive a power cut.
            connection.execute("PRAGMA synchronous = FULL")
            # The log keeps the size that it once had, unless it is told how much of it may stay.
            connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
    except sqlite3.Error as error:
        if is_damage(error):
            raise damaged(str(path), str(error)) from error
        raise Unavailable("database", f"{path}: {error}") from error
    return connection


def _whole_ms(seconds: float) -> int:
    """In steps of 10 ms, so that statements which name it stay few."""
    return max(0, round(seconds * 100) * 10)


def _failure(error: sqlite3.DatabaseError) -> Exception:
    """What an error of the engine means to the callers; a mistake of ours in a statement stays what it is."""
    if is_damage(error):
        return damaged("database", str(error))
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
        return TooSlow("database", f"a read was ended after {SLOW_S:g} s, or by the stop")
    return Unavailable("database", str(error)) if isinstance(error, sqlite3.OperationalError) else error


@contextlib.contextmanager
def _translated() -> Any:
    try:
        yield
    except sqlite3.IntegrityError as error:
        if "UNIQUE" in str(error):
            raise Taken(str(error)) from error
        raise
    except sqlite3.DatabaseError as error:
        raise _failure(error) from error


class _Session:
    """One connection and what can be asked of it; its methods never suspend."""

    def __init__(self, connection: sqlite3.Connection, compiler: Compiler) -> None:
        self.connection = connection
        self._sql = compiler

    async def one(self, query: Query[R], **params: Value) -> R | None:
        with _translated():
            found = self.connection.execute(self._sql[query].text, params).fetchone()
        return None if found is None else query.row(*found)

    async def all(self, query: Query[R], **params: Value) -> list[R]:
        with _translated():
            return list(itertools.starmap(query.row, self.connection.execute(self._sql[query].text, params)))

    async def run(self, command: Command, **params: Value) -> int:
        with _translated():
            return self.connection.execute(self._sql[command].text, params).rowcount

    async def many(self, command: Command, rows: Iterable[Mapping[str, Value]]) -> None:
        with _translated():
            self.connection.executemany(self._sql[command].text, rows)


def _finish(steps: Awaitable[T]) -> T:
    """Runs a coroutine that never suspends to its end and returns its result."""
    iterator = steps.__await__()
    try:
        next(iterator)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    raise RuntimeError("the body of a transaction awaited something else than its transaction")


class _Aside:
    """Reads of one lane beside the event loop: one at a time, in a thread of their own.

    `deadline_s` ends a read that takes longer; None lets it run.
    """

    def __init__(
        self, path: Path, compiler: Compiler, lane: Lane, queue: FairQueue, *, deadline_s: float | None = None
    ) -> None:
        self.connection = connect(path, read_only=True)
        self._session = _Session(self.connection, compiler)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"sqlite-{lane.value}")
        self._queue = queue
        self._deadline_s = deadline_s
        self._closing = False

    async def all(self, query: Query[R], params: Mapping[str, Value]) -> list[R]:
        """The rows. Raises Unavailable when too many wait, TooSlow past the deadline."""
        return await self.do(lambda: _finish(self._session.all(query, **params)))

    async def do(self, work: Callable[[], T]) -> T:
        """Runs `work`, which uses the connection, in the thread when it is the caller's turn."""
        async with self._queue.place(CALLER.get()):
            if self._closing:
                raise Unavailable("database", "it is being closed")
            loop = asyncio.get_running_loop()
            running = loop.run_in_executor(self._thread, work)
            watch = None if self._deadline_s is None else loop.call_later(self._deadline_s, self._interrupt, running)
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                # Nobody waits for the rows any more, and the next read needs the connection.
                self._interrupt(running)
                await asyncio.wait((running,))
                raise
            finally:
                if watch is not None:
                    watch.cancel()

    def _interrupt(self, running: "asyncio.Future[Any]") -> None:
        if not running.done():
            self.connection.interrupt()
            asyncio.get_running_loop().call_later(AGAIN_S, self._interrupt, running)

    async def close(self) -> None:
        """Ends what runs."""
        self._closing = True
        ended = asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)
        self._interrupt(ended)
        await ended
        self.connection.close()


class SqliteDatabase:
    """The `Database` port over one SQLite file; `path`'s folder must exist."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sql = Compiler(dialects.dialect(paramstyle="named"))
        self._writes = _Session(connect(path), self._sql)
        self._reads = _Session(connect(path, read_only=True), self._sql)
        self._lanes = {lane: self._lane(lane) for lane in Lane if lane is not Lane.LOOP}
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite-writer")
        self._waiting = 0
        self.timings = Timings()
        self._seen: int | None = None
        self._roomy = False
        self._in_snapshot = False

    def _lane(self, lane: Lane) -> _Aside:
        waiting, of_caller, wait_s, deadline_s = {
            Lane.ASIDE: (ASIDES_WAITING, ASIDES_OF_CALLER, WAIT_S, None),
            Lane.SLOW: (SLOW_WAITING, SLOW_OF_CALLER, SLOW_WAIT_S, SLOW_S),
            Lane.JOB: (ASIDES_WAITING, ASIDES_OF_CALLER, JOB_WAIT_S, None),
        }[lane]
        queue = FairQueue("database", running_max=1, waiting_max=waiting, per_caller_max=of_caller, wait_s=wait_s)
        return _Aside(self.path, self._sql, lane, queue, deadline_s=deadline_s)

    async def one(self, query: Query[R], **params: Value) -> R | None:
        if query.lane is not Lane.LOOP:
            rows = await self.all(query, **params)
            return rows[0] if rows else None
        # PERF: the body of _Session.one, inlined without the error translation: this is the hot path of every read,
        # and a context manager costs a third of the statement.
        began = perf_counter()
        try:
            if not self._in_snapshot:
                self._begin_snapshot()
            found = self._reads.connection.execute(self._sql[query].text, params).fetchone()
        except sqlite3.DatabaseError as error:
            raise _failure(error) from error
        finally:
            self.timings.since(began, "read")
        return None if found is None else query.row(*found)

    async def all(self, query: Query[R], **params: Value) -> list[R]:
        began = perf_counter()
        if query.lane is not Lane.LOOP:
            try:
                return await self._lanes[query.lane].all(query, params)
            finally:
                self.timings.since(began, "read")
        try:  # PERF: as in `one`
            if not self._in_snapshot:
                self._begin_snapshot()
            return list(itertools.starmap(query.row, self._reads.connection.execute(self._sql[query].text, params)))
        except sqlite3.DatabaseError as error:
            raise _failure(error) from error
        finally:
            self.timings.since(began, "read")

    def _begin_snapshot(self) -> None:
        """Lets all reads of one turn of the event loop share a snapshot: taking one costs as much as a small read.

        Our own commits are never missed: who waits for one goes on in a later turn, behind the end of this snapshot.
        What another process commits is seen one turn later at most.
        """
        self._reads.connection.execute("BEGIN")
        self._in_snapshot = True
        asyncio.get_running_loop().call_soon(self._end_snapshot)

    def _end_snapshot(self) -> None:
        if self._in_snapshot:
            self._in_snapshot = False
            self._reads.connection.execute("COMMIT")

    async def transaction(self, body: Callable[[Transaction], Awaitable[T]], *, long: bool = False) -> T:
        if self._waiting >= WAITING_MAX:
            raise Unavailable("database", f"{WAITING_MAX} transactions are waiting")
        self._waiting += 1
        began = perf_counter()
        job = self._writer.submit(self._transact, body, None if long else began + WAIT_S, long)
        running = asyncio.wrap_future(job)
        running.add_done_callback(self._left)
        try:
            if not long:
                await asyncio.wait((running,), timeout=WAIT_S)
                if job.cancel():
                    raise Unavailable("database", f"no turn to write within {WAIT_S:g} s")
            # A transaction that has begun is never abandoned half-way, even when its caller is gone.
            return await asyncio.shield(running)
        finally:
            self.timings.since(began, "write")

    def pool(self) -> Pool:
        return Pool(min(self._waiting, 1), 1)

    def _left(self, done: asyncio.Future[Any]) -> None:
        self._waiting -= 1
        if not done.cancelled():
            done.exception()  # its caller may be gone

    def _transact(self, body: Callable[[Transaction], Awaitable[T]], until: float | None, long: bool) -> T:
        """Runs in the writer thread. `until`: when, by `perf_counter`, the transaction has to have begun."""
        connection = self._writes.connection
        wait_s = WAIT_S if until is None else until - perf_counter()
        if long != self._roomy:  # a job touches pages all over the file: with little room it writes them many times
            connection.execute(f"PRAGMA cache_size = -{LONG_CACHE_KIB if long else CACHE_KIB}")
            self._roomy = long
        with _translated():
            connection.execute(f"PRAGMA busy_timeout = {_whole_ms(wait_s)}")
            connection.execute("BEGIN IMMEDIATE")
        try:
            result = _finish(body(self._writes))
            with _translated():
                connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    async def version(self) -> str | None:
        connection = self._reads.connection
        with _translated():
            has = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if has else None
        return None if row is None else str(row[0])

    async def faults(self) -> list[str]:
        jobs = self._lanes[Lane.JOB]
        connection = jobs.connection

        def look() -> list[str]:
            with _translated():
                whole = [row[0] for row in connection.execute("PRAGMA integrity_check(20)") if row[0] != "ok"]
                if whole:
                    raise damaged("database", first_of(whole))
                return [
                    f"{row[0]} row {row[1]} refers to nothing in {row[2]}"
                    for row in connection.execute("PRAGMA foreign_key_check")
                ]

        return await jobs.do(look)

    async def size_bytes(self) -> int:
        pages, size = (self._reads.connection.execute(f"PRAGMA {p}").fetchone()[0] for p in ("page_count", "page_size"))
        return int(pages) * int(size)

    async def checkpoint(self) -> None:
        """Empties a write-ahead log that has grown past WAL_BYTES, which it does while something reads for long.

        SQLite begins the log anew only when nobody reads from it; under load there may always be somebody. Waits for no
        reader: what cannot be done now is done the next time.
        """
        if self._wal_bytes() <= WAL_BYTES:
            return
        await asyncio.wrap_future(self._writer.submit(self._empty_wal))

    def _wal_bytes(self) -> int:
        try:
            return self.path.with_name(f"{self.path.name}-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def _empty_wal(self) -> None:
        """Runs in the writer thread."""
        with _translated():
            self._writes.connection.execute("PRAGMA busy_timeout = 0")
            busy, pages, copied = self._writes.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            get_logger("database").warning("log not emptied", bytes=self._wal_bytes(), pages=pages, copied=copied)

    async def changed(self) -> bool:
        now = int(self._reads.connection.execute("PRAGMA data_version").fetchone()[0])
        before, self._seen = self._seen, now
        return before != now

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self._writer.shutdown)
        for lane in self._lanes.values():
            await lane.close()
        self._end_snapshot()
        for session in (self._reads, self._writes):
            session.connection.close()
