"""One PostgreSQL database for many tests of a process, emptied before each of them.

A database of its own costs a test 20 ms of processor time, and connections to it 15 ms. The first use of a statement on
a new connection costs more than both: PostgreSQL reads its catalogs and makes a plan. Here the connections stay open.

Nothing that one test leaves reaches the next one. Rows and sequences are as after the migrations. Tasks, timers and
threads of the event loop end with the test, and so do connections that the test has opened itself. A statement that
changes the schema fails: a test that needs one takes a database from `engines.fresh`.
"""

import asyncio
import atexit
import contextlib
import contextvars
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import asyncpg
from tests import engines
from tests.loops import run_on
from tests.patience import in_time

from kiai.storage import postgres
from kiai.storage.postgres import PostgresDatabase

T = TypeVar("T")

OURS: Final = "shared by tests"
LARGE_BYTES: Final = 2 << 20
"""Size of tables and deleted rows above which tables are truncated. Truncating one costs 20 times a deletion."""
REFUSE: Final = """
CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
  RAISE EXCEPTION 'tests share this database: % needs one of engines.fresh', tg_tag;
END $$;
CREATE EVENT TRIGGER refuse ON ddl_command_start EXECUTE FUNCTION refuse()
"""
TABLES: Final = """
SELECT quote_ident(relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"""
COLUMNS: Final = """
SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''"""
ROWS: Final = "(SELECT string_agg(line::text, '|' ORDER BY ctid) FROM {} AS line)"
SEQUENCES: Final = """
CREATE TEMP TABLE sequences_before AS
SELECT seqrelid, seqstart, pg_sequence_last_value(seqrelid) AS last_value FROM pg_sequence"""
RESTART: Final = """
PERFORM setval(seqrelid, coalesce(last_value, seqstart), last_value IS NOT NULL) FROM sequences_before
WHERE pg_sequence_last_value(seqrelid) IS DISTINCT FROM last_value;"""
END_OTHERS: Final = f"""
PERFORM pg_terminate_backend(pid, 10000) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND application_name <> '{OURS}';"""
CLEAN: Final = "SELECT pg_temp.clean()"

_opened: Final[list["SharedPostgres"]] = []


class _LentPool:
    """A pool of the driver for one test. Closing it waits until its connections are given back, and keeps them open."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._is_closed = False
        self._lent: set[Any] = set()
        self._nothing_lent = asyncio.Event()
        self._nothing_lent.set()
        self.get_size = pool.get_size
        self.get_idle_size = pool.get_idle_size

    async def acquire(self, **limits: float) -> Any:
        """Return a connection that nobody else uses."""
        if self._is_closed:
            raise asyncpg.InterfaceError("pool is closed")
        connection = await self._pool.acquire(**limits)
        self._lent.add(connection)
        self._nothing_lent.clear()
        return connection

    async def release(self, connection: Any) -> None:
        """Take a connection back."""
        await self._pool.release(connection)
        self._lent.discard(connection)
        if not self._lent:
            self._nothing_lent.set()

    async def close(self) -> None:
        """Wait until all connections are given back."""
        self._is_closed = True
        await self._nothing_lent.wait()


class SharedPostgres:
    """A database, its connections, and the event loop on which they live."""

    def __init__(self) -> None:
        self.url = engines.postgres_new()
        self._runner = asyncio.Runner()
        self._context = contextvars.copy_context()
        self._cleaner: Any = None
        self._pools: list[Any] = []
        self.run(self._open())
        atexit.register(self._end)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine until it ends."""
        return run_on(self._runner, in_time(coroutine), self._context)

    @contextlib.contextmanager
    def loop(self) -> Iterator[None]:
        """Let a test use the event loop. At the end, tasks, timers and threads end, as with `asyncio.run`."""
        self._context = contextvars.copy_context()
        loop = self._runner.get_loop()
        with ThreadPoolExecutor(thread_name_prefix="asyncio") as threads:
            loop.set_default_executor(threads)
            try:
                yield
            finally:
                self.run(_end_tasks())
        for timer in list(loop._scheduled):  # type: ignore[attr-defined]
            timer.cancel()

    def clean(self) -> bool:
        """Bring the rows to the state after the migrations. Return whether that and all connections work."""
        if any(pool.get_size() != pool.get_idle_size() for pool in self._pools):
            return False  # a test that has failed did not give one back
        try:
            self.run(self._cleaner.execute(CLEAN))
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            return False  # e.g. a test let PostgreSQL crash
        return True

    def lend(self) -> PostgresDatabase:
        """Return an adapter for one test, which must close it."""
        fast, slow = map(_LentPool, self._pools)
        return PostgresDatabase(fast, slow)

    async def _open(self) -> None:
        self._cleaner = await self._connect_cleaner()
        await self._cleaner.execute(REFUSE)
        for least, most, statement_ms, reply_timeout_s in (
            (1, postgres.POOL_MAX, postgres.STATEMENT_MS, postgres.TIMEOUT_S),
            (0, postgres.SLOW_POOL_MAX, postgres.SLOW_MS, postgres.SLOW_REPLY_TIMEOUT_S),
        ):
            pool = await postgres._create_pool(
                self.url,
                OURS,
                pooled=False,
                min_size=least,
                max_size=most,
                statement_ms=statement_ms,
                reply_timeout_s=reply_timeout_s,
            )
            self._pools.append(pool)

    async def _connect_cleaner(self) -> Any:
        """Connect, with a temporary function that deletes all rows of tests."""
        settings = {"application_name": OURS, "session_replication_role": "replica"}  # without checks of references
        cleaner = await asyncpg.connect(self.url, server_settings=settings)
        deletions, restorations, sizes = [], [], []
        names = [row[0] for row in await cleaner.fetch(TABLES)]
        for number, name in enumerate(names):
            columns = await cleaner.fetchval(COLUMNS, name)
            sizes.append(f"pg_relation_size('{name}')")
            if await cleaner.fetchval(f"SELECT count(*) FROM {name}"):
                await cleaner.execute(f"CREATE TEMP TABLE before_{number} AS TABLE {name}")
                restorations.append(
                    f"IF {ROWS.format(name)} IS DISTINCT FROM {ROWS.format(f'before_{number}')} THEN "
                    f"DELETE FROM {name}; "
                    f"INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM before_{number}; "
                    "END IF;"
                )
            else:
                deletions.append(f"IF pg_relation_size('{name}') > 0 THEN DELETE FROM {name}; END IF;")
        await cleaner.execute(SEQUENCES)
        truncation = f"IF {' + '.join(sizes)} > {LARGE_BYTES} THEN TRUNCATE {', '.join(names)}; ELSE"
        await cleaner.execute(
            f"CREATE FUNCTION pg_temp.clean() RETURNS void LANGUAGE plpgsql AS $clean$ BEGIN {END_OTHERS} {truncation} "
            f"{' '.join(deletions)} END IF; {' '.join(restorations)} {RESTART} END $clean$"
        )
        return cleaner

    def _end(self) -> None:
        for opened in (self._cleaner, *self._pools):
            opened.terminate()
        self._runner.close()


def shared() -> SharedPostgres:
    """Return the database of this process, without rows of other tests."""
    if not _opened or not _opened[-1].clean():
        _opened.append(SharedPostgres())
    return _opened[-1]


async def _end_tasks() -> None:
    """Cancel all other tasks of the loop, and wait for them."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    for error in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(error, Exception):
            raise error
