"""Reads a request body up to a size limit."""

import falcon.asgi

from kiai.errors import KiaiError, Refused


class BodyTooLarge(KiaiError):
    """The body, or a part of it, is larger than allowed."""


class BodyCutShort(Refused):
    """The body has fewer bytes than the request declared, because the client disconnected."""

    def __init__(self) -> None:
        super().__init__("The body was cut short")


async def read_body(req: falcon.asgi.Request, max_bytes: int) -> bytes:
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


def check_length(req: falcon.asgi.Request, max_bytes: int) -> None:
    """Raise BodyTooLarge if the declared length exceeds `max_bytes`."""
    if req.content_length is not None and req.content_length > max_bytes:
        raise BodyTooLarge(f"The body has {req.content_length} bytes; {max_bytes} are allowed.")
