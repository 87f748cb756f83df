"""A real S3 server for the tests."""

import atexit
import itertools
import subprocess
import sys
import urllib.request
from socket import socket
from typing import Final

from tests import programs, runs
from tests.patience import patiently, wait_until

READY_S: Final = 30.0


class S3Server:
    """An S3 server process on a free port. Its data is lost when it ends."""

    def __init__(self) -> None:
        with socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._numbers = itertools.count(1)
        self._process = programs.start(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers, within_s=READY_S, what="the S3 server does not start")

    def _answers(self) -> bool:
        assert self._process.poll() is None, f"the S3 server ended at once, with exit code {self._process.returncode}"
        try:
            self._create("ready")
        except OSError:
            return False
        return True

    @property
    def environment(self) -> dict[str, str]:
        """The URL for S3 tools."""
        return {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
        }

    def bucket(self) -> tuple[str, dict[str, str]]:
        """Create a bucket; return its URL and the environment variables that give access to it."""
        name = f"bucket-{next(self._numbers)}"
        self._create(name)
        return f"s3://{name}/kiai", self.environment

    def _create(self, name: str) -> None:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{name}", method="PUT")
        with urllib.request.urlopen(request, timeout=patiently(10)):
            pass

    def close(self) -> None:
        """End the process."""
        programs.end(self._process)


@runs.remembered
def an_s3() -> S3Server:
    """Return the server that all tests of a process share."""
    server = S3Server()
    atexit.register(server.close)
    return server
