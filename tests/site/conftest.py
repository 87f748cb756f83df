"""Servers for the tests of the website."""

from collections.abc import Iterator

import pytest
from tests.site.forms_kit import migrated_rows
from tests.wire.kit import BEHIND_PROXY, Server, cli, use_new_address
from tests.wire.rows import Rows


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rows]:
    """The database of the server: two players, alice (3) and bob (4). A module can override it with rows of its own."""
    with migrated_rows(tmp_path_factory) as rows:
        for name in ("alice", "bob"):
            password = f"correct horse {name}"
            cli(rows.data, "users", "add", name, "--email", f"{name}@example.org", "--password", password)
        yield rows


@pytest.fixture(scope="module")
def server(rows: Rows) -> Iterator[Server]:
    """A server behind a trusted proxy, with the database of `rows`."""
    server = Server(rows.data, **BEHIND_PROXY).start()
    server.address = "198.51.100.7"
    yield server
    server.stop()


@pytest.fixture
def new_address(server: Server) -> None:
    """Send the requests of the test from an address of its own, so that rate limits start again."""
    use_new_address(server)
