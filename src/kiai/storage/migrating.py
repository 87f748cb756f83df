"""Brings a database's schema up to date with Alembic, and tells whether it is."""

import sqlite3
from pathlib import Path
from typing import Final

from kiai.errors import Unavailable
from kiai.storage.sqlite_file import damaged, is_damage

VERSIONS: Final = Path(__file__).parent / "migrations" / "versions"


def newest() -> str:
    """The revision this code wants: migrations are named NNNN_title.py and follow one another."""
    return max(path.name[:4] for path in VERSIONS.glob("[0-9]*.py"))


def migrate(url: str) -> None:
    """Runs every migration the database lacks. `url`: `sqlite:///path` or `postgresql://...`; blocking.

    Raises Damaged and Unavailable, for a database that cannot be reached or whose schema is newer than this code, too.
    """
    # Alembic costs 11 MB of memory and is needed for a second of a server's life.
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError
    from sqlalchemy.exc import DBAPIError

    config = Config()
    config.set_main_option("script_location", str(VERSIONS.parent))
    config.attributes["url"] = url
    unreachable: tuple[type[Exception], ...] = (OSError, *_postgres_errors(url))
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise Unavailable("database", f"{error}; use the kiai that made its schema") from error
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.Error) and is_damage(error.orig):
            raise damaged("database", str(error.orig)) from error
        raise Unavailable("database", str(error.orig).partition("\n")[0]) from error
    except unreachable as error:
        raise Unavailable("database", f"cannot connect: {error}") from error


def _postgres_errors(url: str) -> tuple[type[Exception], ...]:
    """What connecting to PostgreSQL raises besides OSError; nothing of it is imported for SQLite."""
    if url.startswith("sqlite:"):
        return ()
    import asyncpg

    return (asyncpg.PostgresError, asyncpg.InterfaceError)
