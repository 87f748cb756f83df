from pathlib import Path

import pytest
from tests.builders import Run, World

from kiai.storage.port import Database


@pytest.fixture
def world(database: Database, run: Run, tmp_path: Path) -> World:
    """All domain services, with each engine."""
    return World(database, run, tmp_path)
