"""Each statement of the package uses an index, or has a reason to read a whole growing table."""

import ast
import asyncio
import importlib
import json
import pkgutil
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec
import pytest
from sqlalchemy import (
    Alias,
    Delete,
    Double,
    Integer,
    LargeBinary,
    Table,
    UniqueConstraint,
    bindparam,
    func,
    select,
    update,
)
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.dialects.postgresql import asyncpg as postgres_dialect
from sqlalchemy.schema import ExecutableDDLElement
from sqlalchemy.sql import visitors
from tests import engines
from tests.patience import patiently

import kiai
from kiai.storage.compiling import Compiler
from kiai.storage.port import Command, Lane, Query, scalar
from kiai.storage.tables import logins, mail, metadata, scores, users

SMALL: Final = {
    "channels": "staff makes them",
    "pools": "staff makes them",
    "pool_picks": "staff makes them",
    "shared_devices": "staff names them",
    "claim_codes": "a handful, for an hour",
    "shared_certificates": "one row a domain",
    "faq": "up to 200 texts of the operator",
    "chat_filters": "up to 200 patterns of the operator",
    "counters": "one row a name in the code",
    "pp_records": "one row a mode",
    "switches": "one row a name in the code",
    "address_blocks": "staff blocks them, up to 1,000",
    "versions": "one row a name in the code",
    "webhooks": "the operator adds them, up to 32",
    "progress": "one row a job",
    "country_totals": "one row a country and mode, written again by a job",
    "outbox": "emptied four times a second; a server that is behind delivers the oldest rows first",
    "uptime_days": "one row a day, for 90 days",
    "medal_holders": "one row a medal",
    "tasks": "one row a job that has begun, gone when it is done",
    "stale_totals": "profiles that wait for their totals, gone when they have them; read a bounded number at a time",
}
"""Tables whose size does not depend on the number of players and plays."""
SMALL_INDEXES: Final = {
    "ix_users_developers": "the owners of the server",
    "ix_exports_waiting": "exports that are not written yet, one for each player who asked",
    "ix_reports_open": "reports that staff has yet to close, bounded by `OPEN_MAX`",
}
"""Partial indexes with only a few rows of a growing table."""

_SCAN: Final = re.compile(r"SCAN (?P<name>\S+)(?: USING (?:COVERING )?INDEX (?P<index>\S+))?$")
_RANGE: Final = re.compile(
    r"SEARCH (?P<name>\S+) USING (?:INTEGER PRIMARY KEY|(?:COVERING )?INDEX \S+) \((?:rowid|id)[<>]\?\)"
)
_AUTOMATIC: Final = re.compile(r"SEARCH (?P<name>\S+) USING AUTOMATIC ")

Statement = Query[Any] | Command


def statements_in(value: object, name: str) -> Iterator[tuple[str, Statement]]:
    """Yield the statements in a value, with their paths."""
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
    elif type(value).__module__.startswith("kiai."):
        for attribute, one in getattr(value, "__dict__", {}).items():
            yield from statements_in(one, f"{name}.{attribute}")


def statements() -> dict[str, Statement]:
    """Return all module-level statements of the package by path, each one once."""
    found: dict[int, tuple[str, Statement]] = {}
    for module in pkgutil.walk_packages(kiai.__path__, "kiai."):
        if ".migrations" in module.name or module.name.endswith("__main__"):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            for where, one in statements_in(value, f"{module.name}.{name}"):
                if not isinstance(one.statement, ExecutableDDLElement):  # it has no plan
                    found.setdefault(id(one), (where, one))
    return dict(found.values())


PACKAGE: Final = Path(kiai.__file__).parent
OVERLOOKED: Final = """
import gc
from tests.contract.storage import test_plans

found = [*test_plans.statements().values(), *test_plans.SCANNING, test_plans.EVERY_LOGIN_AT]
known = {id(one) for one in found} | {id(one) for query in found for one in getattr(query, "_in_lanes", {}).values()}
for one in gc.get_objects():
    is_statement = type(one) in (test_plans.Query, test_plans.Command)
    if is_statement and id(one) not in known and not isinstance(one.statement, test_plans.ExecutableDDLElement):
        print(one.statement)
"""
"""A program that prints the statements that exist after all modules are imported and `statements` does not return."""
MADE_AT_IMPORT: Final = {
    ("accounts/sanctions.py", "Timed"): "its instances are module-level",
    ("storage/port.py", "Query"): "a query for another lane has the same statement",
}
"""Classes whose methods make statements."""


def makers_in(tree: ast.Module, imported: Set[str]) -> set[str]:
    """Return the names by which a module makes statements: the two classes, and functions that return one of them."""
    names = {"Query", "Command"} | {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name in imported
    }
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    while new := {one.name for one in functions if one.name not in names and any(calls_of(names, one))}:
        names |= new
    return names


def calls_of(names: Set[str], tree: ast.AST) -> Iterator[int]:
    """Yield the lines of the calls of these names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            yield node.lineno


def made_later(tree: ast.Module, names: Set[str]) -> Iterator[tuple[str, int]]:
    """Yield the class or function and the line of calls of these names that do not run at the import of a module."""
    for node in tree.body:
        later: Iterable[ast.AST] = ()
        if isinstance(node, ast.ClassDef):
            later = [one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
        elif isinstance(node, ast.AsyncFunctionDef):
            later = [node]
        for one in later:
            yield from ((getattr(node, "name", ""), line) for line in calls_of(names, one))


def growing(statement: Statement) -> dict[str, str]:
    """Return the growing tables of a statement by their names or aliases in it."""
    named = {name: name for name in metadata.tables}
    for element in visitors.iterate(statement.statement):  # type: ignore[arg-type]
        if isinstance(element, Alias) and isinstance(element.element, Table):
            named[element.name] = element.element.name
    return {name: table for name, table in named.items() if table not in SMALL}


class SqlitePlans:
    """Plans of SQLite. They do not depend on the number of rows, so an empty database is enough."""

    def __init__(self, url: str) -> None:
        self._connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        self._sql = Compiler(sqlite_dialect.dialect(paramstyle="named"))

    def scans(self, statement: Statement) -> list[str]:
        """Return the steps that read a whole growing table."""
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
    """Return the statement that fills a table of PostgreSQL with many rows, each with valid references."""
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
    """Plans of PostgreSQL for tables with many rows, with scans and joins of whole tables disabled."""

    SETTINGS: Final = ("seqscan", "hashjoin", "mergejoin")

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._connection: Any = self._runner.run(asyncpg.connect(url))
        self._sql = Compiler(postgres_dialect.dialect())  # type: ignore[no-untyped-call]
        for table in metadata.sorted_tables:
            if table.name not in SMALL:
                self._runner.run(self._connection.execute(filled(table)))
        # Without the vacuum, plans would depend on whether the autovacuum came before them.
        self._runner.run(self._connection.execute("VACUUM (ANALYZE)"))
        for name in self.SETTINGS:
            self._runner.run(self._connection.execute(f"SET enable_{name} = off"))
        self._runner.run(self._connection.execute("SET plan_cache_mode = force_generic_plan"))

    def scans(self, statement: Statement) -> list[str]:
        """Return the nodes that read a whole growing table."""
        plan = self.plan(statement)
        return [
            f"{node['Node Type']} on {table} {node.get('Index Name', '')}".strip()
            for node, table in nodes(plan)
            if table not in SMALL
            and (node["Node Type"] == "Seq Scan" or ("Index Name" in node and "Index Cond" not in node))
            and node.get("Index Name") not in SMALL_INDEXES
        ]

    def plan(self, statement: Statement) -> Any:
        """Return the plan that does not depend on the values of the parameters."""
        return self._runner.run(self._plan(statement))

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


def nodes(plan: Any, table: str = "") -> Iterator[tuple[Any, str]]:
    """Yield a node of a plan and all nodes below it, each with its table. A bitmap has the table of its parent."""
    table = plan.get("Relation Name", table if plan["Node Type"].startswith("Bitmap") else "")
    yield plan, table
    for node in plan.get("Plans", ()):
        yield from nodes(node, table)


@pytest.fixture(scope="module")
def every() -> dict[str, Statement]:
    """All statements by path."""
    return statements()


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, SqlitePlans | PostgresPlans]]:
    """The plans of each engine."""
    folder: Path = tmp_path_factory.mktemp("plans")
    with engines.fresh("sqlite", folder) as sqlite_url, engines.fresh("postgresql", folder) as postgres_url:
        sqlite, postgres = SqlitePlans(sqlite_url), PostgresPlans(postgres_url)
        yield {"sqlite": sqlite, "postgresql": postgres}
        postgres.close()
        sqlite.close()


def test_the_statements_of_all_subjects_are_found(every: dict[str, Statement]) -> None:
    subjects = {name.split(".")[1] for name in every}

    assert {"accounts", "beatmaps", "chat", "clans", "multiplayer", "scores", "staff", "storage"} <= subjects
    assert "kiai.scores.boards._BY_SCORE[<BoardKind.GLOBAL: 1>].page" in every
    assert SMALL.keys() <= metadata.tables.keys()


def test_no_statement_of_the_package_is_overlooked() -> None:
    """A separate process has only the statements of the package, and those of this file."""
    done = subprocess.run(
        [sys.executable, "-c", OVERLOOKED], capture_output=True, text=True, check=False, timeout=patiently(120)
    )

    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_no_statement_is_made_for_a_request() -> None:
    trees = {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py")}
    public = {
        name
        for tree in trees.values()
        if any(isinstance(node, ast.ImportFrom) and node.module == "kiai.storage.port" for node in tree.body)
        for name in makers_in(tree, frozenset())
        if not name.startswith("_")
    }
    found = {
        (path, where): line for path, tree in trees.items() for where, line in made_later(tree, makers_in(tree, public))
    }

    assert found.keys() == MADE_AT_IMPORT.keys(), found


def test_statement_in_a_method_is_detected() -> None:
    tree = ast.parse("def _page(): return Query()\nPAGE = _page()\nclass Pages:\n    def read(self): return _page()")

    assert list(made_later(tree, makers_in(tree, frozenset()))) == [("Pages", 4)]


@pytest.mark.parametrize("engine", engines.ENGINES)
def test_no_statement_without_a_reason_scans_a_growing_table(
    engine: str, every: dict[str, Statement], plans: dict[str, SqlitePlans | PostgresPlans]
) -> None:
    found = {name: plans[engine].scans(one) for name, one in every.items() if one.scans is None}

    assert {name: steps for name, steps in found.items() if steps} == {}


def test_only_statements_that_scan_have_a_reason(
    every: dict[str, Statement], plans: dict[str, SqlitePlans | PostgresPlans]
) -> None:
    marked = {name: one for name, one in every.items() if one.scans is not None}

    assert marked
    assert [name for name, one in marked.items() if not any(plan.scans(one) for plan in plans.values())] == []


_other = scores.alias("other")


def test_rows_are_deleted_by_age_in_batches(every: dict[str, Statement]) -> None:
    """All rows at once would hold up every other write, and the more so the longer the job did not run."""
    by_age = {
        where: str(one.statement)
        for where, one in every.items()
        if isinstance(one.statement, Delete)
        and str(one.statement.table) not in SMALL
        and re.search(r"_ms <=? ", str(one.statement))
    }

    assert len(by_age) >= 4
    assert [where for where, text in by_age.items() if "LIMIT" not in text] == []


SHARED_INDEXES: Final = {
    "ix_client_hashes_adapters": "adapters",
    "ix_client_hashes_uninstall": "uninstall",
    "ix_client_hashes_disk": "disk",
    "ix_logins_address": "address",
    "ix_account_events_address": "address",
}
"""Indexes in which one hash or address has as many rows as players choose, and their first columns."""


def read_without_limit(plan: Any, limited: bool = False) -> Iterator[str]:
    """Yield the indexes of `SHARED_INDEXES` from which a plan reads all rows of one hash or address."""
    kind = plan["Node Type"]
    if kind == "Limit":
        limited = True
    elif kind in ("Sort", "Aggregate"):  # they read all their rows before they return the first one
        limited = False
    condition = plan.get("Index Cond", "")
    if plan.get("Index Name") in SHARED_INDEXES and "user_id =" not in condition and not limited:
        yield plan["Index Name"]
    for node in plan.get("Plans", ()):
        yield from read_without_limit(node, limited)


def test_search_for_devices_reads_a_bounded_number_of_rows_of_one_hash_or_address(
    every: dict[str, Statement], plans: dict[str, SqlitePlans | PostgresPlans]
) -> None:
    postgres = plans["postgresql"]
    assert isinstance(postgres, PostgresPlans)
    searches = {name: one for name, one in every.items() if name.startswith("kiai.staff.devices.")}

    assert len(searches) == 2 * 3 + 4
    found = {name: list(read_without_limit(postgres.plan(one))) for name, one in searches.items()}
    assert {name: indexes for name, indexes in found.items() if indexes} == {}
    unlimited = postgres.plan(EVERY_LOGIN_AT)
    assert list(read_without_limit(unlimited)) == ["ix_logins_address"]


EVERY_LOGIN_AT: Final = Query(
    select(logins.c.user_id, func.max(logins.c.at_ms))
    .where(logins.c.address == bindparam("address"))
    .group_by(logins.c.user_id)
    .limit(50),
    lambda user_id, at_ms: (user_id, at_ms),
)

SCANNING: Final[Sequence[Statement]] = (
    Query(select(users.c.id).where(users.c.userpage_content == bindparam("text")), scalar),
    Query(
        select(scores.c.id).where(scores.c.client_flags == bindparam("flags")).order_by(scores.c.id.desc()).limit(50),
        scalar,
    ),
    Query(
        select(scores.c.id)
        .where(scores.c.client_flags == bindparam("flags"), scores.c.id > bindparam("after"))
        .order_by(scores.c.id)
        .limit(50),
        scalar,
    ),
    Query(select(_other.c.id).where(_other.c.grade == bindparam("grade")), scalar),
    Query(select(mail.c.id).where(mail.c.text == bindparam("text")), scalar),
    Command(update(users).where(users.c.email.like(bindparam("text"))).values(clan_id=0)),
)


@pytest.mark.parametrize("at", range(len(SCANNING)))
def test_scan_is_detected(at: int, plans: dict[str, SqlitePlans | PostgresPlans]) -> None:
    assert plans["sqlite"].scans(SCANNING[at]) != []
    if at != 2:  # PostgreSQL calls a range of keys an index condition
        assert plans["postgresql"].scans(SCANNING[at]) != []


def test_song_select_submissions_and_profiles_use_no_slow_read(every: dict[str, Statement]) -> None:
    slow = {name for name, one in every.items() if isinstance(one, Query) and one.lane is Lane.SLOW}

    modules = {name.partition("[")[0].rpartition(".")[0] for name in slow}
    assert modules == {
        "kiai.accounts.listing",
        "kiai.accounts.queries",
        "kiai.beatmaps.listing",
        "kiai.beatmaps.searching",
        "kiai.beatmaps.set_index",
        "kiai.beatmaps.set_search",
        "kiai.clans.service",
        "kiai.scores.boards",
        "kiai.scores.flags",
        "kiai.scores.lookup",
        "kiai.scores.player_scores",
        "kiai.scores.top_plays",
        "kiai.scores.profiles",
        "kiai.scores.statements.ranks",
        "kiai.staff.audit_reading",
        "kiai.staff.user_filters",
        "kiai.staff.user_search",
    }
    by_name = {name for name in slow if name.startswith(("kiai.accounts.queries", "kiai.scores.statements"))}
    assert by_name == {
        "kiai.accounts.queries.SEARCH",
        "kiai.accounts.queries.SEARCH_USERS",
        "kiai.accounts.queries.SEARCH_COUNT",
        "kiai.scores.statements.ranks.RANKS_COUNTED",  # ranks without the shared state
        "kiai.scores.statements.ranks.RANKED_COUNTED",
        "kiai.scores.statements.ranks.RANKED_IN_COUNTRY_COUNTED",
    }
    ours = ("kiai.scores.boards", "kiai.scores.profiles", "kiai.scores.rankings")
    counts = {name for name in slow if name.startswith(ours)}
    assert all("COUNT" in name for name in counts), counts
