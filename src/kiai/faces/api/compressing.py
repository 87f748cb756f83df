"""gzip for clients that ask for it.

Bodies below 1 KB stay as they are: a packet carries them anyway. The ETags of this API are weak, so one names the
answer in either form. What is compressed already (replays, pictures) and streams never come here.
"""

import asyncio
import re
import zlib
from typing import Final

import falcon.asgi

FROM_BYTES: Final = 1_024
ASIDE_BYTES: Final = 64 * 1024
"""PERF: from here on a thread compresses: 64 KiB take 0.3 ms, three times as long as handing them over does."""
ASIDE_MAX: Final = 8
"""How many bodies may wait for threads. Past it, answers leave uncompressed: bandwidth is cheaper than the wait."""
LEVEL: Final = 3  # PERF: on score lists within 10 % of level 6, in half the time

_GZIP_BITS: Final = 31
_NAMES: Final = ("gzip", "x-gzip")
_WEIGHT: Final = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?", re.ASCII)
_HEADER_MAX: Final = 1_024


def accepts_gzip(header: str | None) -> bool:
    """Whether an `Accept-Encoding` prefers gzip to no encoding at all (RFC 9110, 12.5.3). Ignores damaged parts."""
    if not header or len(header) > _HEADER_MAX:
        return False
    given: dict[str, float] = {}
    for part in header.lower().split(","):
        coding, *parameters = (piece.strip() for piece in part.split(";"))
        quality = _quality(parameters)
        if coding and quality is not None:
            given.setdefault("gzip" if coding in _NAMES else coding, quality)
    rest = given.get("*")
    gzip = given.get("gzip", 0.0 if rest is None else rest)
    # Without a word about it, identity is acceptable, but less wanted than whatever is named.
    identity = given.get("identity", 0.0)
    return gzip > 0 and gzip >= identity


def _quality(parameters: list[str]) -> float | None:
    """The weight from 0 to 1; None for one that is none."""
    for parameter in parameters:
        name, _, text = parameter.partition("=")
        if name.strip() == "q":
            return float(text) if _WEIGHT.fullmatch(text.strip()) else None
    return 1.0


def gzipped(data: bytes, level: int = LEVEL) -> bytes:
    """The bytes as a gzip member without a time in it: equal bytes stay equal."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, _GZIP_BITS)
    return compressor.compress(data) + compressor.flush()


class Compression:
    """Compresses bodies on the event loop or, large ones, beside it."""

    def __init__(self) -> None:
        self._waiting = 0

    async def apply(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Replaces the body of `resp` if it is large enough and the client asks for it."""
        body = resp.data
        if body is None or len(body) < FROM_BYTES or not accepts_gzip(req.get_header("Accept-Encoding")):
            return
        if len(body) < ASIDE_BYTES:
            resp.data = gzipped(body)
        elif self._waiting >= ASIDE_MAX:
            return
        else:
            self._waiting += 1
            try:
                resp.data = await asyncio.to_thread(gzipped, body)
            finally:
                self._waiting -= 1
        resp.set_header("Content-Encoding", "gzip")
