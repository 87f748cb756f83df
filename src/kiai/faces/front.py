"""The front: chooses the face that answers a request, by host and path, and records the result.

    request -> guard (bytes, faces/guard.py) -> front -> /healthz /readyz /metrics
                                                      |-> bancho host `c.`, `ce.`, `c4.`-`c6.`; or POST / anywhere else
                                                      |-> api    host `api.`; or path /api on the bare host
                                                      |-> avatars host `a.`; or path /a on the bare host
                                                      |-> client hosts `b.`, `s.`, `assets.`; or its paths on `osu.`
                                                      |          and on the bare host
                                                      `-> site   everything else

If the server itself speaks https, requests without it get redirects (faces/plain_http.py), except /healthz.

Requests from a blocked address get 403 from the front, except those to the health endpoints.

The front gives each request an id and the address of its caller, writes a line to the access log and counts it in the
metrics. It records the status that was written to the socket (`Wire`), not the one that the handler intended:

| outcome | status | also |
|---|---|---|
| answered | of the answer | |
| the handler failed before its answer left | 500, for browsers a page | `unhandled` with the cause in the log |
| the process stopped before the answer left | 503, for browsers a page | |
| the guard refused the body meanwhile | of the refusal | |
| the client disconnected before the answer left | 499, as in nginx; nothing was sent | |
| the server did not finish the answer | of the head | `cut` is `server`; the cause is in the log |
| the client disconnected during the answer | of the head | `cut` is `client`, except for streams, which end this way |
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, Final, Literal

from kiai.callers import CALLER
from kiai.faces.asgi import App, ClientGone, Receive, Scope, Send, Wire
from kiai.faces.metrics import Metrics
from kiai.faces.quick import QuickAnswer, QuickFace
from kiai.ids import Ids
from kiai.logs import AccessLog, get_logger
from kiai.networks import Network, forwarded_address, is_within, network_of

HOSTS_REMEMBERED: Final = 1_024  # the Host header is the client's choice, so the cache needs a bound
BLOCKED: Final = 403
CLIENT_LEFT: Final = 499
"""The status in log and metrics when the client disconnected before the answer left."""
BANCHO_HOSTS: Final = ("c", "ce", "c4", "c5", "c6")  # clients use `c`; stable falls back to the others
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


FailurePage = Callable[[Scope, Literal[500, 503]], tuple[list[tuple[bytes, bytes]], bytes] | None]
"""Returns headers and body of a page about a failed request, or None for an empty answer."""


BlockedAnswer = Callable[[Scope], tuple[list[tuple[bytes, bytes]], bytes]]
"""Returns headers and body of the answer to a blocked address."""


class Front:
    """An ASGI application in front of all faces.

    `quick` has the functions for quick answers (`quick.py`), by the name of the face.
    """

    def __init__(
        self,
        *,
        bancho: App,
        api: App,
        avatars: App,
        client: App,
        site: App,
        health: App,
        plain: App | None = None,
        failure_page: FailurePage,
        ids: Ids,
        metrics: Metrics,
        access_log: AccessLog,
        trusted: tuple[Network, ...] = (),
        is_blocked: Callable[[str], bool],
        blocked_answers: Mapping[str, BlockedAnswer],
        quick: Mapping[str, QuickFace] | None = None,
    ) -> None:
        self._is_blocked = is_blocked
        self._quick = quick or {}
        self._blocked_answers = blocked_answers
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
        self._health = health
        self._plain = plain
        self._failure_page = failure_page
        self._ids = ids
        self._metrics = metrics
        self._access_log = access_log
        self._trusted = trusted
        self._by_host: dict[bytes, tuple[str, App] | None] = {}
        self.cut = {"client": 0, "server": 0}
        """The number of incomplete answers, by the side that ended them."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (the ASGI interface). Other scope types, as websockets, are ignored."""
        if scope["type"] != "http":
            return
        started = perf_counter()
        # PERF: popped, because the wire refers to the scope: a cycle would leave each request to the garbage collector.
        wire: Wire = scope.pop("kiai.wire")
        request_id: str = scope.get("kiai.request_id") or self._ids.request_id()
        scope["kiai.request_id"] = request_id
        id_header = (b"x-request-id", request_id.encode())
        name, face = self._routed(scope)
        address = scope["kiai.address"]
        CALLER.set(network_of(address))
        if name not in _FOR_ALL and self._is_blocked(address):
            face = self._refuse_blocked(name)

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), id_header, _NOSNIFF]
            await send(message)

        method = scope["method"]
        if method == "HEAD":
            # Faces see GET. SingleWriteCycle omits the body, because it has the original scope with the method HEAD.
            scope = {**scope, "method": "GET", "kiai.head": True}
        fault: BaseException | None = None
        try:
            # PERF: without the two headers. Each player polls about once a second, and the game client uses neither.
            await face(scope, receive, send if face is self._bancho else with_headers)
        except ClientGone:
            pass  # `_end` records it
        except (Exception, asyncio.CancelledError) as error:
            # The stopping server cancels requests that exceed its grace period. This is the outermost frame of the
            # task, so it swallows the cancellation and still sends an answer.
            fault = error
        cut = None
        if fault is not None or not wire.response_complete:
            cut = await self._end(wire, fault, with_headers, scope, name)
        self._record(scope, name, method, wire.status_sent or CLIENT_LEFT, started, request_id, cut)

    def answer_at_once(self, scope: Scope, body: bytes) -> QuickAnswer | None:
        """Return the complete answer of a face to this request, recorded in log and metrics, or None.

        After None the request goes to `__call__` with the same scope.
        """
        started = perf_counter()
        name, _ = self._routed(scope)
        face = self._quick.get(name)
        if face is None or scope["method"] == "HEAD" or self._is_blocked(scope["kiai.address"]):
            return None
        request_id = ""
        if name != "bancho":
            request_id = scope["kiai.request_id"] = self._ids.request_id()
        try:
            answer = face(scope, body)
        except Exception as error:
            get_logger("front").error("quick answer failed", route=scope.get("kiai.route", "other"), exc_info=error)
            return None
        if answer is None:
            return None
        self._record(scope, name, scope["method"], answer.head.status, started, request_id, None)
        if not request_id:
            return answer
        lines = b"%bx-request-id: %b\r\n%b" % (answer.lines, request_id.encode(), _NOSNIFF_LINE)
        return QuickAnswer(answer.head, answer.body, lines)

    def _record(
        self,
        scope: Scope,
        face: str,
        method: str,
        status: int,
        started: float,
        request_id: str,
        cut: Literal["client", "server"] | None,
    ) -> None:
        """Count an ended request, and write its line to the access log. `started` is its `perf_counter`."""
        took_ms = (perf_counter() - started) * 1000
        route = scope.get("kiai.route", "other")
        self._metrics.request(face, route, status, took_ms, timed="kiai.stream" not in scope)
        if route == "poll" and status == 200 and cut is None and self._access_log.leaves_out_poll(took_ms):
            return
        request_id = request_id or self._ids.request_id()
        self._access_log.write(face, route, method, status, took_ms, request_id, scope["kiai.address"], cut=cut)

    def _routed(self, scope: Scope) -> tuple[str, App]:
        """Return name and application of the face, and store the address of the caller in the scope.

        The result stays in the scope: a request that gets no quick answer is routed once.
        """
        routed: tuple[str, App] | None = scope.get("kiai.face")
        if routed is None:
            scope["kiai.address"] = self._address(scope)
            routed = scope["kiai.face"] = self._face(scope)
        return routed

    def _refuse_blocked(self, name: str) -> App:
        """Return the application that refuses a request to this face. Game clients get no body."""
        answer = self._blocked_answers.get(name)

        async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
            scope["kiai.route"] = "blocked"
            headers, body = ([], b"") if answer is None else answer(scope)
            length = (b"content-length", b"%d" % len(body))
            await send({"type": "http.response.start", "status": BLOCKED, "headers": [*headers, length]})
            await send({"type": "http.response.body", "body": body})

        return refuse

    async def _end(
        self, wire: Wire, fault: BaseException | None, send: Send, scope: Scope, face: str
    ) -> Literal["client", "server"] | None:
        """End a request that its face did not answer completely.

        Return the side that ended an answer which had begun, or None when the answer is complete or never began.
        """
        log = get_logger("front")
        request_id = scope["kiai.request_id"]
        route = scope.get("kiai.route", "other")  # not the path, which may contain the secret of a link in a mail
        stopped = isinstance(fault, asyncio.CancelledError)
        if stopped:
            log.warning("request cancelled by shutdown", request_id=request_id, route=route)
        elif fault is not None:
            log.error("unhandled", request_id=request_id, route=route, exc_info=fault)
        elif not wire.disconnected:
            log.error("unfinished", request_id=request_id, route=route)
        if wire.response_complete:
            return None
        if wire.status_sent is None:
            # Nothing has left the socket yet, so an error can still replace the answer.
            status: Literal[500, 503] = 503 if stopped else 500
            # Only pages: programs of the other faces would not read HTML.
            headers, body = (self._failure_page(scope, status) if face == "site" else None) or ([], b"")
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
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
        if self._plain is not None and scope["scheme"] == "http" and path != "/healthz":
            return "plain", self._plain
        # Before the host: load balancers probe by address, without a Host header that kiai knows.
        if path in _HEALTH_PATHS:
            scope["kiai.route"] = path
            return "health", self._health
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
            # Without subdomains, the game polls `POST /` on the bare host.
            if path == "/" and scope["method"] == "POST":
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
            scope["path"] = _below(_below(path, "/api"), "/v1") if path.startswith(_API_PREFIXES) else path
        return found

    def _remember(self, host: bytes) -> tuple[str, App] | None:
        label, dot, _ = host.decode("latin-1").lower().partition(".")
        found = self._faces.get(label) if dot else None
        if len(self._by_host) < HOSTS_REMEMBERED:
            self._by_host[host] = found
        return found

    def _address(self, scope: Scope) -> str:
        """Return the address of the caller.

        Behind trusted proxies it is the right-most forwarded address that is not a trusted proxy: a client can forge
        all addresses to the left of it.
        """
        client = scope.get("client")
        address: str = client[0] if client else "unknown"
        if not self._trusted or not is_within(address, self._trusted):
            return address
        scope["kiai.proxied"] = True
        return forwarded_address(scope["headers"], self._trusted) or address


_FOR_ALL: Final = ("health", "plain")
"""Faces that answer blocked addresses, too: one of them may be an ACME authority."""
_HEALTH_PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_API_PREFIXES: Final = ("/api/", "/v1/")
_SLASHES: Final = re.compile("//+")
_DOCUMENTED: Final = frozenset({"/docs", "/docs.css", "/docs.js", "/openapi.json"})
_NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
_NOSNIFF_LINE: Final = b"%b: %b\r\n" % _NOSNIFF


def _below(path: str, prefix: str) -> str:
    return path[len(prefix) :] if path.startswith(prefix + "/") else path
