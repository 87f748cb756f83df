"""Fixtures that every test may use: an event loop for plain test functions, and a database of each engine."""

import asyncio
import contextvars
import gc
from collections.abc import Coroutine, Generator, Iterator
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import pytest
import structlog
from tests import engines, hashing, runs, shared_postgres
from tests.loops import run_on
from tests.patience import in_time
from tests.shared_postgres import SharedPostgres

from kiai.storage.compiling import Compiler, Sql
from kiai.storage.port import Command, Database, Query

T = TypeVar("T")


SHOWN: Final = pytest.StashKey[dict[int, tuple[BaseException, str]]]()
SLOWEST_FIRST: Final = ("cluster", "faults", "wire", "browser", "clients", "tls", "contract", "cli", "demo", "decoding")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Create the folder that the processes of a run share. Make password hashes small and logs plain."""
    hashing.choose_memory()
    folder = runs.start()
    if config.option.basetemp is None and runs.has_room(folder):
        config.option.basetemp = folder / "tmp"  # databases in memory need not wait for a disk
    # Else structlog draws each traceback with colours and the values of all variables, which takes up to a second.
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the error of a shared fixture once. The other tests that need it fail with a line that names the first."""
    report = yield
    if call.excinfo is None or not report.failed:
        return report
    error = call.excinfo.value
    if isinstance(error, runs.SetUpFailedBefore):
        report.longrepr = str(error)
    elif call.when == "setup":
        first = item.config.stash.setdefault(SHOWN, {}).setdefault(id(error), (error, item.nodeid))[1]
        if first != item.nodeid:  # pytest keeps the error of a fixture and raises it for each of its tests
            report.longrepr = f"setup failed before, see {first}: {type(error).__name__}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect the tests without garbage collections, and exempt them from later ones."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run folders of slow tests first, so that no process runs one while the others have nothing left to do."""
    tests = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(tests).parts[0]
        return SLOWEST_FIRST.index(folder) if folder in SLOWEST_FIRST else len(SLOWEST_FIRST)

    items.sort(key=place)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that tests of all processes have counted."""
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties if report.when == "call" else ():
            if name == "counts":
                terminalreporter.write_line(str(value))


@pytest.fixture(scope="session", autouse=True)
def statements_compiled_once() -> Iterator[None]:
    """All databases of this process share the SQL of statements. Each test has databases of its own."""
    compile_one = Compiler.__missing__
    compiled: dict[tuple[str, str, Query[Any] | Command], Sql] = {}

    def compile_once(compiler: Compiler, statement: Query[Any] | Command) -> Sql:
        key = (compiler._dialect.name, compiler._dialect.paramstyle, statement)
        sql = compiler[statement] = compiled.get(key) or compile_one(compiler, statement)
        return compiled.setdefault(key, sql)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Compiler, "__missing__", compile_once)
        yield


@pytest.fixture(scope="module")
def real_hashes() -> Iterator[None]:
    """Password hashes as on a real server, in this process and in those that the tests of the module start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(hashing.REAL, "1")
        hashing.choose_memory()
        yield
    hashing.choose_memory()


class Run(Protocol):
    """Runs a coroutine until it ends."""

    def __call__(self, coroutine: Coroutine[Any, Any, T], /) -> T:
        """Return its result."""
        ...


@pytest.fixture(params=engines.ENGINES)
def postgres(request: pytest.FixtureRequest) -> SharedPostgres | None:
    """The PostgreSQL database of this process, without rows; None in the turn of SQLite."""
    return shared_postgres.shared() if request.param == "postgresql" else None


def _postgres(request: pytest.FixtureRequest) -> SharedPostgres | None:
    """Return the fixture `postgres` if the test has it. Tests of storage have databases of their own."""
    return request.getfixturevalue("postgres") if "postgres" in request.fixturenames else None


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Runs coroutines on one event loop, the same for the whole test. One that does not end fails where it waits."""
    if postgres := _postgres(request):
        with postgres.loop():
            yield postgres.run
    else:
        context = contextvars.copy_context()
        with asyncio.Runner() as runner:
            yield lambda coroutine: run_on(runner, in_time(coroutine), context)


@pytest.fixture
def database_url(postgres: SharedPostgres | None, tmp_path: Path) -> str:
    """A database with the newest schema and without rows, on each engine in turn."""
    return postgres.url if postgres else engines.sqlite_url(tmp_path)


@pytest.fixture
def database(request: pytest.FixtureRequest, database_url: str, run: Run) -> Iterator[Database]:
    """The adapter on a database without rows, on each engine in turn."""
    postgres = _postgres(request)
    opened = postgres.lend() if postgres else run(engines.connect(database_url))
    yield opened
    run(opened.close())
