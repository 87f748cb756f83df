"""A connection with TLS: what its protocol and its TCP connection get, with a client of OpenSSL and without sockets."""

import asyncio
import gc
import ssl
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Final

import pytest
import trustme
from OpenSSL import SSL

from kiai.faces.encrypted import PIECE, SURPLUS_MAX, TlsTransport
from kiai.tls.certificate import find_key, parse_chain, server_context

AUTHORITY: Final = trustme.CA()
ISSUED: Final = AUTHORITY.issue_cert("localhost", key_type=trustme.KeyType.ECDSA)
CHAIN: Final = b"".join(pem.bytes() for pem in ISSUED.cert_chain_pems)
CONTEXT: Final = server_context(parse_chain(CHAIN, "test"), find_key(ISSUED.private_key_pem.bytes(), "test"))
LARGE: Final = bytes(range(256)) * 1024
RECORD_OVERHEAD_MAX: Final = 64


class Tcp(asyncio.Transport):
    """The TCP connection of the server. `sent` is what the client has not received yet."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.closed = self.aborted = self.paused = False
        self.unread = 0

    def write(self, data: Any) -> None:
        assert not self.is_closing()
        self.sent.append(bytes(data))

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        for data in list_of_data:
            self.write(data)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def get_write_buffer_size(self) -> int:
        return self.unread


class App(asyncio.Protocol):
    """Records its calls."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: Any) -> None:
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        self.calls.append(data)

    def eof_received(self) -> None:
        self.calls.append("eof")

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append(("lost", exc))

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")


class Connected:
    """A server's side and a client. `cut` is the number of bytes of each piece that the server receives."""

    def __init__(
        self,
        *,
        cut: int = 1_000_000,
        newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        trusted: trustme.CA = AUTHORITY,
    ) -> None:
        self.cut = cut
        self.tcp, self.app = Tcp(), App()
        self.handshake: asyncio.Future[None] = asyncio.Future(loop=asyncio.new_event_loop())
        self.handshake.get_loop().close()
        self.server = TlsTransport(self.app, CONTEXT, self.handshake)
        self.server.connection_made(self.tcp)
        trusting = ssl.create_default_context(cadata=trusted.cert_pem.bytes().decode())
        trusting.maximum_version = newest
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = trusting.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")

    def to_server(self) -> None:
        """Deliver what the client has sent."""
        data = self._outgoing.read()
        for start in range(0, len(data), self.cut):
            self.server.data_received(data[start : start + self.cut])

    def to_client(self) -> None:
        """Deliver what the server has sent."""
        for data in self.tcp.sent:
            self._incoming.write(data)
        self.tcp.sent.clear()

    def shake_hands(self, *, together_with: bytes = b"") -> None:
        """Complete the handshake. The client sends `together_with` with its last message of TLS 1.3."""
        while True:
            try:
                self.client.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.to_server()
                self.to_client()
        if together_with:
            self.client.write(together_with)
        self.to_server()

    def read(self) -> bytes:
        """Return what the client reads; empty if the server has ended its side."""
        self.to_client()
        received = b""
        while True:
            try:
                chunk = self.client.read(65_536)
            except ssl.SSLWantReadError:
                return received
            if not chunk:
                return received
            received += chunk

    def end(self) -> None:
        """The client ends its side."""
        with pytest.raises(ssl.SSLWantReadError):
            self.client.unwrap()
        self.to_server()


def connected(**options: Any) -> Connected:
    made = Connected(**options)
    made.shake_hands()
    return made


# --- the handshake


def test_protocol_learns_of_the_connection_after_the_handshake() -> None:
    made = Connected()
    assert made.app.calls == []
    assert made.server.is_closing()

    made.shake_hands()

    assert made.app.calls == ["made"]
    assert made.handshake.done()
    assert made.handshake.exception() is None
    assert not made.server.is_closing()
    assert made.server.get_extra_info("sslcontext") is CONTEXT
    assert made.server.get_extra_info("ssl_object").version() == "TLSv1.3"


def test_request_that_comes_with_the_end_of_the_handshake_follows_it() -> None:
    made = Connected()

    made.shake_hands(together_with=b"GET /")

    assert made.app.calls == ["made", b"GET /"]


def test_bytes_that_come_one_by_one_are_understood() -> None:
    made = connected(cut=1)
    made.client.write(b"abc")
    made.client.write(b"def")
    made.to_server()

    assert made.app.calls == ["made", b"abc", b"def"]


def test_handshake_that_is_not_tls_fails_with_an_alert_and_without_a_connection() -> None:
    made = Connected()

    made.server.data_received(b"GET / HTTP/1.1\r\n\r\n")

    assert isinstance(made.handshake.exception(), ssl.SSLError)
    assert made.tcp.closed
    made.server.connection_lost(None)
    assert made.app.calls == []


def test_client_that_rejects_the_certificate_is_no_connection() -> None:
    made = Connected(trusted=trustme.CA())

    with pytest.raises(ssl.SSLCertVerificationError):
        made.shake_hands()
    made.to_server()
    made.server.connection_lost(None)

    assert isinstance(made.handshake.exception(), ssl.SSLError)
    assert made.app.calls == []


def test_client_that_leaves_during_the_handshake_is_a_connection_error() -> None:
    made = Connected()

    made.server.connection_lost(None)

    assert isinstance(made.handshake.exception(), ConnectionResetError)
    assert made.app.calls == []


def test_handshake_that_is_given_up_closes_the_connection() -> None:
    made = Connected()

    made.server.abort()

    assert made.tcp.aborted


# --- data


def test_answer_is_sent_in_small_pieces_because_buffers_of_openssl_never_shrink() -> None:
    made = connected()
    made.to_client()

    made.server.write(LARGE)

    assert max(map(len, made.tcp.sent)) <= PIECE + RECORD_OVERHEAD_MAX
    assert made.read() == LARGE


@pytest.mark.parametrize("cut", [1_000, PIECE, 1_000_000])
def test_upload_arrives_whole(cut: int) -> None:
    made = connected(cut=cut)
    for start in range(0, len(LARGE), 16_384):
        made.client.write(LARGE[start : start + 16_384])
    made.to_server()

    assert b"".join(made.app.calls[1:]) == LARGE
    assert len(made.app.calls) == 2 or cut < len(LARGE), "one read of the socket is one call"


def test_nothing_is_written_for_nothing() -> None:
    made = connected()
    made.to_client()

    made.server.write(b"")

    assert made.tcp.sent == []


def test_flow_control_is_that_of_the_tcp_connection() -> None:
    made = connected()

    made.tcp.unread = 70_000
    made.server.pause_writing()
    made.server.resume_writing()
    made.server.pause_reading()

    assert made.server.get_write_buffer_size() == 70_000
    assert made.app.calls == ["made", "pause", "resume"]
    assert made.tcp.paused
    made.server.resume_reading()
    assert not made.tcp.paused


# --- the end


def test_close_follows_the_answer_and_waits_for_the_client() -> None:
    made = connected()
    made.server.pause_reading()
    made.server.write(b"answer")
    made.server.close()

    assert made.server.is_closing()
    assert not made.tcp.is_closing()
    assert not made.tcp.paused, "the end of the client's side must be read"
    assert made.read() == b"answer"
    assert made.client.read(1) == b"", "the client sees the end of TLS"

    made.client.unwrap()
    made.to_server()
    assert made.tcp.closed


def test_nothing_is_delivered_or_sent_after_close() -> None:
    made = connected()
    made.server.close()
    made.to_client()

    made.client.write(b"late")
    made.to_server()
    made.server.write(b"late")

    assert made.app.calls == ["made"]
    assert made.tcp.sent == []


def test_flood_after_close_is_not_decrypted() -> None:
    made = connected()
    made.server.close()
    made.to_client()

    made.client.write(bytes(SURPLUS_MAX))
    made.to_server()
    made.server.data_received(b"not a record of TLS")

    assert not made.tcp.is_closing(), "decrypted, it would end the connection"
    assert made.tcp.sent == []


def test_end_of_the_client_is_found_behind_the_rest_of_an_upload() -> None:
    made = connected()
    made.server.close()
    made.to_client()

    made.client.write(bytes(SURPLUS_MAX // 2))
    made.client.unwrap()
    made.to_server()

    assert made.tcp.closed


def test_client_that_ends_tls_ends_the_connection() -> None:
    made = connected()
    made.end()

    assert made.app.calls == ["made", "eof"]
    assert made.tcp.closed
    made.to_client()
    made.client.unwrap()  # raises unless the server has ended its side, too


def test_request_before_the_end_of_tls_is_delivered() -> None:
    made = connected()
    made.client.write(b"last")
    made.end()

    assert made.app.calls == ["made", b"last", "eof"]


def test_end_of_tcp_without_an_end_of_tls_ends_the_connection() -> None:
    made = connected()

    made.server.eof_received()

    assert made.app.calls == ["made", "eof"]
    assert made.server.is_closing()


@pytest.mark.parametrize("damage", [lambda data: b"\x17\x03\x03\x00\x10" + bytes(16), lambda data: data[:-1] + b"\0"])
def test_damaged_record_ends_the_connection_and_delivers_nothing(damage: Callable[[bytes], bytes]) -> None:
    made = connected()
    made.client.write(b"request")
    made.to_client()

    made.server.data_received(damage(made._outgoing.read()))

    assert made.app.calls == ["made"]
    assert made.tcp.closed
    with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
        made.read()


def test_loss_of_the_connection_is_told_and_frees_its_memory_without_a_collection_of_garbage() -> None:
    made = connected()
    lost, app = ConnectionResetError("reset"), weakref.ref(made.app)
    made.app.transport = made.server
    gc.disable()
    try:
        made.server.connection_lost(lost)
        assert made.app.calls == ["made", ("lost", lost)]

        made.server.write(b"late")
        assert made.server.is_closing()
        del made
        assert app() is None
    finally:
        gc.enable()


def test_client_cannot_renegotiate() -> None:
    made = Connected()
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    client = SSL.Connection(context, None)
    client.set_connect_state()

    def exchange(act: Callable[[], Any]) -> None:
        for _ in range(10):
            try:
                act()
                return
            except SSL.WantReadError:
                made.server.data_received(client.bio_read(65_536))
                for data in made.tcp.sent:
                    client.bio_write(data)
                made.tcp.sent.clear()

    exchange(client.do_handshake)
    assert client.get_protocol_version_name() == "TLSv1.2"
    client.renegotiate()
    with pytest.raises(SSL.Error):
        exchange(client.do_handshake)

    assert client.total_renegotiations() <= 1
    assert made.app.calls == ["made"]
