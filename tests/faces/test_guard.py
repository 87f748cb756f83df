"""The request guard, tested with raw sockets against a real server in a thread."""

import asyncio
import contextlib
import http.client
import json
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network, ip_network
from typing import Any, Final, NamedTuple

import msgspec
import pytest
import uvicorn
from tests.patience import Deadline, patiently

from kiai.faces.asgi import ClientGone
from kiai.faces.connections import Ledger, address_key
from kiai.faces.guard import GuardedProtocol, guarded_protocol
from kiai.faces.guard_limits import GuardLimits
from kiai.faces.refusals import REFUSALS

LIMITS: Final = GuardLimits(
    head_s=0.4,
    body_bytes=256 * 1024,
    body_s=0.4,
    upload_s=3.0,
    upload_bytes=64 * 1024,
    body_grace_s=0.3,
    pipelined=20,
    idle_s=0.4,
    unread_s=0.5,
    linger_s=0.2,
    sweep_s=0.05,
)
DEADLINE_S: Final = 5.0
PIECE: Final = bytes(64 * 1024)
LARGE_PIECES: Final = 256
WHOLE: Final = 8 * 1024 * 1024  # more than the buffers of the system take
CHUNKED: Final = b"Transfer-Encoding: chunked"
VALID: Final = b"GET /good HTTP/1.1\r\nHost: kiai.example\r\n\r\n"


# --- a server, and a client on a raw socket -------------------------------------------------------------------------


class App:
    """Answers with the length of the body. Some paths wait, send large answers or read no body."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.gate = asyncio.Event()
        self.loop: asyncio.AbstractEventLoop | None = None

    def open_gate(self) -> None:
        """Release the requests to `/gated*`. Called from the thread of the test."""
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self.gate.set)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.loop = asyncio.get_running_loop()
        path = scope["path"]
        if path == "/large":
            await self._large(send)
            return
        if path.endswith("/whole"):
            if path.startswith("/unrepeatable"):
                scope["kiai.unrepeatable"] = True
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": bytes(WHOLE)})
            return
        if path in ("/gated", "/gated-started", "/gated-deaf"):
            if path == "/gated-started":
                await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
                await send({"type": "http.response.body", "body": b"ab", "more_body": True})
            self.seen.append((path, "began"))
            await self.gate.wait()
            if path == "/gated-started":
                await send({"type": "http.response.body", "body": b"cd"})
                return
        if path == "/watching":
            while (message := await receive())["type"] != "http.disconnect":
                self.seen.append((path, "began"))
            self.seen.append((path, "gone"))
            return
        length, more = 0, not path.endswith("deaf")
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.seen.append((path, "gone"))
                return
            length += len(message["body"])
            more = message["more_body"]
        self.seen.append((path, "whole"))
        names = b",".join(name for name, _ in scope["headers"])
        body = b"%s %d %s" % (path.encode(), length, names)
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        self.seen.append((path, "answered"))

    async def _large(self, send: Any) -> None:
        length = LARGE_PIECES * len(PIECE)
        headers = [(b"content-length", b"%d" % length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        try:
            for left in range(LARGE_PIECES, 0, -1):
                await send({"type": "http.response.body", "body": PIECE, "more_body": left > 1})
        except ClientGone:
            self.seen.append(("/large", "gone"))
            return
        self.seen.append(("/large", "sent"))


class Running(NamedTuple):
    """A server under test."""

    port: int
    app: App
    ledger: Ledger
    stop: Callable[[], None]


@contextmanager
def serving(limits: GuardLimits, loop: str = "auto") -> Iterator[Running]:
    app = App()
    protocol = guarded_protocol(limits)
    # The guard replaces the keep-alive timer; with 1 s it would close connections too early.
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        loop=loop,
        timeout_keep_alive=1,
    )
    server = uvicorn.Server(config)

    def stop() -> None:
        server.should_exit = True

    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield Running(port, app, protocol.ledger, stop)
        finally:
            server.should_exit = server.force_exit = True
            thread.join(patiently(DEADLINE_S))
    assert not thread.is_alive()


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def shared(request: pytest.FixtureRequest) -> Iterator[Running]:
    with serving(LIMITS, request.param) as running:
        yield running


@pytest.fixture
def server(shared: Running) -> Iterator[Running]:
    """A server without connections and with a closed gate. After the test it must still answer valid requests."""
    eventually(lambda: not shared.ledger.connections)
    shared.app.gate.clear()
    shared.app.seen.clear()
    yield shared
    with connected(shared) as client:
        assert ask(client, VALID).status == 200


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


@contextmanager
def connected(server: Running, source: str = "127.0.0.1", buffer_bytes: int | None = None) -> Iterator[socket.socket]:
    with socket.socket() as client:
        if buffer_bytes is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        client.settimeout(patiently(DEADLINE_S))
        client.bind((source, 0))
        client.connect(("127.0.0.1", server.port))
        yield client


def ask(client: socket.socket, request: bytes) -> Answer:
    """Send a request and read exactly its answer."""
    client.sendall(request)
    return next_answer(client)


def next_answer(client: socket.socket) -> Answer:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = client.recv(1)
        assert byte, f"closed after {head!r}"
        head += byte
    status, headers = parsed_head(head)
    body = b""
    while len(body) < int(headers.get("content-length", 0)):
        piece = client.recv(int(headers["content-length"]) - len(body))
        assert piece, f"closed after {head + body!r}"
        body += piece
    return Answer(status, headers, body)


def parsed_head(head: bytes) -> tuple[int, dict[str, str]]:
    version, status, _ = head.decode("latin-1").split(" ", 2)
    assert version == "HTTP/1.1"
    lines = head.decode("latin-1").split("\r\n")[1:-2]
    return int(status), {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}


def all_answers(client: socket.socket) -> list[Answer]:
    """Return the answers until the server closes the connection. Fail if the last one is incomplete."""
    raw = rest_of(client)
    answers = []
    while raw:
        head, blank, raw = raw.partition(b"\r\n\r\n")
        assert blank, f"half a head: {head!r}"
        status, headers = parsed_head(head + blank)
        length = int(headers["content-length"])
        assert len(raw) >= length, f"half a body: {raw!r}"
        answers.append(Answer(status, headers, raw[:length]))
        raw = raw[length:]
    return answers


def rest_of(client: socket.socket) -> bytes:
    raw = b""
    while piece := client.recv(65536):
        raw += piece
    return raw


def silent(client: socket.socket, seconds: float) -> bool:
    """Return whether the server sends nothing for this time. Returns as soon as it sends something."""
    return not select.select([client], [], [], seconds)[0]


def trickle(client: socket.socket, one_by_one: bytes, every_s: float = 0.02) -> None:
    """Send byte by byte until the server sends something."""
    for byte in one_by_one:
        if not silent(client, every_s):
            return
        client.send(bytes([byte]))


def eventually(true: Callable[[], bool], within_s: float = DEADLINE_S) -> bool:
    """Wait for a condition that another thread makes true, and return whether it became true in time."""
    deadline = Deadline(within_s)
    while not true():
        if deadline.passed():
            return False
        time.sleep(0.005)
    return True


def assert_refused(server: Running, client: socket.socket, reason: str, limits: GuardLimits = LIMITS) -> None:
    """Check that the only answer is a complete refusal for this reason and that the server then closes."""
    (answer,) = all_answers(client)
    status, sentence = REFUSALS[reason]
    assert answer.status == status
    assert answer.headers["connection"] == "close"
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert json.loads(answer.body) == {"status": sentence.format_map(msgspec.structs.asdict(limits))}
    assert server.ledger.refused[reason] > 0


def post(*fields: bytes, body: bytes = b"", path: bytes = b"/post") -> bytes:
    head = [b"POST " + path + b" HTTP/1.1", b"Host: kiai.example", *fields]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def get(target: bytes) -> bytes:
    return b"GET " + target + b" HTTP/1.1\r\nHost: kiai.example\r\n\r\n"


# --- what passes ----------------------------------------------------------------------------------------------------


def test_valid_requests_share_a_connection(server: Running) -> None:
    with connected(server) as client:
        answers = [ask(client, VALID), ask(client, post(b"Content-Length: 3", body=b"abc")), ask(client, VALID)]

    assert [(answer.status, answer.body.split()[:2]) for answer in answers] == [
        (200, [b"/good", b"0"]),
        (200, [b"/post", b"3"]),
        (200, [b"/good", b"0"]),
    ]


def test_pipelined_requests_are_answered_in_order(server: Running) -> None:
    requests = [get(b"/%d" % number) for number in range(LIMITS.pipelined)]
    with connected(server) as client:
        client.sendall(b"".join(requests))
        answers = [next_answer(client) for _ in requests]

        again = ask(client, VALID)

    assert [answer.body.split()[0] for answer in answers] == [b"/%d" % n for n in range(LIMITS.pipelined)]
    assert again.status == 200


def test_request_can_arrive_in_pieces_of_any_size(server: Running) -> None:
    request = post(CHUNKED, body=b"3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\n")
    with connected(server) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request:
            client.send(bytes([byte]))
        answer = next_answer(client)

    assert answer.body.split()[:2] == [b"/post", b"4"]


def test_100_continue_is_sent_when_the_app_reads_the_body(server: Running) -> None:
    with connected(server) as client:
        client.sendall(post(b"Expect: 100-continue", b"Content-Length: 3"))
        go_on = next_answer(client)
        answer = ask(client, b"abc")

    assert go_on.status == 100
    assert answer.body.split()[:2] == [b"/post", b"3"]


def test_body_timeout_does_not_run_before_100_continue(server: Running) -> None:
    with connected(server) as client:
        client.sendall(post(b"Expect: 100-continue", b"Content-Length: 3", path=b"/gated"))
        unasked = silent(client, LIMITS.body_s + 0.3)
        server.app.open_gate()
        go_on = next_answer(client)
        answer = ask(client, b"abc")

    assert unasked
    assert (go_on.status, answer.status) == (100, 200)


def test_body_timeout_does_not_run_while_the_app_does_not_read(server: Running) -> None:
    body = b"%x\r\n%b\r\n" % (len(PIECE), PIECE) * 3 + b"0\r\n\r\n"
    with connected(server) as client:
        client.sendall(post(CHUNKED, body=body, path=b"/gated"))
        waited = silent(client, LIMITS.body_s + 0.3)
        server.app.open_gate()
        answer = next_answer(client)

    assert waited
    assert answer.body.split()[:2] == [b"/gated", b"%d" % (3 * len(PIECE))]


def test_head_timeout_does_not_run_while_earlier_requests_wait(server: Running) -> None:
    with connected(server) as client:
        client.sendall(get(b"/gated") + VALID + VALID[:-2])
        waited = silent(client, LIMITS.head_s + 0.3)
        server.app.open_gate()
        answers = [next_answer(client), next_answer(client), ask(client, b"\r\n")]

    assert waited
    assert [answer.status for answer in answers] == [200, 200, 200]


def test_head_and_body_have_separate_timeouts(server: Running) -> None:
    request = post(b"Content-Length: 20000", body=bytes(20_000))
    with connected(server) as client:
        first = ask(client, VALID)
        silent(client, 0.6 * LIMITS.idle_s)
        client.sendall(request[:40])
        silent(client, 0.6 * LIMITS.head_s)
        client.sendall(request[40:-100])
        silent(client, 0.7 * LIMITS.body_s)
        second = ask(client, request[-100:])
        idle = silent(client, 0.6 * LIMITS.idle_s)

    assert (first.status, second.status, idle) == (200, 200, True)


def test_unread_body_does_not_block_the_next_request(server: Running) -> None:
    length = 3 * len(PIECE)
    with connected(server) as client:
        client.sendall(post(b"Content-Length: %d" % length, body=bytes(length), path=b"/gated-deaf"))
        assert eventually(lambda: server.app.seen == [("/gated-deaf", "began")])
        server.app.open_gate()
        answers = [next_answer(client), ask(client, VALID)]

    assert [answer.body.split()[0] for answer in answers] == [b"/gated-deaf", b"/good"]


def test_trailers_do_not_count_toward_the_next_head(server: Running) -> None:
    long_field = b"X: " + b"a" * (LIMITS.head_bytes * 2 // 3)
    with connected(server) as client:
        client.sendall(post(CHUNKED))
        silent(client, 0.05)
        client.sendall(b"0\r\n" + long_field)
        silent(client, 0.05)
        client.sendall(b"\r\n\r\n" + VALID[:-2] + long_field)
        first = next_answer(client)
        second = ask(client, b"\r\n\r\n")

    assert (first.status, second.status) == (200, 200)


def test_http_1_0_request_needs_no_host_header(server: Running) -> None:
    with connected(server) as client:
        client.sendall(b"GET /old HTTP/1.0\r\n\r\n")
        (answer,) = all_answers(client)

    assert answer.status == 200


@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"/a.b/..c/c..?x=1",
        b"/.well-known/x",
        b"/%E2%98%85",
        b"/a?b=../..&c=%2f%00%ff%5c",
        b"http://kiai.example/a",
        b"*",
        b"/" + b"a" * (LIMITS.target_bytes - 1),
    ],
)
def test_valid_target_is_accepted(server: Running, target: bytes) -> None:
    with connected(server) as client:
        answer = ask(client, get(target))

    assert answer.status == 200


def test_head_at_its_limits_is_accepted(server: Running) -> None:
    fields = [b"X-%d: y" % number for number in range(LIMITS.fields - 2)]
    fields.append(b"X-Long: " + b"a" * 15_000)
    with connected(server) as client:
        answer = ask(client, VALID.replace(b"\r\n\r\n", b"\r\n" + b"\r\n".join(fields) + b"\r\n\r\n"))

    assert answer.status == 200


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_body_of_the_maximum_size_is_accepted(server: Running, framing: str) -> None:
    length = LIMITS.body_bytes
    body = bytes(length)
    if framing == "length":
        request = post(b"Content-Length: %d" % length, body=body)
    else:
        request = post(CHUNKED, body=b"%x\r\n%b\r\n0\r\n\r\n" % (length, body))
    with connected(server) as client:
        answers = [ask(client, request), ask(client, request)]

    assert [answer.body.split()[1] for answer in answers] == [b"%d" % length] * 2


def test_upgrade_is_ignored_and_the_next_request_is_answered(server: Running) -> None:
    upgrade = b"GET /up HTTP/1.1\r\nHost: kiai.example\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    with connected(server) as client:
        client.sendall(upgrade + upgrade + VALID)
        answers = [next_answer(client) for _ in range(3)]

    assert [answer.body.split()[0] for answer in answers] == [b"/up", b"/up", b"/good"]


def test_trailers_do_not_become_headers(server: Running) -> None:
    with connected(server) as client:
        answer = ask(client, post(CHUNKED, body=b"0\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"))

    assert answer.body == b"/post 0 host,transfer-encoding"


# --- what is refused at once ----------------------------------------------------------------------------------------

REFUSED_AT_ONCE: Final = {
    "a request line of two words": (b"GET /\r\n\r\n", "host"),
    "a method nobody knows": (b"FETCH / HTTP/1.1\r\nHost: a\r\n\r\n", "malformed"),
    "a TLS greeting": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", "malformed"),
    "HTTP/2 with prior knowledge": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "malformed"),
    "CONNECT": (b"CONNECT kiai.example:80 HTTP/1.1\r\nHost: a\r\n\r\n", "malformed"),
    "a folded field": (b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", "malformed"),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", "host"),
    "two Hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "host"),
    "two Hosts in HTTP/1.0": (b"GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", "host"),
    "a length and chunks": (post(b"Content-Length: 3", CHUNKED, body=b"0\r\n\r\n"), "malformed"),
    "chunks and a length": (post(CHUNKED, b"Content-Length: 3", body=b"0\r\n\r\n"), "malformed"),
    "two lengths": (post(b"Content-Length: 3", b"Content-Length: 3", body=b"abc"), "malformed"),
    "a length that is no number": (post(b"Content-Length: 3, 3", body=b"abc"), "malformed"),
    "a transfer coding other than chunked": (post(b"Transfer-Encoding: gzip", body=b"abc"), "malformed"),
    "a bad chunk": (post(CHUNKED, body=b"zz\r\nabc\r\n"), "malformed"),
    "a chunk longer than it says": (post(CHUNKED, body=b"2\r\nabc\r\n"), "malformed"),
    "an upgrade with a body": (
        post(b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 3", body=b"abc"),
        "upgrade",
    ),
    "a long target": (get(b"/" + b"a" * LIMITS.target_bytes), "target_large"),
    "a long query": (get(b"/?" + b"a" * LIMITS.target_bytes), "target_large"),
    "a target without end": (b"GET /" + b"a" * 2 * LIMITS.head_bytes, "target_large"),
    "a long field": (VALID[:-2] + b"X: " + b"a" * LIMITS.head_bytes + b"\r\n\r\n", "head_large"),
    "a field without end": (VALID[:-2] + b"X: " + b"a" * LIMITS.head_bytes, "head_large"),
    "blank lines without end": (b"\r\n" * LIMITS.head_bytes, "head_large"),
    "trailers without end": (post(CHUNKED, body=b"0\r\nX: ") + b"a" * 300_000, "head_large"),
    "101 fields": (VALID[:-2] + b"".join(b"X-%d: y\r\n" % n for n in range(LIMITS.fields)) + b"\r\n", "fields"),
    "a long body": (post(b"Content-Length: %d" % (LIMITS.body_bytes + 1)), "body_large"),
    "a length of many zeros": (post(b"Content-Length: " + b"0" * 5_000 + b"3"), "body_large"),
    "a long body that waits to be asked for": (
        post(b"Expect: 100-continue", b"Content-Length: %d" % (LIMITS.body_bytes + 1)),
        "body_large",
    ),
    "chunks above the maximum": (post(CHUNKED) + b"10000\r\n%b\r\n" % PIECE * 6, "body_large"),
    "a segment of two dots": (get(b"/a/../b"), "path"),
    "two dots at the end": (get(b"/.."), "path"),
    "encoded dots": (get(b"/%2e%2e/x"), "path"),
    "half encoded dots": (get(b"/a/.%2E"), "path"),
    "dots behind a host": (get(b"http://kiai.example/../x"), "path"),
    "a NUL": (get(b"/a%00"), "path"),
    "a backslash": (get(b"/a\\b"), "path"),
    "an encoded backslash": (get(b"/a%5Cb"), "path"),
    "an encoded slash": (get(b"/a%2Fb"), "path"),
    "a byte that is no UTF-8": (get(b"/%ff"), "path"),
    "an overlong slash": (get(b"/%c0%af"), "path"),
    "a raw byte above ASCII": (get(b"/\xff"), "malformed"),
    "a raw NUL": (get(b"/a\0"), "malformed"),
}


@pytest.mark.parametrize(("request_bytes", "reason"), REFUSED_AT_ONCE.values(), ids=REFUSED_AT_ONCE)
def test_invalid_request_is_refused_with_its_reason(server: Running, request_bytes: bytes, reason: str) -> None:
    with connected(server) as client:
        client.sendall(request_bytes)

        assert_refused(server, client, reason)


def test_app_is_notified_of_a_disconnect_when_its_body_is_refused(server: Running) -> None:
    with connected(server) as client:
        client.sendall(post(CHUNKED, body=b"3\r\nabc\r\n"))
        client.sendall(b"zz\r\n")
        assert_refused(server, client, "malformed")

    assert eventually(lambda: server.app.seen == [("/post", "gone")])


@pytest.mark.parametrize(("path", "seen"), [("/gated", "gone"), ("/gated-deaf", "answered")])
def test_answer_of_the_app_after_a_refusal_is_discarded(server: Running, path: str, seen: str) -> None:
    with connected(server) as client:
        client.sendall(post(CHUNKED, b"Expect: 100-continue", path=path.encode()))
        assert eventually(lambda: server.app.seen == [(path, "began")])
        client.sendall(b"zz\r\n")
        silent(client, patiently(DEADLINE_S))
        server.app.open_gate()

        assert eventually(lambda: (path, seen) in server.app.seen)
        assert_refused(server, client, "malformed")


def test_refused_client_that_continues_to_send_is_disconnected(server: Running) -> None:
    before = server.ledger.refused["malformed"]
    with connected(server) as client:
        client.sendall(b"nonsense\r\n\r\n")
        answer = next_answer(client)

        def cut() -> bool:
            try:
                client.sendall(PIECE)
            except OSError:
                return True
            return False

        assert eventually(cut)
    assert answer.status == 400
    assert server.ledger.refused["malformed"] == before + 1


# --- what is refused behind another request -------------------------------------------------------------------------


def test_refusal_follows_complete_answers_to_earlier_requests(server: Running) -> None:
    with connected(server) as client:
        client.sendall(get(b"/gated-started") + get(b"/second") + get(b"/a/../b"))
        assert eventually(lambda: server.ledger.refused["path"] > 0)
        server.app.open_gate()
        first, second = all_answers(client)

    assert first.body == b"abcd"
    assert second.body.startswith(b"/second ")
    assert second.headers["connection"] == "close"


def test_invalid_pipelined_body_never_reaches_the_app(server: Running) -> None:
    with connected(server) as client:
        client.sendall(get(b"/gated") + post(CHUNKED, body=b"zz\r\n"))
        assert eventually(lambda: server.app.seen == [("/gated", "began")])
        server.app.open_gate()
        (answer,) = all_answers(client)

    assert answer.body.startswith(b"/gated ")
    assert server.app.seen == [("/gated", "began"), ("/gated", "whole"), ("/gated", "answered")]


def test_invalid_body_ends_an_answer_that_has_begun(server: Running) -> None:
    with connected(server) as client:
        client.sendall(post(CHUNKED, path=b"/gated-started"))
        assert eventually(lambda: server.app.seen == [("/gated-started", "began")])
        client.sendall(b"zz\r\n")
        raw = rest_of(client)
        # The app still waits, and this side of the connection stays open.
        assert eventually(lambda: not server.ledger.connections)

    assert raw.startswith(b"HTTP/1.1 200 ")
    assert raw.endswith(b"\r\n\r\nab")


def test_pipelined_requests_above_the_limit_close_the_connection_after_the_others(server: Running) -> None:
    with connected(server) as client:
        client.sendall(get(b"/gated") + VALID * (LIMITS.pipelined + 1))
        assert eventually(lambda: server.ledger.refused["pipelined"] > 0)
        server.app.open_gate()
        answers = all_answers(client)

    assert [answer.status for answer in answers] == [200] * (LIMITS.pipelined + 1)


def test_disconnect_reaches_the_request_in_progress_while_another_waits(server: Running) -> None:
    with connected(server) as client:
        client.sendall(get(b"/watching") + VALID)
        assert eventually(lambda: server.app.seen == [("/watching", "began")])

    assert eventually(lambda: server.app.seen == [("/watching", "began"), ("/watching", "gone")])


# --- what takes too long --------------------------------------------------------------------------------------------


def test_head_sent_byte_by_byte_is_refused_at_the_timeout(server: Running) -> None:
    with connected(server) as client:
        started = time.monotonic()
        trickle(client, VALID[:-2] + b"X: " + b"a" * 1_000)
        took_s = time.monotonic() - started

        assert_refused(server, client, "head_slow")
    assert LIMITS.head_s <= took_s < LIMITS.head_s + patiently(1.0)


def test_slow_second_head_is_refused(server: Running) -> None:
    with connected(server) as client:
        first = ask(client, VALID)
        client.sendall(VALID[:-2])

        assert_refused(server, client, "head_slow")
    assert first.status == 200


def test_slow_body_is_refused(server: Running) -> None:
    with connected(server) as client:
        started = time.monotonic()
        client.sendall(post(b"Content-Length: 1000"))
        trickle(client, bytes(1_000))
        took_s = time.monotonic() - started

        assert_refused(server, client, "body_slow")
    assert LIMITS.body_grace_s <= took_s < LIMITS.body_grace_s + patiently(1.0)
    assert eventually(lambda: server.app.seen == [("/post", "gone")])


def test_body_with_a_fast_start_is_refused_at_the_timeout(server: Running) -> None:
    with connected(server) as client:
        started = time.monotonic()
        client.sendall(post(b"Content-Length: 20000", body=bytes(10_000)))
        silent(client, patiently(DEADLINE_S))
        took_s = time.monotonic() - started

        assert_refused(server, client, "body_late")
    assert LIMITS.body_s <= took_s < LIMITS.upload_s


def test_large_body_has_a_longer_timeout(server: Running) -> None:
    length = LIMITS.upload_bytes + 1
    with connected(server) as client:
        started = time.monotonic()
        client.sendall(post(b"Content-Length: %d" % length))
        while silent(client, 0.1):
            client.sendall(bytes(1_000))
        took_s = time.monotonic() - started

        assert_refused(server, client, "body_late")
    assert took_s >= LIMITS.upload_s


def test_body_that_becomes_slow_is_refused(server: Running) -> None:
    length = LIMITS.upload_bytes + 1
    with connected(server) as client:
        started = time.monotonic()
        client.sendall(post(b"Content-Length: %d" % length, body=bytes(length - 1)))
        silent(client, patiently(DEADLINE_S))
        took_s = time.monotonic() - started

        assert_refused(server, client, "body_slow")
    assert took_s < LIMITS.upload_s


def test_slow_body_after_its_answer_is_cut_without_a_second_answer(server: Running) -> None:
    with connected(server) as client:
        client.sendall(post(b"Content-Length: 1000", path=b"/deaf"))
        (answer,) = all_answers(client)

    assert answer.body.startswith(b"/deaf ")


def test_idle_connection_is_closed_without_an_answer(server: Running) -> None:
    with connected(server) as client:
        first = ask(client, VALID)
        started = time.monotonic()
        rest = rest_of(client)
        took_s = time.monotonic() - started

    assert first.status == 200
    assert rest == b""
    assert LIMITS.idle_s - LIMITS.sweep_s <= took_s < LIMITS.idle_s + patiently(1.0)


def test_connection_without_a_request_is_closed_without_an_answer(server: Running) -> None:
    with connected(server) as client:
        started = time.monotonic()
        rest = rest_of(client)
        took_s = time.monotonic() - started

    assert rest == b""
    assert LIMITS.head_s - LIMITS.sweep_s <= took_s < LIMITS.head_s + patiently(1.0)


def test_connection_with_a_request_in_progress_is_not_idle(server: Running) -> None:
    with connected(server) as client:
        client.sendall(get(b"/gated"))
        waited = silent(client, LIMITS.idle_s + 0.3)
        server.app.open_gate()
        answer = next_answer(client)

    assert waited
    assert answer.status == 200


def test_unread_answer_is_dropped(server: Running) -> None:
    before = server.ledger.refused["unread"]
    with connected(server, buffer_bytes=16 * 1024) as client:
        client.sendall(get(b"/large"))

        assert eventually(lambda: server.ledger.refused["unread"] == before + 1)
        assert eventually(lambda: not server.ledger.connections)
        # The app stops producing the rest.
        assert eventually(lambda: server.app.seen == [("/large", "gone")])


def read_slowly(client: socket.socket) -> float:
    """Read a few pieces with pauses of half the limit. Return the longest actual pause in seconds."""
    longest_s, read_at = 0.0, time.monotonic()
    for _ in range(5):
        assert client.recv(64 * 1024)
        longest_s, read_at = max(longest_s, time.monotonic() - read_at), time.monotonic()
        time.sleep(LIMITS.unread_s / 2)
    return longest_s


def test_slow_reader_gets_the_whole_answer(server: Running) -> None:
    deadline = Deadline(20)
    while True:
        before = server.ledger.refused["unread"]
        with connected(server, buffer_bytes=16 * 1024) as client:
            client.sendall(get(b"/large"))
            longest_s = read_slowly(client)
            refused, connections = server.ledger.refused["unread"] - before, server.ledger.connections
        if longest_s < LIMITS.unread_s:
            break
        # The machine was so busy that the pause exceeded the limit: try again.
        assert not deadline.passed()
        assert eventually(lambda: not server.ledger.connections)

    assert refused == 0
    assert connections == 1


@contextmanager
def unread_answers(server: Running, number: int, version: bytes = b"1.1") -> Iterator[list[bytes]]:
    """Ask for a large answer on each of some connections, and read only the status of each."""
    with contextlib.ExitStack() as opened:
        clients = [opened.enter_context(connected(server, buffer_bytes=4_096)) for _ in range(number)]
        statuses = []
        for client in clients:
            client.sendall(get(b"/whole").replace(b"HTTP/1.1", b"HTTP/" + version))
            statuses.append(client.recv(12))
        yield statuses


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])  # the server closes the connection after an answer to HTTP/1.0
def test_unread_answers_of_an_address_take_bounded_memory(version: bytes) -> None:
    limits = msgspec.structs.replace(LIMITS, unread_s=60.0, loopback=(), answers_bytes_per_address=20 * 1024 * 1024)
    with serving(limits) as server, unread_answers(server, 10, version) as statuses:
        assert 2 <= statuses.count(b"HTTP/1.1 200") <= 4
        assert set(statuses) == {b"HTTP/1.1 200", b"HTTP/1.1 503"}
        with connected(server) as client:
            assert ask(client, VALID).status == 200
            refused = ask(client, get(b"/whole"))
            assert refused.headers["retry-after"] == "5"
            assert json.loads(refused.body) == {"status": "Earlier answers to this address wait to be read."}
            assert json.loads(ask(client, get(b"/v2/whole")).body)["code"] == "unavailable"
        with connected(server, source="127.0.0.2") as neighbour:
            answer = ask(neighbour, get(b"/whole"))
        assert (answer.status, len(answer.body)) == (200, WHOLE)
        assert eventually(lambda: server.ledger.refused["answer_budget"] == statuses.count(b"HTTP/1.1 503") + 2)


def test_unread_answers_do_not_refuse_one_that_cannot_be_repeated() -> None:
    limits = msgspec.structs.replace(LIMITS, unread_s=60.0, answers_bytes=10 * 1024 * 1024)
    with serving(limits) as server, unread_answers(server, 3) as statuses, connected(server) as client:
        assert b"HTTP/1.1 503" in statuses
        answer = ask(client, get(b"/unrepeatable/whole"))

    assert (answer.status, len(answer.body)) == (200, WHOLE)


def test_all_unread_answers_take_bounded_memory() -> None:
    limits = msgspec.structs.replace(LIMITS, unread_s=60.0, answers_bytes=20 * 1024 * 1024)
    with serving(limits) as server, unread_answers(server, 10) as statuses:
        assert 2 <= statuses.count(b"HTTP/1.1 200") <= 4


def test_reader_slower_than_the_minimum_is_disconnected() -> None:
    limits = msgspec.structs.replace(LIMITS, unread_s=60.0, answer_grace_s=0.3)
    with serving(limits) as server, unread_answers(server, 1) as statuses:
        assert statuses == [b"HTTP/1.1 200"]
        assert eventually(lambda: server.ledger.refused["unread"] == 1)
        assert eventually(lambda: not server.ledger.connections)


# --- how many -------------------------------------------------------------------------------------------------------


def with_caps(**caps: Any) -> GuardLimits:
    return msgspec.structs.replace(LIMITS, idle_s=5.0, head_s=5.0, loopback=(), **caps)


def test_connections_per_address_are_limited() -> None:
    limits = with_caps(connections_per_address=2)
    with serving(limits) as server, connected(server) as first, connected(server) as second:
        assert (ask(first, VALID).status, ask(second, VALID).status) == (200, 200)
        with connected(server) as third:
            third.sendall(VALID)
            assert_refused(server, third, "address", limits)
        with connected(server, source="127.0.0.2") as neighbour:
            assert ask(neighbour, VALID).status == 200
            assert server.ledger.connections == 3
        second.close()
        assert eventually(lambda: server.ledger.connections == 1)
        with connected(server) as fourth:
            assert ask(fourth, VALID).status == 200
        first.close()
        assert eventually(lambda: not server.ledger.connections)
        assert not server.ledger._by_address


def test_connections_of_the_server_are_limited() -> None:
    limits = with_caps(connections=2, trusted=(IPv4Network("127.0.0.0/8"),))
    with serving(limits) as server, connected(server) as first, connected(server) as second:
        assert (ask(first, VALID).status, ask(second, VALID).status) == (200, 200)
        with connected(server) as third:
            third.sendall(VALID)

            assert_refused(server, third, "connections", limits)
        assert ask(first, VALID).status == 200


@pytest.mark.parametrize("exempt", ["trusted", "loopback"])
def test_trusted_address_has_no_connection_limit(exempt: str) -> None:
    limits = with_caps(connections_per_address=1)
    limits = msgspec.structs.replace(limits, **{exempt: (IPv4Network("127.0.0.0/8"),)})
    with serving(limits) as server, connected(server) as first, connected(server) as second:
        assert (ask(first, VALID).status, ask(second, VALID).status) == (200, 200)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("10.1.2.3", None),
        ("::ffff:10.1.2.3", None),
        ("2001:db8:ffff::1", None),
    ],
)
def test_address_counts_toward_its_network(address: str, name: str | None) -> None:
    exempt = (ip_network("10.0.0.0/8"), ip_network("2001:db8:ffff::/48"))

    assert address_key(address, exempt) == name


def test_two_servers_in_one_process_have_separate_limits() -> None:
    with serving(LIMITS) as one, serving(LIMITS) as other, connected(one) as client:
        client.sendall(b"nonsense\r\n\r\n")
        assert_refused(one, client, "malformed")

        assert other.ledger.refused.total() == 0
        assert other.ledger.connections == 0


def test_shutdown_answers_one_more_request_per_connection_and_closes_idle_ones() -> None:
    with (
        serving(LIMITS) as server,
        connected(server) as unused,
        connected(server) as answered,
        connected(server) as idle,
    ):
        assert ask(answered, VALID).status == 200
        assert eventually(lambda: server.ledger.connections == 3)

        server.stop()
        assert eventually(lambda: refuses(server)), "new connections are refused"

        for client in (unused, answered):
            answer = ask(client, VALID)
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert rest_of(client) == b""
        assert rest_of(idle) == b""


def refuses(server: Running) -> bool:
    try:
        with connected(server):
            return False
    except ConnectionError:
        return True


def test_sweep_stops_with_the_last_connection() -> None:
    made, lost = asyncio.Event(), asyncio.Event()

    class RecordingProtocol(guarded_protocol(msgspec.structs.replace(LIMITS, sweep_s=1_000.0))):  # type: ignore[misc]
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            made.set()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            lost.set()

    def timers(loop: asyncio.AbstractEventLoop) -> int:
        return sum(not handle.cancelled() for handle in loop._scheduled)  # type: ignore[attr-defined]

    async def scenario() -> list[int]:
        config = uvicorn.Config(App(), ws="none", lifespan="off", log_config=None)
        state = uvicorn.Server(config).server_state
        loop = asyncio.get_running_loop()
        counts = [timers(loop)]
        async with await loop.create_server(
            lambda: RecordingProtocol(config, state, {}, loop), "127.0.0.1", 0
        ) as listening:
            _, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
            await made.wait()
            counts.append(timers(loop))
            writer.close()
            await lost.wait()
        counts.append(timers(loop))
        return counts

    assert asyncio.run(scenario()) == [0, 1, 0]


def test_refusal_texts_contain_the_limits() -> None:
    defaults = msgspec.structs.asdict(GuardLimits())

    sentences = {reason: sentence.format_map(defaults) for reason, (_, sentence) in REFUSALS.items()}

    assert sentences["head_slow"] == "The head of the request was not complete within 10 s."
    assert sentences["body_large"] == "The body of the request is larger than 20971520 bytes."
    assert sentences["address"] == "There are already 200 connections from this address."
    assert all(status in http.client.responses for status, _ in REFUSALS.values())


def test_uvicorn_accepts_the_protocol_class() -> None:
    protocol = guarded_protocol(GuardLimits())

    assert issubclass(protocol, GuardedProtocol)
    assert issubclass(protocol, asyncio.Protocol)


@pytest.mark.parametrize(
    ("target", "reason", "code"),
    [
        (b"/v2/players/%2F", "path", "bad_request"),
        (b"/api/v2/players/%2F", "path", "bad_request"),
        (b"/v2/players?q=" + b"x" * 20_000, "target_large", "too_large"),
    ],
)
def test_refusal_on_a_v2_path_has_the_v2_error_format(server: Running, target: bytes, reason: str, code: str) -> None:
    with connected(server) as client:
        client.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: kiai.example\r\n\r\n")
        (answer,) = all_answers(client)

    status, sentence = REFUSALS[reason]
    assert answer.status == status
    assert json.loads(answer.body) == {
        "status": "error",
        "error": sentence.format_map(msgspec.structs.asdict(LIMITS)),
        "code": code,
        "param": None,
        "request_id": answer.headers["x-request-id"],
    }
    assert answer.headers["access-control-allow-origin"] == "*"
