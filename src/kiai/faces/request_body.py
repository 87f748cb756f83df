"""Reads a request body up to a size limit, from Falcon's request or straight from ASGI."""

from typing import Protocol

from kiai.errors import KiaiError, Refused
from kiai.faces.asgi import Receive, Scope


class BodyTooLarge(KiaiError):
    """The body, or a part of it, is larger than allowed."""


class BodyCutShort(Refused):
    """The body has fewer bytes than the request declared, because the client disconnected."""

    def __init__(self) -> None:
        super().__init__("The body was cut short")


class BodyStream(Protocol):
    """The body of a request as it arrives."""

    async def read(self, size: int, /) -> bytes:
        """Return the next `size` bytes, fewer only at the end of the body or when the client disconnects."""
        ...


class RequestWithBody(Protocol):
    """The parts of Falcon's request that readers of bodies use. `content_length` is None for a chunked body."""

    @property
    def content_type(self) -> str | None: ...

    @property
    def content_length(self) -> int | None: ...

    @property
    def stream(self) -> BodyStream: ...


class AsgiRequest:
    """A `RequestWithBody` without Falcon. The guard has checked the Content-Length."""

    __slots__ = ("content_length", "content_type", "stream")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        headers = dict(scope["headers"])  # of a repeated header the last one counts, as in Falcon
        self.content_type = headers.get(b"content-type", b"").decode("latin-1")
        length = headers.get(b"content-length")
        self.content_length = None if length is None else int(length)
        self.stream = _AsgiStream(receive)


class _AsgiStream:
    """Implements `BodyStream`."""

    __slots__ = ("_buffer", "_has_ended", "_receive")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._buffer = b""
        self._has_ended = False

    async def read(self, size: int, /) -> bytes:
        pieces, have = [self._buffer], len(self._buffer)
        while have < size and not self._has_ended:
            message = await self._receive()
            # A message of a disconnect has neither key. Without `more_body`, no further message would come.
            piece: bytes = message.get("body", b"")
            self._has_ended = not message.get("more_body", False)
            pieces.append(piece)
            have += len(piece)
        whole = b"".join(pieces)
        self._buffer = whole[size:]
        return whole[:size]


async def read_body(req: RequestWithBody, max_bytes: int) -> bytes:
    """Return the whole body.

    Raises BodyTooLarge if it has more than `max_bytes` bytes and BodyCutShort if the client disconnects before its end.
    A declared length above `max_bytes` raises before anything is read.
    """
    check_length(req, max_bytes)
    # One byte more than allowed: a chunked body declares no length.
    data = await req.stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise BodyTooLarge(f"The body has more than {max_bytes} bytes.")
    if req.content_length is not None and len(data) != req.content_length:
        raise BodyCutShort
    return bytes(data)


def check_length(req: RequestWithBody, max_bytes: int) -> None:
    """Raise BodyTooLarge if the declared length exceeds `max_bytes`."""
    if req.content_length is not None and req.content_length > max_bytes:
        raise BodyTooLarge(f"The body has {req.content_length} bytes; {max_bytes} are allowed.")
