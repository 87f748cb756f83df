"""Quick answers: complete answers to complete requests, without a task, without ASGI messages and without waiting.

A face may have a function of the type `QuickFace` next to its ASGI application. `Front` calls it, and records the
request in log and metrics as usual. The guard (`guard.py`) asks the front when a request fulfils all of these:

- head and body arrived in one read, and the body has at most `BODY_MAX` bytes and a declared length;
- no earlier request of the connection is unfinished, so answers stay in order;
- the connection stays open: HTTP/1.1 without `Connection: close`, no `Upgrade`, and the server does not stop;
- the client waits for no `100 Continue`;
- the client reads: the transport has not paused writing.

All other requests, and those for which the function returns None, go the ordinary way (`single_write.py`).
"""

from collections.abc import Callable
from typing import Final

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from kiai.faces.asgi import Headers, Scope
from kiai.faces.single_write import JOINED_MAX, checked

BODY_MAX: Final = 16 * 1024


class QuickHead:
    """Status and headers of a quick answer, encoded and checked once.

    The server adds Content-Length and its own headers. Raises RuntimeError for headers that only the server sets, for
    control characters, and for a status whose answer has no body.
    """

    __slots__ = ("lines", "status")

    def __init__(self, status: int, headers: Headers) -> None:
        if status < 200 or status in (204, 304):
            raise RuntimeError(f"a quick answer of status {status}")
        for name, _ in headers:
            if name in _OF_SERVER:
                raise RuntimeError(f"only the server sets {name.decode('latin-1')}")
        self.status = status
        self.lines = checked([b"%b: %b\r\n" % header for header in headers], headers)


_OF_SERVER: Final = frozenset((b"content-length", b"transfer-encoding", b"connection"))


class QuickAnswer(msgspec.Struct, frozen=True, gc=False):
    """A complete answer. `lines` are further headers, encoded; the front sets them."""

    head: QuickHead
    body: bytes
    lines: bytes = b""


QuickFace = Callable[[Scope, bytes], QuickAnswer | None]
"""Returns the answer to a request (its ASGI scope and its body), or None to let the ASGI application answer.

It sets `kiai.route` as the application does. It must not block or start tasks. When it returns None it may have
changed only what the application does not change again: work that has begun is in the scope, and continues there.
"""


class Encoder:
    """Encodes quick answers in the same order as `single_write.py`."""

    __slots__ = ("_default_headers", "_default_lines")

    def __init__(self) -> None:
        self._default_headers: Headers = ()
        self._default_lines = b""

    def pieces(self, answer: QuickAnswer, default_headers: Headers) -> tuple[bytes, ...]:
        """Return the bytes of the answer, in one piece or, if the body is large, two."""
        # PERF: uvicorn replaces this list once a second, with a new date.
        if default_headers is not self._default_headers:
            self._default_lines = checked([b"%b: %b\r\n" % header for header in default_headers], default_headers)
            self._default_headers = default_headers
        head, body = answer.head, answer.body
        text = b"%b%b%b%bcontent-length: %d\r\n\r\n" % (
            STATUS_LINE[head.status],
            self._default_lines,
            head.lines,
            answer.lines,
            len(body),
        )
        return (text + body,) if len(body) <= JOINED_MAX else (text, body)
