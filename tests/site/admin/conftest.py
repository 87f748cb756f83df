"""The server of the tests of the admin panel."""

from collections.abc import Iterator

import pytest
from tests.beatmaps import standin
from tests.site.admin.kit import World


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server with the demo world, staff of every role, and an upstream. It demands a second factor of staff."""
    with standin.running() as upstream:
        data = tmp_path_factory.mktemp("admin") / "data"
        world = World(data, UPSTREAM_URL=upstream.url, ALLOW_PRIVATE_UPSTREAM="on")
        yield world
        world.server.stop()
