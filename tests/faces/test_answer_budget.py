"""The budget for answers that clients have not read: what counts as slow."""

import asyncio
import socket
from collections.abc import Iterator
from typing import cast

import msgspec
import pytest

from kiai.faces.answer_budget import AnswerBudget, unread_bytes
from kiai.faces.guard_limits import GuardLimits

LIMITS = GuardLimits(answer_bytes_per_s=1_000, answer_grace_s=1.0)
WAITING = 50_000  # in the transport


class _Transport:
    """A transport with bytes that wait, on a connection whose system buffer has bytes as well."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def get_write_buffer_size(self) -> int:
        return WAITING

    def get_extra_info(self, name: str) -> socket.socket:
        assert name == "socket"
        return self._connection


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a connection: of the server, whose system buffer is full, and of the client."""
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.connect(listening.getsockname())
        server, _ = listening.accept()
        with server:
            server.setblocking(False)
            while True:
                try:
                    server.send(bytes(65_536))
                except BlockingIOError:
                    break
            yield server, client


def test_client_that_still_reads_an_earlier_answer_is_not_slow(pair: tuple[socket.socket, socket.socket]) -> None:
    """It has pipelined two requests. The second answer is smaller than the rest of the first."""
    server, client = pair
    transport = cast(asyncio.Transport, _Transport(server))
    budget = AnswerBudget(LIMITS)
    before = unread_bytes(transport)
    assert before > 3 * WAITING
    assert budget.admits(transport, WAITING, {"client": ("127.0.0.1", 1)})

    assert budget.find_slow_readers(1.0) == []
    while unread_bytes(transport) > before - 10_000:
        client.recv(65_536)
    assert budget.find_slow_readers(1.0) == []
    assert budget.find_slow_readers(1.0) == [transport]  # nothing was read meanwhile


def test_address_without_an_unread_answer_gets_one_when_others_fill_the_budget(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    limits = msgspec.structs.replace(LIMITS, answers_bytes=2 * WAITING, first_answers_bytes=WAITING)
    budget = AnswerBudget(limits)

    def admits(address: str) -> bool:
        transport = cast(asyncio.Transport, _Transport(pair[0]))
        return budget.admits(transport, WAITING, {"client": (address, 1)})

    assert [admits("192.0.2.1"), admits("198.51.100.1")] == [True, True]
    assert not admits("192.0.2.1")
    assert admits("203.0.113.1")
    assert not admits("203.0.114.1")  # what is in addition is full, too
