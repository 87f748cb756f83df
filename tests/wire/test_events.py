"""The event stream over HTTP: a real server with its guard, its limits and its shutdown."""

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import uvicorn
from tests import stores
from tests.patience import patiently
from tests.wire.kit import API, Server, eventually
from tests.wire.rows import RESTRICTED, Rows

from kiai.app import Services, open_services
from kiai.faces.api.v2.events import CLIENTS_OF_ONE_MAX
from kiai.logs import AccessLog
from kiai.realtime.feed import FeedEvent, feed_entry
from kiai.server import HttpServer

PATH: Final = "/v2/events"
READ_S: Final = 5.0
OPENING: Final = b": live events\nretry: 3000\n"


class Client:
    """A client of the event stream, which reads line by line."""

    def __init__(self, port: int, query: str = "", method: str = "GET", path: str = PATH, **headers: str) -> None:
        host = headers.pop("Host", API)
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patiently(READ_S))
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        self.connection.request(method, path + query, headers={"Host": host, **named})
        self.answer = self.connection.getresponse()

    @property
    def status(self) -> int:
        return self.answer.status

    def line(self) -> bytes:
        return self.answer.readline()

    def event(self) -> dict[str, Any]:
        """Return the fields of the next event, with `data` as JSON. {} at the end of the stream."""
        fields: dict[str, Any] = {}
        while (line := self.line()) not in (b"\n", b""):
            name, _, text = line.decode().rstrip("\n").partition(": ")
            if name:
                fields[name] = text
        if "data" in fields:
            fields["data"] = json.loads(fields["data"])
        return fields

    def close(self) -> None:
        self.answer.close()
        self.connection.close()


# --- a server in this process


class FedServer:
    """The server of `kiai serve` in a thread of this process, so that tests can write to its feed."""

    def __init__(self, data: Path) -> None:
        self._settings = stores.settings(data, rate_limits=False)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.loop: asyncio.AbstractEventLoop
        self.services: Services
        self.faces: HttpServer
        self.server: uvicorn.Server
        self.port = 0

    async def _run(self) -> None:
        self.loop = asyncio.get_running_loop()
        async with open_services(self._settings) as self.services:
            log = AccessLog("json")
            self.faces = HttpServer(self.services, log)
            ledger = self.faces.protocol.ledger
            ledger.limits = msgspec.structs.replace(ledger.limits, sweep_s=0.05, unread_s=0.5, idle_s=0.5)
            config = uvicorn.Config(
                self.faces.front,
                http=self.faces.protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=10,
            )
            self.server = uvicorn.Server(config)
            with socket.create_server(("127.0.0.1", 0)) as listening:
                self.port = listening.getsockname()[1]
                self._ready.set()
                await self.server.serve(sockets=[listening])
            log.close()

    def start(self) -> "FedServer":
        self._thread.start()
        assert self._ready.wait(patiently(30))
        return self

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.faces.events.close)
        self.server.should_exit = True
        self._thread.join(patiently(READ_S))
        assert not self._thread.is_alive(), "open streams prevent the shutdown"

    def publish(self, *events: FeedEvent) -> None:
        entries = [feed_entry(event) for event in events]
        asyncio.run_coroutine_threadsafe(self.services.realtime.append(entries), self.loop).result(patiently(READ_S))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FedServer]:
    """A server with the visible player 3 and the hidden player 4."""
    rows = Rows(tmp_path_factory.mktemp("fed") / "data")
    rows.player(3, "Player")
    rows.player(4, "Hidden One", priv=RESTRICTED)
    rows.close()
    started = FedServer(rows.data).start()
    yield started
    started.stop()


def a_score(user_id: int = 3, map_id: int = 75, **data: Any) -> FeedEvent:
    return FeedEvent("score", 1_700_000_000_000, user_id, map_id, data)


def test_events_are_streamed_live(server: FedServer) -> None:
    with closing(Client(server.port)) as client:
        opening = client.line() + client.line()

        server.publish(a_score(pp=1.5))
        first = client.event()
        server.publish(FeedEvent("match", 5, None, None, {"name": "room\n"}))
        second = client.event()

        assert opening == OPENING
        assert first["event"] == "score"
        assert first["data"] == {
            "type": "score",
            "at": 1_700_000_000_000,
            "user_id": 3,
            "map_id": 75,
            "data": {"pp": 1.5},
        }
        assert second["data"]["data"] == {"name": "room\n"}
        assert int(second["id"]) == int(first["id"]) + 1


@pytest.mark.parametrize(
    ("host", "path"), [(API, "/v2/events"), (API, "/api/v2/events"), ("localhost", "/api/v2/events")]
)
def test_stream_has_its_content_type_and_is_not_cacheable(server: FedServer, host: str, path: str) -> None:
    with closing(Client(server.port, path=path, Host=host)) as client:
        headers = {name.lower(): text for name, text in client.answer.getheaders()}

        assert client.status == 200
        assert headers["content-type"] == "text/event-stream"
        assert headers["cache-control"] == "no-store"
        assert headers["access-control-allow-origin"] == "*"
        assert headers["x-accel-buffering"] == "no"
        assert "content-length" not in headers
        assert client.line() == OPENING.splitlines(keepends=True)[0]


def test_stream_accepts_filters_and_last_event_id(server: FedServer) -> None:
    with closing(Client(server.port)) as client:
        client.line()
        server.publish(a_score(map_id=1), a_score(map_id=2), FeedEvent("first_place", 1, 3, 2), a_score(map_id=2))
        first = client.event()

    query = "?types=score,match&map_id=2&user_id=3"
    with closing(Client(server.port, query, Last_Event_ID=first["id"])) as client:
        found = [client.event(), client.event()]

    assert [int(one["id"]) - int(first["id"]) for one in found] == [1, 3]


def test_events_of_hidden_players_are_not_sent(server: FedServer) -> None:
    with closing(Client(server.port)) as client:
        client.line()

        server.publish(a_score(4), a_score(3))

        assert client.event()["data"]["user_id"] == 3


def test_head_sends_only_headers_and_leaves_the_connection_open(server: FedServer) -> None:
    with closing(Client(server.port, method="HEAD")) as client:
        content_type = client.answer.getheader("Content-Type")
        rest = client.answer.read()
        client.connection.request("GET", "/get_player_count", headers={"Host": API})
        following = client.connection.getresponse()

        assert (client.status, content_type, rest) == (200, "text/event-stream", b"")
        assert following.status == 200
    eventually(lambda: server.faces.events.clients == 0)


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("?types=", "types"),
        ("?types=scores", "types"),
        ("?types=score,", "types"),
        ("?types=score&types=match", "types"),
        ("?user_id=abc", "user_id"),
        ("?user_id=2", "user_id"),
        ("?map_id=0", "map_id"),
        ("?map_id=2147483648", "map_id"),
    ],
)
def test_invalid_filter_is_rejected_by_name(server: FedServer, query: str, parameter: str) -> None:
    with closing(Client(server.port, query)) as client:
        error = json.loads(client.answer.read())

        assert (client.status, error["status"]) == (422, "error")
        assert error["error"].startswith(f"{parameter} must be ")


def test_invalid_last_event_id_is_rejected_by_name(server: FedServer) -> None:
    with closing(Client(server.port, Last_Event_ID="abc")) as client:
        error = json.loads(client.answer.read())

        assert client.status == 422
        assert error["error"].startswith("Last-Event-ID must be ")


def test_other_methods_get_the_allowed_methods(server: FedServer) -> None:
    with closing(Client(server.port, method="OPTIONS")) as options, closing(Client(server.port, method="POST")) as post:
        assert (options.status, post.status) == (204, 405)
        assert options.answer.getheader("Allow") == post.answer.getheader("Allow") == "GET, HEAD, OPTIONS"


def test_disconnect_frees_the_stream_at_once(server: FedServer) -> None:
    clients = [Client(server.port) for _ in range(CLIENTS_OF_ONE_MAX)]
    for client in clients:
        client.line()
    listening = server.faces.events.clients

    for client in clients:
        client.close()

    assert listening == CLIENTS_OF_ONE_MAX
    eventually(lambda: server.faces.events.clients == 0)


def test_quiet_stream_is_not_closed_as_idle(server: FedServer) -> None:
    idle_s = server.faces.protocol.ledger.limits.idle_s
    with closing(Client(server.port)) as client, closing(socket.create_connection(("127.0.0.1", server.port))) as idle:
        client.line()
        idle.settimeout(patiently(READ_S))
        idle.sendall(f"GET /get_player_count HTTP/1.1\r\nHost: {API}\r\n\r\n".encode())
        while idle.recv(65_536):
            pass  # until the guard closes it, after `idle_s`

        server.publish(a_score(at=idle_s))

        assert client.event()["data"]["data"] == {"at": idle_s}


def test_client_that_does_not_read_is_disconnected(server: FedServer) -> None:
    with closing(socket.socket()) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        slow.connect(("127.0.0.1", server.port))
        slow.sendall(f"GET {PATH} HTTP/1.1\r\nHost: {API}\r\n\r\n".encode())
        eventually(lambda: server.faces.events.clients == 1)

        for _ in range(20):
            server.publish(*(a_score(text="x" * 8_000) for _ in range(100)))

        eventually(lambda: server.faces.events.clients == 0)


# --- `kiai serve` itself


def test_shutdown_ends_streams_without_errors(tmp_path: Path) -> None:
    server = Server(tmp_path / "data").start()
    try:
        clients = [Client(server.port) for _ in range(3)]
        for client in clients:
            client.line()

        server.stop()

        for client in clients:
            assert client.answer.read() == b"retry: 3000\n: the server is stopping\n"
            client.close()
        assert "Cancel" not in server.stderr
        assert "unhandled" not in server.stderr
    finally:
        server.kill()


@pytest.mark.parametrize("rate_limits", ["on", "off"])
def test_streams_of_one_address_are_limited_with_rate_limits_on_or_off(tmp_path: Path, rate_limits: str) -> None:
    server = Server(tmp_path / "data", RATE_LIMITS=rate_limits).start()
    clients = []
    try:
        clients = [Client(server.port) for _ in range(CLIENTS_OF_ONE_MAX)]

        with closing(Client(server.port)) as rejected:
            assert rejected.status == 429
            error = json.loads(rejected.answer.read())
            retry_after = rejected.answer.getheader("Retry-After")
        clients.pop().close()
        eventually(lambda: server.get(PATH, Last_Event_ID="x").status == 422)

        assert [client.status for client in clients] == [200] * (CLIENTS_OF_ONE_MAX - 1)
        assert error["error"] == f"Too many streams: the limit is {CLIENTS_OF_ONE_MAX} at once."
        assert (error["status"], error["code"]) == ("error", "too_many_requests")
        assert retry_after is not None
        with closing(Client(server.port)) as again:
            assert again.status == 200
    finally:
        for client in clients:
            client.close()
        server.kill()
