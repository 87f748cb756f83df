"""Accepts connections with TLS, and bounds the handshakes that run at once.

A connection counts from the moment in which it is accepted: as a handshake in `connections.Ledger`, and then as a
connection of the guard. `encrypted.py` has the connection itself.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Final

from kiai.faces.connections import Ledger
from kiai.faces.encrypted import shake_hands
from kiai.faces.guard import GuardedProtocol
from kiai.logs import Outage

ACCEPT_AGAIN_S: Final = 0.5
STOP_S: Final = 1.0  # for the handshakes that run when the server stops


class TlsListener:
    """Serves one listening socket. `context` returns the context for the next connection."""

    def __init__(
        self,
        listening: socket.socket,
        protocol: Callable[[], GuardedProtocol],
        context: Callable[[], ssl.SSLContext],
        ledger: Ledger,
    ) -> None:
        self._listening = listening
        self._protocol = protocol
        self._context = context
        self._ledger = ledger
        self._limits = ledger.limits
        self._handshakes: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None

    def start(self, backlog: int) -> None:
        """Accept connections."""
        self._listening.setblocking(False)
        self._listening.listen(backlog)
        self._accepting = asyncio.create_task(self._accept(), name="tls accept")

    async def stop(self) -> None:
        """Accept no more connections, and wait `STOP_S` for the handshakes that run."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait([self._accepting])
        self._listening.close()
        if self._handshakes:
            await asyncio.wait(list(self._handshakes), timeout=STOP_S)
        for handshake in list(self._handshakes):
            handshake.cancel()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        outage = Outage("tls", "connections not accepted", "connections are accepted again")
        while True:
            try:
                accepted, peer = await loop.sock_accept(self._listening)
            except OSError as error:  # e.g. all file descriptors are in use
                outage.failed(error)
                await asyncio.sleep(ACCEPT_AGAIN_S)
                continue
            outage.worked()
            protocol = self._protocol()
            if not self._ledger.begin_handshake(protocol, str(peer[0]) if peer else None):
                accepted.close()
                continue
            task = asyncio.create_task(self._shake_hands(accepted, protocol), name="tls handshake")
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, accepted: socket.socket, protocol: GuardedProtocol) -> None:
        try:
            await shake_hands(accepted, protocol, self._context(), within_s=self._limits.handshake_s)
        except OSError as error:
            self._ledger.count_failed_handshake(error)
        finally:
            self._ledger.end_handshake(protocol)
