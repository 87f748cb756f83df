"""The answer to one request: from ASGI messages to the bytes that leave the socket, and what is known of them.

uvicorn's own cycle writes the head when the application starts to answer and the body when it comes, two system calls
for what fits into one packet, and matches each header against two patterns. It counts an answer as begun before it has
checked it, and sends chunks to HTTP/1.0. Here the head waits for the first piece of body. Both are checked before the
first byte leaves, so that an answer that cannot be sent leaves the way free for another one, and leave in one write.

What left is noted in the cycle, which the front finds in the scope as `kiai.wire` (faces/asgi.py, `Wire`).
"""

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from kiai.faces.asgi import ClientGone

JOINED_MAX: Final = 64 * 1024
"""Up to this size a body is copied behind its head, in bytes."""

_NO_BODY: Final = (204, 304)
_CONTROLS: Final = bytes({*range(0x20), 0x7F} - {0x09})


class AnswerCycle(RequestResponseCycle):
    """One request and its answer. It replaces the class of uvicorn's cycles, which no setting names."""

    status_sent: int | None = None
    open_ended = False
    _head: Any = None
    _chunked = False
    _empty = False
    _owed = 0

    async def send(self, message: Any) -> None:
        """Takes an ASGI message.

        Raises RuntimeError for one that cannot be sent; nothing of it has left then. Raises ClientGone for a piece of
        body with more to come that nobody receives: who makes the pieces need not go on.
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
            self._head = message
        elif kind == "http.response.body" and not self.response_complete:
            # ASGI lets both be absent.
            body, more = message.get("body", b""), message.get("more_body", False)
            if self.response_started:
                self._go_on(body, more)
            else:
                self._begin(body, more)
            if not more:
                self._complete()
        else:
            raise RuntimeError(f"{kind} out of turn")

    def cut(self) -> None:
        """Closes the connection on an answer that will not be finished, so that the client can tell."""
        self.disconnected = True
        self.transport.close()

    def answered_above(self, status: int) -> None:
        """Somebody else wrote the whole answer, with this status; what the application still sends goes nowhere."""
        self.disconnected = self.response_complete = True
        self.status_sent = status
        self.waiting_for_100_continue = False
        self.message_event.set()

    def _begin(self, body: bytes, more: bool) -> None:
        # PERF: 9 us less for an answer of 50 bytes than two writes and the patterns.
        head, self._head = self._head, None
        if head is None:
            raise RuntimeError("a body without a head")
        status = head["status"]
        headers = (*self.default_headers, *head.get("headers", ()))
        lines = [STATUS_LINE[status]]
        length: int | None = None
        keep_alive = self.keep_alive
        for name, value in headers:
            if name == b"content-length":
                length = int(value)
            elif name == b"connection":
                keep_alive = keep_alive and b"close" not in value.lower()
            elif name == b"transfer-encoding":
                raise RuntimeError("the framing of a body is not the application's")
            else:
                lines.append(b"%b: %b\r\n" % (name, value))
        if not keep_alive:
            lines.append(b"connection: close\r\n")
        without = status in _NO_BODY
        if without and body:
            raise RuntimeError(f"a body in an answer of status {status}")
        empty = without or self.scope["method"] == "HEAD"
        if length is None and not more and not without:
            length = len(body)
        open_ended = length is None and not empty
        chunked = open_ended and self.scope["http_version"] != "1.0"
        if chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        elif length is not None and status != 204:
            lines.append(b"content-length: %d\r\n" % length)
        lines.append(b"\r\n")
        text = b"".join(lines)
        if len(text) - len(text.translate(None, _CONTROLS)) != 2 * len(lines):
            raise RuntimeError(f"control characters in one of the headers {[name for name, _ in headers]}")
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

    def _go_on(self, body: bytes, more: bool) -> None:
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


def _owed_after(owed: int, body: bytes, more: bool) -> int:
    left = owed - len(body)
    if left < 0 or (left and not more):
        raise RuntimeError(f"{len(body)} bytes of body where content-length leaves {owed}")
    return left


def _chunk(body: bytes, more: bool) -> bytes:
    piece = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    return piece if more else piece + b"0\r\n\r\n"
