from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import engines
from tests.builders import Run
from tests.chat.talking import Talk

from kiai.storage.port import Database


@pytest.fixture
def talk(run: Run, tmp_path: Path) -> Iterator[Talk]:
    """A chat over SQLite: for rules that no engine has a part in."""
    with engines.fresh("sqlite", tmp_path) as url:
        database = run(engines.connect(url))
        yield Talk(database, run, tmp_path)
        run(database.close())


@pytest.fixture
def kept_talk(database: Database, run: Run, tmp_path: Path) -> Talk:
    """A chat over each engine: for what the database has to get right."""
    return Talk(database, run, tmp_path)
