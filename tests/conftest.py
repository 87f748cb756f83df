"""Fixtures that every test may use: an event loop for plain test functions, and a database of each engine."""

import asyncio
from collections.abc import Coroutine, Generator, Iterator
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import pytest
from tests import engines, runs

from kiai.storage.port import Database

T = TypeVar("T")


SHOWN: Final = pytest.StashKey[dict[int, tuple[BaseException, str]]]()
SLOWEST_FIRST: Final = ("cluster", "faults", "wire", "clients", "contract")


def pytest_configure() -> None:
    """The first process of a run makes the folder that the others share."""
    runs.start()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Shows why a shared fixture could not be set up once; its other tests fail with a line that points there."""
    report = yield
    if call.excinfo is None or not report.failed:
        return report
    error = call.excinfo.value
    if isinstance(error, runs.SetUpFailedBefore):
        report.longrepr = str(error)
    elif call.when == "setup":
        first = item.config.stash.setdefault(SHOWN, {}).setdefault(id(error), (error, item.nodeid))[1]
        if first != item.nodeid:  # pytest keeps the error of a fixture and raises it for each of its tests
            report.longrepr = f"set-up failed before, see {first}: {type(error).__name__}"
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Folders of slow tests come first, so that no process is left alone with one at the end."""
    tests = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(tests).parts[0]
        return SLOWEST_FIRST.index(folder) if folder in SLOWEST_FIRST else len(SLOWEST_FIRST)

    items.sort(key=place)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what tests counted, whichever process they ran in."""
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties if report.when == "call" else ():
            if name == "counts":
                terminalreporter.write_line(str(value))


class Run(Protocol):
    """Runs a coroutine to its end."""

    def __call__(self, coroutine: Coroutine[Any, Any, T], /) -> T:
        """Its result."""
        ...


@pytest.fixture
def run() -> Iterator[Run]:
    """Runs coroutines on one event loop, the same for the whole test."""
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture(params=engines.ENGINES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A new database with the newest schema, on each engine in turn."""
    with engines.fresh(request.param, tmp_path) as url:
        yield url


@pytest.fixture
def database(database_url: str, run: Run) -> Iterator[Database]:
    """The adapter on a new database, on each engine in turn."""
    opened = run(engines.connect(database_url))
    yield opened
    run(opened.close())
