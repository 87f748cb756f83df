"""Raw requests to a server, and the whole bytes of its answers, to compare two ways of answering."""

import re
import socket
from typing import Final

from tests.demo_server import DemoServer
from tests.patience import patiently

_VARIES: Final = re.compile(
    rb"^(date|x-request-id): [^\r]*|(?<=\"request_id\":\")[^\"]*|Report the request id [^ ]*", re.MULTILINE
)


def ask(server: DemoServer, address: str, request: bytes) -> bytes:
    """Return all bytes that the server sends until it closes the connection.

    The date and the request ids are replaced, because they differ between two equal requests.
    """
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), patiently(20), source_address=(address, 0)) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(1 << 16):
            answer += piece
    return _VARIES.sub(b"*", answer)


def raw(target: str, *headers: str, host: str, method: str = "GET", version: str = "1.1") -> bytes:
    """Return a request without a body, after which the server closes the connection."""
    lines = [f"{method} {target} HTTP/{version}", f"Host: {host}", *headers, "Connection: close"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def kept_open(request: bytes) -> bytes:
    """Return the request of `raw` without the end of the connection, so that it may get a quick answer."""
    return request.replace(b"Connection: close\r\n", b"")
