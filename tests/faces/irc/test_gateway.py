"""Connections of the gateway over real sockets: what counts, what they cost, and how they end."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, cast

import pytest
import uvloop
from tests.held_connections import HELD, kb_of_a_connection
from tests.patience import Deadline, patiently
from tests.wire.test_irc_clients import write_certificate

from kiai.clock import SystemClock
from kiai.errors import Unavailable
from kiai.faces.irc import gateway as gateways
from kiai.faces.irc.commands import Commands
from kiai.faces.irc.connection import UNSENT_MAX, Connection
from kiai.faces.irc.gateway import Certificate, IrcGateway, IrcLimits
from kiai.faces.irc.hub import Hub
from kiai.faces.irc.names import IrcNames

NAMES: Final = IrcNames("ppy.sh", "https://osu.ppy.sh/", "https://osu.ppy.sh/", "BanchoBot")
SHORT_S: Final = 0.2
KB_OF_A_CONNECTION_MAX: Final = 45
HOLDING: Final = """
import socket, ssl, sys

port, root, number = sys.argv[1:]
context = ssl.create_default_context(cafile=root)
held = []
for _ in range(int(number)):
    client = context.wrap_socket(socket.create_connection(("127.0.0.1", int(port))), server_hostname="localhost")
    client.sendall(b"NAMES 500\\r\\n")
    end = b""
    while not end.endswith(b"END\\r\\n"):
        end = (end + client.recv(65536))[-5:]
    held.append(client)
print("held", flush=True)
sys.stdin.read()
"""
"""A program that opens connections one after another, reads 200 KB from each, and keeps them open."""


class FakeHub:
    """Stands for the hub: knows the connections. `fails`: what `remove` raises."""

    def __init__(self) -> None:
        self.connections: set[Connection] = set()
        self.fails: Exception | None = None

    def open(self, connection: Connection) -> None:
        self.connections.add(connection)

    def is_blocked(self, address: str) -> bool:
        return False

    async def remove(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if self.fails is not None:
            raise self.fails


class FakeCommands:
    """Stands for the commands: PING is answered, QUIT closes, FLOOD sends more than a client reads at once."""

    async def handle(self, connection: Connection, command: str, params: tuple[str, ...]) -> float:
        match command:
            case "PING":
                connection.send("PONG")
            case "QUIT":
                connection.close("bye")
            case "FLOOD":
                connection.send(*["x" * 500] * (UNSENT_MAX // 600))
                connection.close()
            case "NAMES":
                await connection.send_all(f"name {number} {'x' * 400}" for number in range(int(params[0])))
                connection.send("END")
        return 1.0


class Gate:
    """A gateway on two ports of this process."""

    def __init__(self, folder: Path, connections: int, per_address: int) -> None:
        self.hub = FakeHub()
        chain, key = write_certificate(folder)
        limits = IrcLimits(connections, per_address, ())
        self.gateway = IrcGateway(
            cast(Hub, self.hub),
            cast(Commands, FakeCommands()),
            NAMES,
            SystemClock(),
            limits,
            Certificate(str(chain), str(key)),
        )
        self.root = chain
        self.context = ssl.create_default_context(cafile=str(chain))
        self.ports: list[int] = []
        self.clients: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        for each in sockets:  # so that the kernel takes only a part of what a client does not read
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        self.ports = [each.getsockname()[1] for each in sockets]
        await self.gateway.listen(*sockets)

    async def connect(self, *, tls: bool = False, shake: bool = True) -> tuple[asyncio.StreamReader, Any]:
        """Connect to the port without or with TLS. Without `shake`, the client sends nothing."""
        context = self.context if tls and shake else None
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.ports[1 if tls else 0], ssl=context, server_hostname="localhost" if context else None
        )
        self.clients.append(writer)
        return reader, writer

    async def stop(self) -> None:
        for client in self.clients:
            client.transport.abort()
        await self.gateway.stop()
        await asyncio.sleep(0.05)  # the transports close in the next iterations of the loop

    async def counts(self, expected: int) -> None:
        """Wait until the gateway counts this many connections."""
        deadline = Deadline(5)
        while self.gateway.connections != expected:
            assert not deadline.passed(), (self.gateway.connections, expected)
            await asyncio.sleep(0.01)


def play(
    scenario: Callable[[Gate], Awaitable[None]], folder: Path, *, connections: int = 100, per_address: int = 100
) -> None:
    async def main() -> None:
        gate = Gate(folder, connections, per_address)
        await gate.start()
        try:
            async with asyncio.timeout(patiently(20)):
                await scenario(gate)
        finally:
            await gate.stop()

    # The loop of the server, whose sockets differ from those of asyncio.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


async def answered(reader: asyncio.StreamReader, writer: Any) -> bool:
    """Return whether the gateway serves the connection."""
    with contextlib.suppress(ConnectionError):
        writer.write(b"PING x\r\n")
        return await reader.readline() == b"PONG\r\n"
    return False


def test_both_ports_serve(tmp_path: Path) -> None:
    async def scenario(gate: Gate) -> None:
        assert await answered(*await gate.connect())
        assert await answered(*await gate.connect(tls=True))
        await gate.counts(2)

    play(scenario, tmp_path)


def test_handshakes_count_as_connections(tmp_path: Path) -> None:
    async def scenario(gate: Gate) -> None:
        silent = [await gate.connect(tls=True, shake=False) for _ in range(2)]
        await gate.counts(2)

        reader, _ = await gate.connect()
        assert await reader.read() == b"ERROR :Too many connections\r\n"
        refused, _ = await gate.connect(tls=True, shake=False)
        assert await refused.read() == b""
        silent[0][1].close()
        await gate.counts(1)
        assert await answered(*await gate.connect(tls=True))

    play(scenario, tmp_path, connections=2)


def test_handshakes_count_for_their_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateways, "is_loopback", lambda address: False)

    async def scenario(gate: Gate) -> None:
        for _ in range(2):
            await gate.connect(tls=True, shake=False)
        await gate.counts(2)

        reader, _ = await gate.connect()

        assert await reader.read() == b"ERROR :Too many connections\r\n"

    play(scenario, tmp_path, per_address=2)


def test_handshake_has_a_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateways, "TLS_HANDSHAKE_S", SHORT_S)

    async def scenario(gate: Gate) -> None:
        reader, writer = await gate.connect(tls=True, shake=False)
        writer.write(b"\x16\x03\x01")  # the beginning of a handshake
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        await gate.counts(0)

    play(scenario, tmp_path)


@pytest.mark.parametrize("error", [Unavailable("realtime state"), RuntimeError("a fault")])
def test_connection_does_not_count_after_its_end(tmp_path: Path, error: Exception) -> None:
    async def scenario(gate: Gate) -> None:
        gate.hub.fails = error
        _, writer = await gate.connect()
        await gate.counts(1)

        writer.close()

        await gate.counts(0)
        assert not gate.gateway._addresses

    play(scenario, tmp_path)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_connection_counts_until_its_last_lines_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tls: bool
) -> None:
    monkeypatch.setattr(gateways, "CLOSE_WITHIN_S", SHORT_S)

    def connected(gate: Gate) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", gate.ports[tls]))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        return gate.context.wrap_socket(client, server_hostname="localhost") if tls else client

    async def scenario(gate: Gate) -> None:
        with await asyncio.to_thread(connected, gate) as client:
            client.send(b"FLOOD\r\n")
            deadline = Deadline(5)
            while gate.gateway.connections != 1 or gate.hub.connections:
                assert not deadline.passed()
                await asyncio.sleep(0.005)
            await gate.counts(0)

    play(scenario, tmp_path)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_long_answer_is_sent_as_fast_as_the_client_reads(tmp_path: Path, tls: bool) -> None:
    lines = 4 * UNSENT_MAX // 400

    async def scenario(gate: Gate) -> None:
        reader, writer = await gate.connect(tls=tls)
        writer.write(f"NAMES {lines}\r\n".encode())
        await asyncio.sleep(SHORT_S)
        assert await answered(*await gate.connect()), "others are served meanwhile"

        received = 0
        while (line := await reader.readline()) != b"END\r\n":
            assert line, "cut off"
            received += 1
        assert received == lines

    play(scenario, tmp_path)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_client_that_quits_reads_the_last_line_and_the_end(tmp_path: Path, tls: bool) -> None:
    async def scenario(gate: Gate) -> None:
        reader, writer = await gate.connect(tls=tls)
        writer.write(b"PING x\r\nQUIT\r\n")

        assert await reader.read() == b"PONG\r\nERROR :bye\r\n"
        await gate.counts(0)

    play(scenario, tmp_path)


def test_encrypted_connection_takes_little_memory_after_a_large_answer(tmp_path: Path) -> None:
    async def scenario(gate: Gate) -> None:
        assert await kb_of_a_connection(HOLDING, gate.ports[1], gate.root) < KB_OF_A_CONNECTION_MAX

    play(scenario, tmp_path, connections=2 * HELD)
