"""TLS handshakes: bounded in number and time, and counted before they end."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trustme
import uvicorn
import uvloop
from tests.held_connections import kb_of_a_connection
from tests.patience import Deadline, patiently

from kiai.faces.guard import guarded_protocol
from kiai.faces.guard_limits import GuardLimits
from kiai.faces.handshakes import TlsListener

BACKLOG = 100
ENDED_S = 60.0


KB_OF_A_CONNECTION_MAX = 40
HOLDING = """
import socket, ssl, sys
trusting = ssl.create_default_context(cafile=sys.argv[2])
held = []
for _ in range(int(sys.argv[3])):
    asking = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    asking = trusting.wrap_socket(asking, server_hostname="localhost")
    for path, size in (("/login", 200_000), ("/", 2)):
        asking.sendall(b"GET %b HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n" % path.encode())
        got = b""
        while len(got.partition(b"\\r\\n\\r\\n")[2]) < size:
            got += asking.recv(65_536)
    held.append(asking)
print("held", flush=True)
sys.stdin.read()
"""
"""A client in a process of its own, which holds connections."""
WHOLE = bytes(range(256)) * (32 * 1024)  # more than the buffers of the system take


async def answer(scope: Any, receive: Any, send: Any) -> None:
    made_now = b"".join([b"login"] * 40_000) if scope["path"] == "/login" else b"ok"
    body = WHOLE if scope["path"] == "/whole" else made_now
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


class Served:
    """A listener on loopback, whose addresses count as those of others."""

    def __init__(self, limits: GuardLimits) -> None:
        authority = trustme.CA()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(self._context)
        self.root = authority.cert_pem.bytes()
        self.trusting = ssl.create_default_context(cadata=self.root.decode())
        protocol = guarded_protocol(limits)
        self.ledger = protocol.ledger
        self.opened: list[socket.socket] = []
        config = uvicorn.Config(answer, http=protocol, ws="none", lifespan="off", log_config=None)
        config.load()
        server = uvicorn.Server(config)
        listening = socket.create_server(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        self.listener = TlsListener(
            listening,
            lambda: protocol(config=config, server_state=server.server_state, app_state={}),
            lambda: self._context,
            self.ledger,
        )

    def connect(self) -> socket.socket:
        """Connect without a handshake."""
        opened = socket.create_connection(("127.0.0.1", self.port))
        opened.setblocking(False)
        self.opened.append(opened)
        return opened

    def ask(self, path: bytes) -> ssl.SSLSocket:
        """Send a request on a new connection, from another thread. Few bytes wait on this side to be read."""
        opened = socket.socket()
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        opened.settimeout(patiently(5.0))
        opened.connect(("127.0.0.1", self.port))
        asking = self.trusting.wrap_socket(opened, server_hostname="localhost")
        self.opened.append(asking)
        asking.sendall(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)
        return asking

    async def status(self) -> bytes:
        """Return the status of the answer to a request on a new connection."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self.trusting, server_hostname="localhost"
        )
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        line = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return line.split()[1]


def serve(limits: GuardLimits, work: Callable[[Served], Awaitable[None]]) -> None:
    """Run `work` with a listener on the event loop of the server."""

    errors: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        served = Served(limits)
        served.listener.start(BACKLOG)
        try:
            async with asyncio.timeout(patiently(ENDED_S)):
                await work(served)
        finally:
            for opened in served.opened:
                opened.close()
            await served.listener.stop()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
    assert errors == []


async def is_closed(connected: socket.socket) -> bool:
    """Wait for the end of a connection. Return False if bytes come first."""
    try:
        return not await asyncio.get_running_loop().sock_recv(connected, 1)
    except ConnectionResetError:
        return True


async def until(holds: Callable[[], bool]) -> None:
    deadline = Deadline(10)
    while not holds():
        assert not deadline.passed()
        await asyncio.sleep(0.01)


def test_address_has_a_number_of_handshakes_at_once() -> None:
    async def work(served: Served) -> None:
        silent = [served.connect() for _ in range(2)]
        await until(lambda: served.ledger.connections == 2)

        assert await is_closed(served.connect())
        assert served.ledger.refused["handshakes"] == 1
        silent[0].close()
        await until(lambda: served.ledger.connections == 1)
        assert await served.status() == b"200"

    serve(GuardLimits(handshakes_per_address=2, loopback=()), work)


def test_server_has_a_number_of_handshakes_at_once_and_loopback_is_not_exempt_from_it() -> None:
    async def work(served: Served) -> None:
        served.connect()
        await until(lambda: served.ledger.connections == 1)

        assert await is_closed(served.connect())
        assert served.ledger.refused["handshakes"] == 1

    serve(GuardLimits(handshakes=1), work)


def test_handshake_that_takes_too_long_is_closed_and_counted() -> None:
    async def work(served: Served) -> None:
        assert await is_closed(served.connect())

        await until(lambda: served.ledger.refused["handshake_slow"] == 1)
        assert served.ledger.connections == 0

    serve(GuardLimits(handshake_s=0.2), work)


def test_malformed_handshake_is_closed_and_not_counted_as_slow() -> None:
    async def work(served: Served) -> None:
        connected = served.connect()
        connected.sendall(b"GET / HTTP/1.1\r\n\r\n")

        await is_closed(connected)
        await until(lambda: served.ledger.connections == 0)
        assert served.ledger.refused["handshake_slow"] == 0

    serve(GuardLimits(), work)


def test_connection_above_the_limit_gets_its_refusal_over_tls() -> None:
    async def work(served: Served) -> None:
        _, held = await asyncio.open_connection(
            "127.0.0.1", served.port, ssl=served.trusting, server_hostname="localhost"
        )
        await until(lambda: served.ledger.connections == 1)

        assert await served.status() == b"503"

        held.close()
        await held.wait_closed()

    serve(GuardLimits(connections_per_address=1, loopback=()), work)


def test_client_that_does_not_end_tls_is_cut_after_its_answer() -> None:
    async def work(served: Served) -> None:
        plain = served.connect()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = served.trusting.wrap_bio(incoming, outgoing, server_hostname="localhost")
        loop = asyncio.get_running_loop()
        requested = False
        while True:
            try:
                if requested:
                    if not client.read(4096):
                        break  # the server's close_notify, which this client does not answer
                    continue
                client.do_handshake()
                client.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                requested = True
            except ssl.SSLWantReadError:
                pass
            if outgoing.pending:
                await loop.sock_sendall(plain, outgoing.read())
            elif received := await loop.sock_recv(plain, 65_536):
                incoming.write(received)
            else:
                break

        await until(lambda: served.ledger.connections == 0)

    serve(GuardLimits(linger_s=0.2, sweep_s=0.1), work)


def test_many_connections_at_once_are_served() -> None:
    async def work(served: Served) -> None:
        async with asyncio.TaskGroup() as asking:
            tasks = [asking.create_task(served.status()) for _ in range(200)]

        assert {task.result() for task in tasks} == {b"200"}
        await until(lambda: served.ledger.connections == 0)

    serve(GuardLimits(handshake_s=patiently(30)), work)


def test_unread_answers_take_bounded_memory_with_tls_as_well() -> None:
    async def work(served: Served) -> None:
        statuses = await asyncio.to_thread(lambda: [served.ask(b"/whole").recv(12) for _ in range(8)])

        assert 2 <= statuses.count(b"HTTP/1.1 200") <= 4
        assert set(statuses) == {b"HTTP/1.1 200", b"HTTP/1.1 503"}

    serve(GuardLimits(loopback=(), answers_bytes_per_address=20 * 1024 * 1024), work)


def test_reader_slower_than_the_minimum_is_disconnected_with_tls_as_well() -> None:
    async def work(served: Served) -> None:
        assert await asyncio.to_thread(lambda: served.ask(b"/whole").recv(12)) == b"HTTP/1.1 200"

        await until(lambda: served.ledger.refused["unread"] == 1)

    serve(GuardLimits(sweep_s=0.05, answer_grace_s=0.3), work)


def test_large_answer_is_whole_with_tls() -> None:
    async def work(served: Served) -> None:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", served.port, ssl=served.trusting, server_hostname="localhost"
        )
        writer.write(b"GET /whole HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()

        assert head.startswith(b"HTTP/1.1 200")
        assert body == WHOLE

    serve(GuardLimits(), work)


def test_open_connection_takes_little_memory_after_a_large_answer(tmp_path: Path) -> None:
    async def work(served: Served) -> None:
        root = tmp_path / "root.pem"
        root.write_bytes(served.root)

        assert await kb_of_a_connection(HOLDING, served.port, root) < KB_OF_A_CONNECTION_MAX

    serve(GuardLimits(), work)
