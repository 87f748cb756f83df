"""The gateway: listens, accepts connections within their limits, and closes them when the server stops."""

import asyncio
import collections
import contextlib
import os
import socket
import ssl
from typing import Final

import msgspec

from kiai.callers import CALLER
from kiai.clock import Clock
from kiai.errors import KiaiError, Refused
from kiai.faces.encrypted import shake_hands
from kiai.faces.irc.commands import Commands
from kiai.faces.irc.connection import READ_AT_ONCE, Connection
from kiai.faces.irc.hub import BLOCKED, CLOSE_WITHIN_S, Hub
from kiai.faces.irc.names import IrcNames
from kiai.logs import Outage, get_logger
from kiai.networks import Network, is_loopback, is_within, network_of

TLS_HANDSHAKE_S: Final = 10.0
CROWDED: Final = "Too many connections"
STOP_S: Final = 2.0
ABORTED_S: Final = 1.0  # for the sessions of connections that were cut
BACKLOG: Final = 100
"""Connections that the kernel keeps until the gateway accepts them."""
ACCEPT_AGAIN_S: Final = 1.0


class IrcLimits(msgspec.Struct, frozen=True):
    """The numbers of open connections. Loopback and trusted networks have no limit for each address."""

    connections: int
    connections_per_address: int
    trusted: tuple[Network, ...]


class Certificate:
    """The certificate for TLS, read again when its file changes. Raises Refused if it cannot be read."""

    def __init__(self, chain: str, key: str) -> None:
        self._chain = chain
        self._key = key
        self._read_at = (0.0, 0.0)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._load()

    def _load(self) -> None:
        try:
            read_at = (os.stat(self._chain).st_mtime, os.stat(self._key).st_mtime)
            # Tried first: in the middle of a renewal the two files do not fit, and the context would lose its key.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._chain, self._key)
            self.context.load_cert_chain(self._chain, self._key)
            self._read_at = read_at
        except (OSError, ssl.SSLError) as error:
            why = error.strerror or str(error)
            raise Refused(f"the certificate of irc_tls_cert and irc_tls_key cannot be read: {why}") from error

    async def reload(self) -> None:
        """Read the files again if they have changed. A job calls this."""
        with contextlib.suppress(OSError):
            if (os.stat(self._chain).st_mtime, os.stat(self._key).st_mtime) == self._read_at:
                return
        try:
            self._load()
        except Refused as error:
            get_logger("irc").warning("certificate not read", why=str(error))


class IrcGateway:
    """Serves the listening sockets. `hub.run` must run, too.

    A connection counts from the moment in which it is accepted until its socket is closed: during the TLS handshake,
    too, and while the client has not read the last lines.
    """

    def __init__(
        self,
        hub: Hub,
        commands: Commands,
        names: IrcNames,
        clock: Clock,
        limits: IrcLimits,
        certificate: Certificate | None,
    ) -> None:
        self.hub = hub
        self.certificate = certificate
        self._commands = commands
        self._names = names
        self._clock = clock
        self._limits = limits
        self._accepting: list[tuple[socket.socket, asyncio.Task[None]]] = []
        self._addresses: collections.Counter[str] = collections.Counter()
        self._serving: set[asyncio.Task[None]] = set()
        self._stopping = False

    @property
    def connections(self) -> int:
        """The number of open connections, with those in a TLS handshake."""
        return len(self._serving)

    async def listen(self, plain: socket.socket | None, encrypted: socket.socket | None) -> None:
        """Accept connections on these sockets."""
        if plain is not None:
            self._accept_on(plain, None)
        if encrypted is not None:
            assert self.certificate is not None
            self._accept_on(encrypted, self.certificate.context)

    def _accept_on(self, listening: socket.socket, tls: ssl.SSLContext | None) -> None:
        listening.setblocking(False)
        listening.listen(BACKLOG)
        task = asyncio.create_task(self._accept(listening, tls), name="irc accept")
        self._accepting.append((listening, task))

    async def _accept(self, listening: socket.socket, tls: ssl.SSLContext | None) -> None:
        # Not with `asyncio.start_server`: it passes on a connection after its TLS handshake, and counts none before.
        loop = asyncio.get_running_loop()
        outage = Outage("irc", "connections not accepted", "connections are accepted again")
        while True:
            try:
                accepted, peer = await loop.sock_accept(listening)
            except OSError as error:  # e.g. all file descriptors are in use
                outage.failed(error)
                await asyncio.sleep(ACCEPT_AGAIN_S)
                continue
            outage.worked()
            address = str(peer[0]) if peer else ""
            network = network_of(address)
            if self.hub.is_blocked(address):
                _refuse(accepted, BLOCKED, plain=tls is None)
                continue
            if self._stopping or self._is_full(address, network):
                _refuse(accepted, CROWDED, plain=tls is None)
                continue
            self._addresses[network] += 1
            task = asyncio.create_task(self._serve(accepted, address, network, tls), name="irc")
            self._serving.add(task)
            task.add_done_callback(lambda done, network=network: self._served(done, network))  # type: ignore[misc]

    def _served(self, task: asyncio.Task[None], network: str) -> None:
        self._serving.discard(task)
        self._addresses[network] -= 1
        if not self._addresses[network]:
            del self._addresses[network]
        if not task.cancelled() and (error := task.exception()) is not None:
            get_logger("irc").error("connection failed", exc_info=error)

    async def _serve(self, accepted: socket.socket, address: str, network: str, tls: ssl.SSLContext | None) -> None:
        opened = await _opened(accepted, tls)
        if opened is None:
            return
        reader, writer = opened
        connection = Connection(
            reader, writer, self._names, address=address, network=network, now=self._clock.monotonic
        )
        CALLER.set(network)
        self.hub.open(connection)
        try:
            await connection.run(self._commands.handle)
        except (ConnectionError, TimeoutError, ssl.SSLError):
            pass
        finally:
            connection.close()
            try:
                await self.hub.remove(connection)
            except KiaiError as error:  # the session ends later, as one that is not used
                get_logger("irc").warning("session not ended", why=str(error))
            finally:
                await _closed(writer)

    def _is_full(self, address: str, network: str) -> bool:
        if len(self._serving) >= self._limits.connections:
            return True
        if is_loopback(address) or is_within(address, self._limits.trusted):
            return False
        return self._addresses[network] >= self._limits.connections_per_address

    async def stop(self) -> None:
        """Close all connections with an ERROR, and wait until their sessions have ended.

        The connection of a client that does not read is cut. Takes at most `STOP_S` and `ABORTED_S` together.
        """
        self._stopping = True
        for _, accepting in self._accepting:
            accepting.cancel()
        if self._accepting:
            await asyncio.wait([task for _, task in self._accepting])
        for listening, _ in self._accepting:
            listening.close()
        for connection in list(self.hub.connections):
            connection.close("Server restarting")
        if self._serving:
            await asyncio.wait(list(self._serving), timeout=STOP_S)
        for connection in list(self.hub.connections):
            connection.abort()
        if self._serving:
            await asyncio.wait(list(self._serving), timeout=ABORTED_S)
        for task in list(self._serving):
            task.cancel()


def _refuse(accepted: socket.socket, reason: str, *, plain: bool) -> None:
    with contextlib.suppress(OSError):
        if plain:
            accepted.send(f"ERROR :{reason}\r\n".encode())
        accepted.close()


async def _opened(
    accepted: socket.socket, tls: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
    """Return the streams of a connection after its TLS handshake, or None if it fails."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=READ_AT_ONCE, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport: asyncio.Transport
    try:
        if tls is None:
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, accepted)
        else:
            transport = await shake_hands(accepted, protocol, tls, within_s=TLS_HANDSHAKE_S)
    except OSError:  # also ssl.SSLError and TimeoutError
        accepted.close()
        return None
    except asyncio.CancelledError:
        accepted.close()
        raise
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _closed(writer: asyncio.StreamWriter) -> None:
    """Wait until a client has read the last lines, and cut the connection if it does not in time."""
    try:
        async with asyncio.timeout(CLOSE_WITHIN_S):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        pass
    finally:
        writer.transport.abort()
