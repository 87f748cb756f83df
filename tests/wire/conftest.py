"""The server that most wire tests read from, and its log beside the report of a test that failed."""

from collections.abc import Generator, Iterator

import pytest
from tests.wire.kit import BEHIND_PROXY, Server, from_an_address_of_its_own
from tests.wire.world import World, small_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server with a small world that tests read and do not change."""
    server = Server(tmp_path_factory.mktemp("wire") / "data", **BEHIND_PROXY)
    made = small_world(server)
    try:
        server.start()
        yield made
        server.stop()
    finally:
        server.kill()
        made.rows.close()


@pytest.fixture(autouse=True)
def an_address_of_its_own(request: pytest.FixtureRequest) -> None:
    """Each test asks a server that it shares with others from an address of its own."""
    for name in ("world", "server"):
        if name in request.fixturenames:
            used = request.getfixturevalue(name)
            server = used.server if isinstance(used, World) else used
            if isinstance(server, Server) and server.proxied:
                from_an_address_of_its_own(server)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds what the servers of a failed test logged."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        for used in item.funcargs.values():
            server = used.server if isinstance(used, World) else used
            if isinstance(server, Server):
                report.sections.append(("stderr of kiai serve", server.stderr))
    return report
