"""The entry point of Alembic: runs all migrations in one transaction, on the URL given to `migrating.migrate`."""

import asyncio
from pathlib import Path
from uuid import uuid4

from alembic import context
from sqlalchemy import Connection, create_engine, make_url, pool

from kiai.storage.sqlite_file import temporary_files_in
from kiai.storage.tables import metadata

LOCK_MS = 10_000


def _run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=False)
    with context.begin_transaction():
        if connection.dialect.name == "postgresql":
            # A long-running reader of a table must not block the start of the server forever.
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_MS}")
            # Processes that start at the same time run the migrations one after another. The key is arbitrary.
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7105105)")
        context.run_migrations()


async def _run_async(url: str) -> None:
    from sqlalchemy.ext.asyncio import create_async_engine  # a few MB that SQLite does not need

    # Each prepared statement has a name of its own: a pooler may leave those of an earlier migration on a connection.
    engine = create_async_engine(
        url,
        poolclass=pool.NullPool,
        connect_args={
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: f"kiai_{uuid4().hex}",
        },
    )
    async with engine.connect() as connection:
        await connection.run_sync(_run)
    await engine.dispose()


def main() -> None:
    url = make_url(context.config.attributes["url"])
    if url.get_backend_name() == "postgresql":
        asyncio.run(_run_async(url.set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)))
        return
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 10000")
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        if url.database:
            connection.exec_driver_sql(temporary_files_in(Path(url.database).parent))
        # By default the driver commits before DDL statements, so a failed migration would leave half a schema.
        connection.connection.driver_connection.isolation_level = None  # type: ignore[union-attr]
        # Take the write lock before reading the revision: of two processes that start at the same time, the second one
        # waits and then finds nothing to do.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        _run(connection)
        connection.exec_driver_sql("COMMIT")
    engine.dispose()


main()
