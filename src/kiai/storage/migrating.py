"""Schema migrations with Alembic."""

import sqlite3
from pathlib import Path
from typing import Final

from kiai.errors import Unavailable
from kiai.storage.sqlite_file import damaged, is_damage, unusable

VERSIONS: Final = Path(__file__).parent / "migrations" / "versions"


def newest() -> str:
    """Return the revision that this code needs: the highest number of the files `NNNN_title.py`."""
    return max(path.name[:4] for path in VERSIONS.glob("[0-9]*.py"))


def migrate(url: str) -> None:
    """Run all migrations that the database lacks. Blocks. `url` is `sqlite:///path` or `postgresql://...`.

    Raises Damaged for a damaged file, and Unavailable when the database cannot be reached or its schema is newer than
    this code.
    """
    # Imported here because Alembic costs 11 MB of memory, and a server needs it only for a second at its start.
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
    except CommandError as error:  # the revision in the database is unknown: a newer kiai has migrated it
        raise Unavailable("database", f"{error}; use the kiai that made its schema") from error
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.Error):
            raise (damaged("database", str(error.orig)) if is_damage(error.orig) else unusable(error.orig)) from error
        # Only the first line: the rest of a PostgreSQL error repeats the statement.
        raise Unavailable("database", str(error.orig).partition("\n")[0]) from error
    except unreachable as error:
        raise Unavailable("database", f"cannot connect: {error}") from error


def _postgres_errors(url: str) -> tuple[type[Exception], ...]:
    """Return the exceptions, apart from OSError, that connecting to PostgreSQL raises."""
    if url.startswith("sqlite:"):  # do not import asyncpg for nothing
        return ()
    import asyncpg

    return (asyncpg.PostgresError, asyncpg.InterfaceError)
