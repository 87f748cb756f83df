"""Answers on the socket, and their lines in the log and counts in the metrics, which must always agree.

The tests run a real server with the guard and the front of `kiai serve` over faces that misbehave.
"""

import asyncio
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import uvicorn
import uvloop
from tests.patience import patiently
from tests.wire.answers import Answer, Client
from tests.wire.kit import eventually

from kiai import logs
from kiai.faces.asgi import App, Receive, Scope, Send
from kiai.faces.front import Front
from kiai.faces.guard import GuardedProtocol, guarded_protocol
from kiai.faces.guard_limits import GuardLimits
from kiai.faces.metrics import Metrics
from kiai.ids import SystemIds
from kiai.logs import AccessLog

DEADLINE_S: Final = 30.0
LIMITS: Final = GuardLimits(sweep_s=0.05, body_grace_s=0.1, body_bytes_per_s=1_000_000, body_bytes=1_000)
BIG: Final = bytes(range(256)) * 1_024  # more than JOINED_MAX

START: Final = "http.response.start"
BODY: Final = "http.response.body"


class Face:
    """A face with a behaviour for each path.

    `gate` blocks `/gated*` until it is set. `left` is set when the producer of a streamed answer was stopped.
    """

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.began = threading.Event()
        self.left = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["kiai.route"] = scope["path"]
        await getattr(self, scope["path"][1:].replace("-", "_"))(scope, receive, send)

    async def fine(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.say(send, 200, b"fine")

    async def say(self, send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
        await send({"type": START, "status": status, "headers": [(b"content-length", b"%d" % len(body)), *headers]})
        await send({"type": BODY, "body": body})

    # --- keys that ASGI allows to omit

    async def no_body_key(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": START, "status": 302, "headers": [(b"location", b"/fine"), (b"content-length", b"0")]})
        await send({"type": BODY})

    async def no_headers_key(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": START, "status": 404})
        await send({"type": BODY})

    # --- framing

    async def no_length(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": START, "status": 200, "headers": []})
        await send({"type": BODY, "body": b"counted by the server"})

    async def no_content(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.say(send, 204, b"")

    async def not_modified(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"etag", b'"1"'), (b"content-length", b"4")]
        await send({"type": START, "status": 304, "headers": headers})
        await send({"type": BODY})

    async def pieces(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": START, "status": 200, "headers": [(b"content-length", b"6")]})
        for piece in (b"ab", b"", b"cd"):
            await send({"type": BODY, "body": piece, "more_body": True})
        await send({"type": BODY, "body": b"ef"})

    async def pieces_without_length(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": START, "status": 200, "headers": []})
        for piece in (b"", b"ab", b"", b"cdef"):
            await send({"type": BODY, "body": piece, "more_body": True})
        await send({"type": BODY})

    async def big(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.say(send, 200, BIG)

    async def closing(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.say(send, 200, b"last", (b"connection", b"close"))

    # --- faults before anything has left

    async def raises(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError("the cause")

    async def secret_of_a_link(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["kiai.route"] = "/reset/{token}"
        raise LookupError("the cause")

    async def raises_after_its_head(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": START, "status": 200, "headers": []})
        raise LookupError("the cause")

    async def too_short(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": START, "status": 200, "headers": [(b"content-length", b"9")]})
        await send({"type": BODY, "body": b"short"})

    async def too_long(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": START, "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": BODY, "body": b"long"})

    async def line_break(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.say(send, 200, b"x", (b"location", b"/\r\nset-cookie: a=b"))

    async def nul(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.say(send, 200, b"x", (b"location", b"/\0"))

    async def body_of_204(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": START, "status": 204, "headers": []})
        await send({"type": BODY, "body": b"something"})

    async def own_framing(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": START, "status": 200, "headers": [(b"transfer-encoding", b"chunked")]})
        await send({"type": BODY, "body": b"4\r\nabcd\r\n0\r\n\r\n"})

    async def says_nothing(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()

    async def body_first(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": BODY, "body": b"x"})

    # --- faults afterwards

    async def raises_after_a_piece(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": START, "status": 200, "headers": [(b"content-length", b"6")]})
        await send({"type": BODY, "body": b"ab", "more_body": True})
        raise LookupError("the cause")

    async def raises_after_a_chunk(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": START, "status": 200, "headers": []})
        await send({"type": BODY, "body": b"ab", "more_body": True})
        raise LookupError("the cause")

    async def stops_after_a_piece(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": START, "status": 200, "headers": [(b"content-length", b"6")]})
        await send({"type": BODY, "body": b"ab", "more_body": True})

    async def too_long_in_the_end(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": START, "status": 200, "headers": [(b"content-length", b"3")]})
        await send({"type": BODY, "body": b"ab", "more_body": True})
        await send({"type": BODY, "body": b"cd"})

    async def raises_when_all_is_said(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.say(send, 200, b"fine")
        raise LookupError("the cause")

    async def says_it_twice(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.say(send, 200, b"fine")
        await self.say(send, 200, b"fine")

    # --- clients that leave or dawdle

    async def gated(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.began.set()
        await self.gate.wait()
        await self.say(send, 200, b"late")

    async def piece_by_piece(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._go_on(send, [(b"content-length", b"%d" % 10**9)])

    async def stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._go_on(send, [])

    async def _go_on(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        try:
            await send({"type": START, "status": 200, "headers": headers})
            while True:
                await send({"type": BODY, "body": b"piece", "more_body": True})
                await asyncio.sleep(0.001)
        finally:
            self.left.set()

    async def takes_a_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                await self.say(send, 400, b"")  # as faces do that take a body cut short for the client's mistake
                return
            more = message.get("more_body", False)
        await self.say(send, 200, b"taken")


class ServedFront:
    """A server in a thread, its face, its log and its metrics."""

    def __init__(self, stderr: Path, grace_s: int | None = None) -> None:
        self.face = Face()
        self.metrics = Metrics()
        self._access_log = AccessLog("json")
        self._stderr = stderr
        self.protocol: type[GuardedProtocol] = guarded_protocol(LIMITS)
        self.front = _front(self.face, self.metrics, self._access_log)
        self._config = uvicorn.Config(
            self.front, http=self.protocol, ws="none", lifespan="off", log_config=None, access_log=False,
            proxy_headers=False, timeout_graceful_shutdown=grace_s,
        )  # fmt: skip
        self.server = uvicorn.Server(self._config)
        self.loop: asyncio.AbstractEventLoop
        self.port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run_loop)

    def _run_loop(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._run())

    async def _run(self) -> None:
        self.loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.port = listening.getsockname()[1]
            self._ready.set()
            await self.server.serve(sockets=[listening])
        if tasks := self.server.server_state.tasks:
            await asyncio.wait(tasks, timeout=patiently(DEADLINE_S))
        self._access_log.close()

    def start(self) -> "ServedFront":
        self._thread.start()
        assert self._ready.wait(patiently(DEADLINE_S))
        return self

    def stop(self) -> None:
        self.server.should_exit = True
        self._thread.join(patiently(DEADLINE_S))
        assert not self._thread.is_alive()

    def lines(self, event: str | None = None) -> list[dict[str, Any]]:
        """Return the lines of the log so far, only those of this event if given."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._access_log.flush)
        found = [json.loads(line) for line in self._stderr.read_text("utf-8").splitlines()]
        return [line for line in found if event in (None, line["event"])]

    def logged(self, path: str) -> dict[str, Any]:
        """Wait for the access line of this path and return its status, level and cut. Fail if there are several."""
        eventually(lambda: any(line["route"] == path for line in self.lines("request")), within_s=DEADLINE_S)
        [line] = [line for line in self.lines("request") if line["route"] == path]
        return {key: line.get(key) for key in ("status", "level", "cut")}

    def counted(self, path: str) -> dict[str, float]:
        """Return the number of answers of this path in the metrics, by status."""
        found = re.findall(
            rf'kiai_http_requests_total{{face="site",route="{path}",status="(\d+)"}} (\S+)',
            self.metrics.text().decode(),
        )
        return {status: float(count) for status, count in found}


def _failure_page(scope: Scope, status: int) -> tuple[list[tuple[bytes, bytes]], bytes] | None:
    accepts = dict(scope["headers"]).get(b"accept", b"")
    return ([(b"content-type", b"text/html")], b"page of %d" % status) if b"text/html" in accepts else None


def _front(face: App, metrics: Metrics, access_log: AccessLog) -> Front:
    return Front(
        bancho=Face(), api=face, avatars=face, client=face, site=face, health=face,
        failure_page=_failure_page, ids=SystemIds(), metrics=metrics, access_log=access_log,
        is_blocked=lambda address: False, blocked_answers={},
    )  # fmt: skip


@pytest.fixture
def stderr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The log of this process, in a file."""
    logs.configure("json", "info")
    with (tmp_path / "stderr").open("ab", 0) as file:
        monkeypatch.setattr(logs, "_write", file.write)
        yield tmp_path / "stderr"


@pytest.fixture
def served(stderr: Path) -> Iterator[ServedFront]:
    started = ServedFront(stderr).start()
    yield started
    started.loop.call_soon_threadsafe(started.face.gate.set)
    started.stop()


@contextmanager
def connected(served: ServedFront) -> Iterator[Client]:
    with Client(served.port) as client:
        yield client


WHOLE: Final = {
    "fine": (200, b"fine"),
    "no-body-key": (302, b""),
    "no-headers-key": (404, b""),
    "no-length": (200, b"counted by the server"),
    "no-content": (204, b""),
    "not-modified": (304, b""),
    "pieces": (200, b"abcdef"),
    "pieces-without-length": (200, b"abcdef"),
    "big": (200, BIG),
}


@pytest.mark.parametrize("name", WHOLE)
def test_answer_is_sent_unchanged_and_the_connection_stays_open(served: ServedFront, name: str) -> None:
    status, body = WHOLE[name]

    with connected(served) as client:
        answer = client.ask("GET", f"/{name}")
        head = client.ask("HEAD", f"/{name}")
        after = client.ask("GET", "/fine")

    assert (answer.status, answer.body) == (status, body)
    assert (head.status, head.body) == (status, b"")
    assert _lasting(head) == _lasting(answer) - {("transfer-encoding", "chunked")}
    assert "connection" not in answer.headers
    assert ("content-length" in answer.headers) == (name not in ("no-content", "pieces-without-length"))
    assert after.body == b"fine"
    assert not [line for line in served.lines() if line["level"] == "error"]
    assert not any(served.front.cut.values())


def _lasting(answer: Answer) -> set[tuple[str, str]]:
    return {(name, text) for name, text in answer.headers.items() if name not in ("date", "x-request-id")}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("how", ["HTTP/1.0", "HTTP/1.0 keep-alive", "close"])
def test_client_that_requests_close_gets_the_whole_answer_and_a_close(served: ServedFront, name: str, how: str) -> None:
    headers = {"close": {"Connection": "close"}, "HTTP/1.0 keep-alive": {"Connection": "keep-alive"}}.get(how, {})

    with connected(served) as client:
        answer = client.ask("GET", f"/{name}", version="1.1" if how == "close" else "1.0", headers=headers)
        rest = client.rest()

    assert (answer.status, answer.body) == WHOLE[name]
    assert answer.headers["connection"] == "close"
    if how != "close":
        assert "transfer-encoding" not in answer.headers  # HTTP/1.0 does not have it
    assert rest == b""


def test_pipelined_requests_are_answered_in_order(served: ServedFront) -> None:
    with connected(served) as client:
        for name in WHOLE:
            client.say("GET", f"/{name}")
        answers = [client.answer("GET") for _ in WHOLE]

    assert [(answer.status, answer.body) for answer in answers] == list(WHOLE.values())


def test_handler_can_close_the_connection(served: ServedFront) -> None:
    with connected(served) as client:
        answer = client.ask("GET", "/closing")
        rest = client.rest()

    assert (answer.status, answer.body, rest) == (200, b"last", b"")
    assert answer.headers["connection"] == "close"


BEFORE: Final = {
    "raises": ("unhandled", "LookupError: the cause"),
    "raises-after-its-head": ("unhandled", "LookupError: the cause"),
    "too-short": ("unhandled", "RuntimeError: 5 bytes of body where content-length leaves 9"),
    "too-long": ("unhandled", "RuntimeError: 4 bytes of body where content-length leaves 2"),
    "line-break": ("unhandled", "RuntimeError: control characters in one of the headers"),
    "nul": ("unhandled", "RuntimeError: control characters in one of the headers"),
    "body-of-204": ("unhandled", "RuntimeError: a body in an answer of status 204"),
    "own-framing": ("unhandled", "RuntimeError: only the server sets transfer-encoding"),
    "body-first": ("unhandled", "RuntimeError: a body without a head"),
    "says-nothing": ("unfinished", ""),
}


def test_log_of_a_fault_has_the_route_and_not_the_path(served: ServedFront) -> None:
    """The paths of links in mails contain a secret."""
    with connected(served) as client:
        assert client.ask("GET", "/secret-of-a-link").status == 500

    [cause] = served.lines("unhandled")
    assert cause["route"] == "/reset/{token}"
    assert not [line for line in served.lines() if "/secret-of-a-link" in map(str, line.values())]


def test_browser_gets_a_page_about_a_fault_before_the_answer_left(served: ServedFront) -> None:
    with connected(served) as client:
        answer = client.ask("GET", "/raises", headers={"Accept": "text/html,*/*"})
        head = client.ask("HEAD", "/raises", headers={"Accept": "text/html"})

    assert (answer.status, answer.body, answer.headers["content-type"]) == (500, b"page of 500", "text/html")
    assert (head.status, head.body, head.headers["content-length"]) == (500, b"", "11")


@pytest.mark.parametrize("name", BEFORE)
def test_error_before_the_answer_left_is_500_for_client_log_and_metrics(served: ServedFront, name: str) -> None:
    event, error = BEFORE[name]

    with connected(served) as client:
        answer = client.ask("GET", f"/{name}")
        after = client.ask("GET", "/fine")

    assert (answer.status, answer.body, after.body) == (500, b"", b"fine")
    assert served.logged(f"/{name}") == {"status": 500, "level": "error", "cut": None}
    assert served.counted(f"/{name}") == {"500": 1}
    [cause] = served.lines(event)
    assert cause.get("error", "").startswith(error)
    assert cause["request_id"] == answer.headers["x-request-id"]
    assert len([line for line in served.lines() if line["level"] == "error"]) == 2


AFTER: Final = {
    "raises-after-a-piece": ("unhandled", "LookupError: the cause"),
    "raises-after-a-chunk": ("unhandled", "LookupError: the cause"),
    "too-long-in-the-end": ("unhandled", "RuntimeError: 2 bytes of body where content-length leaves 1"),
    "stops-after-a-piece": ("unfinished", ""),
}


@pytest.mark.parametrize("name", AFTER)
def test_incomplete_answer_is_cut_and_logged_as_cut(served: ServedFront, name: str) -> None:
    event, error = AFTER[name]

    with connected(served) as client, pytest.raises(ConnectionError, match="closed"):
        client.ask("GET", f"/{name}")

    assert served.logged(f"/{name}") == {"status": 200, "level": "error", "cut": "server"}
    assert served.counted(f"/{name}") == {"200": 1}
    assert served.front.cut == {"client": 0, "server": 1}
    [cause] = served.lines(event)
    assert cause.get("error", "").startswith(error)
    assert len([line for line in served.lines() if line["level"] == "error"]) == 2


@pytest.mark.parametrize("name", ["raises-when-all-is-said", "says-it-twice"])
def test_error_after_the_whole_answer_is_only_logged(served: ServedFront, name: str) -> None:
    with connected(served) as client:
        answer = client.ask("GET", f"/{name}")
        after = client.ask("GET", "/fine")

    assert (answer.status, answer.body, after.body) == (200, b"fine", b"fine")
    assert served.logged(f"/{name}") == {"status": 200, "level": "info", "cut": None}
    assert len(served.lines("unhandled")) == 1


def test_client_that_disconnects_before_the_answer_is_logged_as_499(served: ServedFront) -> None:
    with connected(served) as client:
        client.say("GET", "/gated")
        assert served.face.began.wait(patiently(DEADLINE_S))
    eventually(lambda: not served.protocol.ledger.connections, within_s=DEADLINE_S)
    served.loop.call_soon_threadsafe(served.face.gate.set)

    assert served.logged("/gated") == {"status": 499, "level": "info", "cut": None}
    assert served.counted("/gated") == {"499": 1}
    assert not [line for line in served.lines() if line["level"] == "error"]


def test_client_that_disconnects_during_the_answer_stops_the_handler(served: ServedFront) -> None:
    with connected(served) as client:
        client.say("GET", "/piece-by-piece")
        client.head()

    assert served.face.left.wait(patiently(DEADLINE_S))
    assert served.logged("/piece-by-piece") == {"status": 200, "level": "info", "cut": "client"}
    assert served.counted("/piece-by-piece") == {"200": 1}
    assert served.front.cut == {"client": 1, "server": 0}
    assert not [line for line in served.lines() if line["level"] == "error"]


def test_stream_ends_when_its_client_disconnects(served: ServedFront) -> None:
    with connected(served) as client:
        client.say("GET", "/stream")
        client.head()

    assert served.face.left.wait(patiently(DEADLINE_S))
    assert served.logged("/stream") == {"status": 200, "level": "info", "cut": None}
    assert served.front.cut == {"client": 0, "server": 0}


@pytest.mark.parametrize(
    ("refused", "body", "status", "reason"),
    [
        ("slow", b"Content-Length: 900\r\n\r\nab", 408, "body_slow"),
        ("large", b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + bytes(1_001), 413, "body_large"),
        ("malformed", b"Transfer-Encoding: chunked\r\n\r\nnot hexadecimal\r\n", 400, "malformed"),
    ],
)
def test_refusal_of_the_guard_during_a_request_is_logged_with_its_status(
    served: ServedFront, refused: str, body: bytes, status: int, reason: str
) -> None:
    with connected(served) as client:
        client.socket.sendall(b"POST /takes-a-body HTTP/1.1\r\nHost: localhost\r\n" + body)
        answer = client.answer("POST")

    assert answer.status == status
    assert served.protocol.ledger.refused[reason] == 1
    # The face is notified of the disconnect and answers 400, which is discarded.
    assert served.logged("/takes-a-body") == {"status": status, "level": "info", "cut": None}
    assert served.counted("/takes-a-body") == {str(status): 1}


def test_refusal_during_an_answer_sends_no_second_answer(served: ServedFront) -> None:
    with connected(served) as client:
        client.socket.sendall(b"POST /piece-by-piece HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n")
        client.head()
        with pytest.raises(ConnectionError):
            client.exactly(10**9)

    assert served.logged("/piece-by-piece") == {"status": 200, "level": "info", "cut": "client"}
    assert served.protocol.ledger.refused["body_slow"] == 1


def test_request_cancelled_by_shutdown_is_503_for_client_log_and_metrics(stderr: Path) -> None:
    served = ServedFront(stderr, grace_s=1).start()
    with connected(served) as client:
        client.say("GET", "/gated")
        assert served.face.began.wait(patiently(DEADLINE_S))
        served.server.should_exit = True
        answer = client.answer("GET")
        rest = client.rest()
    served.stop()

    assert (answer.status, answer.headers["connection"], rest) == (503, "close", b"")
    assert served.logged("/gated") == {"status": 503, "level": "error", "cut": None}
    assert served.counted("/gated") == {"503": 1}
    assert len(served.lines("request cancelled by shutdown")) == 1
