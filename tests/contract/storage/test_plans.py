"""Every statement of the package is found by an index, or says why it reads a table that grows from end to end."""

import asyncio
import importlib
import json
import pkgutil
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec
import pytest
from sqlalchemy import (
    Alias,
    Double,
    Integer,
    LargeBinary,
    Table,
    UniqueConstraint,
    bindparam,
    select,
    update,
)
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.dialects.postgresql import asyncpg as postgres_dialect
from sqlalchemy.sql import visitors
from tests import engines

import kiai
from kiai.storage.compiling import Compiler
from kiai.storage.port import Command, Lane, Query, only
from kiai.storage.tables import mail, metadata, scores, users

SMALL: Final = {
    "channels": "staff makes them",
    "pools": "staff makes them",
    "pool_picks": "staff makes them",
    "shared_devices": "staff names them",
    "claim_codes": "a handful, for an hour",
    "counters": "one row a name in the code",
    "versions": "one row a name in the code",
    "progress": "one row a job",
    "outbox": "emptied four times a second; a server that is behind delivers the oldest rows first",
    "tasks": "one row a job that has begun, gone when it is done",
    "stale_totals": "profiles that wait for their totals, gone when they have them; read a bounded number at a time",
}
"""Tables that do not grow with players and plays."""
SMALL_INDEXES: Final = {
    "ix_users_developers": "the owners of the server",
    "ix_reports_open": "reports that staff has yet to close, bounded by `OPEN_MAX`",
}
"""Partial indexes that hold few rows of a table that grows."""

_SCAN: Final = re.compile(r"SCAN (?P<name>\S+)(?: USING (?:COVERING )?INDEX (?P<index>\S+))?$")
_RANGE: Final = re.compile(
    r"SEARCH (?P<name>\S+) USING (?:INTEGER PRIMARY KEY|(?:COVERING )?INDEX \S+) \((?:rowid|id)[<>]\?\)"
)
_AUTOMATIC: Final = re.compile(r"SEARCH (?P<name>\S+) USING AUTOMATIC ")

Statement = Query[Any] | Command


def statements_in(value: object, name: str) -> Iterator[tuple[str, Statement]]:
    """The statements that a value holds, by where they are."""
    if isinstance(value, Query | Command):
        yield name, value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from statements_in(one, f"{name}[{key!r}]")
    elif isinstance(value, tuple | list | set | frozenset):
        for at, one in enumerate(value):
            yield from statements_in(one, f"{name}[{at}]")
    elif isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            yield from statements_in(getattr(value, field), f"{name}.{field}")


def statements() -> dict[str, Statement]:
    """Every statement at the level of a module of the package, once."""
    found: dict[int, tuple[str, Statement]] = {}
    for module in pkgutil.walk_packages(kiai.__path__, "kiai."):
        if ".migrations" in module.name or module.name.endswith("__main__"):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            for where, one in statements_in(value, f"{module.name}.{name}"):
                found.setdefault(id(one), (where, one))
    return dict(found.values())


def growing(statement: Statement) -> dict[str, str]:
    """Tables that grow by the names they have in the statement."""
    named = {name: name for name in metadata.tables}
    for element in visitors.iterate(statement.statement):  # type: ignore[arg-type]
        if isinstance(element, Alias) and isinstance(element.element, Table):
            named[element.name] = element.element.name
    return {name: table for name, table in named.items() if table not in SMALL}


class SqlitePlans:
    """What SQLite would do; its plans name no cost, so an empty database shows them as a full one does."""

    def __init__(self, url: str) -> None:
        self._connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        self._sql = Compiler(sqlite_dialect.dialect(paramstyle="named"))

    def scans(self, statement: Statement) -> list[str]:
        """The steps that read a growing table from end to end."""
        text = self._sql[statement].text
        params = dict.fromkeys(re.findall(r":(\w+)", text), 1)
        steps = [row[3] for row in self._connection.execute(f"EXPLAIN QUERY PLAN {text}", params)]
        tables = growing(statement)
        found = []
        for step in steps:
            match = _SCAN.match(step) or _RANGE.match(step) or _AUTOMATIC.match(step)
            if match and match["name"] in tables and match.groupdict().get("index") not in SMALL_INDEXES:
                found.append(step)
        return found

    def close(self) -> None:
        self._connection.close()


ROWS: Final = 10_000


def filled(table: Table) -> str:
    """The statement that gives a table many rows of PostgreSQL: each refers to one of each other table."""
    alone = {column.name for column in table.primary_key} | {
        column.name
        for constraint in table.constraints
        if isinstance(constraint, UniqueConstraint)
        for column in constraint.columns
    }
    alone |= {column.name for column in table.columns if column.unique}
    alone |= {column.name for index in table.indexes if index.unique for column in index.columns}
    values = {}
    for column in table.columns:
        if column.name == "current" or (column.name == "kind" and table.name == "relationships"):
            values[column.name] = "1"
        elif column.foreign_keys or (isinstance(column.type, Integer) and column.name in alone):
            values[column.name] = "n"
        elif isinstance(column.type, Integer | Double):
            values[column.name] = "n % 8"
        elif isinstance(column.type, LargeBinary):
            values[column.name] = "decode(md5(n::text), 'hex')"
        else:
            length = getattr(column.type, "length", None) or 32
            values[column.name] = f"right(md5(n::text), {min(length, 32)})" if length > 4 else "'xx'"
    names = ", ".join(f'"{name}"' for name in values)
    return (
        f"INSERT INTO {table.name} ({names}) OVERRIDING SYSTEM VALUE"
        f" SELECT {', '.join(values.values())} FROM generate_series(100, {ROWS}) n ON CONFLICT DO NOTHING"
    )


class PostgresPlans:
    """What PostgreSQL would do with many rows, if reading or joining whole tables cost more than any index."""

    SETTINGS: Final = ("seqscan", "hashjoin", "mergejoin")

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._connection: Any = self._runner.run(asyncpg.connect(url))
        self._sql = Compiler(postgres_dialect.dialect())  # type: ignore[no-untyped-call]
        for table in metadata.sorted_tables:
            if table.name not in SMALL:
                self._runner.run(self._connection.execute(filled(table)))
        self._runner.run(self._connection.execute("ANALYZE"))
        for name in self.SETTINGS:
            self._runner.run(self._connection.execute(f"SET enable_{name} = off"))
        self._runner.run(self._connection.execute("SET plan_cache_mode = force_generic_plan"))

    def scans(self, statement: Statement) -> list[str]:
        """The nodes that read a growing table from end to end."""
        plan = self._runner.run(self._plan(statement))
        return [
            f"{node['Node Type']} on {node['Relation Name']} {node.get('Index Name', '')}".strip()
            for node in nodes(plan)
            if node.get("Relation Name", "outbox") not in SMALL
            and (node["Node Type"] == "Seq Scan" or ("Index Name" in node and "Index Cond" not in node))
            and node.get("Index Name") not in SMALL_INDEXES
        ]

    async def _plan(self, statement: Statement) -> Any:
        sql = self._sql[statement]
        await self._connection.execute(f"PREPARE asked AS {sql.text}")
        try:
            values = f"({', '.join(['NULL'] * len(sql.positions))})" if sql.positions else ""
            found = await self._connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE asked {values}")
        finally:
            await self._connection.execute("DEALLOCATE asked")
        return json.loads(found)[0]["Plan"]

    def close(self) -> None:
        self._runner.run(self._connection.close())
        self._runner.close()


def nodes(plan: Any) -> Iterator[Any]:
    """A node and all below it."""
    yield plan
    for one in plan.get("Plans", ()):
        yield from nodes(one)


@pytest.fixture(scope="module")
def every() -> dict[str, Statement]:
    """Every statement by where it is."""
    return statements()


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, SqlitePlans | PostgresPlans]]:
    """What each engine would do."""
    folder: Path = tmp_path_factory.mktemp("plans")
    with engines.fresh("sqlite", folder) as sqlite_url, engines.fresh("postgresql", folder) as postgres_url:
        sqlite, postgres = SqlitePlans(sqlite_url), PostgresPlans(postgres_url)
        yield {"sqlite": sqlite, "postgresql": postgres}
        postgres.close()
        sqlite.close()


def test_the_statements_of_all_subjects_are_found(every: dict[str, Statement]) -> None:
    subjects = {name.split(".")[1] for name in every}

    assert {"accounts", "beatmaps", "chat", "clans", "multiplayer", "scores", "staff", "storage"} <= subjects
    assert "kiai.scores.boards._BY_SCORE[<Kind.GLOBAL: 1>].page" in every
    assert SMALL.keys() <= metadata.tables.keys()


@pytest.mark.parametrize("engine", engines.ENGINES)
def test_no_statement_reads_a_growing_table_from_end_to_end_unless_it_says_why(
    engine: str, every: dict[str, Statement], plans: dict[str, SqlitePlans | PostgresPlans]
) -> None:
    found = {name: plans[engine].scans(one) for name, one in every.items() if one.scans is None}

    assert {name: steps for name, steps in found.items() if steps} == {}


def test_a_reason_stands_only_where_it_is_needed(
    every: dict[str, Statement], plans: dict[str, SqlitePlans | PostgresPlans]
) -> None:
    marked = {name: one for name, one in every.items() if one.scans is not None}

    assert marked
    assert [name for name, one in marked.items() if not any(plan.scans(one) for plan in plans.values())] == []


_other = scores.alias("other")
SCANNING: Final[Sequence[Statement]] = (
    Query(select(users.c.id).where(users.c.userpage_content == bindparam("text")), only),
    Query(
        select(scores.c.id).where(scores.c.client_flags == bindparam("flags")).order_by(scores.c.id.desc()).limit(50),
        only,
    ),
    Query(
        select(scores.c.id)
        .where(scores.c.client_flags == bindparam("flags"), scores.c.id > bindparam("after"))
        .order_by(scores.c.id)
        .limit(50),
        only,
    ),
    Query(select(_other.c.id).where(_other.c.grade == bindparam("grade")), only),
    Query(select(mail.c.id).where(mail.c.text == bindparam("text")), only),
    Command(update(users).where(users.c.email.like(bindparam("text"))).values(clan_id=0)),
)


@pytest.mark.parametrize("at", range(len(SCANNING)))
def test_a_scan_is_seen(at: int, plans: dict[str, SqlitePlans | PostgresPlans]) -> None:
    assert plans["sqlite"].scans(SCANNING[at]) != []
    if at != 2:  # PostgreSQL calls a range of keys an index condition
        assert plans["postgresql"].scans(SCANNING[at]) != []


def test_song_select_submissions_and_profiles_have_no_slow_read(every: dict[str, Statement]) -> None:
    slow = {name for name, one in every.items() if isinstance(one, Query) and one.lane is Lane.SLOW}

    modules = {name.partition("[")[0].rpartition(".")[0] for name in slow}
    assert modules == {
        "kiai.accounts.listing",
        "kiai.accounts.queries",
        "kiai.beatmaps.listing",
        "kiai.beatmaps.searching",
        "kiai.clans.service",
        "kiai.scores.listing",
        "kiai.scores.queries",
        "kiai.scores.statements",
    }
    by_name = {name for name in slow if name.startswith(("kiai.accounts.queries", "kiai.scores.statements"))}
    assert by_name == {
        "kiai.accounts.queries.SEARCH",
        "kiai.accounts.queries.SEARCH_USERS",
        "kiai.accounts.queries.SEARCH_COUNT",
        "kiai.scores.statements.RANKS_COUNTED",  # ranks, while the shared state is away
        "kiai.scores.statements.RANKED_COUNTED",
        "kiai.scores.statements.RANKED_IN_COUNTRY_COUNTED",
    }
    counts = {name for name in slow if name.startswith("kiai.scores.queries")}
    assert all("COUNT" in name for name in counts), counts
