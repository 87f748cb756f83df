"""The guarantees of `kiai.storage.port` on SQLite and PostgreSQL, and those of each adapter."""

import asyncio
import contextlib
import os
import re
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import asyncpg
import pytest
from sqlalchemy import bindparam, func, literal, literal_column, select, text
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.dialects.postgresql import asyncpg as postgres_dialect
from tests import engines
from tests.conftest import Run
from tests.contract.storage.statements import (
    ADD,
    ADD_OLD_NAME,
    ADD_USER,
    COUNT,
    COUNT_ALL,
    COUNTERS,
    PAGE,
    REMOVE_BELOW,
    REMOVE_USER,
    TOTAL,
    USER_IDS,
    VALUE,
    Counter,
    add,
    add_user,
    count,
)
from tests.patience import patiently

from kiai.errors import Unavailable
from kiai.scores import boards
from kiai.storage import postgres, ready_connections, sqlite
from kiai.storage.compiling import Compiler
from kiai.storage.migrating import migrate, newest
from kiai.storage.port import (
    Database,
    Lane,
    Query,
    Transaction,
    UniqueViolation,
    rows_of,
    scalar,
    version_of,
)
from kiai.storage.sqlite import SqliteDatabase, connect
from kiai.storage.tables import counters, scores


class Oops(Exception):
    """An exception of the body of a transaction."""


# --- reads ----------------------------------------------------------------------------------------------------------


def test_read_sees_everything_committed_before_it(database: Database, run: Run) -> None:
    async def scenario() -> list[int | None]:
        seen = []
        await add(database, plays=0)
        for _ in range(20):
            await count(database, "plays")
            seen.append(await database.one(VALUE, name="plays"))
        return seen

    assert run(scenario()) == list(range(1, 21))


def test_read_sees_commits_of_another_process(database_url: str, run: Run) -> None:
    async def scenario() -> int | None:
        async with engines.opened(database_url) as here, engines.opened(database_url) as there:
            assert await here.one(VALUE, name="plays") is None
            await add(there, plays=7)
            return await here.one(VALUE, name="plays")

    assert run(scenario()) == 7


def test_rows_are_converted_by_the_query_and_in_order(database: Database, run: Run) -> None:
    run(add(database, a=1, b=2, c=3))

    rows = run(database.all(COUNTERS))

    assert rows == [Counter("users", 0), Counter("c", 3), Counter("b", 2), Counter("a", 1)]
    first = database.one(COUNTERS)
    assert run(first) == rows[0]


def test_successful_and_failed_reads_and_transactions_are_timed(database: Database, run: Run) -> None:
    async def fails(tx: Transaction) -> None:
        raise ValueError

    run(add(database, a=1))
    run(database.one(VALUE, name="a"))
    run(database.all(COUNTERS))
    run(database.all(COUNTERS.in_lane(Lane.BOUNDED)))
    with pytest.raises(ValueError):
        run(database.transaction(fails))

    calls = {op: sum(counts[:-1]) for op, counts in database.timings.by_op.items()}
    assert calls == {"read": 3, "write": 2}
    assert all(counts[-1] > 0 for counts in database.timings.by_op.values())


def test_pool_is_in_use_while_a_transaction_runs(database: Database, run: Run) -> None:
    async def scenario() -> list[int]:
        used: list[int] = []

        async def look(tx: Transaction) -> None:
            used.append(database.pool().in_use)
            await tx.one(VALUE, name="users")

        await database.transaction(look)
        await asyncio.sleep(0)
        return [*used, database.pool().in_use]

    assert run(scenario()) == [1, 0]
    assert database.pool().size >= 1


def test_missing_row_is_none_or_an_empty_list(database: Database, run: Run) -> None:
    assert run(database.one(VALUE, name="nothing")) is None
    assert run(database.all(VALUE, name="nothing")) == []


def test_limit_and_offset_can_be_parameters(database: Database, run: Run) -> None:
    run(add(database, a=1, b=2, c=3))

    assert run(database.all(PAGE, limit=2, offset=1)) == ["b", "c"]


def test_bounded_read_in_a_thread_gives_the_same_result(database: Database, run: Run) -> None:
    run(add(database, plays=5))

    assert run(database.one(VALUE.in_lane(Lane.BOUNDED), name="plays")) == 5
    assert run(database.one(VALUE.in_lane(Lane.BOUNDED), name="nothing")) is None
    assert run(database.all(COUNTERS.in_lane(Lane.BOUNDED))) == run(database.all(COUNTERS))


def test_bounded_read_does_not_block_the_event_loop(database: Database, run: Run) -> None:
    up_to = select(literal(1).label("n")).cte("up_to", recursive=True)
    up_to = up_to.union_all(select(up_to.c.n + 1).where(up_to.c.n < 300_000))
    slow: Query[Any] = Query(select(func.count()).select_from(up_to), scalar, lane=Lane.BOUNDED)

    async def scenario() -> tuple[int | None, int]:
        asking = asyncio.ensure_future(database.one(slow))
        turns = 0
        while not asking.done():
            turns += 1
            await asyncio.sleep(0)
        return await asking, turns

    found, turns = run(scenario())
    assert found == 300_000
    assert turns > 20


def test_integers_of_64_bits_are_stored_exactly(database: Database, run: Run) -> None:
    numbers = {"zero": 0, "minus": -1, "beyond_32_bits": 2**31, "most": 2**63 - 1, "least": -(2**63)}
    run(add(database, **numbers))

    assert {name: run(database.one(VALUE, name=name)) for name in numbers} == numbers


TEXTS: Final = ("", "' OR 1=1 --", "100%", "a:b :name", "$1 ? %s", "\\", "日本語 🎵", "a\nb")


def test_any_text_is_only_a_value(database: Database, run: Run) -> None:
    run(add(database, **{text: number for number, text in enumerate(TEXTS)}))

    assert [run(database.one(VALUE, name=text)) for text in TEXTS] == list(range(len(TEXTS)))


def test_text_with_nul_finds_no_row(database: Database, run: Run) -> None:
    run(add(database, ab=1, a=2))

    assert run(database.one(VALUE, name="a\0b")) is None


def test_any_text_can_be_a_constant_of_a_statement(database: Database, run: Run) -> None:
    found = [run(database.one(Query(select(literal(text)), scalar))) for text in TEXTS]

    assert found == list(TEXTS)


# --- transactions ---------------------------------------------------------------------------------------------------


def test_transaction_returns_the_result_of_its_body(database: Database, run: Run) -> None:
    async def body(tx: Transaction) -> str:
        return "done"

    assert run(database.transaction(body)) == "done"


def test_transaction_sees_its_own_changes(database: Database, run: Run) -> None:
    async def body(tx: Transaction) -> tuple[int | None, list[Counter]]:
        await tx.run(ADD, name="a", value=1)
        await tx.run(COUNT, of="a", by=5)
        return await tx.one(VALUE, name="a"), await tx.all(COUNTERS)

    assert run(database.transaction(body)) == (6, [Counter("users", 0), Counter("a", 6)])


def test_run_returns_the_number_of_changed_rows(database: Database, run: Run) -> None:
    run(add(database, a=1, b=2))

    async def body(tx: Transaction) -> list[int]:
        return [
            await tx.run(ADD, name="c", value=30),
            await tx.run(COUNT_ALL),
            await tx.run(COUNT, of="nothing", by=1),
            await tx.run(REMOVE_BELOW, below=10),
            await tx.run(REMOVE_BELOW, below=0),
        ]

    assert run(database.transaction(body)) == [1, 4, 0, 3, 0]


def test_several_reads_at_once(database: Database, run: Run) -> None:
    run(add(database, a=1, b=2))
    text = Query(select(literal("$1 '")), scalar)

    async def body(tx: Transaction) -> list[list[Any]]:
        return await tx.several((VALUE, {"name": "b"}), (text, {}), (COUNTERS, {}), (VALUE, {"name": "none"}))

    expected = [[2], ["$1 '"], [Counter("users", 0), Counter("b", 2), Counter("a", 1)], []]
    assert run(database.transaction(body)) == expected
    assert run(database.several((VALUE, {"name": "b"}), (text, {}), (COUNTERS, {}))) == expected[:3]


def test_commands_that_are_put_off_run_before_the_next_read_and_the_commit(database: Database, run: Run) -> None:
    async def body(tx: Transaction) -> tuple[int | None, int, int | None]:
        await tx.later(ADD, name="a", value=1)
        await tx.later(ADD, name="$1 '", value=2)
        read = await tx.one(VALUE, name="a")
        await tx.later(COUNT, of="a", by=10)
        changed = await tx.run(COUNT, of="users", by=5)
        added = await tx.one(ADD_USER, name="new", email="new@example.org")
        await tx.later(COUNT, of="a", by=100)
        return read, changed, added

    read, changed, added = run(database.transaction(body))

    assert (read, changed) == (1, 1)
    assert added in run(database.all(USER_IDS))
    assert run(database.all(COUNTERS)) == [Counter("users", 5), Counter("a", 111), Counter("$1 '", 2)]


def test_error_of_a_command_that_was_put_off_rolls_back(database: Database, run: Run) -> None:
    async def body(tx: Transaction) -> None:
        await tx.run(COUNT, of="users", by=1)
        await tx.later(ADD, name="users", value=1)

    with pytest.raises(UniqueViolation):
        run(database.transaction(body))

    assert run(database.all(COUNTERS)) == [Counter("users", 0)]
    assert run(count(database, "users")) == 1, "the next transaction works"


def test_rows_that_are_locked_first_are_read_as_they_were_committed_last(database: Database, run: Run) -> None:
    run(add(database, a=0))
    locking = Query(select(counters.c.value).where(counters.c.value >= bindparam("least")).with_for_update(), scalar)

    async def body(tx: Transaction) -> None:
        await tx.lock(locking, least=0)
        value = await tx.one(VALUE, name="a")
        await tx.run(COUNT, of="a", by=1 if value is not None and value < 50 else 0)

    async def scenario() -> None:
        await asyncio.gather(*[database.transaction(body) for _ in range(20)])

    run(scenario())

    assert run(database.one(VALUE, name="a")) == 20


def test_run_many_accepts_any_number_of_rows(database: Database, run: Run) -> None:
    async def body(tx: Transaction) -> None:
        await tx.run_many(ADD, [])
        await tx.run_many(ADD, ({"value": n, "name": f"n{n:04}"} for n in range(1_000)))

    run(database.transaction(body))

    assert run(database.one(TOTAL)) == sum(range(1_000))
    assert run(database.all(PAGE, limit=2, offset=998)) == ["n0998", "n0999"]


def test_error_in_the_body_rolls_back_and_is_raised(database: Database, run: Run) -> None:
    async def body(tx: Transaction) -> None:
        await tx.run(ADD, name="a", value=1)
        await tx.run(COUNT, of="users", by=1)
        raise Oops("no")

    async def scenario() -> list[Counter]:
        with pytest.raises(Oops, match="no"):
            await database.transaction(body)
        return await database.all(COUNTERS)

    assert run(scenario()) == [Counter("users", 0)]
    assert run(count(database, "users")) == 1, "the next transaction works"


def test_reader_never_sees_a_part_of_a_transaction(database: Database, run: Run) -> None:
    run(add(database, a=1_000, b=0))

    async def move(tx: Transaction) -> None:
        await tx.run(COUNT, of="a", by=-1)
        await tx.run(COUNT, of="b", by=1)

    async def move_often() -> None:
        for _ in range(10):
            await database.transaction(move)

    async def scenario() -> set[int | None]:
        moving = asyncio.gather(*(move_often() for _ in range(5)))
        seen = set()
        while not moving.done():
            seen.add(await database.one(TOTAL))
            seen.add(await database.transaction(lambda tx: tx.one(TOTAL)))
            await asyncio.sleep(0)
        await moving
        return seen

    assert run(scenario()) == {1_000}
    assert run(database.one(VALUE, name="b")) == 50


def test_simultaneous_changes_of_one_row_are_all_applied(database: Database, run: Run) -> None:
    async def scenario() -> int | None:
        await asyncio.gather(*(count(database, "users") for _ in range(100)))
        return await database.one(VALUE, name="users")

    assert run(scenario()) == 100


def test_begun_transaction_is_finished_when_its_caller_is_cancelled(database: Database, run: Run) -> None:
    async def scenario() -> int | None:
        asking = asyncio.create_task(count(database, "users"))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        for _ in range(1_000):
            if await database.one(VALUE, name="users"):
                break
            await count(database, "other")
        return await database.one(VALUE, name="users")

    assert run(scenario()) == 1


# --- keys and references --------------------------------------------------------------------------------------------


def test_duplicate_key_raises_and_rolls_back(database: Database, run: Run) -> None:
    run(add(database, a=1))

    async def body(tx: Transaction) -> None:
        await tx.run(ADD, name="b", value=1)
        await tx.run(ADD, name="a", value=2)

    with pytest.raises(UniqueViolation) as taken:
        run(database.transaction(body))

    assert "counters" in taken.value.constraint
    assert run(database.all(PAGE, limit=10, offset=0)) == ["a", "users"]


def test_duplicate_key_error_names_the_constraint(database: Database, run: Run) -> None:
    run(add_user(database, "peppy"))

    with pytest.raises(UniqueViolation, match="safe_name"):
        run(database.transaction(lambda tx: tx.one(ADD_USER, name="peppy", email="other@example.com")))
    with pytest.raises(UniqueViolation, match="email"):
        run(database.transaction(lambda tx: tx.one(ADD_USER, name="other", email="peppy@example.com")))


def test_duplicate_key_error_does_not_contain_the_value(database: Database, run: Run) -> None:
    run(add_user(database, "peppy"))

    with pytest.raises(UniqueViolation) as taken:
        run(database.transaction(lambda tx: tx.one(ADD_USER, name="other", email="peppy@example.com")))

    assert "peppy" not in taken.value.constraint


def test_run_many_with_a_duplicate_key_adds_no_row(database: Database, run: Run) -> None:
    with pytest.raises(UniqueViolation):
        run(
            database.transaction(
                lambda tx: tx.run_many(ADD, [{"name": name, "value": 1} for name in ("a", "b", "users")])
            )
        )

    assert run(database.one(TOTAL)) == 0


def test_one_of_many_simultaneous_inserts_of_a_key_succeeds(database: Database, run: Run) -> None:
    async def scenario() -> list[object]:
        return await asyncio.gather(*(add_user(database, "peppy") for _ in range(20)), return_exceptions=True)

    answers = run(scenario())

    assert sum(isinstance(answer, int) for answer in answers) == 1
    assert sum(isinstance(answer, UniqueViolation) for answer in answers) == 19


def test_players_are_numbered_from_3_and_ids_are_not_reused(database: Database, run: Run) -> None:
    async def scenario() -> list[int]:
        ids = [await add_user(database, "first"), await add_user(database, "second")]
        await database.transaction(lambda tx: tx.run(REMOVE_USER, user_id=ids[-1]))
        return [*ids, await add_user(database, "third")]

    assert run(database.all(USER_IDS)) == [1], "only the bot"
    assert run(scenario()) == [3, 4, 5]


def test_foreign_key_to_a_missing_row_is_rejected(database: Database, run: Run) -> None:
    async def refer(user_id: int) -> int:
        return await database.transaction(lambda tx: tx.run(ADD_OLD_NAME, user_id=user_id))

    with pytest.raises(Exception, match=r"(?i)foreign key") as refused:
        run(refer(99))
    assert not isinstance(refused.value, UniqueViolation)

    assert run(refer(1)) == 1
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        run(database.transaction(lambda tx: tx.run(REMOVE_USER, user_id=1)))


# --- the whole database ---------------------------------------------------------------------------------------------


def test_version_is_the_newest_after_migrations(database: Database, run: Run) -> None:
    assert run(database.version()) == newest()


def test_intact_database_has_no_faults_and_a_size(database: Database, run: Run) -> None:
    assert run(database.faults()) == []
    assert run(database.size_bytes()) > 10_000


def test_changed_reports_commits_of_any_process(database_url: str, run: Run) -> None:
    async def scenario() -> list[bool]:
        seen: list[bool] = []
        async with engines.opened(database_url) as here, engines.opened(database_url) as there:
            await here.changed()
            for database in (here, there):
                await add(database, **{f"of_{len(seen)}": 1})
                seen.append(await here.changed())
        return seen

    assert run(scenario()) == [True, True]


def test_stamp_differs_after_a_commit_of_any_process_or_is_unknown(database_url: str, run: Run) -> None:
    async def scenario() -> list[int | None]:
        async with engines.opened(database_url) as here, engines.opened(database_url) as there:
            stamps = [here.stamp()]
            for database in (here, there):
                await add(database, **{f"of_{len(stamps)}": 1})
                await asyncio.sleep(0)  # reads of one iteration share a snapshot
                stamps.append(here.stamp())
            await asyncio.sleep(0)
            assert here.stamp() == stamps[-1]
            return stamps

    stamps = run(scenario())

    assert stamps == [None] * 3 or len({*stamps}) == 3


def test_a_stamp_belongs_to_the_rows_of_its_iteration(file: SqliteDatabase, run: Run) -> None:
    async def scenario() -> tuple[list[int | None], list[int | None]]:
        await add(file, visits=1)
        await asyncio.sleep(0)
        before = file.stamp()
        with contextlib.closing(sqlite3.connect(file.path, isolation_level=None)) as other:
            other.execute("UPDATE counters SET value = 2 WHERE name = 'visits'")
        same = [before, file.stamp(), await file.one(VALUE, name="visits")]
        await asyncio.sleep(0)
        return same, [file.stamp(), await file.one(VALUE, name="visits")]

    same, later = run(scenario())

    assert (same[0], same[2]) == (same[1], 1)
    assert later[0] != same[0]
    assert later[1] == 2


def test_raw_rows_are_read_later_and_have_a_version(database: Database, run: Run) -> None:
    async def scenario() -> None:
        await add(database, apples=1, pears=2)
        rows = await rows_of(database, COUNTERS)
        assert rows.read() == await database.all(COUNTERS)
        assert version_of(rows) == version_of(await rows_of(database, COUNTERS))

        await database.transaction(lambda tx: tx.run(COUNT, of="pears", by=1))

        assert version_of(rows) != version_of(await rows_of(database, COUNTERS))

    run(scenario())


def test_close_waits_for_running_transactions(database_url: str, run: Run) -> None:
    async def scenario() -> tuple[int, int | None]:
        loop, begun = asyncio.get_running_loop(), asyncio.Event()

        async def body(tx: Transaction) -> int:
            loop.call_soon_threadsafe(begun.set)
            return sum([await tx.run(COUNT, of="users", by=1) for _ in range(100)])

        database = await engines.connect(database_url)
        running = asyncio.create_task(database.transaction(body))
        await begun.wait()
        await database.close()
        async with engines.opened(database_url) as again:
            return await running, await again.one(VALUE, name="users")

    assert run(scenario()) == (100, 100)


# --- constants are part of the SQL ----------------------------------------------------------------------------------

BEST_OF: Final = Query(
    select(scores.c.id)
    .where(scores.c.user_id == bindparam("user_id"), scores.c.mode == bindparam("mode"), scores.c.best_pp == 1)
    .order_by(scores.c.pp.desc(), scores.c.id.desc())
    .limit(bindparam("limit")),
    scalar,
)


def _sqlite_compiler() -> Compiler:
    return Compiler(sqlite_dialect.dialect(paramstyle="named"))


def _postgres_compiler() -> Compiler:
    return Compiler(postgres_dialect.dialect())  # type: ignore[no-untyped-call]


_IN_ORDER: Final = pytest.mark.parametrize(
    ("query", "index", "by"),
    [
        (BEST_OF, "ix_scores_best_of", "user_id"),
        (boards.MODS_BOARD, "ix_scores_mods_board", "map_key"),
        (boards.MODS_PP_BOARD, "ix_scores_mods_pp_board", "map_key"),
    ],
    ids=["bests", "board with mods", "pp board with mods"],
)
"""Statements that walk a partial index in order."""


@_IN_ORDER
def test_sqlite_uses_the_partial_index(tmp_path: Path, query: Query[Any], index: str, by: str) -> None:
    sql = _sqlite_compiler()[query].text

    with contextlib.closing(sqlite3.connect(engines.sqlite_url(tmp_path).removeprefix("sqlite:///"))) as connection:
        names = re.findall(r":(\w+)", sql)
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", dict.fromkeys(names, 1))]

    assert plan[0] == f"SEARCH scores USING INDEX {index} ({by}=? AND mode=?)"
    assert "TEMP B-TREE" not in "\n".join(plan), "found, and not sorted"


@_IN_ORDER
def test_postgresql_uses_the_partial_index(server: str, run: Run, query: Query[Any], index: str, by: str) -> None:
    sql = _postgres_compiler()[query]

    async def scenario() -> str:
        connection = await asyncpg.connect(server)
        try:
            # PostgreSQL scans a small table unless that is disabled.
            await connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off")
            rows = await connection.fetch(f"EXPLAIN {sql.text}", *[1 for _ in sql.positions])
        finally:
            await connection.close()
        return "\n".join(row[0] for row in rows)

    plan = run(scenario())
    assert re.search(rf"Index (Only )?Scan using {index} .*\n *Index Cond: \(.*{by} = ", plan)
    assert "Sort" not in plan


def test_constants_are_rendered_into_the_sql_and_parameters_are_not() -> None:
    query = Query(
        select(counters.c.value)
        .where(counters.c.name == "it's", counters.c.value.in_([1, 2]))
        .limit(bindparam("most")),
        scalar,
    )

    embedded, served = (compiler[query].text for compiler in (_sqlite_compiler(), _postgres_compiler()))

    for sql in (embedded, served):
        assert "counters.name = 'it''s' AND counters.value IN (1, 2)" in sql
    assert "LIMIT :most" in embedded
    assert "LIMIT $1" in served
    assert _postgres_compiler()[query].positions == ("most",)


def test_statement_is_compiled_once() -> None:
    compiler = _sqlite_compiler()

    assert compiler[VALUE] is compiler[VALUE]
    assert len(compiler) == 1


# --- SQLite ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path, run: Run) -> Iterator[SqliteDatabase]:
    """A SQLite database."""
    database = run(engines.connect(engines.sqlite_url(tmp_path)))
    assert isinstance(database, SqliteDatabase)
    yield database
    run(database.close())


def test_body_that_awaits_something_else_raises_and_changes_nothing(file: SqliteDatabase, run: Run) -> None:
    async def body(tx: Transaction) -> None:
        await tx.run(COUNT, of="users", by=1)
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="awaited something other"):
        run(file.transaction(body))

    assert run(file.one(VALUE, name="users")) == 0
    assert run(count(file, "users")) == 1


def test_number_of_waiting_transactions_is_limited(
    file: SqliteDatabase, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sqlite.WAITING_MAX == 1_000
    monkeypatch.setattr(sqlite, "WAITING_MAX", 20)
    go_on = threading.Event()

    async def hold(tx: Transaction) -> int:
        return int(go_on.wait(patiently(5)))

    async def scenario() -> int | None:
        waiting = [asyncio.create_task(file.transaction(hold))]
        waiting += [asyncio.create_task(count(file, "users")) for _ in range(19)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="waiting"):
            await count(file, "users")
        assert await file.one(VALUE, name="users") == 0, "reads do not wait for writers"
        go_on.set()
        await asyncio.gather(*waiting)
        await count(file, "users")
        return await file.one(VALUE, name="users")

    assert run(scenario()) == 20


def test_writer_that_waits_too_long_for_the_lock_raises_unavailable(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "WAIT_S", 0.05)
    path = Path(engines.sqlite_url(tmp_path).removeprefix("sqlite:///"))

    async def scenario() -> int | None:
        database = SqliteDatabase(path)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable, match="database"):
                await count(database, "users")
            assert await database.one(VALUE, name="users") == 0
            other.execute("ROLLBACK")
        await count(database, "users")
        found = await database.one(VALUE, name="users")
        await database.close()
        return found

    assert run(scenario()) == 1


def test_queued_transactions_share_one_time_limit_while_another_process_has_the_lock(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sqlite.WAIT_S == 5.0
    monkeypatch.setattr(sqlite, "WAIT_S", 1.0)
    path = Path(engines.sqlite_url(tmp_path).removeprefix("sqlite:///"))
    failed_after: list[float] = []
    read_within: list[float] = []

    async def write(database: SqliteDatabase) -> None:
        began = perf_counter()
        with pytest.raises(Unavailable, match="database"):
            await count(database, "users")
        failed_after.append(perf_counter() - began)

    async def read(database: SqliteDatabase) -> None:
        for _ in range(50):
            began = perf_counter()
            await asyncio.sleep(0.01)
            await database.one(VALUE, name="users")
            read_within.append(perf_counter() - began)

    async def scenario() -> int | None:
        database = SqliteDatabase(path)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await asyncio.gather(read(database), *(write(database) for _ in range(6)))
            other.execute("ROLLBACK")
        await count(database, "users")
        found = await database.one(VALUE, name="users")
        await database.close()
        return found

    assert run(scenario()) == 1, "a failed transaction is not run later"
    assert len(failed_after) == 6
    assert max(failed_after) < 1.0 + patiently(0.5)
    assert max(read_within) < patiently(0.2)


def test_transaction_without_a_turn_in_time_fails_and_a_long_one_waits(
    file: SqliteDatabase, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "WAIT_S", 0.1)
    go_on = threading.Event()

    async def hold(tx: Transaction) -> int:
        return int(go_on.wait(patiently(5)))

    async def scenario() -> int | None:
        holding = asyncio.create_task(file.transaction(hold, long=True))
        await asyncio.sleep(0)
        job = asyncio.create_task(file.transaction(lambda tx: tx.one(ADD_USER, name="job", email="a@b.c"), long=True))
        with pytest.raises(Unavailable, match="no turn"):
            await count(file, "users")
        go_on.set()
        await asyncio.gather(holding, job)
        return await file.one(VALUE, name="users")

    assert run(scenario()) == 0, "a failed transaction is not run later"
    assert len(run(file.all(USER_IDS))) == 2


def _held(file: SqliteDatabase, *queued: Callable[[Transaction], Awaitable[Any]]) -> Coroutine[Any, Any, list[Any]]:
    """Queue transactions while another one runs. Return their results and errors, and then the number of commits."""
    go_on = threading.Event()
    commits: list[str] = []

    async def hold(tx: Transaction) -> int:
        return int(go_on.wait(patiently(5)))

    async def scenario() -> list[Any]:
        holding = asyncio.create_task(file.transaction(hold))
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(file.transaction(body)) for body in queued]
        await asyncio.sleep(0)
        file._writes.connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
        go_on.set()
        await holding
        results = await asyncio.gather(*waiting, return_exceptions=True)
        file._writes.connection.set_trace_callback(None)
        return [*results, len(commits) - 1]

    return scenario()


def _counts(of: str) -> Callable[[Transaction], Awaitable[int]]:
    return lambda tx: tx.run(COUNT, of=of, by=1)


def test_queued_transactions_share_a_commit_and_one_that_fails_leaves_no_trace(file: SqliteDatabase, run: Run) -> None:
    async def fails(tx: Transaction) -> None:
        await tx.run(COUNT, of="users", by=100)
        raise KeyError("users")

    async def twice(tx: Transaction) -> None:
        await tx.run(COUNT, of="users", by=100)
        for _ in range(2):
            await tx.one(ADD_USER, name="peppy", email="peppy@example.com")

    *results, commits = run(_held(file, _counts("users"), fails, _counts("users"), twice, _counts("users")))

    assert [results[0], results[2], results[4]] == [1, 1, 1]
    assert isinstance(results[1], KeyError)
    assert isinstance(results[3], UniqueViolation)
    assert commits == 1
    assert run(file.one(VALUE, name="users")) == 3
    assert run(file.all(USER_IDS)) == [1]


def test_transactions_that_share_a_commit_need_no_savepoints_unless_one_fails(file: SqliteDatabase, run: Run) -> None:
    savepoints: list[str] = []

    async def watched(tx: Transaction) -> None:
        file._writes.connection.set_trace_callback(lambda sql: savepoints.append(sql) if "SAVEPOINT" in sql else None)

    *_, last = run(_held(file, _counts("users"), watched, _counts("users")))

    assert savepoints == []
    assert last == 0, "the commits were not counted, because the trace was replaced"
    assert run(file.one(VALUE, name="users")) == 2


def test_a_transaction_that_ends_all_of_a_commit_does_not_fail_the_others(file: SqliteDatabase, run: Run) -> None:
    runs: list[int] = []

    async def ends_all(tx: Transaction) -> None:
        runs.append(1)
        await tx.run(COUNT, of="users", by=100)
        file._writes.connection.execute("ROLLBACK")  # as SQLite does when the disk is full
        raise Unavailable("database", "disk full")

    *results, commits = run(_held(file, _counts("users"), ends_all, _counts("users")))

    assert [results[0], results[2]] == [1, 1]
    assert isinstance(results[1], Unavailable)
    assert (commits, len(runs)) == (2, 3), "each ran again, in a savepoint and then alone"
    assert run(file.one(VALUE, name="users")) == 2


def test_no_transaction_succeeds_when_the_commit_that_it_shares_fails(file: SqliteDatabase, run: Run) -> None:
    connection = file._writes.connection

    def forbid_commits(action: int, first: str | None, *_: str | None) -> int:
        return sqlite3.SQLITE_DENY if (action, first) == (sqlite3.SQLITE_TRANSACTION, "COMMIT") else sqlite3.SQLITE_OK

    async def forbid(tx: Transaction) -> None:
        connection.set_authorizer(forbid_commits)

    *results, _ = run(_held(file, _counts("users"), forbid, _counts("users")))
    connection.set_authorizer(None)

    assert [type(result) for result in results] == [sqlite3.DatabaseError] * 3
    assert run(file.one(VALUE, name="users")) == 0
    assert run(count(file, "users")) == 1


def test_one_commit_has_a_limited_number_of_transactions(file: SqliteDatabase, run: Run) -> None:
    *results, commits = run(_held(file, *[_counts("users")] * (2 * sqlite.TOGETHER_MAX + 1)))

    assert results == [1] * (2 * sqlite.TOGETHER_MAX + 1)
    assert commits == 3


def test_long_transaction_is_committed_alone(file: SqliteDatabase, run: Run) -> None:
    async def scenario() -> list[Any]:
        jobs = [file.transaction(_counts("users"), long=number == 1) for number in range(4)]
        return await asyncio.gather(*jobs)

    assert run(scenario()) == [1] * 4
    assert run(file.one(VALUE, name="users")) == 4


def test_commits_are_synced_to_disk(file: SqliteDatabase, run: Run) -> None:
    setting: Query[object] = Query(text("PRAGMA synchronous"), scalar)
    journal: Query[object] = Query(text("PRAGMA journal_mode"), scalar)

    found = run(file.transaction(lambda tx: _both(tx, setting, journal)))

    assert found == (2, "wal"), "FULL: the log is on the disk before a commit returns"


@pytest.mark.parametrize(("serving", "setting"), [(True, 2), (False, 1)])
def test_a_server_keeps_copies_of_pages_in_memory_and_a_command_sorts_in_files(
    tmp_path: Path, run: Run, serving: bool, setting: int
) -> None:
    query: Query[object] = Query(text("PRAGMA temp_store"), scalar)

    async def scenario() -> object:
        database = SqliteDatabase(tmp_path / "new.db", serving=serving)
        found = await database.transaction(lambda tx: tx.one(query))
        await database.close()
        return found

    assert run(scenario()) == setting


def sorted_in(connection: sqlite3.Connection) -> set[Path]:
    """Return the folders of the files in which SQLite sorts more rows than it keeps in memory."""
    connection.execute("PRAGMA cache_size = 100")
    rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) SELECT i FROM n"
    found = connection.execute(f"SELECT hex(randomblob(50)) AS value FROM ({rows}) ORDER BY value")
    next(found)
    open_files = [os.path.realpath(file) for file in Path("/proc/self/fd").iterdir()]
    found.close()
    return {Path(file).parent for file in open_files if "etilqs" in file}


def test_a_command_and_a_migration_sort_in_the_folder_of_the_database(tmp_path: Path) -> None:
    of_migration, of_command = tmp_path / "a server's", tmp_path / "another"
    of_migration.mkdir()
    of_command.mkdir()

    migrate(f"sqlite:///{of_migration / 'kiai.db'}")
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("PRAGMA temp_store = FILE")
        after_migration = sorted_in(connection)
    with contextlib.closing(connect(of_command / "kiai.db")) as connection:
        after_command = sorted_in(connection)

    assert (after_migration, after_command) == ({of_migration}, {of_command})


async def _both(tx: Transaction, first: Query[object], second: Query[object]) -> tuple[object, object]:
    return await tx.one(first), await tx.one(second)


def test_write_outside_a_transaction_is_rejected(file: SqliteDatabase, run: Run) -> None:
    with pytest.raises(Unavailable, match="readonly"):
        run(file.one(ADD_USER, name="peppy", email="peppy@example.com"))

    assert run(file.all(USER_IDS)) == [1]


def test_empty_file_has_no_version(tmp_path: Path, run: Run) -> None:
    async def scenario() -> str | None:
        database = SqliteDatabase(tmp_path / "new.db")
        version = await database.version()
        await database.close()
        return version

    assert run(scenario()) is None


def test_missing_folder_raises_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"none.kiai\.db"):
        SqliteDatabase(tmp_path / "none" / "kiai.db")


def test_broken_foreign_key_is_a_fault(file: SqliteDatabase, run: Run) -> None:
    with contextlib.closing(sqlite3.connect(file.path, isolation_level=None)) as other:
        other.execute("INSERT INTO old_names (user_id, name, safe_name, released_at_ms) VALUES (99, 'x', 'x', 0)")

    [fault] = run(file.faults())

    assert "old_names" in fault
    assert "users" in fault


def test_changed_is_false_without_a_commit(file: SqliteDatabase, run: Run) -> None:
    async def scenario() -> list[bool]:
        return [await file.changed() for _ in range(3)]

    assert run(scenario()) == [True, False, False]


# --- PostgreSQL -----------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[str]:
    """The URL of a PostgreSQL database."""
    with engines.postgres_database() as url:
        yield url


def test_deadlock_is_retried(server: str, run: Run) -> None:
    async def scenario() -> tuple[int, list[Counter]]:
        async with engines.opened(server) as database:
            await add(database, a=0, b=0)
            begun = {"a": asyncio.Event(), "b": asyncio.Event()}
            tries = 0

            async def both(first: str, second: str) -> None:
                async def body(tx: Transaction) -> None:
                    nonlocal tries
                    tries += 1
                    await tx.run(COUNT, of=first, by=1)
                    begun[first].set()
                    await begun[second].wait()  # real bodies must not wait; here each must first lock its row
                    await tx.run(COUNT, of=second, by=1)

                await database.transaction(body)

            await asyncio.gather(both("a", "b"), both("b", "a"))
            return tries, await database.all(COUNTERS)

    tries, rows = run(scenario())
    assert tries >= 3  # the engine may pick a victim twice
    assert rows == [Counter("users", 0), Counter("b", 2), Counter("a", 2)]


def test_repeated_deadlock_raises_unavailable(server: str, run: Run) -> None:
    tries = 0

    async def body(tx: Transaction) -> None:
        nonlocal tries
        tries += 1
        await tx.run(COUNT, of="users", by=1)
        raise asyncpg.DeadlockDetectedError("again")

    async def scenario() -> int | None:
        async with engines.opened(server) as database:
            with pytest.raises(Unavailable, match="database"):
                await database.transaction(body)
            return await database.one(VALUE, name="users")

    assert run(scenario()) == 0
    assert tries == postgres.TRIES_MAX


def test_statement_over_the_time_limit_raises_unavailable_except_in_a_long_transaction(
    server: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_s = patiently(0.1)  # applies to the other statements too
    monkeypatch.setattr(postgres, "STATEMENT_MS", int(limit_s * 1_000))
    slow: Query[object] = Query(select(func.pg_sleep(3 * limit_s), literal_column("1")), lambda _, one: one)

    async def scenario() -> object:
        async with engines.opened(server) as database:
            with pytest.raises(Unavailable, match="statement timeout"):
                await database.one(slow)
            with pytest.raises(Unavailable, match="statement timeout"):
                await database.transaction(lambda tx: tx.one(slow))
            found = await database.transaction(lambda tx: tx.one(slow), long=True)
            with pytest.raises(Unavailable, match="statement timeout"):
                await database.transaction(lambda tx: tx.one(slow))
            return found

    assert run(scenario()) == 1


def test_no_free_connection_in_time_raises_unavailable(server: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> int | None:
        async with engines.opened(server) as database:
            all_begun, go_on = asyncio.Barrier(postgres.POOL_MAX + 1), asyncio.Event()

            async def hold(tx: Transaction) -> None:
                await all_begun.wait()
                await go_on.wait()

            holding = [asyncio.create_task(database.transaction(hold)) for _ in range(postgres.POOL_MAX)]
            async with asyncio.timeout(patiently(10)):
                await all_begun.wait()
            monkeypatch.setattr(ready_connections, "ACQUIRE_TIMEOUT_S", 0.1)
            with pytest.raises(Unavailable, match="database"):
                await database.one(VALUE, name="users")
            monkeypatch.undo()
            go_on.set()
            await asyncio.gather(*holding)
            return await database.one(VALUE, name="users")

    assert run(scenario()) == 0


def test_dropped_connections_are_replaced(server: str, run: Run) -> None:
    async def scenario() -> list[object]:
        async with engines.opened(server) as database:
            await asyncio.gather(*(database.one(VALUE, name="users") for _ in range(5)))
            other = await asyncpg.connect(server)
            await other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            await other.close()
            answers: list[object] = []
            for _ in range(postgres.POOL_MAX):
                try:
                    answers.append(await database.one(VALUE, name="users"))
                except Unavailable as error:
                    answers.append(error)
            return answers

    answers = run(scenario())
    assert answers[-1] == 0


def test_missing_server_raises_unavailable_without_the_password(tmp_path: Path, run: Run) -> None:
    with pytest.raises(Unavailable) as refused:
        run(engines.connect(f"postgresql://kiai:hunter2@/kiai?host={tmp_path}"))

    assert refused.value.part == "database"
    assert "hunter2" not in str(refused.value)


def test_empty_database_has_no_version(run: Run) -> None:
    async def scenario(url: str) -> str | None:
        async with engines.opened(url) as database:
            return await database.version()

    with engines.postgres_database(empty=True) as url:
        assert run(scenario(url)) is None
