"""The whole database as files, and back: what back-ups are made of.

A dump is one moment of the database, taken while it is used. SQLite gives one file, `kiai.db`; PostgreSQL one binary
file a table, all of one snapshot.
"""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any, Final

from kiai.errors import Refused, Unavailable
from kiai.storage.sqlite_file import damaged, is_damage
from kiai.storage.tables import metadata

SQLITE_FILE: Final = "kiai.db"
TABLES: Final = "tables"


async def dump_sqlite(path: Path, folder: Path) -> None:
    """Copies a SQLite database that may be in use, as of one moment. Raises Damaged, Unavailable."""

    def copy() -> None:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            connection.execute("VACUUM INTO ?", (str(folder / SQLITE_FILE),))
        finally:
            connection.close()

    try:
        await asyncio.to_thread(copy)
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, sqlite3.Error) and is_damage(error):
            raise damaged(str(path), str(error)) from error
        raise Unavailable("database", str(error)) from error


async def dump_postgres(url: str, folder: Path) -> None:
    """Copies every table of a PostgreSQL database that may be in use, all of one snapshot. Raises Unavailable."""
    import asyncpg

    (folder / TABLES).mkdir()
    try:
        connection: Any = await asyncpg.connect(url, timeout=10)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
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
    """Fills a PostgreSQL database whose schema is there and in which nobody has registered.

    One transaction: it is filled whole, or stays as it was. Raises Refused, Unavailable.
    """
    import asyncpg

    try:
        connection: Any = await asyncpg.connect(url, timeout=10)
        try:
            async with connection.transaction():
                await connection.execute("SET LOCAL statement_timeout = 0")
                if await connection.fetchval("SELECT count(*) FROM users WHERE id > 2"):
                    raise Refused("the database is not empty; restore into a new one")
                names = [table.name for table in metadata.sorted_tables]
                await connection.execute(f"TRUNCATE {', '.join(names)} CASCADE")
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
    """The next row gets a number behind the last one; the names are our own tables'."""
    highest = await connection.fetchval(f'SELECT max("{column}") FROM "{table}"')  # noqa: S608
    if highest is not None:
        await connection.execute("SELECT setval(pg_get_serial_sequence($1, $2), $3)", table, column, highest)
