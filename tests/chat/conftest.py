from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import engines
from tests.builders import Run, World
from tests.chat.talking import Talk

from kiai.storage.port import Database


@pytest.fixture
def talk(run: Run, tmp_path: Path) -> Iterator[Talk]:
    """A chat on SQLite, for rules that do not depend on the database."""
    with engines.fresh("sqlite", tmp_path) as url:
        database = run(engines.connect(url))
        yield Talk(database, run, tmp_path)
        run(database.close())


@pytest.fixture
def engine_talk(database: Database, run: Run, tmp_path: Path) -> Talk:
    """A chat on each database, for tests of SQL."""
    return Talk(database, run, tmp_path)


@pytest.fixture
def world(database: Database, run: Run, tmp_path: Path) -> World:
    """All domain services, on each database engine."""
    return World(database, run, tmp_path)
