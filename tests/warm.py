"""Kiai processes that start in a few milliseconds: forks of a process that has imported kiai before.

Python needs most of a second to import kiai, and the tests start more than a thousand servers and commands. After the
imports, a forked process does the same as one that was started from a shell. Tests of the start and of the command
line itself use the command of a shell. `COLD=1` does so for all of them.
"""

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests import runs
from tests.patience import patiently

from kiai.exec_server import MALLOC

REPOSITORY: Final = Path(__file__).parents[1]
PROGRAM: Final = "tests.warm_process"
COLD: Final = os.environ.get("COLD") == "1"
STARTED_S: Final = 60.0
"""The time until a process has started, for the first one with all imports."""
ENDED_S: Final = 30.0
REPORT_BYTES: Final = 64


class WarmProcess:
    """A started process, with the part of `subprocess.Popen` that the tests use."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        stdout: int,
        stderr: int,
        optimized: bool = False,
    ) -> None:
        self.returncode: int | None = None
        self._lines = b""
        self._report, theirs = socket.socketpair()
        with theirs:
            imported = _imported_optimized() if optimized else _imported()
            socket.send_fds(imported, [b"x"], [theirs.fileno(), stdout, stderr])
        self._report.sendall(json.dumps([list(arguments), dict(environment), str(folder)]).encode() + b"\n")
        self.pid = self._number(patiently(STARTED_S))

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the process and return its exit code. Raises TimeoutExpired."""
        if self.returncode is None:
            self.returncode = self._number(timeout)
            self._report.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the process unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended, and the other process has not said so yet
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the process unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def _number(self, timeout: float | None) -> int:
        """Read the next number of the report."""
        while b"\n" not in self._lines:
            if not select.select([self._report], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("kiai", timeout or 0)
            read = self._report.recv(REPORT_BYTES)
            assert read, "the process that imports kiai has ended, see its error above"
            self._lines += read
        line, _, self._lines = self._lines.partition(b"\n")
        return int(line)


def run(
    arguments: Sequence[str], *, environment: Mapping[str, str], folder: Path, timeout: float, optimized: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return what it printed. Raises TimeoutExpired."""
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        process = WarmProcess(
            arguments,
            environment=environment,
            folder=folder,
            stdout=stdout.fileno(),
            stderr=stderr.fileno(),
            optimized=optimized,
        )
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        # The process has moved the position in both files, which it shares with this process.
        stdout.seek(0)
        stderr.seek(0)
        return subprocess.CompletedProcess(["kiai", *arguments], code, stdout.read(), stderr.read())


@runs.remembered
def _imported() -> socket.socket:
    return _import()


@runs.remembered
def _imported_optimized() -> socket.socket:
    return _import("-O")


def _import(*options: str) -> socket.socket:
    """Start a process that imports kiai, and return the connection to it. The process ends with this one."""
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, *options, "-m", PROGRAM, str(theirs.fileno())]
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**MALLOC, **os.environ},  # as `exec_server`: the C library reads it at the start of a process only
        )

    def end() -> None:
        ours.close()
        try:
            process.wait(patiently(ENDED_S))
        finally:
            process.kill()

    atexit.register(end)
    return ours
