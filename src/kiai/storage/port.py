"""The `Database` port: prepared queries, rows as Structs, short transactions.

A statement is built once at import with SQLAlchemy Core. Each adapter compiles it once, on first use. Constants in a
statement are rendered into the SQL, so that partial indexes match; values that change from call to call are
`bindparam`s and are passed by keyword.

All adapters guarantee the following (tests/contract/storage):
- A read sees everything that was committed before the call.
- A transaction is atomic, and other transactions see all or none of its writes.
- The body of a transaction awaits only its own `Transaction`. SQLite runs the body in the writer thread from start to
  end. It may run again: on SQLite after a failure of one that shares its commit, on PostgreSQL after a deadlock or
  serialization failure. So it must change nothing except rows.
- An engine that does not answer in time raises `Unavailable("database")`. A duplicate key raises `UniqueViolation`.
"""

import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import Enum
from itertools import starmap
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

import msgspec
from sqlalchemy import BindParameter, bindparam
from sqlalchemy.sql import Executable

from kiai.errors import KiaiError
from kiai.measuring import PoolUsage, Timings

if TYPE_CHECKING:
    from kiai.storage.slow_statements import SlowStatements

R = TypeVar("R")
T = TypeVar("T")

Subject = int | str
"""The subject of rows: the id of a player (the account, scores and stats), or the md5 of a map (plays and passes)."""

Value = int | float | str | bytes | None
RawRow = tuple[Value, ...]
Read = tuple["Query[Any]", Mapping[str, Value]]
"""A query and its parameters."""


class UniqueViolation(KiaiError):
    """A row with this unique key exists already. `constraint` names the key as the engine reports it."""

    def __init__(self, constraint: str) -> None:
        super().__init__(constraint)
        self.constraint = constraint


class Lane(Enum):
    """The cost class of a read, which decides where it runs. No lane waits for another.

    A transaction ignores the lanes of its queries.

    - `LOOP`: microseconds, by an index. SQLite runs it on the event loop.
    - `BOUNDED`: milliseconds, bounded by an index and a LIMIT, e.g. the reads of song select, submissions and profiles.
    - `SLOW`: the request decides the cost, e.g. a deep page or a search. Callers take turns, the queue is short, and a
      statement that exceeds the time limit of the adapter ends with `TooSlow`.
    - `JOB`: whole tables without a time limit, e.g. checks and recalculation. Never used by a request.
    """

    LOOP = "loop"
    BOUNDED = "bounded"
    SLOW = "slow"
    JOB = "job"


class Query(Generic[R]):
    """A statement that returns rows.

    `row` converts each row; it is called with the columns in order (a Struct, or any callable). `scans` is the reason
    why the statement may read a whole growing table; a test rejects such statements without a reason. `module` and
    `line` are the place of its definition.
    """

    __slots__ = ("_in_lanes", "_raw", "changes", "lane", "line", "module", "row", "scans", "statement")

    def __init__(
        self, statement: Executable, row: Callable[..., R], *, lane: Lane = Lane.LOOP, scans: str | None = None
    ) -> None:
        self.statement = statement
        self.row = row
        self.lane = lane
        self.scans = scans
        self.changes = bool(getattr(statement, "is_dml", False))  # it has RETURNING
        self._in_lanes: dict[Lane, Query[R]] = {}
        self._raw: Query[RawRow] | None = None
        self.module, self.line = _caller()

    @property
    def raw(self) -> "Query[RawRow]":
        """This query in the same lane, with rows as the engine returns them."""
        if self._raw is None:  # one object, as in `in_lane`
            self._raw = Query(self.statement, as_it_is, lane=self.lane, scans=self.scans)
            self._raw.module, self._raw.line = self.module, self.line
        return self._raw

    def in_lane(self, lane: Lane) -> "Query[R]":
        """Return this query for another lane."""
        # Adapters compile by identity, so each lane has one object that lives as long as the query.
        if lane not in self._in_lanes:
            other = self._in_lanes[lane] = Query(self.statement, self.row, lane=lane, scans=self.scans)
            other.module, other.line = self.module, self.line
        return self._in_lanes[lane]


class Command:
    """A statement that changes rows and returns their number. `scans`, `module` and `line` as in `Query`."""

    __slots__ = ("line", "module", "scans", "statement")

    def __init__(self, statement: Executable, *, scans: str | None = None) -> None:
        self.statement = statement
        self.scans = scans
        self.module, self.line = _caller()


def _caller() -> tuple[str, int]:
    """Return the module and the line that create a statement."""
    frame = sys._getframe(2)
    return frame.f_globals["__name__"], frame.f_lineno


def scalar(value: Any) -> Any:
    """Return the value: the `row` of a query with one column."""
    return value


def as_it_is(*row: Value) -> RawRow:
    """Return the row: the `row` of a query whose rows are read later, see `RawRows`."""
    return row


class RawRows(Generic[R]):
    """The rows of a query as the engine returned them, which are read only if their values are needed."""

    __slots__ = ("_row", "raw")

    def __init__(self, raw: list[RawRow], row: Callable[..., R]) -> None:
        self.raw = raw
        self._row = row

    def __len__(self) -> int:
        return len(self.raw)

    def read(self) -> list[R]:
        """Return the rows as the query converts them."""
        return list(starmap(self._row, self.raw))


async def rows_of(reader: "RowReader", query: Query[R], **params: Value) -> RawRows[R]:
    """Return the rows of a query unread."""
    return RawRows(await reader.all(query.raw, **params), query.row)


_ENCODER: Final = msgspec.msgpack.Encoder()


def version_of(*parts: object) -> bytes:
    """Return bytes that differ whenever a value in these Structs, rows or `RawRows` differs.

    PERF: 0.3 us for a row, 8 us for 25 rows of 40 columns. Reading and encoding them as JSON takes 150 us.
    """
    return _ENCODER.encode([part.raw if isinstance(part, RawRows) else part for part in parts])


class RowReader(Protocol):
    """The reads that a database and a transaction have in common.

    `reads_ahead`: a statement is a round trip, so rows that may be needed are better read together with others.
    """

    reads_ahead: bool

    async def one(self, query: Query[R], **params: Value) -> R | None:
        """Return the first row, or None."""
        ...

    async def all(self, query: Query[R], **params: Value) -> list[R]:
        """Return all rows. The statement must bound their number."""
        ...

    async def several(self, *reads: Read) -> list[list[Any]]:
        """Return the rows of each query, as `all` does.

        PostgreSQL reads them in one round trip and one snapshot, always from the primary.
        """
        ...


class Transaction(RowReader, Protocol):
    """The reads and writes of the body of a transaction."""

    async def lock(self, query: Query[Any], **params: int) -> None:
        """Lock the rows of a SELECT ... FOR UPDATE until the end of the transaction, without reading them.

        As the first statement it begins the transaction in the same round trip. A transaction of SQLite has all locks
        from its beginning, so it does nothing there.
        """
        ...

    async def later(self, command: Command, **params: Value) -> None:
        """Run the command together with the next one, or before the next read or the commit.

        PostgreSQL runs commands that were put off and the next `run`, or `one` and `all` with RETURNING, in one round
        trip and on one snapshot. None of them may depend on another, or change the same row. An error of the command is
        raised then.
        """
        ...

    async def run(self, command: Command, **params: Value) -> int:
        """Run the command. Return the number of changed rows."""
        ...

    async def run_many(self, command: Command, rows: Iterable[Mapping[str, Value]]) -> None:
        """Run the command once for each element of `rows`."""
        ...


class Database(RowReader, Protocol):
    """The port; adapters are `sqlite.SqliteDatabase` and `postgres.PostgresDatabase`.

    `timings` has the durations of each `read` and `write` (a transaction), including the time in a queue. `slow` gets
    the statements that take longer than its limit.
    """

    timings: Timings
    slow: "SlowStatements"

    def pool(self) -> PoolUsage:
        """Return the usage of the connections (PostgreSQL) or of the writer thread (SQLite)."""
        ...

    def slow_reads(self) -> PoolUsage:
        """Return the usage of `Lane.SLOW` and the number of reads that wait for it."""
        ...

    async def transaction(self, body: Callable[[Transaction], Awaitable[T]], *, long: bool = False) -> T:
        """Run `body` and commit. An exception rolls everything back and is raised again.

        `long` removes the time limit of statements. Jobs use it; requests must not.
        """
        ...

    async def version(self) -> str | None:
        """Return the schema revision, or None for a database without schema."""
        ...

    async def faults(self) -> list[str]:
        """Return broken foreign keys, as far as the engine can find them. Slow: reads the whole database.

        Raises Damaged when the engine cannot read its own files.
        """
        ...

    async def explain(self, text: str) -> list[str]:
        """Return the rows of the engine's plan of a statement in its dialect, for any values of its parameters.

        Does not run the statement, and uses no connection that requests wait for.
        """
        ...

    async def size_bytes(self) -> int:
        """Return the size of the database on disk, in bytes."""
        ...

    async def checkpoint(self) -> None:
        """Truncate the write-ahead log where the engine does not do so itself. A job calls this."""
        ...

    async def changed(self) -> bool:
        """Return whether any process has committed since the last call; True when the engine cannot tell."""
        ...

    def stamp(self) -> int | None:
        """Return a number that differs after every commit of any process, or None when the engine cannot tell at once.

        A caller that reads it before and after its reads, and gets the same number, has read one state of all tables.
        """
        ...

    def mark(self) -> int | None:
        """Return the mark of the state that reads see now, for `is_untouched`, or None when it has none.

        A state has the mark if it has the same stamp as one that had it.
        """
        ...

    def is_untouched(self, subjects: Iterable[Subject], mark: int) -> bool:
        """Return whether certainly no commit of any process has touched the subjects since the state with the mark."""
        ...

    async def close(self) -> None:
        """Finish what is running and close all connections."""
        ...


def columns_for(struct: type[msgspec.Struct], table: Any) -> list[Any]:
    """Return the columns of `table` with the names of the Struct's fields, in the order of the fields."""
    return [table.c[name] for name in struct.__struct_fields__]


def new_values(*columns: str) -> dict[str, BindParameter[Any]]:
    """Return the values of an UPDATE of these columns. The parameter of a column is `new_` and its name.

    SQLAlchemy reserves the names of the columns themselves in an UPDATE.
    """
    return {name: bindparam(f"new_{name}") for name in columns}
