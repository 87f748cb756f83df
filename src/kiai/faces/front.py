"""The one door: which face answers a request, by host and path, and what is noted about it.

    request -> guard (bytes, faces/guard.py) -> front -> /healthz /readyz /metrics
                                                      |-> bancho host `c.`, `ce.`, `c4.`-`c6.`; or POST / anywhere else
                                                      |-> api    host `api.`; or path /api on the bare host
                                                      |-> avatars host `a.`; or path /a on the bare host
                                                      |-> client hosts `b.`, `s.`, `assets.`; or its paths on `osu.`
                                                      |          and on the bare host
                                                      `-> site   everything else

`front` gives each request its id, the caller's address, a line in the access log and its place in the metrics.
"""

from ipaddress import IPv4Network, IPv6Network, ip_address
from time import perf_counter
from typing import Any, Final

from kiai.faces.asgi import App, Receive, Scope, Send
from kiai.faces.metrics import Metrics
from kiai.ids import Ids
from kiai.logs import AccessLog, get_logger

Network = IPv4Network | IPv6Network

HOSTS_REMEMBERED: Final = 1_024
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            return
        started = perf_counter()
        request_id = scope["kiai.request_id"] = self._ids.request_id()
        id_header = (b"x-request-id", request_id.encode())
        address = scope["kiai.address"] = self._address(scope)
        name, face = self._face(scope)
        status = 500
        answered = False

        async def noted(message: Any) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                answered = True
                status = message["status"]
                message["headers"] = [*message["headers"], id_header, _NOSNIFF]
            await send(message)

        method = scope["method"]
        if method == "HEAD":
            # The server below leaves the body out by itself: it still holds the original scope.
            scope = {**scope, "method": "GET", "kiai.head": True}
        try:
            if face is self._bancho:
                # PERF: a poll a second and player. It says its status in the scope, and needs neither of these headers.
                await face(scope, receive, send)
                answered, status = True, scope["kiai.status"]
            else:
                await face(scope, receive, noted)
        except Exception as error:
            get_logger("front").error("unhandled", request_id=request_id, path=scope["path"], exc_info=error)
            if not answered and "kiai.status" not in scope:
                await noted({"type": "http.response.start", "status": 500, "headers": [(b"content-length", b"0")]})
                await noted({"type": "http.response.body", "body": b""})
        took_ms = (perf_counter() - started) * 1000
        route = scope.get("kiai.route", "other")
        self._metrics.request(name, route, status, took_ms)
        if route == "poll" and status == 200:  # one a second and player: they would bury every other line
            return
        self._access_log.write(
            face=name, route=route, method=method, status=status, ms=took_ms, request_id=request_id, address=address
        )

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
            if path.startswith("/api/"):
                scope["path"] = _below(path, "/api")
                scope["path"] = _below(scope["path"], "/v1")
                return "api", self._api
            if path in _DOCUMENTED:
                return "api", self._api
            if path.startswith("/a/"):
                scope["path"] = path[2:]
                return "avatars", self._avatars
            if path.startswith(CLIENT_PATHS) or (path == "/users" and scope["method"] == "POST"):
                return "client", self._client
            return "site", self._site
        if found[0] == "api":
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
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._trusted)


_HOUSE: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_DOCUMENTED: Final = frozenset({"/docs", "/docs.css", "/openapi.json"})
_NOSNIFF: Final = (b"x-content-type-options", b"nosniff")


def _below(path: str, prefix: str) -> str:
    return path[len(prefix) :] if path.startswith(prefix + "/") else path
