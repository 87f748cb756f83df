"""gzip for clients that accept it.

Bodies smaller than `FROM_BYTES` are not compressed, because they fit into one network packet. The ETags of the API are
weak, so the same ETag is valid for the plain and the compressed body. Files (replays, pictures) and streams are never
compressed here.
"""

import asyncio
import re
import zlib
from functools import lru_cache
from typing import Final

import falcon.asgi

from kiai.at_once import needs_task

FROM_BYTES: Final = 1_024
# PERF: 64 KiB take 0.3 ms to compress, three times as long as the hand-over to a thread.
THREAD_BYTES: Final = 64 * 1024
"""Size from which a thread compresses a body."""
THREADS_MAX: Final = 8
"""Maximum number of bodies that wait for threads. Further ones are sent uncompressed, which is faster than waiting."""
# PERF: level 3 needs half the time of level 6; score lists get less than 10 % larger.
LEVEL: Final = 3

_GZIP_BITS: Final = 31  # zlib: a window of 2^15 bytes, plus 16 for the gzip header instead of the zlib header
_NAMES: Final = ("gzip", "x-gzip")
_WEIGHT: Final = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?", re.ASCII)
_HEADER_MAX: Final = 1_024  # longer than any browser sends; bounds the work of parsing
_HEADERS_CACHED: Final = 256


def accepts_gzip(header: str | None) -> bool:
    """Return whether an `Accept-Encoding` prefers gzip to no encoding (RFC 9110, 12.5.3). Ignores malformed parts."""
    return header is not None and len(header) <= _HEADER_MAX and _accepts(header, "gzip")


def accepts_brotli(header: str | None) -> bool:
    """Return whether an `Accept-Encoding` prefers brotli to no encoding. Ignores malformed parts."""
    return header is not None and len(header) <= _HEADER_MAX and _accepts(header, "br")


@lru_cache(maxsize=_HEADERS_CACHED)  # PERF: 0.1 instead of 2.2 us; browsers and tools send few different ones
def _accepts(header: str, wanted: str) -> bool:
    weights: dict[str, float] = {}
    for part in header.lower().split(","):
        coding, *parameters = (piece.strip() for piece in part.split(";"))
        quality = _quality(parameters)
        if coding and quality is not None:
            weights.setdefault("gzip" if coding in _NAMES else coding, quality)
    weight = weights.get(wanted, weights.get("*", 0.0))
    # A header that does not name identity accepts it, but with a lower preference than every coding that it names.
    identity = weights.get("identity", 0.0)
    return weight > 0 and weight >= identity


def _quality(parameters: list[str]) -> float | None:
    """Return the weight from 0 to 1, or None if it is malformed."""
    for parameter in parameters:
        name, _, text = parameter.partition("=")
        if name.strip() == "q":
            return float(text) if _WEIGHT.fullmatch(text.strip()) else None
    return 1.0


def gzipped(data: bytes, level: int = LEVEL) -> bytes:
    """Compress bytes to a gzip member. It contains no time, so equal input gives equal output."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, _GZIP_BITS)
    return compressor.compress(data) + compressor.flush()


class Compression:
    """Compresses small bodies on the event loop and large ones in threads."""

    def __init__(self) -> None:
        self._waiting = 0

    async def apply(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Replace the body of `resp` if it is large enough and the client accepts gzip."""
        body = resp.data
        if body is None or len(body) < FROM_BYTES or not accepts_gzip(req.get_header("Accept-Encoding")):
            return
        zipped = await self.compressed(body)
        if zipped is not None:
            resp.data = zipped
            resp.set_header("Content-Encoding", "gzip")

    async def compressed(self, body: bytes) -> bytes | None:
        """Return a body as gzip, or None if too many bodies wait for threads."""
        if len(body) < THREAD_BYTES:
            return gzipped(body)
        if self._waiting >= THREADS_MAX:
            return None
        await needs_task()
        self._waiting += 1
        try:
            return await asyncio.to_thread(gzipped, body)
        finally:
            self._waiting -= 1
