"""Servers for the tests of the website."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.wire.kit import BEHIND_PROXY, Server, cli


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An empty server behind a trusted proxy, with two players: alice (3) and bob (4)."""
    data: Path = tmp_path_factory.mktemp("site") / "data"
    cli(data, "migrate")
    for name in ("alice", "bob"):
        cli(data, "users", "add", name, "--email", f"{name}@example.org", "--password", f"correct horse {name}")
    server = Server(data, **BEHIND_PROXY).start()
    server.address = "198.51.100.7"
    yield server
    server.stop()
