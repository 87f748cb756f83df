"""The one door: which face answers a request, by host and path, and what is noted about it.

    request -> guard (bytes, faces/guard.py) -> front -> /healthz /readyz /metrics
                                                      |-> bancho host `c.`, `ce.`, `c4.`-`c6.`; or POST / anywhere else
                                                      |-> api    host `api.`; or path /api on the bare host
                                                      |-> avatars host `a.`; or path /a on the bare host
                                                      |-> client hosts `b.`, `s.`, `assets.`; or its paths on `osu.`
                                                      |          and on the bare host
                                                      `-> site   everything else

`front` gives each request its id, the caller's address, a line in the access log and its place in the metrics. The
status that it notes is the one that left the socket, as the server tells it (`Wire`):

| what became of the request | status noted | besides |
|---|---|---|
| answered | that of the answer | |
| the handler failed before its answer left | 500, which the front sends | `unhandled` with its cause in the log |
| the process stopped before the answer left | 503, which the front sends | |
| the guard refused its body meanwhile | that of the refusal | |
| the client left before an answer did | 499, as nginx has it: no head has left | |
| the answer began and we did not finish it | that of the head | `cut` is `server`, and the cause is in the log |
| the answer began and the client left | that of the head | `cut` is `client`; not for streams, which end so |
"""

import asyncio
import re
from time import perf_counter
from typing import Any, Final, Literal

from kiai.callers import CALLER
from kiai.faces.asgi import App, ClientGone, Receive, Scope, Send, Wire
from kiai.faces.metrics import Metrics
from kiai.ids import Ids
from kiai.logs import AccessLog, get_logger
from kiai.networks import Network, is_within, network_of

HOSTS_REMEMBERED: Final = 1_024
CLIENT_LEFT: Final = 499
"""The status noted where no answer left because nobody was there to take it."""
BANCHO_HOSTS: Final = ("c", "ce", "c4", "c5", "c6")  # the first is what clients use, the others are its fail-over set
CLIENT_HOSTS: Final = ("b", "s", "assets")  # pictures and previews of maps, medals, the menu
CLIENT_PATHS: Final = (
    "/web/",
    "/d/",
    "/ss/",
    "/osu/",
    "/release/",
    "/difficulty-rating",
    "/thumb/",
    "/preview/",
    "/mt/",
    "/images/",
    "/covers/",
    "/mp3/",
    "/medals/",
    "/menu-content.json",
    "/p/doyoureallywanttoaskpeppy",
    "/rating/",
)


class Front:
    """An ASGI application in front of all faces."""

    def __init__(
        self,
        *,
        bancho: App,
        api: App,
        avatars: App,
        client: App,
        site: App,
        house: App,
        ids: Ids,
        metrics: Metrics,
        access_log: AccessLog,
        trusted: tuple[Network, ...] = (),
    ) -> None:
        self._faces: dict[str, tuple[str, App]] = {
            "api": ("api", api),
            "a": ("avatars", avatars),
        } | dict.fromkeys(BANCHO_HOSTS, ("bancho", bancho))
        self._faces |= dict.fromkeys(CLIENT_HOSTS, ("client", client))
        self._client = client
        self._bancho = bancho
        self._api = api
        self._avatars = avatars
        self._site = site
        self._house = house
        self._ids = ids
        self._metrics = metrics
        self._access_log = access_log
        self._trusted = trusted
        self._by_host: dict[bytes, tuple[str, App] | None] = {}
        self.cut = {"client": 0, "server": 0}
        """How many answers were cut off, by whom."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            return
        started = perf_counter()
        wire: Wire = scope.pop("kiai.wire")  # which holds the scope: together they would be garbage for the collector
        request_id = scope["kiai.request_id"] = self._ids.request_id()
        id_header = (b"x-request-id", request_id.encode())
        address = scope["kiai.address"] = self._address(scope)
        CALLER.set(network_of(address))
        name, face = self._face(scope)

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), id_header, _NOSNIFF]
            await send(message)

        method, path = scope["method"], scope["path"]
        if method == "HEAD":
            # The server below leaves the body out by itself: it still holds the original scope.
            scope = {**scope, "method": "GET", "kiai.head": True}
        fault: BaseException | None = None
        try:
            # PERF: a poll a second and player, which needs neither of the two headers.
            await face(scope, receive, send if face is self._bancho else with_headers)
        except ClientGone:
            pass
        except (Exception, asyncio.CancelledError) as error:
            # A cancelled request is one that the stopping server no longer waits for. It ends here, with its answer:
            # this is the outermost frame of its task.
            fault = error
        cut = None
        if fault is not None or not wire.response_complete:
            cut = await self._end(wire, fault, with_headers, request_id, path)
        took_ms = (perf_counter() - started) * 1000
        route = scope.get("kiai.route", "other")
        status = wire.status_sent or CLIENT_LEFT
        self._metrics.request(name, route, status, took_ms, timed="kiai.stream" not in scope)
        if route == "poll" and status == 200 and cut is None:
            return  # one a second and player: they would bury every other line
        self._access_log.write(
            face=name,
            route=route,
            method=method,
            status=status,
            ms=took_ms,
            request_id=request_id,
            address=address,
            cut=cut,
        )

    async def _end(
        self, wire: Wire, fault: BaseException | None, send: Send, request_id: str, path: str
    ) -> Literal["client", "server"] | None:
        """Ends what a face left unfinished; who cut the answer off, if it had begun."""
        log = get_logger("front")
        stopped = isinstance(fault, asyncio.CancelledError)
        if stopped:
            log.warning("cut short by the stop", request_id=request_id, path=path)
        elif fault is not None:
            log.error("unhandled", request_id=request_id, path=path, exc_info=fault)
        elif not wire.disconnected:
            log.error("unfinished", request_id=request_id, path=path)
        if wire.response_complete:
            return None
        if wire.status_sent is None:
            await send({"type": "http.response.start", "status": 503 if stopped else 500})
            await send({"type": "http.response.body"})
            return None
        if wire.disconnected and fault is None:
            if wire.open_ended:
                return None
            self.cut["client"] += 1
            return "client"
        wire.cut()
        self.cut["server"] += 1
        return "server"

    def _face(self, scope: Scope) -> tuple[str, App]:
        path: str = scope["path"]
        if path in _HOUSE:
            scope["kiai.route"] = path
            return "house", self._house
        host = b""
        for key, value in scope["headers"]:
            if key == b"host":
                host = value
                break
        try:
            found = self._by_host[host]
        except KeyError:
            found = self._remember(host)
        if found is None:
            if path == "/" and scope["method"] == "POST":  # a client that knows the server by its address alone
                return "bancho", self._bancho
            plain = _SLASHES.sub("/", path) if "//" in path else path
            if plain.startswith("/api/"):
                scope["kiai.api_root"] = "/api"
                scope["path"] = _below(_below(plain, "/api"), "/v1")
                return "api", self._api
            if plain.rstrip("/") in _DOCUMENTED:
                scope["kiai.api_root"] = "/api"
                scope["path"] = plain
                return "api", self._api
            if path.startswith("/a/"):
                scope["path"] = path[2:]
                return "avatars", self._avatars
            if path.startswith(CLIENT_PATHS) or (path == "/users" and scope["method"] == "POST"):
                return "client", self._client
            return "site", self._site
        if found[0] == "api":
            if "//" in path:
                path = _SLASHES.sub("/", path)
            scope["path"] = _below(_below(path, "/api"), "/v1")
        return found

    def _remember(self, host: bytes) -> tuple[str, App] | None:
        label, dot, _ = host.decode("latin-1").lower().partition(".")
        found = self._faces.get(label) if dot else None
        if len(self._by_host) < HOSTS_REMEMBERED:
            self._by_host[host] = found
        return found

    def _address(self, scope: Scope) -> str:
        """Who really asks: behind trusted proxies, the right-most address in front of them."""
        client = scope.get("client")
        address: str = client[0] if client else "unknown"
        if not self._trusted or not self._is_trusted(address):
            return address
        scope["kiai.proxied"] = True
        for key, value in scope["headers"]:
            if key == b"x-forwarded-for":
                for hop in reversed(value.decode("latin-1").split(",")):
                    if not self._is_trusted(hop.strip()):
                        return str(hop.strip()[:64])
        return address

    def _is_trusted(self, address: str) -> bool:
        return is_within(address, self._trusted)


_HOUSE: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_SLASHES: Final = re.compile("//+")
_DOCUMENTED: Final = frozenset({"/docs", "/docs.css", "/docs.js", "/openapi.json"})
_NOSNIFF: Final = (b"x-content-type-options", b"nosniff")


def _below(path: str, prefix: str) -> str:
    return path[len(prefix) :] if path.startswith(prefix + "/") else path
