"""The setup of the tests: shared fixtures run once a test run, and deadlines follow the speed of the machine."""

import ast
import asyncio
import itertools
import os
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import pytest
from tests import patience, runs

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for one test run."""
    monkeypatch.setenv(runs.FOLDER, str(tmp_path))
    return tmp_path


def test_what_eight_processes_need_at_once_is_made_once(folder: Path) -> None:
    code = (
        "import sys, time; from tests import runs\n"
        "def make(path):\n"
        "    with open(sys.argv[1], 'a') as made: made.write('made ')\n"
        "    time.sleep(0.2)\n"
        "    path.write_text('whole')\n"
        "print(runs.once('thing', make).read_text())\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, folder / "log"], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
        )
        for _ in range(8)
    ]

    said = [process.communicate(timeout=patience.patiently(60))[0] for process in processes]

    assert said == ["whole\n"] * 8
    assert (folder / "log").read_text() == "made "


def test_what_could_not_be_made_is_tried_once_and_names_who_asked_first(folder: Path) -> None:
    asked = itertools.count()

    def make(path: Path) -> None:
        path.write_text("half")
        next(asked)
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        runs.once("thing", make)
    for _ in range(2):
        with pytest.raises(
            runs.SetUpFailedBefore, match=r"thing could not be set up, see .*who_asked_first: .*no room"
        ):
            runs.once("thing", make)

    assert next(asked) == 1
    assert not (folder / "thing").exists()


def test_a_server_of_this_process_that_does_not_start_is_started_once() -> None:
    asked = itertools.count()

    @runs.remembered
    def the_server() -> int:
        next(asked)
        raise OSError("it ended")

    with pytest.raises(OSError, match="it ended"):
        the_server()
    for _ in range(2):
        with pytest.raises(runs.SetUpFailedBefore, match="the server could not be set up"):
            the_server()

    assert next(asked) == 1


def test_a_fixture_that_fails_is_told_whole_once_and_then_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_runtest_makereport\n")
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.fixture(scope='module')\n"
        "def server():\n"
        "    raise AssertionError('the long story of a server')\n"
        "@pytest.mark.parametrize('number', range(30))\n"
        "def test_it(server, number): pass\n"
    )
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        "--rootdir",
        tmp_path,
    ]

    done = subprocess.run(
        [*command, tmp_path], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True,
        text=True, check=False, timeout=patience.patiently(60),
    )  # fmt: skip

    assert "30 errors" in done.stdout, done.stdout + done.stderr
    assert done.stdout.count("    raise AssertionError('the long story of a server')") == 1
    assert done.stdout.count("setup failed before, see test_it.py::test_it[0]: AssertionError") >= 29


def test_a_deadline_moves_away_while_the_machine_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, now = patience._Machine(), [1_000.0]
    crowd = [1.0]
    monkeypatch.setattr(patience, "_machine", machine)
    monkeypatch.setattr(patience, "_crowd", lambda: crowd[0])
    monkeypatch.setattr(patience, "_spin_s", lambda: patience.SPIN_IDLE_S)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.delenv("PATIENCE", raising=False)
    deadline = patience.Deadline(10)

    now[0] += 11
    idle = deadline.passed()
    crowd[0] = 5.0  # four others for each core
    now[0] += 2
    busy, left = deadline.passed(), deadline.left_s()
    now[0] += 40

    assert (idle, busy, left) == (True, False, 37)
    assert deadline.passed()


def test_a_machine_that_is_stuck_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_machine", patience._Machine())
    monkeypatch.setattr(patience, "_crowd", lambda: 1e9)
    monkeypatch.delenv("PATIENCE", raising=False)

    assert patience.patiently(1) == patience.SLOWEST


WAITS = ("timeout", "settimeout", "join", "wait", "result", "communicate", "wait_for", "Timer", "create_connection")
PAUSE_S = 1.0
"""A shorter wait is a pause in the test, not a deadline."""


def fixed(value: ast.expr) -> bool:
    """Return whether the value is a number of seconds above PAUSE_S, or a constant whose name ends with `_S`."""
    if isinstance(value, ast.Constant):
        return isinstance(value.value, int | float) and value.value > PAUSE_S
    return isinstance(value, ast.Name) and value.id.isupper() and value.id.endswith("_S")


def fixed_deadlines(code: str) -> list[int]:
    """Return the lines that wait with a fixed deadline."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        given = [one.value for one in node.keywords if one.arg == "timeout"]
        given += node.args if name in WAITS else []
        found += [node.lineno for value in given if fixed(value)]
    return found


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("subprocess.run(x, timeout=30)", [1]),
        ("thread.join(\n    READY_S)", [1]),
        ("async with asyncio.timeout(5): pass", [1]),
        ("worker.wait(timeout=0.4); event.wait(); ', '.join(names)", []),
        ("client.settimeout(patiently(READY_S)); eventually(x, within_s=20)", []),
    ],
)
def test_a_fixed_deadline_is_found(code: str, lines: list[int]) -> None:
    assert fixed_deadlines(code) == lines


def test_every_deadline_of_the_tests_follows_the_machine() -> None:
    for path in sorted((REPOSITORY / "tests").rglob("*.py")):
        lines = fixed_deadlines(path.read_text("utf-8"))
        assert not lines, f"{path.relative_to(REPOSITORY)}, lines {lines}: patiently(...) of tests/patience.py"


def endless_waits(code: str) -> list[int]:
    """Return the lines that wait for a process or a thread without a deadline."""
    tree = ast.parse(code)
    awaited = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Await)}
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or id(node) in awaited:
            continue
        if node.func.attr in ("wait", "join", "communicate"):
            found += [node.lineno] if not node.args and not node.keywords else []
        elif ast.unparse(node.func) in ("subprocess.run", "subprocess.check_output", "subprocess.check_call"):
            found += [node.lineno] if all(one.arg != "timeout" for one in node.keywords) else []
    return found


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("process.wait()", [1]),
        ("for thread in threads:\n    thread.join()", [2]),
        ("command.communicate()[0]", [1]),
        ("subprocess.run(['git'], check=True)", [1]),
        ("async def work():\n    await event.wait()", []),
        ("process.wait(patiently(60)); subprocess.run(x, timeout=patiently(60)); ''.join(names)", []),
    ],
)
def test_an_endless_wait_is_found(code: str, lines: list[int]) -> None:
    assert endless_waits(code) == lines


def test_every_wait_of_the_tests_for_a_process_or_a_thread_has_a_deadline() -> None:
    """Once, a run hung for an hour in one test, and nobody saw where."""
    for path in sorted((REPOSITORY / "tests").rglob("*.py")):
        lines = endless_waits(path.read_text("utf-8"))
        assert not lines, f"{path.relative_to(REPOSITORY)}, lines {lines}: a deadline, or join() of tests/patience.py"


def test_work_that_does_not_end_fails_where_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_machine", patience._Machine())
    monkeypatch.setattr(patience, "_crowd", lambda: 1.0)
    stuck = threading.Event()

    async def waits_here() -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError) as failed:
        asyncio.run(patience.in_time(waits_here(), within_s=0.05))
    thread = threading.Thread(target=stuck.wait, args=(patience.patiently(60),), name="stuck", daemon=True)
    thread.start()
    with pytest.raises(AssertionError, match="the thread stuck does not end"):
        patience.join(thread, within_s=0.05)
    stuck.set()

    assert isinstance(failed.value.__cause__, asyncio.CancelledError)
    assert "waits_here" in "".join(traceback.format_exception(failed.value))


STARTS_SERVERS = """
import sys, time
from pathlib import Path
from tests import programs
from tests.wire.kit import Server
program = programs.start(["sleep", "600"])
ended = programs.start(["true"])
programs.end(ended)
server = Server(Path(sys.argv[1]) / "data").start()
print(program.pid, server.process_id, flush=True)
time.sleep(600)
"""


def runs_still(pid: int) -> bool:
    """Return whether a process runs. One that has ended may wait for its parent to ask."""
    shown = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
        timeout=patience.patiently(10),
    )
    return shown.stdout[:1] not in ("", "Z")


def test_servers_and_programs_of_a_killed_run_end(tmp_path: Path) -> None:
    """A run that was killed once left its servers behind, and each of them slowed every later run."""
    environment = {name: value for name, value in os.environ.items() if name != runs.FOLDER}
    tests = subprocess.Popen(
        [sys.executable, "-c", STARTS_SERVERS, tmp_path],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert tests.stdout is not None
        started = [int(pid) for pid in tests.stdout.readline().split()]
        assert [runs_still(pid) for pid in started] == [True, True]

        tests.kill()

        patience.wait_until(lambda: not any(runs_still(pid) for pid in started), within_s=20)
    finally:
        tests.kill()
        tests.communicate(timeout=patience.patiently(60))
