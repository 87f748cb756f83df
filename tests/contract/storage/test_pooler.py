"""PostgreSQL behind PgBouncer in transaction mode: the schema, backups, and finding a server that runs."""

from pathlib import Path

import pytest
from sqlalchemy import func, select
from tests import engines, poolers
from tests.conftest import Run
from tests.contract.storage.statements import ADD_USER, USER_IDS

from kiai.storage.dumping import dump_postgres, load_postgres
from kiai.storage.migrating import migrate, newest
from kiai.storage.port import Query, Transaction, scalar
from kiai.storage.postgres import PostgresDatabase


@pytest.fixture(autouse=True)
def installed() -> None:
    poolers.program()


async def add_two(tx: Transaction) -> None:
    for name in ("alice", "bob"):
        await tx.one(ADD_USER, name=name, email=f"{name}@example.org")


def test_schemas_are_made_and_copied_through_a_pooler(tmp_path: Path, run: Run) -> None:
    async def scenario() -> tuple[list[int], list[int]]:
        first, second = urls
        source = await PostgresDatabase.connect(first)
        await source.transaction(add_two)
        await dump_postgres(first, tmp_path)
        await load_postgres(second, tmp_path)
        target = await PostgresDatabase.connect(second)
        try:
            return await source.all(USER_IDS), await target.all(USER_IDS)
        finally:
            await source.close()
            await target.close()

    with engines.postgres_database(empty=True) as first, engines.postgres_database(empty=True) as second:
        urls = [poolers.a_pooler().url(url) for url in (first, second)]
        for url in urls:
            migrate(url)
            migrate(url)  # nothing to do

        before, after = run(scenario())

    assert len(before) >= 2
    assert before == after


def test_server_behind_a_pooler_is_found_while_it_uses_the_database(run: Run) -> None:
    async def scenario(url: str) -> tuple[bool, bool]:
        command = await PostgresDatabase.connect(url)
        try:
            alone = await command.is_served()
            server = await PostgresDatabase.connect(url, serving=True)
            try:

                async def hold(tx: Transaction) -> bool:
                    await tx.all(USER_IDS)
                    return await command.is_served()

                return alone, await server.transaction(hold)
            finally:
                await server.close()
        finally:
            await command.close()

    with engines.postgres_database() as url:
        assert run(scenario(poolers.a_pooler().url(url))) == (False, True)


def test_transaction_through_a_pooler_has_the_time_limit_of_its_kind(run: Run) -> None:
    async def scenario(url: str) -> tuple[str, str, str | None]:
        database = await PostgresDatabase.connect(url)

        async def limit(tx: Transaction) -> str:
            return str(await tx.one(Query(select(func.current_setting("statement_timeout")), scalar)))

        try:
            short, long = await database.transaction(limit), await database.transaction(limit, long=True)
            return short, long, await database.version()
        finally:
            await database.close()

    with engines.postgres_database() as url:
        assert run(scenario(poolers.a_pooler().url(url))) == ("5s", "0", newest())
