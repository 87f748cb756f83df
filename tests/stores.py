"""Where the servers of this run keep what they know: in their data folder, or in PostgreSQL and Redis.

`STORES=shared` runs the same tests against the stores of a cluster: each data folder then has a database and
a number in Redis of its own, on one server of each a process of the test runner.
"""

import atexit
import itertools
import os
import shutil
from pathlib import Path
from typing import Final

import sqlalchemy
from sqlalchemy import Engine, NullPool, create_engine
from tests import engines, runs
from tests.redises import RedisServer

from kiai.settings import Settings, load_settings
from kiai.storage.migrating import migrate

SHARED: Final = os.environ.get("STORES") == "shared"
ENGINE: Final = "postgresql" if SHARED else "sqlite"
REDIS_DATABASES: Final = 4_096

_numbers = itertools.count()


def of(data: Path, *, empty: bool = False) -> dict[str, str]:
    """The settings that name the stores of this data folder; none for a folder that holds everything.

    They are made when first asked for, with the newest schema unless `empty`.
    """
    return _shared(str(data), empty) if SHARED else {}


def variables(data: Path) -> dict[str, str]:
    """`of` as KIAI_* variables without the prefix."""
    return {name.upper(): value for name, value in of(data).items()}


def settings(data: Path, **others: object) -> Settings:
    """The settings of services in this process on a data folder."""
    return load_settings(data=data, **{**of(data), **others})


def copied(source: Path, target: Path) -> Path:
    """A data folder like this one, whose server does not run, with stores of its own."""
    shutil.copytree(source, target)
    if SHARED:
        _known[str(target)] = {
            "database": engines.postgres_copy(of(source)["database"]),
            "state": _redis_url(),
        }
    return target


def database_url(data: Path) -> str:
    """The database of a data folder, made when there is none yet."""
    if SHARED:
        return of(data)["database"]
    data.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{data / 'kiai.db'}"
    if not (data / "kiai.db").exists():
        migrate(url)
    return url


def engine(data: Path) -> Engine:
    """A blocking way into the database of a data folder, beside a server that runs or not."""
    url = sqlalchemy.make_url(database_url(data))
    return create_engine(url.set(drivername="postgresql+psycopg") if SHARED else url, poolclass=NullPool)


_known: dict[str, dict[str, str]] = {}


def _shared(data: str, empty: bool) -> dict[str, str]:
    if data not in _known:
        _known[data] = {"database": engines.postgres_new(empty=empty), "state": _redis_url()}
    return _known[data]


def _redis_url() -> str:
    return _redis().numbered(next(_numbers))


@runs.remembered
def _redis() -> RedisServer:
    server = RedisServer(databases=REDIS_DATABASES)
    atexit.register(server.close)
    return server
