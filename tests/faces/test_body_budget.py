"""The memory budget for request bodies: reservations, waiting and refusals."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import IPv4Network
from typing import Final

import msgspec
import pytest
from tests.faces.test_guard import (
    LIMITS,
    Running,
    all_answers,
    assert_refused,
    connected,
    eventually,
    post,
    serving,
    silent,
)
from tests.patience import patiently

from kiai.faces.body_budget import BodyBudget

KIB: Final = 1024
BUDGET_LIMITS: Final = msgspec.structs.replace(
    LIMITS,
    body_bytes=256 * KIB,
    upload_bytes=64 * KIB,
    free_body_bytes=16 * KIB,
    bodies_bytes=600 * KIB,
    small_bodies_bytes=64 * KIB,
    bodies_bytes_per_address=300 * KIB,
    body_s=patiently(30),
    upload_s=patiently(30),
    body_grace_s=patiently(30),
    budget_wait_s=0.5,
    contended_s=patiently(30),
    loopback=(),
)
LARGE: Final = 200 * KIB


@pytest.fixture
def server() -> Iterator[Running]:
    with serving(BUDGET_LIMITS) as running:
        yield running


def half(length: int = LARGE) -> bytes:
    return post(b"Content-Length: %d" % length, body=bytes(length // 2))


class Connection:
    """A connection that records whether its reservation was granted."""

    def __init__(self) -> None:
        self.given = False

    def on_budget_granted(self) -> None:
        self.given = True


def test_reservation_covers_the_declared_length_until_it_is_released() -> None:
    budget = BodyBudget(BUDGET_LIMITS)
    first, second, third = Connection(), Connection(), Connection()

    assert budget.reserve(first, LARGE, "a")
    assert not budget.reserve(second, LARGE, "a"), "the network has used its share"
    assert budget.reserve(third, LARGE, "b")
    assert budget.used == 2 * LARGE
    crowded = [budget.is_contended]
    budget.release(first)

    assert second.given
    assert [*crowded, budget.is_contended] == [True, False]
    budget.release(second)
    budget.release(third)
    budget.release(third)
    assert budget.used == 0


def test_large_bodies_leave_part_of_the_budget_to_small_ones() -> None:
    budget = BodyBudget(BUDGET_LIMITS)
    for name in "ab":
        assert budget.reserve(Connection(), LARGE, name)
    assert budget.reserve(Connection(), 136 * KIB, "c")

    assert not budget.reserve(Connection(), 65 * KIB, "d")
    assert budget.reserve(Connection(), 64 * KIB, "e")
    assert budget.used == BUDGET_LIMITS.bodies_bytes


def test_large_bodies_of_a_network_share_a_rate() -> None:
    budget = BodyBudget(msgspec.structs.replace(BUDGET_LIMITS, paced_bytes_per_s=100_000))

    assert budget.pause_s("a", 4_000, 10.0) == 0, "shorter than the shortest pause"
    assert budget.pause_s("a", 16_000, 10.0) == pytest.approx(0.2)
    assert budget.pause_s("a", 10_000, 10.1) == pytest.approx(0.2)
    assert budget.pause_s("b", 10_000, 10.1) == pytest.approx(0.1)
    assert budget.pause_s("a", 10_000, 20.0) == pytest.approx(0.1), "time without a body is not saved up"
    assert budget.pause_s(None, 10**9, 20.0) == 0, "loopback has no limit of its own"


def test_rate_of_a_network_is_forgotten_when_it_may_be_read_again() -> None:
    budget = BodyBudget(msgspec.structs.replace(BUDGET_LIMITS, paced_bytes_per_s=100_000))
    budget.pause_s("a", 20_000, 10.0)
    budget.pause_s("b", 40_000, 10.0)

    budget.forget_rates(10.3)

    assert budget.pause_s("a", 10_000, 10.0) == pytest.approx(0.1)
    assert budget.pause_s("b", 10_000, 10.0) == pytest.approx(0.5)


def test_rest_of_a_large_body_is_read_after_the_pause() -> None:
    with serving(msgspec.structs.replace(BUDGET_LIMITS, paced_bytes_per_s=200 * KIB)) as server:
        bodies = server.ledger.bodies
        with connected(server) as client, connected(server, "127.0.0.2") as other:
            client.sendall(post(b"Content-Length: %d" % LARGE, body=bytes(20 * KIB)))
            assert eventually(lambda: bodies.used == LARGE)
            client.sendall(bytes(100 * KIB))
            assert eventually(lambda: bodies.pauses == 1)
            paused_s = time.monotonic()
            client.sendall(bytes(80 * KIB))

            other.sendall(post(b"Content-Length: 10000", body=bytes(10_000)))
            assert other.recv(4_096).startswith(b"HTTP/1.1 200"), "other addresses do not wait"
            assert client.recv(4_096).startswith(b"HTTP/1.1 200")
            assert time.monotonic() - paused_s >= 0.4
        assert eventually(lambda: not server.ledger.connections), "the end of a pausing connection is seen"
        assert bodies.used == 0


def sent_within(client: socket.socket, seconds: float) -> int:
    """Send zeros for this time. Return the number of bytes that the server and the system's buffers have taken."""
    client.settimeout(0.05)
    sent, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            sent += client.send(bytes(256 * KIB))
        except TimeoutError:
            continue
        except OSError:
            break
    return sent


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(post(b"Content-Length: 1000000000"), id="refused"),
        pytest.param(post(b"Content-Length: 200000000", path=b"/deaf"), id="answered"),
    ],
)
def test_input_that_nobody_uses_is_read_at_the_rate_of_its_network(request_: bytes) -> None:
    limits = msgspec.structs.replace(
        BUDGET_LIMITS,
        body_bytes=200 * 1024 * KIB,
        bodies_bytes=400 * 1024 * KIB,
        bodies_bytes_per_address=300 * 1024 * KIB,
        paced_bytes_per_s=2 * 1024 * KIB,
        linger_s=2.0,
    )
    with serving(limits) as server:
        with connected(server) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * KIB)
            client.sendall(request_)

            taken = sent_within(client, 1.0)

            # Most of it is in the buffers of the system. At full speed the server would take hundreds of megabytes.
            assert taken < 20 * 1024 * KIB
            with connected(server) as other:
                other.sendall(post(b"Content-Length: 10000", body=bytes(10_000)))
                assert other.recv(4_096).startswith(b"HTTP/1.1 200"), "small bodies of the same network do not wait"
        assert eventually(lambda: not server.ledger.connections)


def test_half_sent_bodies_stay_within_the_budget_and_further_ones_get_503(server: Running) -> None:
    with ExitStack() as opened:
        clients = [opened.enter_context(connected(server, f"127.0.0.{n}")) for n in range(1, 9)]
        for client in clients[:2]:
            client.sendall(half())
        assert eventually(lambda: server.ledger.bodies.used == 2 * LARGE)
        for client in clients[2:]:
            client.sendall(half())

        for client in clients[2:]:
            [answer] = all_answers(client)
            assert (answer.status, answer.headers["retry-after"]) == (503, "5")
            assert "No memory" in json.loads(answer.body)["status"]
        assert server.ledger.bodies.used == 2 * LARGE
        for client in clients[:2]:
            client.sendall(bytes(LARGE - LARGE // 2))
            assert client.recv(4_096).startswith(b"HTTP/1.1 200")
    assert eventually(lambda: server.ledger.bodies.used == 0)


def test_waiting_body_is_read_once_another_releases_its_memory(server: Running) -> None:
    with connected(server) as first, connected(server) as second:
        first.sendall(half())
        assert eventually(lambda: server.ledger.bodies.used == LARGE)
        second.sendall(half())
        assert eventually(lambda: server.ledger.bodies.is_contended)

        first.sendall(bytes(LARGE - LARGE // 2))
        assert first.recv(4_096).startswith(b"HTTP/1.1 200")
        second.sendall(bytes(LARGE - LARGE // 2))

        assert second.recv(4_096).startswith(b"HTTP/1.1 200")


def test_each_address_behind_a_trusted_proxy_has_its_own_share() -> None:
    def upload(forwarded: bytes) -> bytes:
        return post(b"Content-Length: %d\r\nX-Forwarded-For: %s" % (LARGE, forwarded), body=bytes(LARGE // 2))

    behind_proxy = msgspec.structs.replace(BUDGET_LIMITS, trusted=(IPv4Network("127.0.0.0/8"),))
    with serving(behind_proxy) as server, ExitStack() as opened:
        clients = [opened.enter_context(connected(server)) for _ in range(3)]
        clients[0].sendall(upload(b"203.0.113.1"))
        assert eventually(lambda: server.ledger.bodies.used == LARGE)
        clients[1].sendall(upload(b"203.0.113.1, 127.0.0.9"))
        assert eventually(lambda: server.ledger.bodies.is_contended), "the address has used its share"
        clients[2].sendall(upload(b"203.0.113.2"))

        assert eventually(lambda: server.ledger.bodies.used == 2 * LARGE)
        [answer] = all_answers(clients[1])
        assert answer.status == 503


def test_small_body_needs_no_reservation(server: Running) -> None:
    with connected(server) as first, connected(server, "127.0.0.2") as second, connected(server) as third:
        first.sendall(half())
        second.sendall(half())
        assert eventually(lambda: server.ledger.bodies.used == 2 * LARGE)

        third.sendall(post(b"Content-Length: 10000", body=bytes(10_000)))

        assert third.recv(4_096).startswith(b"HTTP/1.1 200")
        assert server.ledger.bodies.used == 2 * LARGE


def test_disconnect_releases_the_reservation(server: Running) -> None:
    with connected(server) as client:
        client.sendall(half())
        assert eventually(lambda: server.ledger.bodies.used == LARGE)

    assert eventually(lambda: server.ledger.bodies.used == 0)


def test_answer_before_the_end_of_the_body_releases_the_reservation(server: Running) -> None:
    server.app.gate.set()
    with connected(server) as client:
        client.sendall(post(b"Content-Length: %d" % LARGE, body=bytes(LARGE), path=b"/gated-deaf"))

        assert client.recv(4_096).startswith(b"HTTP/1.1 200")
        assert eventually(lambda: server.ledger.bodies.used == 0)


def test_stalled_sender_is_refused_while_others_wait() -> None:
    limits = msgspec.structs.replace(BUDGET_LIMITS, contended_s=0.2, budget_wait_s=patiently(10))
    with serving(limits) as server, connected(server) as stalled:
        stalled.sendall(half())
        assert eventually(lambda: server.ledger.bodies.used == LARGE)
        assert silent(stalled, 0.5), "no other body waits yet"

        with connected(server) as waiting:
            waiting.sendall(half())

            assert_refused(server, stalled, "body_contended", limits)
            waiting.sendall(bytes(LARGE - LARGE // 2))
            assert waiting.recv(4_096).startswith(b"HTTP/1.1 200")


def test_upload_that_becomes_too_slow_is_refused() -> None:
    limits = msgspec.structs.replace(BUDGET_LIMITS, body_grace_s=0.3)
    with serving(limits) as server, connected(server) as client:
        client.sendall(half())

        assert_refused(server, client, "upload_slow", limits)
