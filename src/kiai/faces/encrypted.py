"""A connection with TLS: the protocol of its TCP connection, and the transport of the protocol above.

The classes of uvloop and asyncio have a buffer of 256 KiB for each connection, and OpenSSL's buffers in memory never
shrink. With 10,000 players online they took 1.1 GB. `TlsTransport` has no buffer of its own, and OpenSSL gets and
returns at most `PIECE` bytes at once.

A write encrypts everything at once. The transport of the TCP connection has what the client has not read, so the size
of its buffer and its flow control are those of this transport.

See docs/decisions/017-own-tls-transport.md.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterable
from typing import Any, Final, cast

PIECE: Final = 4 * 1024
RECORD_MAX: Final = 16 * 1024
"""The most bytes that TLS encrypts together."""
SURPLUS_MAX: Final = 64 * 1024
"""The bytes after `close` in which the end of the client's side is looked for. More are discarded unread: to decrypt
them takes five times as long, and no limit of the guard counts them."""

_HANDSHAKE, _OPEN, _CLOSING, _LOST = range(4)
Bytes = bytes | bytearray | memoryview
_NOBODY: Final = asyncio.Protocol()
"""The protocol of a connection that nobody needs to learn of."""


async def shake_hands(
    accepted: socket.socket, protocol: asyncio.Protocol, context: ssl.SSLContext, *, within_s: float
) -> "TlsTransport":
    """Return the transport of an accepted connection after its handshake. `protocol` gets what the client sends.

    Raises OSError if the client does not follow TLS, or not within `within_s` seconds. Then the connection is closed,
    and so it is after a cancellation.
    """
    accepted.setblocking(False)
    with contextlib.suppress(OSError):  # uvloop does the same for plain connections
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    connection = TlsTransport(protocol, context, ended)
    try:
        async with asyncio.timeout(within_s):
            await loop.connect_accepted_socket(lambda: connection, accepted)
            await ended
    except (OSError, asyncio.CancelledError):  # OSError: also ssl.SSLError and TimeoutError
        connection.abort()
        accepted.close()
        raise
    return connection


class TlsTransport(asyncio.Protocol, asyncio.Transport):
    """The server's side of a connection with TLS.

    `protocol` gets the decrypted bytes; its `connection_made` follows the handshake. `handshake` gets a result when it
    has succeeded, or an OSError. The owner limits the time of the handshake and of the end, and calls `abort`.
    """

    __slots__ = ("_handshake", "_incoming", "_outgoing", "_protocol", "_state", "_surplus", "_tcp", "_tls")

    def __init__(self, protocol: asyncio.Protocol, context: ssl.SSLContext, handshake: "asyncio.Future[None]") -> None:
        super().__init__()
        self._protocol = protocol
        self._handshake: asyncio.Future[None] | None = handshake
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._state = _HANDSHAKE
        self._surplus = 0  # bytes that came after `close`
        self._tcp: asyncio.Transport | None = None

    # --- the protocol of the TCP connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the client, which begins the handshake."""
        self._tcp = cast("asyncio.Transport", transport)  # uvloop's is one without being derived from it

    def data_received(self, data: bytes) -> None:
        """Decrypt what the client has sent, and deliver it."""
        if self._state == _CLOSING:
            self._surplus += len(data)
            if self._surplus > SURPLUS_MAX:
                return
        try:
            received, is_end = self._decrypt(data)
        except ssl.SSLError as error:
            self._fail(error)
            return
        self._send_encrypted()  # the handshake, or new keys
        if self._handshake is not None and self._state == _OPEN:
            self._end_handshake(None)
            self._protocol.connection_made(self)
        if received and self._state == _OPEN:
            self._protocol.data_received(received)
        if is_end:
            self.eof_received()
            if self._tcp is not None:
                self._tcp.close()

    def eof_received(self) -> None:
        """Close. As without TLS, the client gets no more answers after the end of its requests."""
        if self._state == _OPEN:
            self._protocol.eof_received()
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the protocol, if it knows of the connection."""
        self._state = _LOST
        if self._handshake is not None:
            self._end_handshake(exc or ConnectionResetError("closed during the handshake"))
        self._protocol.connection_lost(exc)
        self._protocol = _NOBODY  # without the cycle of references, the memory is free at once

    def pause_writing(self) -> None:
        """Tell the protocol that the client reads slowly."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Tell the protocol that the client reads again."""
        self._protocol.resume_writing()

    # --- the transport of the protocol above

    def write(self, data: Bytes) -> None:
        """Encrypt and send. After `close`, nothing is sent."""
        if self._state != _OPEN or not data or self._tcp is None or self._tcp.is_closing():
            return
        if len(data) <= PIECE:  # PERF: nearly all answers
            self._tls.write(data)
            self._tcp.write(self._outgoing.read())
        else:
            self._tcp.writelines([self._encrypt(piece) for piece in _pieces(data)])

    def close(self) -> None:
        """End this side of TLS, after everything that was written. The connection ends when the client ends its side.

        If the socket were closed now, the system would reset the connection for input that nobody has read, and the
        client could lose the last answer.
        """
        if self._state == _HANDSHAKE:
            self.abort()
        elif self._state == _OPEN:
            self._state = _CLOSING
            with contextlib.suppress(ssl.SSLError):  # it also asks for the end of the client's side
                self._tls.unwrap()
            self._send_encrypted()
            self.resume_reading()

    def abort(self) -> None:
        """Close the connection at once. Bytes that the client has not received are lost."""
        self._state = max(self._state, _CLOSING)
        if self._tcp is not None:
            self._tcp.abort()

    def is_closing(self) -> bool:
        """Return whether nothing more can be sent."""
        return self._state != _OPEN or self._tcp is None or self._tcp.is_closing()

    def can_write_eof(self) -> bool:
        """Return False: a side of TLS that has ended takes the other with it, in most clients."""
        return False

    def pause_reading(self) -> None:
        """Deliver nothing more until `resume_reading`."""
        if self._tcp is not None:
            self._tcp.pause_reading()

    def resume_reading(self) -> None:
        """Deliver again."""
        if self._tcp is not None:
            self._tcp.resume_reading()

    def get_write_buffer_size(self) -> int:
        """Return the number of encrypted bytes that wait for the client."""
        return 0 if self._tcp is None else self._tcp.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return `sslcontext`, `ssl_object`, or what the TCP connection knows."""
        if name == "sslcontext":
            return self._tls.context
        if name == "ssl_object":
            return self._tls
        return default if self._tcp is None else self._tcp.get_extra_info(name, default)

    # --- OpenSSL

    def _decrypt(self, data: bytes) -> tuple[bytes, bool]:
        """Return what the client has sent with these bytes, and whether it has ended its side. Raises SSLError."""
        tls, incoming = self._tls, self._incoming
        received: list[bytes] = []
        for piece in _pieces(data):
            incoming.write(piece)
            try:
                if self._state == _HANDSHAKE:
                    tls.do_handshake()
                    self._state = _OPEN
                # PERF: asks before it reads, because an exception takes longer than a read.
                while incoming.pending or tls.pending():
                    chunk = tls.read(RECORD_MAX)
                    if not chunk:
                        return b"".join(received), True
                    received.append(chunk)
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLZeroReturnError:  # the end of the client's side, after that of this one
                return b"".join(received), True
        return b"".join(received), False

    def _encrypt(self, piece: Bytes) -> bytes:
        self._tls.write(piece)
        return self._outgoing.read()

    def _send_encrypted(self) -> None:
        if self._outgoing.pending and self._tcp is not None and not self._tcp.is_closing():
            self._tcp.write(self._outgoing.read())

    def _fail(self, error: ssl.SSLError) -> None:
        """Close a connection whose client does not follow TLS. It may still read the alert."""
        assert self._tcp is not None
        self._state = _CLOSING
        if self._handshake is not None:
            self._end_handshake(error)
        self._send_encrypted()
        self._tcp.close()

    def _end_handshake(self, error: Exception | None) -> None:
        handshake, self._handshake = self._handshake, None
        if error is not None:
            self._protocol = _NOBODY  # it never learns of the connection
        if handshake is None or handshake.done():
            return
        if error is None:
            handshake.set_result(None)
        else:
            handshake.set_exception(error)


def _pieces(data: Bytes) -> Iterable[Bytes]:
    if len(data) <= PIECE:
        return (data,)
    view = memoryview(data)
    return [view[start : start + PIECE] for start in range(0, len(view), PIECE)]
