"""`kiai top` on a running server, on a terminal and without, and without a server."""

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import stores
from tests.patience import Deadline, patiently
from tests.wire.kit import KIAI, Server, environment, eventually, run_kiai
from tests.wire.test_metrics import figures

KEYS = {"online", "requests_per_s", "p99_ms", "loop_lag_ms", "rss_bytes", "workers", "stores", "slow"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("top") / "data").start()
    try:
        eventually(lambda: "kiai_players_online" in figures(server), within_s=20)
        yield server
        server.stop()
        assert not (server.data / "kiai.sock").exists()
    finally:
        server.kill()


def test_figures_are_those_of_the_metrics(server: Server) -> None:
    found = server.cli("top", "--once")

    assert set(found) == KEYS
    assert (found["online"], found["workers"]) == (0, 1)
    assert found["rss_bytes"] == pytest.approx(figures(server)["kiai_rss_bytes"], rel=0.1)
    assert found["loop_lag_ms"] >= 0
    assert {name: store["status"] for name, store in found["stores"].items()} == dict.fromkeys(
        ("database", "state", "files"), "ok"
    )
    assert found["stores"]["database"]["calls_per_s"] > 0


def test_requests_between_the_readings_are_counted(server: Server) -> None:
    command = subprocess.Popen(
        [*KIAI, "top", "--json", "--data", str(server.data)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(stores.variables(server.data)),
    )
    while command.poll() is None:
        assert server.get("/healthz").status == 200
    found = json.loads(command.communicate(timeout=patiently(60))[0])

    assert command.returncode == 0
    assert found["requests_per_s"] > 1
    assert 0 < found["p99_ms"] <= 5_000


def test_output_that_is_not_a_terminal_gets_the_figures_once(server: Server) -> None:
    done = run_kiai(server.data, "top")

    assert done.returncode == 0, done
    assert "Players online: 0" in done.stdout
    assert "Store database: ok" in done.stdout
    assert "\x1b" not in done.stdout


def test_terminal_shows_the_figures_until_ctrl_c(server: Server) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    command = subprocess.Popen(
        [*KIAI, "top", "--data", str(server.data)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(stores.variables(server.data)) | {"TERM": "xterm"},
        start_new_session=True,
        # A run in the background ignores this signal, and its processes do so, too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(theirs)
    shown, deadline = b"", Deadline(30.0)

    def read() -> bytes:
        assert not deadline.passed(), shown
        return os.read(ours, 65_536) if select.select([ours], [], [], 1.0)[0] else b""

    try:
        while shown.count(b"Requests per second") < 2:
            shown += read()
        command.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # the end of the terminal
            while True:  # a screen is larger than the buffer of a terminal
                shown += read()
        assert command.wait(patiently(10)) == 0
    finally:
        command.kill()
        command.wait(patiently(60))
        os.close(ours)
    assert b"Store database" in shown


def test_without_a_server_the_command_fails_and_makes_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert run_kiai(data, "migrate").returncode == 0
    before = sorted(data.iterdir())

    done = run_kiai(data, "top", "--once", "--json")

    assert done.returncode == 1
    assert f"no server runs on {data}" in json.loads(done.stdout)["error"]
    assert sorted(data.iterdir()) == before
