"""The database as the subjects see it: prepared queries in, Structs out, short transactions.

A statement is built once with SQLAlchemy Core, at import, and compiled once per dialect by the adapter that first runs
it. Constants inside a statement are rendered into the SQL (so that partial indexes match); what changes from call to
call is a `bindparam` and is passed by keyword.

Promises, the same on every adapter (tests/contract/storage holds them):
- a read sees everything committed before it was asked;
- a transaction is all or nothing, and no other transaction's writes appear inside it half-way;
- its body awaits nothing but its own `Transaction`: on SQLite the body runs in the writer thread from start to end, on
  PostgreSQL it may be run again after a deadlock or serialization failure, so it changes nothing but rows;
- an engine that does not answer in time raises `Unavailable("database")`; a unique key that is taken raises `Taken`.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar

import msgspec
from sqlalchemy.sql import Executable

from kiai.errors import KiaiError
from kiai.measuring import Pool, Timings

R = TypeVar("R")
T = TypeVar("T")

Value = int | float | str | bytes | None


class Taken(KiaiError):
    """A row with this unique key exists already; `constraint` is the engine's words for which."""

    def __init__(self, constraint: str) -> None:
        super().__init__(constraint)
        self.constraint = constraint


class Lane(Enum):
    """How much a read may cost, and so where it runs. No lane waits for another (inside a transaction none matters).

    - `LOOP`: microseconds, by an index. SQLite runs it on the event loop.
    - `ASIDE`: milliseconds, bounded by an index and a LIMIT: what song select, submissions and profiles read.
    - `SLOW`: as much as the caller chooses, as a deep page or a search does. Callers take turns, few may wait, and a
      statement that takes longer than the adapter's `SLOW_S` ends with `TooSlow`.
    - `JOB`: everything there is, for as long as it takes: proofs, recalculation. Never on the path of a request.
    """

    LOOP = "loop"
    ASIDE = "aside"
    SLOW = "slow"
    JOB = "job"


class Query(Generic[R]):
    """A statement that answers with rows, and what each row becomes.

    `row` is called with the columns in order (a Struct, or any callable). `scans` is the reason why the statement may
    read a whole table that grows; without one a test refuses it.
    """

    __slots__ = ("lane", "row", "scans", "statement")

    def __init__(
        self, statement: Executable, row: Callable[..., R], *, lane: Lane = Lane.LOOP, scans: str | None = None
    ) -> None:
        self.statement = statement
        self.row = row
        self.lane = lane
        self.scans = scans

    def at(self, lane: Lane) -> "Query[R]":
        """The same query in another lane."""
        return Query(self.statement, self.row, lane=lane, scans=self.scans)


class Command:
    """A statement that changes rows and answers with how many. `scans` as for `Query`."""

    __slots__ = ("scans", "statement")

    def __init__(self, statement: Executable, *, scans: str | None = None) -> None:
        self.statement = statement
        self.scans = scans


def only(value: Any) -> Any:
    """The row callable of a query with one column: the value itself."""
    return value


class Reader(Protocol):
    """What both the database and a transaction can answer."""

    async def one(self, query: Query[R], **params: Value) -> R | None:
        """The first row, or None."""
        ...

    async def all(self, query: Query[R], **params: Value) -> list[R]:
        """Every row. The statement bounds how many."""
        ...


class Transaction(Reader, Protocol):
    """What the body of a transaction may do."""

    async def run(self, command: Command, **params: Value) -> int:
        """Changes rows; how many."""
        ...

    async def many(self, command: Command, rows: Iterable[Mapping[str, Value]]) -> None:
        """The same command for each of many rows."""
        ...


class Database(Reader, Protocol):
    """The port; adapters are `sqlite.SqliteDatabase` and `postgres.PostgresDatabase`.

    `timings`: how long it took to `read` and to `write` (a transaction), waiting for a turn included.
    """

    timings: Timings

    def pool(self) -> Pool:
        """The connections, or the writer thread."""
        ...

    async def transaction(self, body: Callable[[Transaction], Awaitable[T]], *, long: bool = False) -> T:
        """Runs `body` and commits; any exception from it rolls everything back and is raised again.

        `long` lifts the engine's limit on the time of one statement: for jobs, never on a request path.
        """
        ...

    async def version(self) -> str | None:
        """The schema revision of the database, or None when it has none yet."""
        ...

    async def faults(self) -> list[str]:
        """References that lead nowhere, as far as the engine finds them; empty when all is well. Slow.

        Raises Damaged when the engine cannot read its own files.
        """
        ...

    async def size_bytes(self) -> int:
        """How much room the database takes."""
        ...

    async def checkpoint(self) -> None:
        """Bounds the engine's write-ahead log where the engine does not do so by itself. A job's work."""
        ...

    async def changed(self) -> bool:
        """Whether anybody (this or another process) has committed since the last call; True when that is unknown."""
        ...

    async def close(self) -> None:
        """Finishes what runs and lets go of the engine."""
        ...


def columns_for(struct: type[msgspec.Struct], table: Any) -> list[Any]:
    """The columns of `table` that are named like the fields of the Struct, in the Struct's order."""
    return [table.c[name] for name in struct.__struct_fields__]
