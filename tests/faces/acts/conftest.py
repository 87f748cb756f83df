"""A server in one process for all tests of a module: each test acts with people of its own."""

import asyncio
from collections.abc import Iterator

import pytest
from tests.faces.acts import desk as kit
from tests.faces.acts.desk import Desk


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A server with owner: its developers stay developers."""
    with asyncio.Runner() as runner, kit.opened(runner.run, tmp_path_factory.mktemp("acts") / "data") as desk:
        desk.person("developer")
        yield desk
