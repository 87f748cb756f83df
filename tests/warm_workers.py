"""Workers that start in a few milliseconds: forks of a process that was forked before its supervisor did anything.

The supervisor itself cannot fork its workers: it has threads, an event loop and what the preparation of the start left
in memory. So a `kiai serve` with several workers forks once more before it begins. That process waits. For each worker
it forks a process that continues as `kiai.server_process`, with the arguments and file descriptors that the supervisor
would have given to a new Python. The worker becomes a child of the supervisor, which receives its exit code.

Linux only: elsewhere a supervisor and its workers start as from a shell.
"""

import asyncio
import ctypes
import fcntl
import json
import os
import signal
import socket
import sys
import time
from typing import IO, Any, Final

MODULE: Final = "kiai.server_process"
NAME: Final = "kiai-worker"
"""The command of a worker in `ps -o comm`. Its arguments are those of `warm_process.py`."""
SUBREAPER: Final = 36
"""PR_SET_CHILD_SUBREAPER: processes below this one become its children when their parent ends."""
ABOVE: Final = 512
"""Received file descriptors wait here, above the numbers that they get."""
DESCRIPTORS: Final = 32
ADOPTED_EVERY_S: Final = 0.001
REPORT_BYTES: Final = 64


class ForkedWorker:
    """A worker, with the part of `asyncio.subprocess.Process` that the supervisor uses."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdout = asyncio.StreamReader()
        self._ended = asyncio.Event()
        self._watched = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._watched, self._end)

    async def read_from(self, output: IO[bytes]) -> None:
        """Read its stdout from this end of a pipe."""
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(self.stdout), output)

    async def wait(self) -> int | None:
        """Wait for the end of the process and return its exit code."""
        await self._ended.wait()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the process unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._watched)
        os.close(self._watched)
        self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self._ended.set()


def prepare() -> list[str] | None:
    """Let the supervisor that this process becomes start workers by forks.

    Return None in this process, and in each worker the arguments for `server_process.main`.
    """
    requests, received = socket.socketpair()
    supervisor = os.getpid()
    if os.fork() == 0:
        requests.close()
        return _wait_for_worker(received, supervisor)
    received.close()

    async def start_worker(program: str, *arguments: str, **options: Any) -> ForkedWorker:
        """Start a worker as `asyncio.create_subprocess_exec` does. The supervisor starts nothing else."""
        assert (program, *arguments[:3]) == (sys.executable, "-P", "-m", MODULE)
        assert options.keys() == {"pass_fds", "stdout", "start_new_session"}
        output, written = os.pipe()
        try:
            worker = ForkedWorker(_fork(requests, written, arguments[3:], options["pass_fds"]))
        finally:
            os.close(written)
        await worker.read_from(os.fdopen(output, "rb"))
        return worker

    asyncio.create_subprocess_exec = start_worker  # type: ignore[assignment]
    return None


def _fork(requests: socket.socket, output: int, arguments: tuple[str, ...], inherited: tuple[int, ...]) -> int:
    """Have a worker forked; return its process id. It is then a child of this process."""
    report, theirs = socket.socketpair()
    umask = os.umask(0o077)  # there is no call that only reads it
    os.umask(umask)
    with report:
        with theirs:
            socket.send_fds(requests, [b"x"], [theirs.fileno(), output, *inherited])
        report.sendall(json.dumps([arguments, dict(os.environ), inherited, umask]).encode() + b"\n")
        _adopt(True)
        try:
            pid = report.recv(REPORT_BYTES)
        finally:
            _adopt(False)
    if not pid:
        raise OSError("the process that forks workers has ended")
    return int(pid)


def _adopt(orphans: bool) -> None:
    ctypes.CDLL(None).prctl(SUBREAPER, int(orphans), 0, 0, 0)


def _wait_for_worker(received: socket.socket, supervisor: int) -> list[str]:
    """Fork for each request. Return in the workers; end when the supervisor has ended."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the supervisor has them, and ends this process
    while True:
        _, descriptors, _, _ = socket.recv_fds(received, 1, DESCRIPTORS)
        if not descriptors:
            os._exit(0)
        between = os.fork()
        if between == 0:
            if os.fork() != 0:
                os._exit(0)  # so the worker gets another parent
            received.close()
            return _become_worker(descriptors, supervisor)
        os.waitpid(between, 0)
        for descriptor in descriptors:
            os.close(descriptor)


def _become_worker(descriptors: list[int], supervisor: int) -> list[str]:
    """Make this process what a new Python would be, and return its arguments."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})  # as `server_process.py`; it ignores SIGHUP, too
    with open("/proc/self/comm", "w", encoding="ascii") as name:
        name.write(NAME)
    lifted = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, ABOVE) for descriptor in descriptors]
    for descriptor in descriptors:
        os.close(descriptor)
    with socket.socket(fileno=lifted[0]) as report:
        with report.makefile("rb") as lines:
            arguments, environment, inherited, umask = json.loads(lines.readline())
        for descriptor, number in zip(lifted[1:], [1, *inherited], strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.environ.clear()
        os.environ.update(environment)
        os.umask(umask)
        while os.getppid() != supervisor:
            time.sleep(ADOPTED_EVERY_S)
        report.sendall(str(os.getpid()).encode())
    return list(arguments)
