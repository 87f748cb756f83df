"""The server of the tests of the admin panel."""

from collections.abc import Iterator

import pytest
from tests.beatmaps import standin
from tests.site.admin.kit import World
from tests.webhooks import receiver


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server with the demo world, staff of every role, an upstream, and a receiver of webhooks.

    It has the nomination mode, and demands a second factor of staff. Each module has its own server, so that no module
    depends on the rows that another one leaves.
    """
    with standin.running() as upstream, receiver.running() as of_webhooks:
        data = tmp_path_factory.mktemp("admin") / "data"
        private = {"ALLOW_PRIVATE_UPSTREAM": "on", "ALLOW_PRIVATE_WEBHOOKS": "on"}
        backups = str(data.with_name("backups"))
        world = World(data, UPSTREAM_URL=upstream.url, NOMINATION_MODE="on", BACKUP_TO=backups, **private)
        world.receiver = of_webhooks
        yield world
        world.server.stop()
