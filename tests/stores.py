"""The stores of the servers in this run: the data folder, or PostgreSQL and Redis.

`STORES=shared` runs the same tests on the stores of a cluster. Each data folder then has its own PostgreSQL database
and its own Redis database, on one server of each kind for each test process.
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

from kiai.server_settings import Settings
from kiai.settings import load_settings
from kiai.storage.dumping import SQLITE_FILE
from kiai.stores import make_data_folder

SHARED: Final = os.environ.get("STORES") == "shared"
ENGINE: Final = "postgresql" if SHARED else "sqlite"
REDIS_DATABASES: Final = 4_096

_numbers = itertools.count()


def of(data: Path, *, empty: bool = False) -> dict[str, str]:
    """Return the settings that name the stores of a data folder; empty if the data folder has all data.

    The first call creates the stores, with the newest schema unless `empty`.
    """
    if SHARED:
        return _shared(str(data), empty)
    if data not in _seen:
        _seen.add(data)
        if not empty and not data.exists():
            make_data_folder(data)
            (data / SQLITE_FILE).touch(0o600)
            shutil.copyfile(engines.sqlite_template(), data / SQLITE_FILE)
    return {}


def variables(data: Path) -> dict[str, str]:
    """Return the settings of `of` as KIAI_* variables without the prefix."""
    return {name.upper(): value for name, value in of(data).items()}


def settings(data: Path, **others: object) -> Settings:
    """Return the settings for services in this process on a data folder."""
    return load_settings(data=data, **{**of(data), **others})


def copied(source: Path, target: Path) -> Path:
    """Copy a data folder and its stores. No server may run on it."""
    shutil.copytree(source, target)
    if SHARED:
        _known[str(target)] = {
            "database": engines.postgres_copy(of(source)["database"]),
            "state": _redis_url(),
        }
    return target


def database_url(data: Path) -> str:
    """Return the URL of the database of a data folder. The first call creates it."""
    if SHARED:
        return of(data)["database"]
    of(data)
    return f"sqlite:///{data / SQLITE_FILE}"


def engine(data: Path) -> Engine:
    """Open a blocking connection to the database of a data folder. A server may run on it."""
    url = sqlalchemy.make_url(database_url(data))
    return create_engine(url.set(drivername="postgresql+psycopg") if SHARED else url, poolclass=NullPool)


_known: dict[str, dict[str, str]] = {}
_seen: set[Path] = set()


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
