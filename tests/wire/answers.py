"""A strict HTTP/1.1 client that reads exactly one answer at a time from a connection."""

import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Final

import msgspec
from tests.patience import patiently

DEADLINE_S: Final = 30.0
NO_BODY: Final = (204, 304)


class Answer(msgspec.Struct, frozen=True):
    """One answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """One connection.

    Raises AssertionError for an answer with wrong framing and ConnectionError for one that ends too early.
    """

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=patiently(DEADLINE_S))
        self._read = b""

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.socket.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        host: str = "localhost",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        version: str = "1.1",
    ) -> Answer:
        """Send a request and return its answer. Fail if more bytes follow the answer."""
        self.say(method, path, host=host, headers=headers, body=body, version=version)
        answer = self.answer(method)
        assert self.unread() == b"", f"behind the answer to {method} {host}{path}"
        return answer

    def say(
        self,
        method: str,
        path: str,
        *,
        host: str = "localhost",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        version: str = "1.1",
    ) -> None:
        """Send a request."""
        lines = [f"{method} {path} HTTP/{version}", f"Host: {host}"]
        lines += [f"{name}: {text}" for name, text in (headers or {}).items()]
        if body or method in ("POST", "PUT"):
            lines.append(f"Content-Length: {len(body)}")
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    def answer(self, method: str) -> Answer:
        """Read the answer to a request with this method."""
        status, headers = self.head()
        chunked = headers.get("transfer-encoding") == "chunked"
        assert not (chunked and "content-length" in headers), headers
        if status == 204:
            assert "content-length" not in headers, headers
        if method == "HEAD" or status in NO_BODY:
            assert not chunked, headers
            body = b""
        elif chunked:
            body = self._chunks()
        elif "content-length" in headers:
            body = self.exactly(int(headers["content-length"]))
        else:
            assert headers.get("connection") == "close", headers
            body = self.rest()
        return Answer(status, headers, body)

    def head(self) -> tuple[int, dict[str, str]]:
        """Read the status and the headers. Fail if a header occurs twice."""
        head = self._until(b"\r\n\r\n").decode("latin-1")
        first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1", first
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, text = line.partition(": ")
            assert colon, line
            assert name.lower() not in headers, f"{name} twice"
            headers[name.lower()] = text
        return int(status), headers

    def exactly(self, count: int) -> bytes:
        """Read this number of bytes."""
        while len(self._read) < count:
            self._more()
        piece, self._read = self._read[:count], self._read[count:]
        return piece

    def rest(self) -> bytes:
        """Read to the end of the connection."""
        while piece := self.socket.recv(65_536):
            self._read += piece
        piece, self._read = self._read, b""
        return piece

    def unread(self) -> bytes:
        """Return the received bytes behind the last answer, without waiting."""
        self.socket.setblocking(False)
        try:
            self._read += self.socket.recv(65_536)
        except BlockingIOError:
            pass
        finally:
            self.socket.settimeout(patiently(DEADLINE_S))
        return self._read

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self._until(b"\r\n"), 16):
            body += self.exactly(size)
            assert self.exactly(2) == b"\r\n"
        assert self.exactly(2) == b"\r\n"
        return body

    def _until(self, end: bytes) -> bytes:
        while end not in self._read:
            self._more()
        head, _, self._read = self._read.partition(end)
        return head + end

    def _more(self) -> None:
        piece = self.socket.recv(65_536)
        if not piece:
            raise ConnectionError(f"closed after {self._read[:200]!r}")
        self._read += piece
