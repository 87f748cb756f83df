"""One request to a webhook, bounded in time and size.

The host is resolved once, every address is checked, and the connection goes to a checked address. So an answer of the
name server that changes in between cannot lead the request elsewhere. Redirects are not followed.
"""

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

from kiai.errors import Invalid, Refused, Unavailable
from kiai.version import VERSION
from kiai.webhooks.addresses import host_of, is_public_text
from kiai.webhooks.model import WEBHOOKS_MAX, Answer, asked_wait_s

if TYPE_CHECKING:
    import httpx

TOTAL_S: Final = 5.0  # for the name, the connection and the status of the answer
CONNECT_S: Final = 2.0  # for one of several addresses
BODY_S: Final = 0.5
BODY_MAX: Final = 16 * 1024
ADDRESSES_MAX: Final = 4  # that are tried
LOOKUPS_MAX: Final = WEBHOOKS_MAX
DELIVERED: Final = range(200, 300)
REDIRECTS: Final = range(300, 400)
ASKS_TO_WAIT: Final = (429, 503)
"""The statuses whose header `Retry-After` is honoured."""

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Return the addresses of a host. Raises OSError or UnicodeError."""


class Resolver:
    """Resolves names in its own threads, so that a name server that hangs delays nothing else in the process.

    The threads are daemons: nothing can interrupt a lookup, and none may delay the end of the process. Requests for
    the same name at the same time share one lookup. At most `LOOKUPS_MAX` run at once.
    """

    def __init__(self) -> None:
        self._running: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    async def resolve(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host. Raises OSError, UnicodeError."""
        key = (host, port)
        lookup = self._running.get(key)
        if lookup is None:
            if len(self._running) >= LOOKUPS_MAX:
                raise OSError("too many names are being resolved")
            lookup = self._running[key] = asyncio.get_running_loop().create_future()
            lookup.add_done_callback(lambda done: self._ended(key, done))
            threading.Thread(target=_look_up, args=(lookup, host, port), name="webhook-name", daemon=True).start()
        # Shielded: the next try must find the lookup instead of starting another.
        return await asyncio.shield(lookup)

    def _ended(self, key: tuple[str, int], done: asyncio.Future[list[str]]) -> None:
        self._running.pop(key, None)
        if not done.cancelled():
            done.exception()  # retrieved, so that asyncio does not warn if nobody waits any more


def _look_up(lookup: asyncio.Future[list[str]], host: str, port: int) -> None:
    """Resolve a name, in a thread, and pass the result on."""
    found: list[str] = []
    failure: Exception | None = None
    try:
        found = _addresses(host, port)
    except Exception as error:
        failure = error

    def end() -> None:
        if lookup.done():
            return
        if failure is None:
            lookup.set_result(found)
        else:
            lookup.set_exception(failure)

    with contextlib.suppress(RuntimeError):  # the event loop has been closed meanwhile
        lookup.get_loop().call_soon_threadsafe(end)


def _addresses(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Sender:
    """Sends requests. `allow_private` permits addresses that are not public."""

    def __init__(
        self,
        *,
        allow_private: bool,
        resolve: Resolve | None = None,
        total_s: float = TOTAL_S,
        trusted: ssl.SSLContext | None = None,
    ) -> None:
        """`trusted` has the certificates of authorities; those of the system if it is not given."""
        self._allow_private = allow_private
        self._resolve = resolve or Resolver().resolve
        self._total_s = total_s
        self._trusted = trusted
        self._transport: httpx.AsyncHTTPTransport | None = None

    async def check(self, url: str) -> None:
        """Raise Invalid for a URL that is not allowed, and Refused if its host has an address that is not public.

        With `allow_private` the host is not resolved. Raises Unavailable if it cannot be resolved.
        """
        host, port = host_of(url)
        if not self._allow_private:
            try:
                async with asyncio.timeout(self._total_s):
                    await self._checked_addresses(host, port)
            except (OSError, UnicodeError) as error:  # includes TimeoutError
                raise Unavailable(f"the address of {host}", "the name cannot be resolved") from error

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a request and return the result. Takes at most `total_s`, and a moment for the body of the answer."""
        import httpx  # PERF: imported here, because only servers with webhooks need it

        try:
            async with asyncio.timeout(self._total_s):
                response = await self._send(url, headers, body)
        except (Invalid, Refused) as error:
            return Answer(0, str(error))
        except TimeoutError:
            return Answer(0, f"no answer within {self._total_s:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            return Answer(0, _why(error))
        try:
            await _read(response)
        finally:
            await response.aclose()
        status = response.status_code
        if status in DELIVERED:
            return Answer(status)
        wait_s = asked_wait_s(response.headers.get("Retry-After", ""), time.time()) if status in ASKS_TO_WAIT else 0.0
        return Answer(status, f"answered {status}" + (", a redirect" if status in REDIRECTS else ""), wait_s)

    async def _send(self, url: str, headers: Mapping[str, str], body: bytes) -> "httpx.Response":
        import httpx

        host, port = host_of(url)
        original = httpx.URL(url)
        # The host in the form of the wire, with punycode, in the URL, in the header Host and in the TLS handshake.
        name = original.raw_host.decode("ascii").strip("[]")
        addresses = await self._checked_addresses(host, port)
        for at, address in enumerate(addresses[:ADDRESSES_MAX], 1):
            request = httpx.Request(
                "POST",
                original.copy_with(host=address),
                headers={
                    "Host": original.netloc.decode("ascii"),
                    "User-Agent": f"kiai/{VERSION}",
                    "Accept-Encoding": "identity",
                    "Connection": "close",
                    **headers,
                },
                content=body,
                extensions={
                    "timeout": httpx.Timeout(self._total_s, connect=min(CONNECT_S, self._total_s)).as_dict(),
                    "sni_hostname": name,
                },
            )
            try:
                return await self._opened().handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if at == min(len(addresses), ADDRESSES_MAX):
                    raise
        raise OSError("the host has no address")

    def _opened(self) -> "httpx.AsyncHTTPTransport":
        import httpx

        if self._transport is None:
            # Not a client, which has cookies, proxies from the environment and redirects. It reuses no connection:
            # one to the same address may belong to another host.
            self._transport = httpx.AsyncHTTPTransport(
                verify=self._trusted or ssl.create_default_context(),
                trust_env=False,
                limits=httpx.Limits(max_connections=2 * WEBHOOKS_MAX, max_keepalive_connections=0),
            )
        return self._transport

    async def _checked_addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host. Raises Refused if one of them is not public, without `allow_private`."""
        addresses = await self._resolve(host, port)
        # All of them, not only the one that is used: a host with a private address is not a public service.
        if not self._allow_private and not all(map(is_public_text, addresses)):
            raise Refused(f"{host} has an address that is private, local or reserved")
        return addresses

    async def close(self) -> None:
        """Close the connections."""
        if self._transport is not None:
            await self._transport.aclose()


async def _read(response: "httpx.Response") -> None:
    """Read a small body, so that the receiver does not see a broken connection. The status alone decides."""
    import httpx

    size = 0
    with contextlib.suppress(TimeoutError, httpx.HTTPError, OSError):
        async with asyncio.timeout(BODY_S):
            async for chunk in response.aiter_raw():
                size += len(chunk)
                if size > BODY_MAX:
                    break


def _why(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return "the name of the host cannot be resolved"
    return str(error) or type(error).__name__
