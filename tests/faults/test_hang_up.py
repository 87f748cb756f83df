"""SIGHUP does not end a server: neither during its start, nor when its terminal closes, nor one of several workers.

SIGUSR1, which asks for its stacks, does not end one that starts.
"""

import contextlib
import fcntl
import os
import pty
import signal
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tests.builders import a_map
from tests.cluster.kit import running
from tests.patience import patiently
from tests.wire.kit import KIAI, Server, environment, eventually

START_S = 60.0


def ignores_hang_up(process: int) -> bool:
    """Return whether a process of this system ignores SIGHUP."""
    return has_signal(process, "SigIgn", signal.SIGHUP)


def has_signal(process: int, mask: str, number: signal.Signals) -> bool:
    """Return whether a signal is in a mask of a process: `SigIgn` of ignored ones, `SigBlk` of blocked ones."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return False
    [bits] = [line.split()[1] for line in lines if line.startswith(f"{mask}:")]
    return bool(int(bits, 16) & 1 << (number - 1))


@contextlib.contextmanager
def server_of(data: Path) -> Iterator[Server]:
    server = Server(data)
    try:
        yield server
    finally:
        server.kill()


def test_server_ignores_hang_ups_while_it_starts(tmp_path: Path) -> None:
    with server_of(tmp_path / "data") as server:
        process = server.launch()
        eventually(lambda: ignores_hang_up(process.pid), within_s=START_S)
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)

        def ready() -> bool:
            process.send_signal(signal.SIGHUP)
            assert process.poll() is None, server.stderr
            return process.stdout is not None and process.stdout.readline().startswith("ready ")

        eventually(ready, within_s=START_S)
        process.send_signal(signal.SIGTERM)
        assert process.wait(patiently(START_S)) == 0


def test_server_that_starts_answers_sigusr1_when_it_can(tmp_path: Path) -> None:
    with server_of(tmp_path / "data") as server:
        process = server.launch()
        eventually(lambda: has_signal(process.pid, "SigBlk", signal.SIGUSR1), within_s=START_S)
        process.send_signal(signal.SIGUSR1)

        eventually(lambda: '"event":"stacks"' in server.stderr, within_s=START_S)

        assert process.stdout is not None
        assert process.stdout.readline().startswith("ready ")
        process.send_signal(signal.SIGTERM)
        assert process.wait(patiently(START_S)) == 0


def test_running_server_ignores_hang_ups_and_stops_normally(tmp_path: Path) -> None:
    with server_of(tmp_path / "data") as server:
        server.start()
        for _ in range(3):
            os.kill(server.process_id, signal.SIGHUP)
        assert server.get("/get_player_count").status == 200
        server.stop()


def test_server_survives_the_end_of_its_terminal(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*KIAI, "serve", "--port", "0", "--data", str(tmp_path / "data")],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment({"LOG_LEVEL": "debug"}),
        cwd=tmp_path,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    try:
        seen = b""
        while b"ready http://" not in seen or not seen.endswith(b"\n"):
            seen += os.read(ours, 4096)
        [line] = [line for line in seen.decode().splitlines() if line.startswith("ready ")]
        os.close(ours)

        server = Server(tmp_path / "data")
        server.port = urlsplit(line.split()[1]).port or 0
        for _ in range(3):
            assert server.get("/get_player_count").status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(patiently(START_S)) == 0
    finally:
        process.kill()
        process.wait(patiently(60))


def test_workers_ignore_hang_ups_and_the_supervisor_replaces_them_once(tmp_path: Path) -> None:
    with running(tmp_path, [], [a_map()]) as cluster:
        first = cluster.workers()
        for worker in first:
            os.kill(worker, signal.SIGHUP)
        assert cluster.get("/get_player_count").status == 200
        assert cluster.workers() == first

        for _ in range(20):
            cluster.signal(signal.SIGHUP)

        eventually(lambda: len(cluster.workers()) == 2 and not set(first) & set(cluster.workers()), within_s=START_S)
        eventually(lambda: "workers replaced" in cluster.stderr, within_s=START_S)
        # A second replacement may still start a worker.
        eventually(lambda: all(ignores_hang_up(worker) for worker in cluster.workers()), within_s=START_S)
        cluster.stop()
        assert cluster.stderr.count("workers replaced") <= 2
