"""Two real servers of a cluster on two data folders share one certificate of a real ACME authority."""

import contextlib
import http.client
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.patience import patiently
from tests.tls.machines import Balancer, Machine, two_machines
from tests.tls.pebble import Pebble, running_pebble
from tests.wire.kit import eventually

from kiai.clock import SystemClock
from kiai.tls.certificate import parse_chain
from kiai.tls.folder import TlsFolder

DOMAIN: Final = "both.example"
NAME: Final = f"c.{DOMAIN}"
OBTAINED_S: Final = 60.0
TAKEN_OVER_S: Final = 30.0


class KeptConnection(http.client.HTTPConnection):
    """A connection that is never opened again."""

    auto_open = 0

    def __init__(self, connected: ssl.SSLSocket) -> None:
        super().__init__(NAME)
        self.sock = connected

    def health(self) -> bytes:
        """Return the answer of /healthz. Fail if the server has closed the connection."""
        self.request("GET", "/healthz")
        return self.getresponse().read()


@pytest.fixture(scope="module")
def balancer() -> Iterator[Balancer]:
    with contextlib.closing(Balancer()) as opened:
        yield opened


@pytest.fixture(scope="module")
def authority(balancer: Balancer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with running_pebble(tmp_path_factory.mktemp("pebble"), balancer.number) as running:
        yield running


def test_one_of_two_servers_orders_and_renews_and_both_answer_the_challenges_and_serve_it(
    authority: Pebble, balancer: Balancer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with two_machines(tmp_path, authority, balancer, DOMAIN, monkeypatch) as machines:
        eventually(lambda: None not in machines.served(), within_s=OBTAINED_S)
        [first] = machines.served()

        assert machines.issued() == 1
        assert all(balancer.passed.values()), "the authority reached one of the machines only"
        folders = [TlsFolder(machine.data) for machine in machines.both]
        assert len({folder.account.read_bytes() for folder in folders}) == 1
        assert len({folder.key.read_bytes() for folder in folders}) == 1
        assert all(folder.key.stat().st_mode & 0o077 == 0 for folder in folders)

        kept = [KeptConnection(machines.client(machine).connect(NAME)) for machine in machines.both]

        def both_serve_another() -> bool:
            assert [connection.health() for connection in kept] == [b"ok", b"ok"]
            return machines.served().isdisjoint({first, None}) and len(machines.served()) == 1

        due_ms = parse_chain(folders[0].chain.read_bytes(), "it").renewal_ms
        machines.move_clock(due_ms - SystemClock().now_ms() + 1)
        eventually(both_serve_another, within_s=OBTAINED_S)

        assert machines.issued() == 2
        for connection in kept:
            assert connection.health() == b"ok"
            connection.close()
        for machine in machines.both:
            machine.stop()
    assert machines.issued() == 2


def lose_power(machine: Machine) -> None:
    """The machine and everything on it is gone."""
    machine.lose_power()


def kill_the_server(machine: Machine) -> None:
    """The process that orders the certificate continues."""
    machine.kill()


def stop(machine: Machine) -> None:
    """The operator stops the server."""
    machine.stop()


@pytest.mark.parametrize("end", [lose_power, kill_the_server, stop])
def test_other_server_orders_when_the_first_one_ends_during_an_order(
    authority: Pebble,
    balancer: Balancer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    end: Callable[[Machine], None],
) -> None:
    domain = f"{end.__name__.replace('_', '-')}.example"
    balancer.hold()
    with two_machines(tmp_path, authority, balancer, domain, monkeypatch) as machines:
        balancer.hold()
        assert balancer.waiting.wait(patiently(OBTAINED_S))
        [ordering] = [machine for machine in machines.both if machine.order() is not None]
        [other] = [machine for machine in machines.both if machine is not ordering]

        end(ordering)
        balancer.let_pass()
        eventually(lambda: machines.served_by(other) is not None, within_s=OBTAINED_S)
        ordering.start(cold=True)
        eventually(lambda: None not in machines.served(), within_s=TAKEN_OVER_S)
        eventually(lambda: len(machines.served()) == 1, within_s=TAKEN_OVER_S)

        assert machines.issued() == 1 + (end is kill_the_server)
        assert [machine.order() for machine in machines.both] == [None, None]
