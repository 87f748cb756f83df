"""The SQLite adapter: reads on the event loop, writes in one writer thread.

An indexed read takes about 10 us, less than passing it to a thread would, so reads of `Lane.LOOP` run on the event
loop. Writes wait for the disk, so they run in one writer thread, one transaction after another. SQLite allows one
writer anyway, and a queue in front of it is fair, while lock timeouts are not. Each other lane has its own thread,
connection and queue.

Transactions that wait while another one is written to the disk are committed together. If one of them fails, all run
again, each in a savepoint of its own: one that fails leaves no trace, and none returns before the commit of all of them
(`_commit_together`).

A transaction begins within `WAIT_S` or fails. This limit covers both the time in the queue and the wait for a lock of
another process. Long transactions belong to jobs and wait for their turn without a limit.
"""

import asyncio
import contextlib
import itertools
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any, Final, TypeVar

from sqlalchemy.dialects import sqlite as dialects

from kiai.at_once import needs_task
from kiai.callers import CALLER
from kiai.errors import TooSlow, Unavailable
from kiai.fair_queue import FairQueue
from kiai.logs import get_logger
from kiai.measuring import PoolUsage, Timings
from kiai.storage.compiling import Compiler
from kiai.storage.port import Command, Lane, Query, Read, Subject, Transaction, UniqueViolation, Value, as_it_is
from kiai.storage.slow_statements import SlowLane, SlowStatements, shown_plan
from kiai.storage.sqlite_file import damaged, first_of, is_damage, temporary_files_in, unusable
from kiai.storage.touched import TouchedRows

R = TypeVar("R")
T = TypeVar("T")

WAITING_MAX: Final = 1_000
TOGETHER_MAX: Final = 16  # transactions in one commit
WAIT_S: Final = 5.0
"""Limit of the time that a transaction waits for its turn and for the lock of another process together."""
READ_BUSY_MS: Final = 250  # short, because these reads block the event loop; readers of a WAL database rarely wait
CACHE_KIB: Final = 32 * 1024
MAPPED_BYTES: Final = 16 * 1024**3  # address space only; larger than any database we expect
WAL_BYTES: Final = 64 * 1024**2
"""Size to which SQLite truncates the write-ahead log after use, and above which `checkpoint` empties it."""
LONG_CACHE_KIB: Final = 256 * 1024  # see `_transact`
BOUNDED_WAITING: Final = 1_000
BOUNDED_OF_CALLER: Final = 200
SLOW_WAITING: Final = 64
SLOW_OF_CALLER: Final = 8
SLOW_WAIT_S: Final = 5.0
JOB_WAIT_S: Final = 3_600.0
SLOW_S: Final = 2.0
"""Time limit of one statement of the slow lane, in seconds."""
INTERRUPT_EVERY_S: Final = 0.1  # repeated, because an interrupt before the statement has begun does nothing


def connect(path: Path, *, read_only: bool = False, serving: bool = False) -> sqlite3.Connection:
    """Open a connection. A read-only one needs an existing file. `serving` as in `SqliteDatabase`.

    Raises Damaged, Unavailable.
    """
    try:
        # isolation_level=None: Python must not begin transactions itself. The statement cache holds all our statements,
        # so that none is parsed twice; the default of 128 is too small.
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
        if read_only:
            connection.execute("PRAGMA temp_store = MEMORY")
            # PERF: Read pages directly from the page cache of the system. The rows of a board are far apart in the
            # file, and copying a page into SQLite's cache costs more than reading the row.
            connection.execute(f"PRAGMA mmap_size = {MAPPED_BYTES}")
        if not read_only:
            # A command sorts in files what exceeds its cache: an index over 4,000,000 rows takes 2.2 us a row, in
            # memory 3.0 us.
            # PERF: for a server, the copies of pages with which SQLite undoes a single statement stay in memory. Those
            # of a play exceed the 64 KiB that SQLite keeps otherwise: 100 to 200 us of CPU time for a temporary file.
            connection.execute(f"PRAGMA temp_store = {'MEMORY' if serving else 'FILE'}")
            if not serving:
                connection.execute(temporary_files_in(path.parent))
            connection.execute("PRAGMA journal_mode = WAL")
            # FULL syncs the log at each commit: an acknowledged score survives a power cut.
            connection.execute("PRAGMA synchronous = FULL")
            # Without a limit, the log file never shrinks.
            connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
    except sqlite3.Error as error:
        if is_damage(error):
            raise damaged(str(path), str(error)) from error
        raise unusable(error, path) from error
    return connection


def _whole_ms(seconds: float) -> int:
    """Return milliseconds, rounded to 10 ms."""
    # The value becomes part of the text of a PRAGMA: few different texts do not displace others in the statement cache.
    return max(0, round(seconds * 100) * 10)


def _failure(error: sqlite3.DatabaseError) -> Exception:
    """Return the exception to raise for an error of the engine; errors in our statements are not translated."""
    if isinstance(error, sqlite3.IntegrityError):
        # All violations share a class; those of foreign keys and checks are faults in our code.
        return UniqueViolation(str(error)) if "UNIQUE" in str(error) else error
    if is_damage(error):
        return damaged("database", str(error))
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
        return TooSlow("database", f"a read was interrupted after {SLOW_S:g} s or at shutdown")
    return unusable(error) if isinstance(error, sqlite3.OperationalError) else error


@contextlib.contextmanager
def _translated() -> Any:
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise _failure(error) from error


class _Session:
    """A `Transaction` over one connection. Its coroutines never suspend, so `_run_to_end` can run them in a thread.

    `lane` and `waited_s`, the wait for the connection, are those of what runs now, for `slow`.
    """

    reads_ahead = False

    def __init__(
        self, connection: sqlite3.Connection, compiler: Compiler, slow: SlowStatements, lane: SlowLane = "loop"
    ) -> None:
        self.connection = connection
        self.lane: SlowLane = lane
        self.waited_s = 0.0
        self._sql = compiler
        self._slow = slow
        self._limit_s = slow.limit_s

    # PERF: without `_translated`, which costs 1.5 us for each statement of a transaction. The clock costs 0.1 us.

    async def one(self, query: Query[R], **params: Value) -> R | None:
        began = perf_counter()
        try:
            found = self.connection.execute(self._sql[query].text, params).fetchone()
        except sqlite3.DatabaseError as error:
            raise _failure(error) from error
        finally:
            if perf_counter() - began > self._limit_s:
                self._add_slow(query, began)
        return None if found is None else query.row(*found)

    async def all(self, query: Query[R], **params: Value) -> list[R]:
        return self._all(query, params)

    def _all(self, query: Query[R], params: Mapping[str, Value]) -> list[R]:
        # PERF: no coroutine for each of several reads: 54 us for nine of them instead of 60.
        began = perf_counter()
        try:
            return list(itertools.starmap(query.row, self.connection.execute(self._sql[query].text, params)))
        except sqlite3.DatabaseError as error:
            raise _failure(error) from error
        finally:
            if perf_counter() - began > self._limit_s:
                self._add_slow(query, began)

    async def several(self, *reads: Read) -> list[list[Any]]:
        return [self._all(query, params) for query, params in reads]

    async def lock(self, query: Query[Any], **params: int) -> None:
        """Do nothing: BEGIN IMMEDIATE has locked the whole database."""

    async def later(self, command: Command, **params: Value) -> None:
        await self.run(command, **params)

    async def run(self, command: Command, **params: Value) -> int:
        began = perf_counter()
        try:
            return self.connection.execute(self._sql[command].text, params).rowcount
        except sqlite3.DatabaseError as error:
            raise _failure(error) from error
        finally:
            if perf_counter() - began > self._limit_s:
                self._add_slow(command, began)

    async def run_many(self, command: Command, rows: Iterable[Mapping[str, Value]]) -> None:
        began = perf_counter()
        try:
            self.connection.executemany(self._sql[command].text, rows)
        except sqlite3.DatabaseError as error:
            raise _failure(error) from error
        finally:
            if perf_counter() - began > self._limit_s:
                self._add_slow(command, began)

    def _add_slow(self, statement: Query[Any] | Command, began: float) -> None:
        took_s = perf_counter() - began
        self._slow.add(statement, self._sql[statement].text, self.lane, took_s, self.waited_s)


class _Write:
    """A transaction that waits for the writer thread. `future` belongs to the event loop of its caller.

    It is queued at `queued_at` and must begin before `until`, in seconds of `perf_counter`; None sets no limit.
    """

    __slots__ = ("_unclaimed", "body", "future", "has_begun", "long", "queued_at", "until")

    def __init__(
        self,
        body: Callable[[Transaction], Awaitable[Any]],
        future: asyncio.Future[Any],
        queued_at: float,
        until: float | None,
        long: bool,
    ) -> None:
        self.body = body
        self.future = future
        self.queued_at = queued_at
        self.until = until
        self.long = long
        self.has_begun = False
        self._unclaimed = [True]

    def claim(self) -> bool:
        """Return True to the first caller only: the writer thread that begins it, or the loop that gives it up."""
        try:
            return self._unclaimed.pop()  # atomic
        except IndexError:
            return False

    def begin(self) -> bool:
        """Return whether the writer thread may run it, possibly again."""
        self.has_begun = self.has_begun or self.claim()
        return self.has_begun


_Outcome = tuple[_Write, Any, BaseException | None]


class _LostTransaction(Exception):
    """SQLite has rolled the whole transaction back, with the savepoints of all its parts."""


def _run_to_end(coroutine: Awaitable[T]) -> T:
    """Run a coroutine that never suspends and return its result. Raises RuntimeError when it suspends."""
    # Without an event loop: the writer thread has none.
    iterator = coroutine.__await__()
    try:
        next(iterator)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    raise RuntimeError("the body of a transaction awaited something other than its transaction")


class _AnyValues(dict[str, None]):
    """Values for the parameters of a plan, which does not depend on them."""

    def __missing__(self, name: str) -> None:
        return None


def _plan(path: Path, text: str) -> list[str]:
    """Return the plan of a statement, indented by its levels, over a connection of its own."""
    with contextlib.closing(connect(path, read_only=True)) as connection, _translated():
        levels = {0: -1}
        rows = []
        for number, parent, _, step in connection.execute(f"EXPLAIN QUERY PLAN {text}", _AnyValues()):
            levels[number] = levels.get(parent, -1) + 1
            rows.append("  " * levels[number] + step)
    return shown_plan(rows)


class _ReaderThread:
    """Runs the reads of one lane in its own thread, one at a time.

    A read that takes longer than `deadline_s` seconds is interrupted; None sets no limit.
    """

    def __init__(
        self,
        path: Path,
        compiler: Compiler,
        lane: Lane,
        queue: FairQueue,
        slow: SlowStatements,
        *,
        deadline_s: float | None = None,
    ) -> None:
        self.connection = connect(path, read_only=True)
        self._session = _Session(self.connection, compiler, slow, lane.value)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"sqlite-{lane.value}")
        self.queue = queue
        self._deadline_s = deadline_s
        self._closing = False

    async def all(self, query: Query[R], params: Mapping[str, Value]) -> list[R]:
        """Return the rows. Raises Unavailable when the queue is full, TooSlow after the deadline."""
        asked = perf_counter()

        def read() -> list[R]:
            self._session.waited_s = perf_counter() - asked
            return _run_to_end(self._session.all(query, **params))

        return await self.run(read)

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work`, which may use the connection, in the thread when it is the caller's turn."""
        async with self.queue.turn(CALLER.get()):
            if self._closing:  # callers that were queued when `close` began
                raise Unavailable("database", "it is being closed")
            loop = asyncio.get_running_loop()
            running = loop.run_in_executor(self._thread, work)
            watch = None if self._deadline_s is None else loop.call_later(self._deadline_s, self._interrupt, running)
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                # The caller is gone. Interrupt the read and wait for its end: the next read needs the connection.
                self._interrupt(running)
                await asyncio.wait((running,))
                raise
            finally:
                if watch is not None:
                    watch.cancel()

    def _interrupt(self, running: "asyncio.Future[Any]") -> None:
        if not running.done():
            self.connection.interrupt()
            asyncio.get_running_loop().call_later(INTERRUPT_EVERY_S, self._interrupt, running)

    async def close(self) -> None:
        """Interrupt the running read and close the connection."""
        self._closing = True
        # shutdown() blocks until the read has ended, so it runs in another thread while the interrupts go out.
        ended = asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)
        self._interrupt(ended)
        await ended
        self.connection.close()


class SqliteDatabase:
    """The `Database` port over one SQLite file. The folder of `path` must exist.

    Slow statements are added to `slow`; without it none are. `serving`: for a server, whose transactions are small,
    not for a command, which may sort millions of rows.
    """

    reads_ahead = False

    def __init__(self, path: Path, slow: SlowStatements | None = None, *, serving: bool = False) -> None:
        self.path = path
        self.slow = slow or SlowStatements()
        self._limit_s = self.slow.limit_s
        self._sql = Compiler(dialects.dialect(paramstyle="named"))
        self._writes = _Session(connect(path, serving=serving), self._sql, self.slow)
        self._reads = _Session(connect(path, read_only=True), self._sql, self.slow)
        self._lanes = {lane: self._lane(lane) for lane in Lane if lane is not Lane.LOOP}
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite-writer")
        self._waiting = 0
        self._queued: deque[_Write] = deque()
        self._is_writing = False  # the writer thread is about to look at the queue
        self._wanted_checkpoint: Future[None] | None = None
        self.timings = Timings()
        self._data_version: int | None = None
        self._has_large_cache = False
        self._busy_ms: int | None = None  # of the writer connection, as it was set last
        self._in_snapshot = False
        self._stamp: int | None = None  # of the snapshot
        self._snapshots = 0
        self._touched = TouchedRows(self._writes.connection)

    def _lane(self, lane: Lane) -> _ReaderThread:
        waiting, of_caller, wait_s, deadline_s = {
            Lane.BOUNDED: (BOUNDED_WAITING, BOUNDED_OF_CALLER, WAIT_S, None),
            Lane.SLOW: (SLOW_WAITING, SLOW_OF_CALLER, SLOW_WAIT_S, SLOW_S),
            Lane.JOB: (BOUNDED_WAITING, BOUNDED_OF_CALLER, JOB_WAIT_S, None),
        }[lane]
        queue = FairQueue("database", running_max=1, waiting_max=waiting, per_caller_max=of_caller, wait_s=wait_s)
        return _ReaderThread(self.path, self._sql, lane, queue, self.slow, deadline_s=deadline_s)

    async def one(self, query: Query[R], **params: Value) -> R | None:
        if query.lane is not Lane.LOOP:
            rows = await self.all(query, **params)
            return rows[0] if rows else None
        # PERF: The body of _Session.one, inlined. This is the hot path of all reads, and the context manager that
        # translates errors costs a third of the statement.
        began = perf_counter()
        try:
            if not self._in_snapshot:
                self._begin_snapshot()
            found = self._reads.connection.execute(self._sql[query].text, params).fetchone()
        except sqlite3.DatabaseError as error:
            raise _failure(error) from error
        finally:
            took_s = self.timings.since(began, "read", query)
            if took_s > self._limit_s:
                self.slow.add(query, self._sql[query].text, "loop", took_s)
        return None if found is None else query.row(*found)

    async def all(self, query: Query[R], **params: Value) -> list[R]:
        began = perf_counter()
        if query.lane is not Lane.LOOP:
            await needs_task()
            try:
                return await self._lanes[query.lane].all(query, params)
            finally:
                self.timings.since(began, "read", query)
        try:  # PERF: as in `one`
            if not self._in_snapshot:
                self._begin_snapshot()
            found = self._reads.connection.execute(self._sql[query].text, params)
            # PERF: 50 ns less for each raw row.
            return found.fetchall() if query.row is as_it_is else list(itertools.starmap(query.row, found))
        except sqlite3.DatabaseError as error:
            raise _failure(error) from error
        finally:
            took_s = self.timings.since(began, "read", query)
            if took_s > self._limit_s:
                self.slow.add(query, self._sql[query].text, "loop", took_s)

    def stamp(self) -> int | None:
        # PERF: 1 us. `data_version` differs after a commit of another connection, and this connection only reads.
        # It belongs to the snapshot, so it is valid for all reads of this iteration.
        if not self._in_snapshot or self._stamp is None:
            try:
                if not self._in_snapshot:
                    self._begin_snapshot()
                self._stamp = int(self._reads.connection.execute("PRAGMA data_version").fetchone()[0])
            except sqlite3.DatabaseError:
                return None
        return self._stamp

    def mark(self) -> int | None:
        stamp = self.stamp()
        if stamp is None or not self._touched.look(stamp, self._snapshots):
            return None
        return self._touched.mark(stamp, self._snapshots)

    def is_untouched(self, subjects: Iterable[Subject], mark: int) -> bool:
        stamp = self.stamp()
        if stamp is None or not self._touched.look(stamp, self._snapshots):
            return False
        return self._touched.is_untouched(subjects, mark)

    async def several(self, *reads: Read) -> list[list[Any]]:
        return [await self.all(query, **params) for query, params in reads]

    def _begin_snapshot(self) -> None:
        """Begin a snapshot that all reads in this iteration of the event loop share.

        A read after one of our commits always sees it: the caller that awaits the commit resumes in a later iteration,
        after the end of this snapshot. Commits of other processes are visible at most one iteration later.
        """
        # PERF: Taking a snapshot costs as much as a small read.
        self._reads.connection.execute("BEGIN")
        self._in_snapshot = True
        self._snapshots += 1
        self._stamp = None
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
        loop = asyncio.get_running_loop()
        write = _Write(body, loop.create_future(), began, None if long else began + WAIT_S, long)
        self._queued.append(write)
        if not self._is_writing:
            self._is_writing = True
            try:
                self._writer.submit(self._write_queued)
            except RuntimeError:  # the database is closed
                self._is_writing = False
                if write.claim():  # else the writer has begun it before it ended
                    self._waiting -= 1
                    raise
        # PERF: a future and a timer of the loop. Those of a thread pool, waited for with a timeout and shielded from
        # cancellation, took 50 us more.
        expiry = None if long else loop.call_later(WAIT_S, self._give_up, write)
        try:
            # A transaction that has begun runs to its end, even when its caller is cancelled.
            return await write.future  # type: ignore[no-any-return]
        finally:
            if expiry is not None:
                expiry.cancel()
            self.timings.since(began, "write")

    def _give_up(self, write: _Write) -> None:
        """Fail a transaction that has waited for `WAIT_S`, if it has not begun."""
        if write.claim():
            self._resolve([(write, None, Unavailable("database", f"no turn to write within {WAIT_S:g} s"))])

    def _resolve(self, outcomes: Sequence[_Outcome]) -> None:
        """Give results and errors to the callers."""
        for write, result, error in outcomes:
            self._waiting -= 1
            if write.future.done():  # the caller is gone
                continue
            if error is None:
                write.future.set_result(result)
            else:
                write.future.set_exception(error)

    def pool(self) -> PoolUsage:
        return PoolUsage(min(self._waiting, 1), 1, max(0, self._waiting - 1))

    def slow_reads(self) -> PoolUsage:
        return self._lanes[Lane.SLOW].queue.pool()

    # --- in the writer thread

    def _write_queued(self) -> None:
        """Run the queued transactions, also those that are queued meanwhile."""
        # Before the first look: for a transaction that is queued later, this method is submitted again.
        self._is_writing = False
        while self._queued:
            self._empty_wal_if_wanted()
            together = [self._queued.popleft()]
            # Long ones are for themselves: nobody else should wait for their end.
            while not together[0].long and self._queued and not self._queued[0].long and len(together) < TOGETHER_MAX:
                together.append(self._queued.popleft())
            with self._touched.writing:
                outcomes = self._commit_together(together) if len(together) > 1 else None
                if outcomes is None:
                    outcomes = [self._alone(write) for write in together if write.begin()]
            # PERF: one wake-up of the loop for all of them.
            for loop in {write.future.get_loop() for write, _, _ in outcomes}:
                ended = [outcome for outcome in outcomes if outcome[0].future.get_loop() is loop]
                loop.call_soon_threadsafe(self._resolve, ended)

    def _commit_together(self, writes: list[_Write]) -> list[_Outcome] | None:
        """Run transactions within one. Return None if that fails, and each one needs its own commit.

        PERF: a commit costs 500 us of CPU time and a wait for the disk. With eight players at once, two to five plays
        share it.
        """
        begun = [write for write in writes if write.begin()]
        if not begun:
            return []
        # PERF: first without savepoints. With them SQLite copies each page before a transaction changes it, 50 for a
        # play. Few transactions fail, and bodies change nothing but rows, so all of them can run again.
        return self._try_together(begun, apart=False) or self._try_together(begun, apart=True)

    def _try_together(self, writes: list[_Write], *, apart: bool) -> list[_Outcome] | None:
        """Run transactions within one, with `apart` each in a savepoint. Return None if nothing was committed.

        Without savepoints nothing is committed if one of them fails.
        """
        connection = self._writes.connection
        try:
            self._begin(writes[0].until, long=False)
            run = self._part if apart else self._result
            outcomes = [run(write) for write in writes]
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")  # fails if SQLite has already rolled back
            return None
        return outcomes

    def _result(self, write: _Write) -> _Outcome:
        return write, self._run_body(write), None

    def _part(self, write: _Write) -> _Outcome:
        """Run a transaction in a savepoint. One that fails is rolled back to it."""
        connection = self._writes.connection
        connection.execute("SAVEPOINT part")
        try:
            result = self._run_body(write)
        except BaseException as error:
            if not connection.in_transaction:  # e.g. a full disk
                raise _LostTransaction from error
            connection.execute("ROLLBACK TO part")
            connection.execute("RELEASE part")
            return write, None, error
        connection.execute("RELEASE part")
        return write, result, None

    def _run_body(self, write: _Write) -> Any:
        self._writes.lane = "job" if write.long else "write"
        self._writes.waited_s = perf_counter() - write.queued_at
        return _run_to_end(write.body(self._writes))

    def _alone(self, write: _Write) -> _Outcome:
        try:
            return write, self._transact(write), None
        except BaseException as error:
            return write, None, error

    def _begin(self, until: float | None, *, long: bool) -> None:
        """Begin a transaction. It must get the lock before `until`, in seconds of `perf_counter`."""
        connection = self._writes.connection
        wait_s = WAIT_S if until is None else until - perf_counter()
        if long != self._has_large_cache:
            # PERF: A job changes pages all over the file. When they exceed the cache, SQLite writes them repeatedly.
            connection.execute(f"PRAGMA cache_size = -{LONG_CACHE_KIB if long else CACHE_KIB}")
            self._has_large_cache = long
        with _translated():
            self._wait_for_locks(_whole_ms(wait_s))
            # IMMEDIATE takes the write lock now. A deferred transaction that reads first fails at its first write when
            # another process has committed in between, and busy_timeout does not help.
            connection.execute("BEGIN IMMEDIATE")

    def _wait_for_locks(self, busy_ms: int) -> None:
        """Limit the time that the writer connection waits for another process."""
        # PERF: the statement takes 15 us, and nearly all transactions begin within 10 ms.
        if busy_ms != self._busy_ms:
            self._busy_ms = None
            self._writes.connection.execute(f"PRAGMA busy_timeout = {busy_ms}")
            self._busy_ms = busy_ms

    def _transact(self, write: _Write) -> Any:
        """Run one transaction."""
        connection = self._writes.connection
        self._begin(write.until, long=write.long)
        try:
            result = self._run_body(write)
            with _translated():
                connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # some errors, e.g. a full disk, have already rolled back
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

        def check() -> list[str]:
            with _translated():
                damages = [row[0] for row in connection.execute("PRAGMA integrity_check(20)") if row[0] != "ok"]
                if damages:
                    raise damaged("database", first_of(damages))
                return [
                    f"{row[0]} row {row[1]} refers to nothing in {row[2]}"
                    for row in connection.execute("PRAGMA foreign_key_check")
                ]

        return await jobs.run(check)

    async def explain(self, text: str) -> list[str]:
        return await asyncio.to_thread(_plan, self.path, text)

    async def size_bytes(self) -> int:
        pages, size = (self._reads.connection.execute(f"PRAGMA {p}").fetchone()[0] for p in ("page_count", "page_size"))
        return int(pages) * int(size)

    async def checkpoint(self) -> None:
        """Truncate a write-ahead log that exceeds WAL_BYTES.

        SQLite reuses the log from its start only when no connection reads from it, which may never happen under load.
        Does not wait for readers: when one is active, the next call tries again.
        """
        if self._wal_bytes() <= WAL_BYTES:
            return
        # While transactions always wait, the writer thread does no other work. It looks at this between two commits.
        wanted = self._wanted_checkpoint = Future()
        self._writer.submit(self._empty_wal_if_wanted)
        await asyncio.wrap_future(wanted)

    def _wal_bytes(self) -> int:
        try:
            return self.path.with_name(f"{self.path.name}-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def _empty_wal_if_wanted(self) -> None:
        """Truncate the log if `checkpoint` has asked for it; called in the writer thread."""
        wanted, self._wanted_checkpoint = self._wanted_checkpoint, None
        if wanted is None:
            return
        try:
            with self._touched.writing:
                # A timeout would block all writes while a reader is active. The next transaction sets its own.
                self._wait_for_locks(0)
                busy, pages, copied = self._writes.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                get_logger("database").warning("log not emptied", bytes=self._wal_bytes(), pages=pages, copied=copied)
        except sqlite3.DatabaseError as error:  # the next call tries again
            get_logger("database").warning("log not emptied", bytes=self._wal_bytes(), why=str(error))
        finally:
            if wanted.set_running_or_notify_cancel():
                wanted.set_result(None)

    async def changed(self) -> bool:
        # `data_version` changes when another connection commits; our writer is another connection than our reader.
        now = int(self._reads.connection.execute("PRAGMA data_version").fetchone()[0])
        before, self._data_version = self._data_version, now
        return before != now

    async def close(self) -> None:
        # The writer first: queued transactions are committed before their connection closes.
        await asyncio.get_running_loop().run_in_executor(None, self._writer.shutdown)
        for lane in self._lanes.values():
            await lane.close()
        self._end_snapshot()
        for session in (self._reads, self._writes):
            session.connection.close()
