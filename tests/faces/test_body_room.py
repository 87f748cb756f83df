"""Memory for the bodies of requests: who has room, who waits for it, and who is refused for others' sake."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
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

from kiai.faces.body_room import BodyRoom

KIB: Final = 1024
ROOMS: Final = msgspec.structs.replace(
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
    room_wait_s=0.5,
    crowded_s=patiently(30),
    loopback=(),
)
LARGE: Final = 200 * KIB


@pytest.fixture
def server() -> Iterator[Running]:
    with serving(ROOMS) as running:
        yield running


def half(length: int = LARGE) -> bytes:
    return post(b"Content-Length: %d" % length, body=bytes(length // 2))


class Connection:
    """One that asks for room."""

    def __init__(self) -> None:
        self.given = False

    def room_given(self) -> None:
        self.given = True


def test_room_is_for_the_whole_length_and_given_back() -> None:
    room = BodyRoom(ROOMS)
    first, second, third = Connection(), Connection(), Connection()

    assert room.ask(first, LARGE, "a")
    assert not room.ask(second, LARGE, "a"), "the share of one network"
    assert room.ask(third, LARGE, "b")
    assert room.used == 2 * LARGE
    crowded = [room.crowded]
    room.leave(first)

    assert second.given
    assert [*crowded, room.crowded] == [True, False]
    room.leave(second)
    room.leave(third)
    room.leave(third)
    assert room.used == 0


def test_large_bodies_leave_room_for_small_ones() -> None:
    room = BodyRoom(ROOMS)
    for name in "ab":
        assert room.ask(Connection(), LARGE, name)
    assert room.ask(Connection(), 136 * KIB, "c")

    assert not room.ask(Connection(), 65 * KIB, "d")
    assert room.ask(Connection(), 64 * KIB, "e")
    assert room.used == ROOMS.bodies_bytes


def test_half_sent_bodies_take_no_more_than_their_room_and_others_are_told_to_come_later(server: Running) -> None:
    with ExitStack() as opened:
        clients = [opened.enter_context(connected(server, f"127.0.0.{n}")) for n in range(1, 9)]
        for client in clients[:2]:
            client.sendall(half())
        assert eventually(lambda: server.ledger.room.used == 2 * LARGE)
        for client in clients[2:]:
            client.sendall(half())

        for client in clients[2:]:
            [answer] = all_answers(client)
            assert (answer.status, answer.headers["retry-after"]) == (503, "5")
            assert "no room" in json.loads(answer.body)["status"]
        assert server.ledger.room.used == 2 * LARGE
        for client in clients[:2]:
            client.sendall(bytes(LARGE - LARGE // 2))
            assert client.recv(4_096).startswith(b"HTTP/1.1 200")
    assert eventually(lambda: server.ledger.room.used == 0)


def test_a_body_that_waited_is_answered_when_there_is_room(server: Running) -> None:
    with connected(server) as first, connected(server) as second:
        first.sendall(half())
        assert eventually(lambda: server.ledger.room.used == LARGE)
        second.sendall(half())
        assert eventually(lambda: server.ledger.room.crowded)

        first.sendall(bytes(LARGE - LARGE // 2))
        assert first.recv(4_096).startswith(b"HTTP/1.1 200")
        second.sendall(bytes(LARGE - LARGE // 2))

        assert second.recv(4_096).startswith(b"HTTP/1.1 200")


def test_small_bodies_need_no_room(server: Running) -> None:
    with connected(server) as first, connected(server, "127.0.0.2") as second, connected(server) as third:
        first.sendall(half())
        second.sendall(half())
        assert eventually(lambda: server.ledger.room.used == 2 * LARGE)

        third.sendall(post(b"Content-Length: 10000", body=bytes(10_000)))

        assert third.recv(4_096).startswith(b"HTTP/1.1 200")
        assert server.ledger.room.used == 2 * LARGE


def test_who_goes_away_gives_the_room_back(server: Running) -> None:
    with connected(server) as client:
        client.sendall(half())
        assert eventually(lambda: server.ledger.room.used == LARGE)

    assert eventually(lambda: server.ledger.room.used == 0)


def test_a_body_that_nobody_reads_to_its_end_keeps_no_room(server: Running) -> None:
    server.app.gate.set()
    with connected(server) as client:
        client.sendall(post(b"Content-Length: %d" % LARGE, body=bytes(LARGE), path=b"/gated-deaf"))

        assert client.recv(4_096).startswith(b"HTTP/1.1 200")
        assert eventually(lambda: server.ledger.room.used == 0)


def test_while_others_wait_a_stalled_sender_is_refused() -> None:
    limits = msgspec.structs.replace(ROOMS, crowded_s=0.2, room_wait_s=patiently(10))
    with serving(limits) as server, connected(server) as stalled:
        stalled.sendall(half())
        assert eventually(lambda: server.ledger.room.used == LARGE)
        assert silent(stalled, 0.5), "nobody waits yet"

        with connected(server) as waiting:
            waiting.sendall(half())

            assert_refused(server, stalled, "crowded", limits)
            waiting.sendall(bytes(LARGE - LARGE // 2))
            assert waiting.recv(4_096).startswith(b"HTTP/1.1 200")


def test_an_upload_that_becomes_too_slow_is_refused() -> None:
    limits = msgspec.structs.replace(ROOMS, body_grace_s=0.3)
    with serving(limits) as server, connected(server) as client:
        client.sendall(half())

        assert_refused(server, client, "upload_slow", limits)
