"""Quick answers: the same requests get the same bytes, log lines and counts as on the ordinary way.

Each script runs against two servers that differ only in the functions for quick answers.
"""

import asyncio
import json
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import uvicorn
import uvloop
from tests.patience import patiently

from kiai import logs
from kiai.faces.asgi import Receive, Scope, Send
from kiai.faces.front import Front
from kiai.faces.guard import GuardedProtocol, guarded_protocol
from kiai.faces.guard_limits import GuardLimits
from kiai.faces.metrics import Metrics
from kiai.faces.quick import BODY_MAX, QuickAnswer, QuickHead
from kiai.ids import SequenceIds
from kiai.logs import AccessLog

DEADLINE_S: Final = 5.0
LIMITS: Final = GuardLimits(sweep_s=0.02, head_s=0.06, idle_s=5.0, linger_s=0.05, shutdown_wait_s=0.05)
DATE: Final = [(b"date", b"Mon, 30 Nov 2026 09:00:00 GMT")]
LARGE: Final = bytes(range(256)) * 512
BLOCKED_PATH: Final = "/blocked"


class Face:
    """A face whose ASGI application and quick function give the same answers; `/gated` waits for `gate`."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.quick = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["kiai.route"] = scope["path"]
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message.get("body", b""), message.get("more_body", False)
        if scope["path"] == "/gated":
            await self.gate.wait()
        status, headers, reply = self._answer(scope, body)
        length = (b"content-length", b"%d" % len(reply))
        await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
        await send({"type": "http.response.body", "body": reply})

    def answer_at_once(self, scope: Scope, body: bytes) -> QuickAnswer | None:
        if scope["path"] == "/gated":
            return None
        if scope["path"] == "/raises":
            raise LookupError("the cause")
        status, headers, reply = self._answer(scope, body)
        scope["kiai.route"] = scope["path"]
        self.quick += 1
        return QuickAnswer(QuickHead(status, headers), reply)

    def _answer(self, scope: Scope, body: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        if scope["path"] == "/missing":
            return 404, [], b""
        if scope["path"] == "/large":
            return 200, [(b"content-type", b"text/plain")], LARGE
        said = b"%b %b %b" % (scope["method"].encode(), scope["path"].encode(), body)
        return 200, [(b"content-type", b"text/plain"), (b"x-query", scope["query_string"] or b"none")], said


class Server(NamedTuple):
    """A running server, with its open connections."""

    face: Face
    other: Face
    front: Front
    metrics: Metrics
    log: AccessLog
    port: int
    connections: set[Any]


Step = bytes | str
"""Bytes are sent. `wait`: read one answer; `open`: gated requests continue; `leave`: the server begins to stop;
`eof`: the client closes its sending side; `idle`: nothing happens for longer than the first request may take."""


class Seen(NamedTuple):
    """The bytes that the client received, the lines of the log, and the counts of requests."""

    received: bytes
    lines: list[dict[str, Any]]
    counts: list[str]


def request(
    path: str = "/",
    host: str = "c.localhost",
    method: str = "POST",
    version: str = "1.1",
    body: bytes = b"",
    more: str = "",
) -> bytes:
    head = f"{method} {path} HTTP/{version}\r\nHost: {host}\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


GATED: Final = request("/gated")
CHUNKED: Final = b"POST / HTTP/1.1\r\nHost: c.localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
SCRIPTS: Final[dict[str, tuple[list[Step], int]]] = {
    "one request": ([request()], 1),
    "a body": ([request(body=b"body")], 1),
    "several on one connection": ([request(), "wait", request(body=b"2"), "wait", request("/missing")], 3),
    "other hosts, with a request id": ([request("/fast?a=1", "api.localhost", "GET")], 1),
    "a path with escapes": ([request("/%41b", "api.localhost", "GET")], 1),
    "an answer larger than one write": ([request("/large"), "wait", request()], 2),
    "pipelined, all quick": ([request(body=b"1") + request(body=b"2") + request(body=b"3")], 3),
    "pipelined behind an unfinished one": ([request(body=b"1") + GATED + request(body=b"2"), "open"], 1),
    "pipelined before an unfinished one, then more": ([GATED, request(), "open", "wait", "wait", request()], 1),
    "head in two reads": ([request()[:30], "pause", request()[30:]], 1),
    "body in two reads": ([request(body=b"12345")[:-2], "pause", b"45"], 0),
    "a body above the bound": ([request(body=bytes(BODY_MAX + 1))], 0),
    "a chunked body": ([CHUNKED], 0),
    "close": ([request(more="Connection: close\r\n")], 0),
    "close, and more behind it": ([request(more="Connection: close\r\n") + request()], 0),
    "HTTP/1.0": ([request(version="1.0")], 0),
    "HTTP/1.0 keep-alive": ([request(version="1.0", more="Connection: keep-alive\r\n")], 0),
    "100-continue": ([request(body=b"1", more="Expect: 100-continue\r\n")], 0),
    "upgrade": ([request(method="GET", more="Connection: Upgrade\r\nUpgrade: websocket\r\n")], 0),
    "HEAD": ([request(method="HEAD"), "pause", request()], 1),
    "half-closed": ([request(), "eof"], 1),
    "half-closed behind a pipeline": ([request() + GATED + request(), "eof", "open"], 1),
    "while the server stops": ([request(), "wait", "leave", request()], 1),
    "the server stops during a request": ([request() + GATED, "wait", "leave", "open"], 1),
    "malformed": ([b"nonsense\r\n\r\n"], 0),
    "the quick function fails": ([request("/raises"), "wait", request()], 1),
    "another face without quick answers": ([request("/", "localhost", "GET")], 0),
    "a blocked address": ([request(BLOCKED_PATH), "wait", request()], 0),
    "idle between two requests": ([request(), "wait", "idle", request()], 2),
}  # fmt: skip


@pytest.fixture
def stderr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The log of this process, in a file."""
    logs.configure("json", "info")
    written = tmp_path / "stderr"
    written.touch()

    def write(lines: bytes) -> None:
        with written.open("ab") as file:
            file.write(lines)

    monkeypatch.setattr(logs, "_write", write)
    return written


async def _started(*, quick: bool, blocks: bool) -> tuple[Server, asyncio.Server]:
    face, other, metrics, log = Face(), Face(), Metrics(), AccessLog("json")
    front = Front(
        bancho=face, api=other, avatars=other, client=other, site=other, health=other,
        failure_page=lambda scope, status: None, ids=SequenceIds(), metrics=metrics, access_log=log,
        is_blocked=lambda address: blocks, blocked_answers={},
        quick={"bancho": face.answer_at_once, "api": other.answer_at_once} if quick else {},
    )  # fmt: skip
    protocol: type[GuardedProtocol] = guarded_protocol(LIMITS, front.answer_at_once)
    config = uvicorn.Config(front, http=protocol, ws="none", lifespan="off", log_config=None, access_log=False)
    config.load()
    state = uvicorn.Server(config).server_state
    state.default_headers = DATE
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: protocol(config, state, {}, loop), "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    return Server(face, other, front, metrics, log, port, state.connections), listening


async def _answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    return head + (await reader.readexactly(int(length[1])) if length else b"")


async def _play(server: Server, steps: list[Step]) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    received = b""
    ended = False
    for step in steps:
        if isinstance(step, bytes):
            writer.write(step)
        elif step == "wait":
            received += await _answer(reader)
        elif step == "pause":
            await writer.drain()
            await asyncio.sleep(0.02)
        elif step == "open":
            await asyncio.sleep(0.02)  # the requests before arrive first
            server.face.gate.set()
        elif step == "leave":
            for connection in list(server.connections):
                connection.shutdown()
        elif step == "idle":
            await asyncio.sleep(3 * LIMITS.head_s)
        elif step == "eof":
            writer.write_eof()
            ended = True
    if not ended:  # the last request closes the connection, so that everything before it is read
        await asyncio.sleep(0.02)
        writer.write(request("/last", more="Connection: close\r\n"))
    try:
        received += await reader.read()
    except ConnectionResetError:
        received += b"(reset)"
    writer.close()
    return received


async def _seen(steps: list[Step], stderr: Path, *, quick: bool) -> tuple[Seen, int]:
    server, listening = await _started(quick=quick, blocks=request(BLOCKED_PATH) in steps)
    async with listening, asyncio.timeout(patiently(DEADLINE_S)):
        received = await _play(server, steps)
        await _until(lambda: not server.connections)
        await asyncio.sleep(0.01)
    server.log.close()
    lines = _take_lines(stderr)
    kept = [
        {name: value for name, value in line.items() if name not in ("ts", "ms")}
        for line in lines
        if line["event"] != "quick answer failed"
    ]
    counts = re.findall(r"kiai_http_requests_total\{.*", server.metrics.text().decode())
    return Seen(re.sub(rb"guard-\w+", b"guard", received), kept, sorted(counts)), server.face.quick + server.other.quick


async def _until(holds: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if holds():
            return
        await asyncio.sleep(0.005)


def _take_lines(stderr: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in stderr.read_text("utf-8").splitlines()]
    stderr.write_text("")
    return lines


def _run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


@pytest.mark.parametrize("name", SCRIPTS)
def test_both_ways_give_the_same_bytes_log_lines_and_counts(stderr: Path, name: str) -> None:
    steps, expected = SCRIPTS[name]

    async def scenario() -> None:
        ordinary, none = await _seen(steps, stderr, quick=False)
        quick, answered = await _seen(steps, stderr, quick=True)

        assert quick == ordinary
        assert (answered, none) == (expected, 0)

    _run(scenario)


def test_malformed_request_behind_a_quick_one_gets_its_own_refusal(stderr: Path) -> None:
    """The ordinary way has not answered the first one yet, and closes the connection after it without a refusal."""

    async def scenario() -> None:
        (received, _, _), answered = await _seen([request() + b"nonsense\r\n\r\n"], stderr, quick=True)

        assert answered == 1
        assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"200", b"400"]

    _run(scenario)


def test_failure_of_a_quick_function_is_logged_with_its_cause(stderr: Path) -> None:
    async def scenario() -> None:
        server, listening = await _started(quick=True, blocks=False)
        async with listening:
            await _play(server, [request("/raises")])
        server.log.close()

    _run(scenario)

    [line] = [line for line in _take_lines(stderr) if line["event"] == "quick answer failed"]
    assert line["error"] == "LookupError: the cause"


def test_client_that_does_not_read_gets_no_more_quick_answers(stderr: Path) -> None:
    """Answers would otherwise pile up in memory, as nothing waits for the client."""

    async def scenario() -> None:
        server, listening = await _started(quick=True, blocks=False)
        async with listening, asyncio.timeout(patiently(DEADLINE_S)):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
            for _ in range(100):
                writer.write(request("/large"))
            await _until(lambda: any(connection.flow.write_paused for connection in server.connections))
            [connection] = server.connections
            await asyncio.sleep(0.05)
            unread = connection.transport.get_write_buffer_size()

            assert server.face.quick < 100
            assert unread < 4 * len(LARGE)

            received = b""
            while received.count(b"HTTP/1.1 200 OK") < 100:
                received += await reader.read(1 << 20)
            writer.close()

    _run(scenario)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, [(b"location", b"/\r\nset-cookie: a=b")]),
        (200, [(b"content-length", b"3")]),
        (200, [(b"transfer-encoding", b"chunked")]),
        (204, []),
    ],
)
def test_invalid_head_is_refused_when_it_is_made(status: int, headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(RuntimeError):
        QuickHead(status, headers)
