"""The server that most wire tests share, and its log in the report of a failed test."""

from collections.abc import Generator, Iterator

import pytest
from tests.wire.kit import BEHIND_PROXY, Server, use_new_address
from tests.wire.world import World, small_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server with the small world, for tests that change nothing."""
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
    """Give each test its own address on a shared server, so that tests do not share rate limits."""
    for name in ("world", "server"):
        if name in request.fixturenames:
            used = request.getfixturevalue(name)
            server = used.server if isinstance(used, World) else used
            if isinstance(server, Server) and server.proxied:
                use_new_address(server)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the logs of the servers of a failed test to its report. After a failed stop, its error has the log."""
    report = yield
    if report.failed and report.when != "teardown" and isinstance(item, pytest.Function):
        for used in item.funcargs.values():
            server = used.server if isinstance(used, World) else used
            if isinstance(server, Server):
                report.sections.append(("stderr of kiai serve", server.stderr))
    return report
