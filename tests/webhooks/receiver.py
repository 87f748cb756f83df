"""A receiver of webhooks on this machine: it records what arrives and answers as a test says."""

import contextlib
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from tests.patience import join, patiently

HANG = -1
"""An answer that never comes."""


class Received(NamedTuple):
    """One request. The names of headers are in lower case."""

    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)

    @property
    def data(self) -> Any:
        """The data of the event, in the plain format."""
        return self.json["data"]


class Receiver:
    """`answers` are the statuses of the next answers, and 204 follows them. A redirect leads to `location`.

    `retry_after` is a header of all answers. `named` has the host that each TLS handshake named, None without a name.
    """

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: list[int] = []
        self.location = ""
        self.retry_after = ""
        self.named: list[str | None] = []
        self.url = ""
        self.arrived = threading.Event()
        self.released = threading.Event()

    def events(self) -> list[str]:
        """The events of all requests."""
        return [one.headers["x-kiai-event"] for one in self.received]

    def wait(self, count: int, seconds: float) -> None:
        """Wait until this many requests have arrived."""
        waited = threading.Event()
        for _ in range(int(seconds * 50)):
            if len(self.received) >= count:
                return
            waited.wait(0.02)
        raise AssertionError(f"{len(self.received)} of {count} requests arrived: {self.events()}")


class _Handler(BaseHTTPRequestHandler):
    receiver: Receiver

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        receiver = self.receiver
        receiver.received.append(Received({name.lower(): value for name, value in self.headers.items()}, body))
        receiver.arrived.set()
        status = receiver.answers.pop(0) if receiver.answers else 204
        if status == HANG:
            receiver.released.wait(patiently(30))
            return
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", receiver.location)
        if receiver.retry_after:
            self.send_header("Retry-After", receiver.retry_after)
        self.send_header("Content-Length", "0")
        self.end_headers()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: a client that does not trust the certificate breaks the handshake."""


@contextlib.contextmanager
def running(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Run a receiver for the duration of the block, with this context by HTTPS."""
    receiver = Receiver()
    handler = type("Handler", (_Handler,), {"receiver": receiver})
    with _Server(("127.0.0.1", 0), handler) as server:
        if tls is not None:
            tls.sni_callback = lambda connection, name, context: receiver.named.append(name)
            # The handshake is in the thread of the request.
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        scheme = "http" if tls is None else "https"
        receiver.url = f"{scheme}://127.0.0.1:{server.server_port}/hook?a=1"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.released.set()
            server.shutdown()
            join(thread)
