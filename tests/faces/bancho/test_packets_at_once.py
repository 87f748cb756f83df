"""Polls with packets: without a task the same bytes as with one, and no packet is handled twice."""

import asyncio
import struct
from collections.abc import Iterator
from typing import Any, Final

import pytest
from tests.demo_server import HOST, PLAYER, DemoServer, demo_server, log_in
from tests.faces.both_ways import ask

from kiai.errors import Refused
from kiai.faces.asgi import Scope
from kiai.faces.bancho.app import AT_ONCE, Bancho
from kiai.faces.bancho.packets import ClientPacket
from kiai.faces.bancho.poll_context import PollContext
from kiai.faces.quick import QuickAnswer
from kiai.realtime.port import SessionGone

WITH_TASK: Final = "127.0.0.2"
AT_ONCE_FROM: Final = "127.0.0.3"
IDS: Final = struct.pack("<H2i", 2, PLAYER, HOST)
STATUS: Final = struct.pack("<B", 2) + b"\x0b\x05a map\x00" + struct.pack("<IBi", 0, 0, 75)
PAYLOADS: Final = {
    ClientPacket.CHANGE_ACTION: STATUS,
    ClientPacket.REQUEST_STATUS_UPDATE: b"",
    ClientPacket.SPECTATE_FRAMES: bytes(40),
    ClientPacket.MATCH_SCORE_UPDATE: bytes(29),
    ClientPacket.USER_STATS_REQUEST: IDS,
    ClientPacket.USER_PRESENCE_REQUEST: IDS,
}


class _Polls:
    """Counts the polls from `AT_ONCE_FROM` that were answered at once, and those that a task continued."""

    def __init__(self) -> None:
        self.bancho: Any = None
        self.answered = 0
        self.continued = 0


@pytest.fixture(scope="module")
def polls() -> _Polls:
    return _Polls()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, polls: _Polls) -> Iterator[DemoServer]:
    at_once = Bancho.answer_at_once

    def by_address(self: Bancho, scope: Scope, body: bytes) -> QuickAnswer | None:
        polls.bancho = self
        if scope["client"][0] == WITH_TASK:
            return None
        answer = at_once(self, scope, body)
        polls.answered += answer is not None
        polls.continued += "kiai.begun" in scope
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bancho, "answer_at_once", by_address)
        with demo_server(tmp_path_factory.mktemp("demo") / "data") as running:
            yield running


@pytest.fixture(scope="module")
def token(server: DemoServer) -> str:
    return server.run(log_in(server.services, PLAYER)).token


def poll(token: str, *packets: tuple[int, bytes]) -> bytes:
    """Return a poll with these packets, and a request that ends the connection."""
    body = b"".join(struct.pack("<HBI", packet_id, 0, len(payload)) + payload for packet_id, payload in packets)
    head = (
        f"POST / HTTP/1.1\r\nHost: c.localhost\r\nUser-Agent: osu!\r\nContent-Length: {len(body)}\r\nosu-token: {token}"
    )
    return f"{head}\r\n\r\n".encode() + body + b"GET / HTTP/1.1\r\nHost: c.localhost\r\nConnection: close\r\n\r\n"


def test_a_payload_is_there_for_each_packet() -> None:
    assert set(PAYLOADS) == AT_ONCE


@pytest.mark.parametrize("packet_id", sorted(AT_ONCE))
def test_both_ways_give_the_same_bytes(server: DemoServer, polls: _Polls, token: str, packet_id: int) -> None:
    request = poll(token, (packet_id, PAYLOADS[ClientPacket(packet_id)]))
    ask(server, WITH_TASK, request)  # the entries of the login
    before = polls.answered

    with_task, at_once = ask(server, WITH_TASK, request), ask(server, AT_ONCE_FROM, request)

    assert at_once == with_task
    assert polls.answered == before + 1


def test_other_packets_have_a_task_from_the_beginning(server: DemoServer, polls: _Polls, token: str) -> None:
    before = polls.answered, polls.continued

    ask(server, AT_ONCE_FROM, poll(token, (ClientPacket.CHANGE_ACTION, STATUS), (ClientPacket.CHANNEL_JOIN, b"\x00")))

    assert (polls.answered, polls.continued) == before


@pytest.mark.parametrize("error", [None, Refused("no"), RuntimeError("a bug"), SessionGone()])
def test_a_packet_whose_handling_waits_is_handled_once(
    server: DemoServer, polls: _Polls, token: str, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    ask(server, WITH_TASK, poll(token))
    handled: list[bool] = []
    consumed: list[str] = []
    consume, consume_at_once = server.services.realtime.consume, server.services.realtime.consume_at_once

    async def waits(context: PollContext, _: Any) -> None:
        handled.append(asyncio.current_task() is None)
        await asyncio.sleep(0.01)
        handled.append(asyncio.current_task() is None)
        if error is not None:
            raise error
        context.reply(b"reply")

    async def counted(bucket: str, **limit: Any) -> Any:
        consumed.append(bucket)
        return await consume(bucket, **limit)

    def counted_at_once(bucket: str, **limit: Any) -> bool:
        consumed.append(bucket)
        return consume_at_once(bucket, **limit)

    monkeypatch.setattr(polls.bancho, "_handlers", {**polls.bancho._handlers, ClientPacket.CHANGE_ACTION: waits})
    monkeypatch.setattr(server.services.realtime, "consume", counted)
    monkeypatch.setattr(server.services.realtime, "consume_at_once", counted_at_once)
    request = poll(token, (ClientPacket.CHANGE_ACTION, STATUS))
    before = polls.continued

    with_task, at_once = ask(server, WITH_TASK, request), ask(server, AT_ONCE_FROM, request)

    assert at_once == with_task
    assert (b"\r\n\r\nreply" in at_once) == (error is None)
    assert polls.continued == before + 1
    assert handled == [False, False, True, False]
    assert consumed == [f"poll:{token}", f"work:{PLAYER}"] * 2


def test_a_second_poll_waits_until_the_first_one_has_been_handled(
    server: DemoServer, polls: _Polls, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    async def waits(context: PollContext, _: Any) -> None:
        steps.append("begun")
        await asyncio.sleep(0.01)
        steps.append("ended")

    monkeypatch.setattr(polls.bancho, "_handlers", {**polls.bancho._handlers, ClientPacket.CHANGE_ACTION: waits})
    request = poll(token, (ClientPacket.CHANGE_ACTION, STATUS))
    first = request[: request.index(b"GET / ")]

    async def both() -> list[bytes]:
        return await asyncio.gather(*[asyncio.to_thread(ask, server, AT_ONCE_FROM, first + request) for _ in range(2)])

    asyncio.run(both())

    assert steps == ["begun", "ended"] * 4
