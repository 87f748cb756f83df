"""A real `kiai serve` process, a client that speaks plain HTTP to it, and the commands beside it."""

import contextlib
import http.client
import itertools
import json
import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from tests import stores
from tests.patience import Deadline, patiently, wait_until

KIAI: Final = (sys.executable, "-m", "kiai")
API: Final = "api.localhost"
READY_S: Final = 30.0
STOP_S: Final = 15.0
ANSWER_S: Final = 20.0
COMMAND_S: Final = 60.0
LOOKED_S: Final = 1.0
STDERR_SHOWN: Final = 8_000
BEHIND_PROXY: Final = {"TRUSTED_PROXY": "127.0.0.1/32"}
"""Settings of a server that takes this machine for a proxy: each request may then come from an address of its own."""


class Reply(msgspec.Struct, frozen=True):
    """An answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def said(self) -> str:
        """The sentence of a v1 error, whose body is nothing but that."""
        assert list(self.json) == ["status"], self.body
        return str(self.json["status"])


class Server:
    """One server process on a data folder of its own. `settings` are KIAI_* variables without the prefix.

    Rate limits are on, as on a living server. Where tests together ask for more than one address may, each comes from
    an address of its own (`BEHIND_PROXY`, `from_an_address_of_its_own`). A test for which they are off says why.
    """

    def __init__(self, data: Path, **settings: str) -> None:
        self.data = data
        # Whoever logs in first is a player like all others, unless a test is about that.
        defaults = {"RATE_LIMITS": "on", "FIRST_USER_IS_OWNER": "off"}
        self._env = environment({**defaults, **stores.variables(data), **settings})
        self._stderr = data.with_suffix(".stderr")
        self._process: subprocess.Popen[str] | None = None
        self.proxied = "TRUSTED_PROXY" in settings
        self.address: str | None = None  # from where requests come that do not say so themselves
        self.port = 0
        self.claim_code = ""  # what it printed at its start, where it has no owner

    def launch(self) -> subprocess.Popen[str]:
        """Starts it, without waiting for anything."""
        command = [*KIAI, "serve", "--port", "0", "--data", str(self.data)]
        with self._stderr.open("ab") as stderr:
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=self._env, cwd=self.data.parent
            )
        return self._process

    def start(self) -> "Server":
        """Starts it and waits until it says that it is ready."""
        self._process = self.launch()
        assert self._process.stdout is not None
        deadline = Deadline(READY_S)
        readable: Sequence[object] = ()
        while not readable and not deadline.passed():
            readable, _, _ = select.select([self._process.stdout], [], [], min(LOOKED_S, deadline.left_s()))
        line = self._process.stdout.readline() if readable else ""
        if line.startswith("claim "):
            self.claim_code = line.split()[1]
            line = self._process.stdout.readline()
        if not line.startswith("ready http://"):
            self.kill()
            raise AssertionError(f"kiai serve is not ready: {line!r}\n{self.stderr}")
        port = urlsplit(line.split()[1]).port
        assert port is not None
        self.port = port
        return self

    def stop(self) -> None:
        """Ends it as a service manager would; it must end by itself and content."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(patiently(STOP_S))
        finally:
            self.kill()
        assert code == 0, f"exit code {code}\n{self.stderr}"

    def kill(self) -> None:
        """Ends whatever still runs."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    @property
    def process_id(self) -> int:
        """The id of its process."""
        assert self._process is not None
        return self._process.pid

    @contextlib.contextmanager
    def files_bounded_to(self, size: int) -> Iterator[None]:
        """Lets the process write no file beyond this size, as on a full disk."""
        assert self._process is not None
        before = resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        try:
            yield
        finally:
            resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, before)

    @property
    def stderr(self) -> str:
        """The end of what it wrote to its log."""
        return self._stderr.read_text("utf-8", "replace")[-STDERR_SHOWN:]

    def ask(
        self,
        method: str,
        path: str,
        *,
        host: str = API,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        key: str | None = None,
        address: str | None = None,
    ) -> Reply:
        """Sends one request on a connection of its own. `address` is from where; the server must be `BEHIND_PROXY`."""
        sent = {"Host": host, "Connection": "close", **(headers or {})}
        if (origin := address or self.address) is not None:
            assert self.proxied, "it would not believe this"
            sent.setdefault("X-Forwarded-For", origin)
        if key is not None:
            sent["Authorization"] = key
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=patiently(ANSWER_S))
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                # A body that is refused before it was read: the answer is there, as for any client that looks.
                connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, found, answer.read())
        finally:
            connection.close()

    def get(self, path: str, *, host: str = API, key: str | None = None, **headers: str) -> Reply:
        """A GET; `headers` with _ for -."""
        return self.ask(
            "GET", path, host=host, key=key, headers={name.replace("_", "-"): text for name, text in headers.items()}
        )

    def cli(self, *arguments: str) -> Any:
        """The JSON object of a kiai command on this server's data."""
        return cli(self.data, *arguments)


def from_an_address_of_its_own(server: Server) -> None:
    """Lets all requests that follow come from an address that asked for nothing yet, so that limits count anew."""
    number = next(_addresses)
    server.address = f"198.18.{number // 250 % 256}.{number % 250 + 1}"


_addresses = itertools.count()


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with these settings of kiai and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KIAI_")}
    return kept | {f"KIAI_{name}": value for name, value in settings.items()}


def cli(data: Path, *arguments: str, **settings: str) -> Any:
    """Runs a kiai command with `--data` and `--json`; its object. `settings` as those of `Server`."""
    command = [*KIAI, *arguments, "--data", str(data), "--json"]
    env = environment({**stores.variables(data), **settings})
    done = subprocess.run(
        command, capture_output=True, text=True, env=env, cwd=data.parent, timeout=patiently(COMMAND_S)
    )
    assert done.returncode == 0, f"{arguments}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return json.loads(done.stdout)


def eventually(holds: Callable[[], bool], *, within_s: float = 10.0) -> None:
    """Waits until `holds()`; fails after `within_s` seconds of an idle machine."""
    wait_until(holds, within_s=within_s)
