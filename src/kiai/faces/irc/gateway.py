"""The gateway: listens, accepts connections within their limits, and closes them when the server stops."""

import asyncio
import collections
import contextlib
import os
import socket
import ssl
from typing import Final

import msgspec

from kiai.clock import Clock
from kiai.errors import Refused
from kiai.faces.irc.commands import Commands
from kiai.faces.irc.connection import READ_AT_ONCE, Connection
from kiai.faces.irc.hub import Hub
from kiai.faces.irc.names import IrcNames
from kiai.logs import get_logger
from kiai.networks import Network, is_loopback, is_within, network_of

TLS_HANDSHAKE_S: Final = 10.0
STOP_S: Final = 3.0


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
    """Serves the listening sockets. `hub.run` must run, too."""

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
        self._servers: list[asyncio.Server] = []
        self._addresses: collections.Counter[str] = collections.Counter()
        self._serving: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def listen(self, plain: socket.socket | None, encrypted: socket.socket | None) -> None:
        """Accept connections on these sockets."""
        if plain is not None:
            self._servers.append(await asyncio.start_server(self._serve, sock=plain, limit=READ_AT_ONCE))
        if encrypted is not None:
            assert self.certificate is not None
            server = await asyncio.start_server(
                self._serve,
                sock=encrypted,
                limit=READ_AT_ONCE,
                ssl=self.certificate.context,
                ssl_handshake_timeout=TLS_HANDSHAKE_S,
            )
            self._servers.append(server)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        address = str(peer[0]) if peer else ""
        network = network_of(address)
        connection = Connection(
            reader, writer, self._names, address=address, network=network, now=self._clock.monotonic
        )
        if self._stopping or self._is_full(address, network):
            connection.close("Too many connections")
            return
        self._addresses[network] += 1
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self.hub.open(connection)
        try:
            await connection.run(self._commands.handle)
        except (ConnectionError, TimeoutError, ssl.SSLError):
            pass
        finally:
            self._addresses[network] -= 1
            if not self._addresses[network]:
                del self._addresses[network]
            connection.close()
            await self.hub.remove(connection)
            self._serving.discard(task)

    def _is_full(self, address: str, network: str) -> bool:
        if len(self.hub.connections) >= self._limits.connections:
            return True
        if is_loopback(address) or is_within(address, self._limits.trusted):
            return False
        return self._addresses[network] >= self._limits.connections_per_address

    async def stop(self) -> None:
        """Close all connections with an ERROR, and wait until their sessions have ended."""
        self._stopping = True
        for server in self._servers:
            server.close()
        for connection in list(self.hub.connections):
            connection.close("Server restarting")
        if self._serving:
            await asyncio.wait(self._serving, timeout=STOP_S)
        for connection in list(self.hub.connections):
            connection.abort()
