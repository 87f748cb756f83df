"""A real `kiai serve` process, an HTTP client for it, and commands on its data."""

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
from typing import IO, Any, Final
from urllib.parse import urlsplit

import msgspec
from tests import stores, warm
from tests.patience import Deadline, patiently, wait_until
from tests.warm import WarmProcess

KIAI: Final = (sys.executable, "-m", "kiai")
API: Final = "api.localhost"
READY_S: Final = 30.0
STOP_S: Final = 15.0
TIMEOUT_S: Final = 20.0
COMMAND_S: Final = 60.0
LOOKED_S: Final = 1.0
STDERR_SHOWN: Final = 8_000
BEHIND_PROXY: Final = {"TRUSTED_PROXY": "127.0.0.1/32"}
"""Settings of a server that trusts this machine as a proxy, so that a test can choose the address of each request."""


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
        """The text of a v1 error. Fail if the body has other fields."""
        assert list(self.json) == ["status"], self.body
        return str(self.json["status"])


class Server:
    """One server process with its own data folder. `settings` are KIAI_* variables without the prefix.

    Rate limits are on, as in production. If tests together exceed the limits of one address, each of them uses its own
    address (`BEHIND_PROXY`, `use_new_address`). A test that turns the limits off says why.
    """

    def __init__(self, data: Path, **settings: str) -> None:
        self.data = data
        # By default, the first player who logs in does not become the owner.
        defaults = {"RATE_LIMITS": "on", "FIRST_USER_IS_OWNER": "off"}
        self._env = environment({**defaults, **_stores(data, settings), **settings})
        self._stderr = data.with_suffix(".stderr")
        self._process: subprocess.Popen[str] | WarmProcess | None = None
        self._stdout: IO[str] | None = None
        self.proxied = "TRUSTED_PROXY" in settings
        self.address: str | None = None  # the address of requests that do not name one
        self.port = 0
        self.irc_ports: dict[str, int] = {}  # "irc" and "irc-tls", where the settings turn them on
        self._irc = [word for word, name in (("irc", "IRC"), ("irc-tls", "IRC_TLS")) if name in settings]
        self._has_plain_http = settings.get("TLS", "off") != "off" and settings.get("HTTP_PORT") != "off"
        self.http_port = 0  # of plain http next to https
        self.claim_code = ""  # printed at the start of a server without an owner

    def launch(self) -> subprocess.Popen[str]:
        """Start the process as a shell does, without waiting for it."""
        with self._stderr.open("ab") as stderr:
            self._process = process = subprocess.Popen(
                [*KIAI, *self._command],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env=self._env,
                cwd=self.data.parent,
            )
        self._stdout = process.stdout
        return process

    def _launch_warm(self) -> None:
        output, written = os.pipe()
        self._stdout = os.fdopen(output, encoding="utf-8")
        try:
            with self._stderr.open("ab") as stderr:
                self._process = WarmProcess(
                    self._command,
                    environment=self._env,
                    folder=self.data.parent,
                    stdout=written,
                    stderr=stderr.fileno(),
                )
        finally:
            os.close(written)

    @property
    def _command(self) -> list[str]:
        return ["serve", "--port", "0", "--data", str(self.data)]

    def start(self, *, cold: bool = False) -> "Server":
        """Start the process and wait until it announces that it is ready. `cold` starts it as a shell does."""
        if cold or warm.COLD:
            self.launch()
        else:
            self._launch_warm()
        assert self._stdout is not None
        deadline = Deadline(READY_S)
        readable: Sequence[object] = ()
        while not readable and not deadline.passed():
            readable, _, _ = select.select([self._stdout], [], [], min(LOOKED_S, deadline.left_s()))
        line = self._stdout.readline() if readable else ""
        if line.startswith("claim "):
            self.claim_code = line.split()[1]
            line = self._stdout.readline()
        if not line.startswith(("ready http://", "ready https://")):
            self.kill()
            raise AssertionError(f"kiai serve is not ready: {line!r}\n{self.stderr}")
        port = urlsplit(line.split()[1]).port
        assert port is not None
        self.port = port
        if self._has_plain_http:
            line = self._stdout.readline()
            assert line.startswith("http "), line
            self.http_port = int(line.rpartition(":")[2])
        for word in self._irc:  # each has a line of its own
            line = self._stdout.readline()
            assert line.startswith(f"{word} "), line
            self.irc_ports[word] = int(line.rpartition(":")[2])
        return self

    def stop(self) -> None:
        """Stop the process with SIGTERM. Fail unless it ends in time with exit code 0."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            ended = f"exit code {self._process.wait(patiently(STOP_S))}"
        except subprocess.TimeoutExpired as error:
            ended = str(error)
        finally:
            self.kill()
        assert ended == "exit code 0", f"{ended}\n{self.stderr}"

    def kill(self) -> None:
        """Kill the process if it still runs."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(patiently(60))
        if self._stdout is not None:
            self._stdout.close()

    @property
    def process_id(self) -> int:
        """The id of the process."""
        assert self._process is not None
        return self._process.pid

    @contextlib.contextmanager
    def files_bounded_to(self, size: int) -> Iterator[None]:
        """Limit the size of files that the process can write, to simulate a full disk."""
        assert self._process is not None
        before = resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        try:
            yield
        finally:
            resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, before)

    @property
    def log_lines(self) -> list[Any]:
        """The whole log so far, without lines that are not JSON."""
        lines = self._stderr.read_text("utf-8", "replace").splitlines()
        return [msgspec.json.decode(line) for line in lines if line.startswith("{") and line.endswith("}")]

    @property
    def stderr(self) -> str:
        """The end of the log."""
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
        """Send one request on a new connection. `address` is its origin; the server must be `BEHIND_PROXY` for it."""
        sent = {"Host": host, "Connection": "close", **(headers or {})}
        if (origin := address or self.address) is not None:
            assert self.proxied, "the server would ignore the address"
            sent.setdefault("X-Forwarded-For", origin)
        if key is not None:
            sent["Authorization"] = key
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=patiently(TIMEOUT_S))
        try:
            # Not below, where a reset is ignored: a killed server may reset the connection while it opens.
            connection.connect()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                # The server refused the body before it had read all of it. The answer can still be read.
                connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            if "set-cookie" in found:  # the only header that is repeated; one cookie per line
                found["set-cookie"] = "\n".join(answer.headers.get_all("Set-Cookie") or ())
            return Reply(answer.status, found, answer.read())
        finally:
            connection.close()

    def get(self, path: str, *, host: str = API, key: str | None = None, **headers: str) -> Reply:
        """Send a GET request. In the names of `headers`, _ stands for -."""
        return self.ask(
            "GET", path, host=host, key=key, headers={name.replace("_", "-"): text for name, text in headers.items()}
        )

    def cli(self, *arguments: str) -> Any:
        """Run a kiai command on this server's data and return its JSON object."""
        return cli(self.data, *arguments)


def use_new_address(server: Server) -> None:
    """Send all further requests from a new address, so that rate limits start again."""
    number = next(_addresses)
    server.address = f"198.18.{number // 250 % 256}.{number % 250 + 1}"


_addresses = itertools.count()


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of this process with only these settings of kiai."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("KIAI_")}
    return others | {f"KIAI_{name}": value for name, value in settings.items()}


def cli(data: Path, *arguments: str, **settings: str) -> Any:
    """Run a kiai command with `--data` and `--json` and return its object. `settings` are as in `Server`."""
    done = run_kiai(data, *arguments, "--json", settings=settings)
    assert done.returncode == 0, f"{arguments}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return json.loads(done.stdout)


def run_kiai(
    data: Path, *arguments: str, settings: Mapping[str, str] | None = None, optimized: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a kiai command with `--data`. `optimized` is with `python -O`, which skips `assert`."""
    command, settings = [*arguments, "--data", str(data)], settings or {}
    if arguments[0] == "restore":
        stores.of(data, empty=True)
    env = environment({**({} if "--database" in arguments else _stores(data, settings)), **settings})
    timeout = patiently(COMMAND_S)
    if warm.COLD:
        python = [KIAI[0], *(["-O"] if optimized else []), *KIAI[1:]]
        return subprocess.run(
            [*python, *command], capture_output=True, text=True, env=env, cwd=data.parent, timeout=timeout, check=False
        )
    return warm.run(command, environment=env, folder=data.parent, timeout=timeout, optimized=optimized)


def _stores(data: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of the stores of a data folder, unless these settings name others."""
    return {} if "DATABASE" in settings else stores.variables(data)


def eventually(holds: Callable[[], bool], *, within_s: float = 10.0) -> None:
    """Wait until `holds()` is true. Fail after `within_s` seconds of an idle machine."""
    wait_until(holds, within_s=within_s)
