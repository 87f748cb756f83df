"""The stream of events over HTTP: a real server, its guard, its limits and its end."""

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

from kiai.app import Server as Faces
from kiai.app import Services, open_services
from kiai.faces.api.v2.events import CLIENTS_OF_ONE_MAX
from kiai.logs import AccessLog
from kiai.realtime.feed import FeedEvent, feed_entry

PATH: Final = "/v2/events"
READ_S: Final = 5.0
OPENING: Final = b": events as they happen\nretry: 3000\n"


class Client:
    """One who listens; what it was sent is read as it comes."""

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
        """The next event: its fields, with `data` as JSON. {} at the end of the stream."""
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


# --- a server that tests feed


class Fed:
    """A server in a thread of this process: the same that `kiai serve` runs, with a feed that tests write to."""

    def __init__(self, data: Path) -> None:
        self._settings = stores.settings(data, rate_limits=False)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.loop: asyncio.AbstractEventLoop
        self.services: Services
        self.faces: Faces
        self.server: uvicorn.Server
        self.port = 0

    async def _run(self) -> None:
        self.loop = asyncio.get_running_loop()
        async with open_services(self._settings) as self.services:
            log = AccessLog("json")
            self.faces = Faces(self.services, log)
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

    def start(self) -> "Fed":
        self._thread.start()
        assert self._ready.wait(patiently(30))
        return self

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.faces.events.close)
        self.server.should_exit = True
        self._thread.join(patiently(READ_S))
        assert not self._thread.is_alive(), "streams keep the server from its end"

    def tell(self, *events: FeedEvent) -> None:
        entries = [feed_entry(event) for event in events]
        asyncio.run_coroutine_threadsafe(self.services.realtime.append(entries), self.loop).result(patiently(READ_S))


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fed]:
    """A server where player 3 is seen and player 4 is hidden."""
    rows = Rows(tmp_path_factory.mktemp("fed") / "data")
    rows.player(3, "Player")
    rows.player(4, "Hidden One", priv=RESTRICTED)
    rows.close()
    started = Fed(rows.data).start()
    yield started
    started.stop()


def a_score(user_id: int = 3, map_id: int = 75, **data: Any) -> FeedEvent:
    return FeedEvent("score", 1_700_000_000_000, user_id, map_id, data)


def test_what_happens_is_sent_as_it_happens(fed: Fed) -> None:
    with closing(Client(fed.port)) as client:
        opening = client.line() + client.line()

        fed.tell(a_score(pp=1.5))
        first = client.event()
        fed.tell(FeedEvent("match", 5, None, None, {"name": "room\n"}))
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
def test_a_stream_says_what_it_is_and_that_nobody_may_keep_it(fed: Fed, host: str, path: str) -> None:
    with closing(Client(fed.port, path=path, Host=host)) as client:
        headers = {name.lower(): text for name, text in client.answer.getheaders()}

        assert client.status == 200
        assert headers["content-type"] == "text/event-stream"
        assert headers["cache-control"] == "no-store"
        assert headers["access-control-allow-origin"] == "*"
        assert headers["x-accel-buffering"] == "no"
        assert "content-length" not in headers
        assert client.line() == OPENING.splitlines(keepends=True)[0]


def test_filters_and_an_id_to_go_on_from_come_with_the_request(fed: Fed) -> None:
    with closing(Client(fed.port)) as client:
        client.line()
        fed.tell(a_score(map_id=1), a_score(map_id=2), FeedEvent("first_place", 1, 3, 2), a_score(map_id=2))
        first = client.event()

    query = "?types=score,match&map_id=2&user_id=3"
    with closing(Client(fed.port, query, Last_Event_ID=first["id"])) as client:
        found = [client.event(), client.event()]

    assert [int(one["id"]) - int(first["id"]) for one in found] == [1, 3]


def test_a_hidden_player_is_in_no_event(fed: Fed) -> None:
    with closing(Client(fed.port)) as client:
        client.line()

        fed.tell(a_score(4), a_score(3))

        assert client.event()["data"]["user_id"] == 3


def test_head_answers_with_the_head_alone_and_keeps_the_connection(fed: Fed) -> None:
    with closing(Client(fed.port, method="HEAD")) as client:
        content_type = client.answer.getheader("Content-Type")
        rest = client.answer.read()
        client.connection.request("GET", "/get_player_count", headers={"Host": API})
        then = client.connection.getresponse()

        assert (client.status, content_type, rest) == (200, "text/event-stream", b"")
        assert then.status == 200
    eventually(lambda: fed.faces.events.clients == 0)


@pytest.mark.parametrize(
    ("query", "named"),
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
def test_a_wrong_filter_is_refused_by_its_name(fed: Fed, query: str, named: str) -> None:
    with closing(Client(fed.port, query)) as client:
        said = json.loads(client.answer.read())

        assert (client.status, said["status"]) == (422, "error")
        assert said["error"].startswith(f"{named} must be ")


def test_a_wrong_id_is_refused_by_the_headers_name(fed: Fed) -> None:
    with closing(Client(fed.port, Last_Event_ID="abc")) as client:
        said = json.loads(client.answer.read())

        assert client.status == 422
        assert said["error"].startswith("Last-Event-ID must be ")


def test_other_methods_are_told_what_is_allowed(fed: Fed) -> None:
    with closing(Client(fed.port, method="OPTIONS")) as options, closing(Client(fed.port, method="POST")) as post:
        assert (options.status, post.status) == (204, 405)
        assert options.answer.getheader("Allow") == post.answer.getheader("Allow") == "GET, HEAD, OPTIONS"


def test_who_goes_away_makes_room_at_once(fed: Fed) -> None:
    clients = [Client(fed.port) for _ in range(CLIENTS_OF_ONE_MAX)]
    for client in clients:
        client.line()
    listening = fed.faces.events.clients

    for client in clients:
        client.close()

    assert listening == CLIENTS_OF_ONE_MAX
    eventually(lambda: fed.faces.events.clients == 0)


def test_a_quiet_stream_outlives_an_idle_connection(fed: Fed) -> None:
    idle_s = fed.faces.protocol.ledger.limits.idle_s
    with closing(Client(fed.port)) as client, closing(socket.create_connection(("127.0.0.1", fed.port))) as idle:
        client.line()
        idle.settimeout(patiently(READ_S))
        idle.sendall(f"GET /get_player_count HTTP/1.1\r\nHost: {API}\r\n\r\n".encode())
        while idle.recv(65_536):
            pass  # until the guard closes it, after `idle_s`

        fed.tell(a_score(at=idle_s))

        assert client.event()["data"]["data"] == {"at": idle_s}


def test_who_takes_nothing_is_cut_off_and_makes_room(fed: Fed) -> None:
    with closing(socket.socket()) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.connect(("127.0.0.1", fed.port))
        deaf.sendall(f"GET {PATH} HTTP/1.1\r\nHost: {API}\r\n\r\n".encode())
        eventually(lambda: fed.faces.events.clients == 1)

        for _ in range(20):
            fed.tell(*(a_score(text="x" * 8_000) for _ in range(100)))

        eventually(lambda: fed.faces.events.clients == 0)


# --- `kiai serve` itself


def test_streams_end_with_the_server_and_keep_it_from_nothing(tmp_path: Path) -> None:
    server = Server(tmp_path / "data").start()
    try:
        clients = [Client(server.port) for _ in range(3)]
        for client in clients:
            client.line()

        server.stop()

        for client in clients:
            assert client.answer.read() == b"retry: 3000\n: the server stops\n"
            client.close()
        assert "Cancel" not in server.stderr
        assert "unhandled" not in server.stderr
    finally:
        server.kill()


@pytest.mark.parametrize("rate_limits", ["on", "off"])
def test_one_address_may_listen_so_many_times_at_once(tmp_path: Path, rate_limits: str) -> None:
    server = Server(tmp_path / "data", RATE_LIMITS=rate_limits).start()
    clients = []
    try:
        clients = [Client(server.port) for _ in range(CLIENTS_OF_ONE_MAX)]

        with closing(Client(server.port)) as one_too_many:
            assert one_too_many.status == 429
            said = json.loads(one_too_many.answer.read())
            retry_after = one_too_many.answer.getheader("Retry-After")
        clients.pop().close()
        eventually(lambda: server.get(PATH, Last_Event_ID="x").status == 422)

        assert [client.status for client in clients] == [200] * (CLIENTS_OF_ONE_MAX - 1)
        assert said["error"] == f"Too many streams: {CLIENTS_OF_ONE_MAX} at once are allowed."
        assert (said["status"], said["code"]) == ("error", "too_many_requests")
        assert retry_after is not None
        with closing(Client(server.port)) as again:
            assert again.status == 200
    finally:
        for client in clients:
            client.close()
        server.kill()
