"""Dumps of the whole database to files, and loading them; backups consist of these files.

A dump is a consistent snapshot of a database that may be in use. The dump of SQLite is one file, `kiai.db`; that of
PostgreSQL is one file in binary COPY format for each table. Its connections prepare no statements, because a pooler may
be in between (postgres.py).
"""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any, Final

from kiai.errors import Refused, Unavailable
from kiai.storage.sqlite_file import damaged, is_damage, is_of_disk
from kiai.storage.tables import metadata

SQLITE_FILE: Final = "kiai.db"
TABLES: Final = "tables"


async def dump_sqlite(path: Path, folder: Path) -> None:
    """Copy a snapshot of the SQLite database at `path` into `folder`. Raises Damaged, Unavailable."""

    def copy() -> None:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            # VACUUM INTO reads in one transaction. The backup API of SQLite would start again after each write of
            # another process, and might never finish on a busy server.
            connection.execute("VACUUM INTO ?", (str(folder / SQLITE_FILE),))
        finally:
            connection.close()

    try:
        await asyncio.to_thread(copy)
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, sqlite3.Error) and is_damage(error):
            raise damaged(str(path), str(error)) from error
        if isinstance(error, sqlite3.Error) and is_of_disk(error):  # it does not say whose
            reason = f"{error}; the copy needs as much space in {folder} as the database has"
            raise Unavailable("copy of the database", reason) from error
        raise Unavailable("database", str(error)) from error


async def dump_postgres(url: str, folder: Path) -> None:
    """Copy one snapshot of all tables of a PostgreSQL database into `folder`. Raises Unavailable."""
    import asyncpg  # not needed with SQLite

    (folder / TABLES).mkdir()
    try:
        connection: Any = await asyncpg.connect(url, timeout=10, statement_cache_size=0)
        try:
            # Repeatable read gives all COPY statements the same snapshot.
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                # A large table takes longer to copy than any limit that the server sets for statements.
                await connection.execute("SET LOCAL statement_timeout = 0")
                for table in metadata.sorted_tables:
                    await connection.copy_from_table(
                        table.name, output=str(folder / TABLES / f"{table.name}.copy"), format="binary", timeout=None
                    )
        finally:
            await connection.close()
    except (OSError, asyncpg.PostgresError) as error:
        raise Unavailable("database", str(error)) from error


async def load_postgres(url: str, folder: Path) -> None:
    """Load a dump into a PostgreSQL database that has the schema and no registered accounts.

    Everything is loaded in one transaction. Raises Refused when accounts exist, Unavailable.
    """
    import asyncpg

    try:
        connection: Any = await asyncpg.connect(url, timeout=10, statement_cache_size=0)
        try:
            async with connection.transaction():
                await connection.execute("SET LOCAL statement_timeout = 0")
                # Id 1 is the bot and id 2 is never given out.
                if await connection.fetchval("SELECT count(*) FROM users WHERE id > 2"):
                    raise Refused("the database is not empty; restore into a new one")
                # The migrations have inserted rows, e.g. the bot and the channels, which the dump contains too.
                names = [table.name for table in metadata.sorted_tables]
                await connection.execute(f"TRUNCATE {', '.join(names)} CASCADE")
                # In the order of foreign keys: referenced tables first.
                for table in metadata.sorted_tables:
                    source = folder / TABLES / f"{table.name}.copy"
                    await connection.copy_to_table(table.name, source=str(source), format="binary", timeout=None)
                    for column in table.columns:
                        if column.identity is not None:
                            await _continue_numbering(connection, table.name, column.name)
        finally:
            await connection.close()
    except (OSError, asyncpg.PostgresError) as error:
        raise Unavailable("database", str(error)) from error


async def _continue_numbering(connection: Any, table: str, column: str) -> None:
    """Set the sequence of an identity column to the highest loaded value: COPY does not advance it."""
    # S608: the names come from our table definitions, not from input.
    highest = await connection.fetchval(f'SELECT max("{column}") FROM "{table}"')  # noqa: S608
    if highest is not None:
        await connection.execute("SELECT setval(pg_get_serial_sequence($1, $2), $3)", table, column, highest)
