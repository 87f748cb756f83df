"""Requests to another server, bounded so that a failing server cannot block this one.

A `Fetcher` sends requests to one server. Callers take turns, so the requests of one caller do not delay those of the
others. Each answer is bounded in time and size. After five failures in a row, the fetcher sends nothing for a minute,
then a single request that tests the server (a circuit breaker). A request that got no turn is not counted as a failure
of the server. At most three redirects are followed. Each address is checked, because a server must not redirect
requests into the operator's private network.

See docs/spec/beatmaps.md#asking-other-servers.
"""

import asyncio
import socket
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from kiai.callers import CALLER
from kiai.clock import Clock
from kiai.errors import Unavailable
from kiai.fair_queue import FairQueue
from kiai.networks import parse_address

CONNECT_S: Final = 5.0
TOTAL_S: Final = 10.0  # for a turn, and again for the answer with its redirects and body
FAILURES_MAX: Final = 5  # in a row
OPEN_S: Final = 60.0  # time without requests after `FAILURES_MAX` failures
AT_ONCE: Final = 8
WAITING_MAX: Final = 200
WAITING_OF_CALLER_MAX: Final = 50
REDIRECTS_MAX: Final = 3
DEFINITELY_NOT: Final = (404, 451)  # the server does not have it, which is not a failure
_REDIRECTS: Final = (301, 302, 303, 307, 308)


class Fetcher:
    """Sends GET requests to one server. `allow_private` permits private addresses, for a mirror of the operator."""

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        allow_private: bool = False,
        connect_s: float = CONNECT_S,
        total_s: float = TOTAL_S,
    ) -> None:
        import httpx  # PERF: imported here, because only servers with an upstream need it

        self.url = url.rstrip("/")
        self._clock = clock
        self._allow_private = allow_private
        self._total_s = total_s
        self._http = httpx.AsyncClient(timeout=httpx.Timeout(total_s, connect=connect_s), follow_redirects=False)
        self._failed_by = (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError)
        self._queue = FairQueue(
            "upstream",
            running_max=AT_ONCE,
            waiting_max=WAITING_MAX,
            per_caller_max=WAITING_OF_CALLER_MAX,
            wait_s=total_s,
        )
        self._failures = 0
        self._closed_until = 0.0
        self._trying = False

    @property
    def is_open(self) -> bool:
        """Whether requests are sent: the server has not failed `FAILURES_MAX` times in a row in the last minute."""
        return self._clock.monotonic() >= self._closed_until

    async def get(self, path: str, params: Mapping[str, str | int] | None = None, *, most: int) -> bytes | None:
        """Return the body, of at most `most` bytes, or None if the server answers that it does not exist.

        Raises Unavailable for every other failure, which may be temporary.
        """
        self._check_open()  # before the queue: a failing server must not make requests wait
        async with self._queue.turn(CALLER.get()):
            self._check_open()  # the server may have failed while this request waited
            return await self._get(path, params, most)

    def _check_open(self) -> None:
        """Raise Unavailable during the pause after failures, and after it while another request tests the server."""
        if not self.is_open or (self._failures >= FAILURES_MAX and self._trying):
            raise Unavailable("upstream", f"{self.url} failed {FAILURES_MAX} times in a row; requests are paused")

    async def _get(self, path: str, params: Mapping[str, str | int] | None, most: int) -> bytes | None:
        trying = self._failures >= FAILURES_MAX
        self._trying = self._trying or trying
        try:
            async with asyncio.timeout(self._total_s):
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
            if trying:
                self._trying = False
        self._failures = 0
        return body

    async def _follow(self, url: str, params: Mapping[str, str | int] | None, most: int) -> bytes | None:
        for _ in range(REDIRECTS_MAX + 1):
            await self._check(url)
            # Streamed: the size is counted while the body arrives, and after decompression.
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
        """Raise Unavailable unless the URL is HTTP and, without `allow_private`, its host has public addresses only."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Unavailable("upstream", f"{url[:200]} is not an HTTP address")
        if self._allow_private:
            return
        found: list[Any] = await asyncio.get_running_loop().getaddrinfo(
            parts.hostname, parts.port or 443, type=socket.SOCK_STREAM
        )
        for *_, address in found:  # all of them: the client may connect to any
            parsed = parse_address(address[0])
            if parsed is None or not parsed.is_global:
                raise Unavailable("upstream", f"{parts.hostname} is in a private network")

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
