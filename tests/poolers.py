"""A real PgBouncer in transaction mode before the PostgreSQL of the tests: Debian's `pgbouncer`."""

import atexit
import os
import shutil
import socket
import subprocess
from typing import Final
from urllib.parse import parse_qs, urlsplit

import pytest
from tests import engines, programs, runs
from tests.patience import patiently, wait_until
from tests.redises import free_port

READY_S: Final = 10.0
SERVERS: Final = 5
"""Connections to each database: fewer than kiai opens, so that transactions change between them."""
CONFIGURATION: Final = """[databases]
* = host={socket}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {servers}
"""


class Pooler:
    """A process of PgBouncer with the settings that its documentation shows first."""

    def __init__(self) -> None:
        command = program()
        self.port = free_port()
        folder = runs.start() / f"pgbouncer-{self.port}"
        folder.mkdir(mode=0o755)
        (folder / "users").write_text('"postgres" ""\n')
        [server] = parse_qs(urlsplit(engines.postgres_url()).query)["host"]
        (folder / "pgbouncer.ini").write_text(
            CONFIGURATION.format(socket=server, port=self.port, folder=folder, servers=SERVERS)
        )
        self._process = programs.start(
            [command, "-q", str(folder / "pgbouncer.ini")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **engines.as_nobody(),
        )
        wait_until(self._answers, within_s=READY_S, what="PgBouncer does not start")

    def url(self, url: str) -> str:
        """Return the URL of the same database through the pooler."""
        return f"postgresql://postgres@127.0.0.1:{self.port}{urlsplit(url).path}"

    def _answers(self) -> bool:
        assert self._process.poll() is None, f"PgBouncer ended at once, with exit code {self._process.returncode}"
        try:
            with socket.create_connection(("127.0.0.1", self.port), patiently(READY_S)):
                return True
        except OSError:
            return False

    def close(self) -> None:
        """End the process."""
        programs.end(self._process)


@runs.remembered
def a_pooler() -> Pooler:
    """Return the pooler that all tests of a process share."""
    pooler = Pooler()
    atexit.register(pooler.close)
    return pooler


def program() -> str:
    """Return the path of PgBouncer. Without one, fail in CI and skip elsewhere."""
    found = shutil.which("pgbouncer")
    if found is None:
        missing = "pgbouncer is missing; scripts/test installs it as root on Debian"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found
