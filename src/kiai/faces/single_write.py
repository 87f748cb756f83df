"""The answer to one request: encodes ASGI messages and writes head and body in one system call.

`SingleWriteCycle` subclasses uvicorn's cycle (docs/decisions/013) and differs from it in four points:

- uvicorn writes the head and the body separately, two system calls for one packet. Here the head waits for the first
  piece of body, and both leave in one `write()`.
- uvicorn marks an answer as started before it has checked the headers. Here everything is checked before the first
  byte leaves, so the front can still send a 500 in place of an invalid answer.
- uvicorn matches each header against two regular expressions. Here one `translate` checks the whole head.
- uvicorn sends chunked bodies to HTTP/1.0 clients, which do not understand them. Here such a body ends with the
  connection.

The cycle records what left the socket. The front finds it in the scope as `kiai.wire` (faces/asgi.py, `Wire`).
"""

from collections.abc import Sequence
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from kiai.faces.answer_budget import AnswerBudget, busy
from kiai.faces.asgi import ClientGone, Headers

JOINED_MAX: Final = 64 * 1024
"""The largest body that is copied behind its head, in bytes. A larger one has a `write()` of its own."""

_NO_BODY: Final = (204, 304)
_CONTROLS: Final = bytes({*range(0x20), 0x7F} - {0x09})


class SingleWriteCycle(RequestResponseCycle):
    """One request and its answer. `guard.py` creates it for each request that gets no quick answer (`quick.py`)."""

    status_sent: int | None = None
    open_ended = False
    answers: AnswerBudget | None = None
    _head: Any = None
    _chunked = False
    _empty = False
    _owed = 0

    async def send(self, message: Any) -> None:
        """Send an ASGI message.

        Raises RuntimeError for an invalid message; none of its bytes has left then. Raises ClientGone for a piece of
        body with more to come when the client has gone, so that the application stops producing pieces.
        """
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.transport.is_closing():
            self.disconnected = True
        if self.disconnected:
            if message.get("more_body", False):
                raise ClientGone
            return
        kind = message["type"]
        if kind == "http.response.start" and not self.response_started:
            # A second head replaces the first while neither has left: the front sends a 500 this way.
            self._head = message
        elif kind == "http.response.body" and not self.response_complete:
            # ASGI allows a message without either key.
            body, more = message.get("body", b""), message.get("more_body", False)
            if self.response_started:
                self._write_piece(body, more)
            else:
                self._begin(body, more)
            if not more:
                self._complete()
        else:
            raise RuntimeError(f"{kind} out of turn")

    def cut(self) -> None:
        """Close the connection in the middle of an answer, so that the client can see that it is incomplete."""
        self.disconnected = True
        self.transport.close()

    def answered_by_guard(self, status: int) -> None:
        """Record that the guard wrote the whole answer with this status. Later messages are discarded."""
        self.disconnected = self.response_complete = True
        self.status_sent = status
        self.waiting_for_100_continue = False
        self.message_event.set()

    def _begin(self, body: bytes, more: bool) -> None:
        # PERF: saves 9 us for an answer of 50 bytes, compared with two writes and the regular expressions.
        head, self._head = self._head, None
        if head is None:
            raise RuntimeError("a body without a head")
        if len(body) > JOINED_MAX and not more and not self._has_memory_for(body):
            head, body = busy(self.scope, head)
        status = head["status"]
        headers = (*self.default_headers, *head.get("headers", ()))
        lines = [STATUS_LINE[status]]
        # Local names until everything is checked: a message that raises must leave the cycle unchanged.
        length: int | None = None
        keep_alive = self.keep_alive
        for name, value in headers:
            if name == b"content-length":
                length = int(value)
            elif name == b"connection":
                keep_alive = keep_alive and b"close" not in value.lower()
            elif name == b"transfer-encoding":
                raise RuntimeError("only the server sets transfer-encoding")
            else:
                lines.append(b"%b: %b\r\n" % (name, value))
        if not keep_alive:
            lines.append(b"connection: close\r\n")
        without = status in _NO_BODY
        if without and body:
            raise RuntimeError(f"a body in an answer of status {status}")
        empty = without or self.scope["method"] == "HEAD"
        # A complete body without a length gets one, which saves the chunk framing.
        if length is None and not more and not without:
            length = len(body)
        open_ended = length is None and not empty
        chunked = open_ended and self.scope["http_version"] != "1.0"
        if chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        elif length is not None and status != 204:  # RFC 9110, 8.6: a 204 has no Content-Length
            lines.append(b"content-length: %d\r\n" % length)
        lines.append(b"\r\n")
        text = checked(lines, headers)
        owed = 0 if empty or length is None else _owed_after(length, body, more)

        self.keep_alive = keep_alive
        self.open_ended, self._chunked, self._empty, self._owed = open_ended, chunked, empty, owed
        self.response_started = True
        self.waiting_for_100_continue = False
        if chunked:
            body = _chunk(body, more)
        if empty or not body:
            self.transport.write(text)
        elif len(body) <= JOINED_MAX:
            self.transport.write(text + body)
        else:
            self.transport.write(text)
            self.transport.write(body)
        self.status_sent = status

    def _has_memory_for(self, body: bytes) -> bool:
        """Return whether the whole body may wait in memory until the client has read it."""
        if self.answers is None or self.scope["method"] == "HEAD":
            return True
        return self.answers.admits(self.transport, len(body), self.scope)

    def _write_piece(self, body: bytes, more: bool) -> None:
        # The answer to HEAD, or a 204 or 304.
        if self._empty:
            return
        if self._chunked:
            body = _chunk(body, more)
        elif not self.open_ended:
            self._owed = _owed_after(self._owed, body, more)
        if body:
            self.transport.write(body)

    def _complete(self) -> None:
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


def checked(lines: Sequence[bytes], headers: Headers) -> bytes:
    """Return the lines of a head as one text. Raises RuntimeError if one of the headers has control characters."""
    text = b"".join(lines)
    # Each line ends with CR and LF. More control characters than these mean that a header value could start a line of
    # its own: response splitting.
    if len(text) - len(text.translate(None, _CONTROLS)) != 2 * len(lines):
        raise RuntimeError(f"control characters in one of the headers {[name for name, _ in headers]}")
    return text


def _owed_after(owed: int, body: bytes, more: bool) -> int:
    # More or fewer bytes than declared would shift the start of the next answer on this connection.
    left = owed - len(body)
    if left < 0 or (left and not more):
        raise RuntimeError(f"{len(body)} bytes of body where content-length leaves {owed}")
    return left


def _chunk(body: bytes, more: bool) -> bytes:
    # An empty chunk ends the body, so an empty piece in the middle must not be written.
    piece = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    return piece if more else piece + b"0\r\n\r\n"
