"""Two machines: real servers with their own data folders, and one PostgreSQL, Redis and folder for files."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests import engines
from tests.patience import patiently
from tests.redises import RedisServer
from tests.tls.pebble import Pebble
from tests.wire.kit import Server
from tests.wire.test_tls import TlsClient

from kiai.clock import SystemClock
from kiai.secret_box import FILE, SecretBox

PIECE: Final = 64 * 1024
PATIENCE_S: Final = 30.0
# Python runs a module of this name at its start. Every process of a server then reads the moved clock.
CLOCK: Final = """
import pathlib, time

_file, _time_ns = pathlib.Path(__file__).with_name("moved_by_ms"), time.time_ns
time.time_ns = lambda: _time_ns() + int(_file.read_text()) * 1_000_000
"""


class Balancer:
    """The port that an authority asks. It passes each connection to the next machine, and leaves out those away."""

    def __init__(self) -> None:
        self.passed: dict[int, int] = {}  # the connections by the port of the machine
        self.waiting = threading.Event()
        """A connection has arrived while the machines were not reached."""
        self._reached = threading.Event()
        self._ports: list[int] = []
        self._turn = 0
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.number: Final[int] = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def lead_to(self, *ports: int) -> None:
        """Pass connections to these ports in turn."""
        with self._lock:
            self._ports, self.passed = list(ports), dict.fromkeys(ports, 0)
        self._reached.set()

    def hold(self) -> None:
        """Let connections wait until `let_pass`."""
        self.waiting.clear()
        self._reached.clear()

    def let_pass(self) -> None:
        """Pass the connections that wait, and all further ones."""
        self._reached.set()

    def close(self) -> None:
        """Accept nothing any more."""
        self._reached.set()
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        if not self._reached.is_set():
            self.waiting.set()
            self._reached.wait(patiently(PATIENCE_S))
        with connection, contextlib.suppress(OSError), self._connected() as machine:
            connection.settimeout(patiently(PATIENCE_S))
            machine.settimeout(patiently(PATIENCE_S))
            machine.sendall(connection.recv(PIECE))  # an authority sends its request in one piece
            connection.sendall(machine.recv(PIECE))

    def _connected(self) -> socket.socket:
        with self._lock:
            self._turn += 1
            ports = [self._ports[(self._turn + number) % len(self._ports)] for number in range(len(self._ports))]
        for port in ports:
            with contextlib.suppress(OSError):
                machine = socket.create_connection(("127.0.0.1", port))
                with self._lock:
                    self.passed[port] += 1
                return machine
        raise OSError("no machine answers")


class Machine(Server):
    """One of the machines."""

    def order(self) -> int | None:
        """Return the process that orders a certificate for this machine, or None."""
        found = subprocess.run(
            ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(self.process_id)],
            capture_output=True,
            text=True,
            check=False,
            timeout=patiently(60),
        )
        orders = [line for line in found.stdout.splitlines() if "renewal_process certificate" in line]
        return int(orders[0].split()[0]) if orders else None

    def lose_power(self) -> None:
        """Kill the server and what it has started."""
        if (order := self.order()) is not None:
            os.kill(order, signal.SIGKILL)
        self.kill()


class Machines:
    """The two machines and what they share."""

    def __init__(self, both: list[Machine], clock: Path, pebble: Pebble, domain: str) -> None:
        self.both: Final = both
        self._clock = clock
        self._pebble = pebble
        self._issued = self._issued_in_all()
        self._name = f"c.{domain}"

    def issued(self) -> int:
        """Return the number of certificates that the authority has issued to these machines."""
        return self._issued_in_all() - self._issued

    def client(self, machine: Machine) -> TlsClient:
        """Return a client that trusts the authority only."""
        return TlsClient(machine.port, self._pebble.root())

    def served(self) -> set[str | None]:
        """Return the serial numbers of the certificates that new connections get; None where it is not trusted."""
        return {self.served_by(machine) for machine in self.both}

    def served_by(self, machine: Machine) -> str | None:
        """Return the serial number of the certificate of one machine; None if it is not of the authority."""
        with contextlib.suppress(OSError):
            return self.client(machine).serial(self._name)
        return None

    def move_clock(self, by_ms: int) -> None:
        """Set the clock of both machines this far ahead."""
        written = self._clock.with_suffix(".new")
        written.write_text(str(by_ms))
        written.replace(self._clock)

    def _issued_in_all(self) -> int:
        return (self._pebble.folder / "pebble.log").read_text().count("Issued certificate")


@contextlib.contextmanager
def two_machines(
    folder: Path, pebble: Pebble, balancer: Balancer, domain: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Machines]:
    """Run two machines for a domain, which the authority reaches through the balancer."""
    for name in ("a", "b", "files", "clock"):
        (folder / name).mkdir(mode=0o700)
    (folder / "clock" / "sitecustomize.py").write_text(CLOCK)
    (clock := folder / "clock" / "moved_by_ms").write_text("0")
    before = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(clock.parent), before])))
    SecretBox(folder / "a", SystemClock()).seal(b"", "")  # creates the key
    shutil.copy(folder / "a" / FILE, folder / "b" / FILE)
    with contextlib.closing(RedisServer()) as redis, engines.postgres_database() as database:
        both = [
            Machine(
                folder / name,
                DATABASE=database,
                STATE=redis.url,
                FILES=str(folder / "files"),
                DOMAIN=domain,
                TLS="auto",
                HTTP_PORT="0",
                ACME_DIRECTORY=pebble.directory,
                ACME_CA=str(pebble.authority_pem),
            )
            for name in ("a", "b")
        ]
        try:
            machines = Machines(both, clock, pebble, domain)
            for machine in both:
                machine.start(cold=True)  # a process that was imported before does not read the moved clock
            balancer.lead_to(*(machine.http_port for machine in both))
            yield machines
        finally:
            for machine in both:
                machine.lose_power()
