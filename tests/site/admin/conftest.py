"""The server of the tests of the admin panel."""

from collections.abc import Iterator

import pytest
from tests.site.admin.kit import World


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server with the demo world and staff of every role, which demands a second factor of staff."""
    world = World(tmp_path_factory.mktemp("admin") / "data")
    yield world
    world.server.stop()
