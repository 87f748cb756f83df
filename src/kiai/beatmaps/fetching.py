"""Asking another server, so that nothing here ever hangs on it (docs/spec/beatmaps.md#asking-other-servers).

One `Fetcher` is one server. Each answer is bounded in time and size. After five failures in a row the server is left
alone for a minute, then one request tries it again. Redirects are followed three times at most, each checked as the
first address was: an upstream must not lead us into our own network.
"""

import asyncio
import socket
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from kiai.clock import Clock
from kiai.errors import Unavailable
from kiai.networks import parse_address

CONNECT_S: Final = 5.0
TOTAL_S: Final = 10.0
FAILURES_MAX: Final = 5
OPEN_S: Final = 60.0
AT_ONCE: Final = 8
WAITING_MAX: Final = 200
REDIRECTS_MAX: Final = 3
DEFINITELY_NOT: Final = (404, 451)
_REDIRECTS: Final = (301, 302, 303, 307, 308)


class Fetcher:
    """GETs from one server. `allow_private` lets it lie in a private network, as a mirror of the operator's own may."""

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        allow_private: bool = False,
        connect_s: float = CONNECT_S,
        total_s: float = TOTAL_S,
    ) -> None:
        import httpx  # only servers with an upstream pay for it

        self.url = url.rstrip("/")
        self._clock = clock
        self._allow_private = allow_private
        self._total_s = total_s
        self._http = httpx.AsyncClient(timeout=httpx.Timeout(total_s, connect=connect_s), follow_redirects=False)
        self._failed_by = (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError)
        self._places = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._failures = 0
        self._closed_until = 0.0
        self._trying = False

    @property
    def is_open(self) -> bool:
        """Whether it is worth asking: the server has not just failed again and again."""
        return self._clock.monotonic() >= self._closed_until

    async def get(self, path: str, params: Mapping[str, str | int] | None = None, *, most: int) -> bytes | None:
        """The body, of at most `most` bytes; None when the server says that there is no such thing.

        Raises Unavailable for everything else: it may be there tomorrow.
        """
        half_open = self._failures >= FAILURES_MAX
        if not self.is_open or (half_open and self._trying):
            raise Unavailable("upstream", f"{self.url} failed again and again and is left alone")
        if self._waiting >= WAITING_MAX:
            raise Unavailable("upstream", f"{WAITING_MAX} requests are waiting")
        self._waiting += 1
        self._trying = half_open
        try:
            async with asyncio.timeout(self._total_s), self._places:
                body = await self._follow(self.url + path, params, most)
        except (TimeoutError, Unavailable, *self._failed_by) as error:
            self._failures += 1
            if self._failures >= FAILURES_MAX:
                self._closed_until = self._clock.monotonic() + OPEN_S
            if isinstance(error, Unavailable):
                raise
            why = f"no answer in {self._total_s:g} s" if isinstance(error, TimeoutError) else str(error)
            raise Unavailable("upstream", f"{self.url}{path}: {why}") from error
        finally:
            self._waiting -= 1
            self._trying = False
        self._failures = 0
        return body

    async def _follow(self, url: str, params: Mapping[str, str | int] | None, most: int) -> bytes | None:
        for _ in range(REDIRECTS_MAX + 1):
            await self._check(url)
            async with self._http.stream("GET", url, params=dict(params) if params else None) as reply:
                if reply.status_code in _REDIRECTS:
                    url, params = urljoin(url, reply.headers.get("location", "")), None
                    continue
                if reply.status_code in DEFINITELY_NOT:
                    return None
                if reply.status_code != 200:
                    raise Unavailable("upstream", f"{url} answered {reply.status_code}")
                data = bytearray()
                async for chunk in reply.aiter_bytes():
                    data += chunk
                    if len(data) > most:
                        raise Unavailable("upstream", f"{url} is larger than {most} bytes")
                return bytes(data)
        raise Unavailable("upstream", f"{self.url} redirects more than {REDIRECTS_MAX} times")

    async def _check(self, url: str) -> None:
        """Raises Unavailable for an address that no upstream has."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Unavailable("upstream", f"{url[:200]} is no address")
        if self._allow_private:
            return
        found: list[Any] = await asyncio.get_running_loop().getaddrinfo(
            parts.hostname, parts.port or 443, type=socket.SOCK_STREAM
        )
        for *_, address in found:
            parsed = parse_address(address[0])
            if parsed is None or not parsed.is_global:
                raise Unavailable("upstream", f"{parts.hostname} lies in a private network")

    async def close(self) -> None:
        """Lets go of its connections."""
        await self._http.aclose()
