"""Answers on the socket for every route of every face and every method, on connections that stay open.

The tests read the routes from the application, so a new route is included automatically. Rate limits are on, and each
request comes from its own address through a trusted proxy.
"""

import asyncio
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

import falcon.inspect
import msgspec
import pytest
from tests import stores
from tests.wire.answers import Answer, Client
from tests.wire.kit import API, Server, eventually
from tests.wire.world import FRAMES, WITH_REPLAY, World, small_world

from kiai.app import open_services
from kiai.faces.front import BANCHO_HOSTS, CLIENT_HOSTS
from kiai.logs import AccessLog
from kiai.server import HttpServer
from kiai.server_settings import Settings

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "PURGE")
OSU: Final = "osu.localhost"
STREAM: Final = "/v2/events"
NOT_IMPLEMENTED: Final = "/web/osu-magnet.php"  # 501 is this page's answer
FILLED: Final = ("3", "none.png")
HOSTS: Final = (
    "localhost",
    *(f"{name}.localhost" for name in ("osu", "api", "a", *CLIENT_HOSTS, *BANCHO_HOSTS, "unknown")),
)
NOWHERE: Final = ("/nope", "/nope/", "/web/nope.php", "/v2/nope", "/api/nope", "/static/nope.css")
ELSEWHERE: Final = ("/", "//", "/a/nope/3")  # something else on each host
OLD_PAGES: Final = ("/u/3", "/b/1001", "/s/100", "/p/playerranking", "/p/changelog", "/p/verify", "/forum/t/1")
CHANGING: Final = ("/", "//", "/home", "/status", "/metrics", "/readyz")  # the time or the players online change them
PIPELINED: Final = 50  # at once: the guard allows 100
# Paths of two faces: whether the other face has the methods except POST.
OF_ANOTHER_FACE: Final = {("client", "/users", True), ("site", "/users", False), ("site", "/", False)}
AGENT: Final = {"User-Agent": "osu!"}


class Route(msgspec.Struct, frozen=True):
    """A route of a face on one host. `methods` are the declared ones, without HEAD and OPTIONS."""

    face: str
    host: str
    path: str
    template: str
    methods: frozenset[str]


class Exchange(msgspec.Struct, frozen=True):
    """A request, its credentials (`key`, `login`, `poll` or empty) and its answer."""

    method: str
    host: str
    path: str
    credentials: str
    answer: Answer
    route: Route | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.host}{self.path} {self.credentials} -> {self.answer.status}"

    @property
    def is_declared(self) -> bool:
        """Whether the face declares the method for the route."""
        return self.route is not None and self.method.replace("HEAD", "GET") in self.route.methods

    @property
    def is_poll(self) -> bool:
        """Whether this is an answered poll, which has no line in the log."""
        return (self.method, self.credentials, self.answer.status) == ("POST", "poll", 200)


def routes_of(faces: HttpServer) -> list[Route]:
    """Return every route of the faces with a router, on each of their hosts."""
    found = []
    declared: dict[str, set[str]] = {}
    for operation in faces.operations:
        declared.setdefault(operation.path, set()).add(operation.method)
    front: Any = faces.front
    for face, app, hosts in (
        ("api", front._api._others, {API: "", "localhost": "/api"}),
        ("client", front._client._others, {OSU: ""}),
        ("site", front._site, {"localhost": ""}),
        ("health", front._health, {"localhost": "", OSU: "", API: ""}),
    ):
        for info in falcon.inspect.inspect_routes(app):
            # A filled parameter, because its name may be another route: /addresses/{block} and /addresses/block.
            path = re.sub(r"{[^}]*}", FILLED[0], info.path)
            resource = app._router.find(path)[0]
            methods = _methods_of(resource) if face != "api" else declared.get(info.path)
            for host, prefix in hosts.items():
                if prefix and info.path not in declared:
                    prefix = ""
                for filled in FILLED if "{" in info.path else FILLED[:1]:
                    path = prefix + re.sub(r"{[^}]*}", filled, info.path)
                    found.append(Route(face, host, path, info.path, frozenset(methods or {"GET"})))
    return found


def _methods_of(resource: object) -> set[str]:
    """Return the methods that a resource declares; empty for one that has only GET."""
    methods: Iterable[str] = getattr(resource, "methods", getattr(resource, "_endpoints", ()))
    return set(methods)


async def _routes(settings: Settings) -> list[Route]:
    async with open_services(settings) as services:
        log = AccessLog("json")
        try:
            return routes_of(HttpServer(services, log))
        finally:
            log.close()


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> list[Route]:
    return asyncio.run(_routes(stores.settings(tmp_path_factory.mktemp("routes") / "data")))


class LoggedServer(msgspec.Struct):
    """A server with rate limits, its log and its metrics."""

    world: World
    addresses: Iterator[int]

    @property
    def port(self) -> int:
        return self.world.server.port

    def headers(self, **more: str) -> dict[str, str]:
        """Return the headers of a request from a new address."""
        number = next(self.addresses)
        return {"X-Forwarded-For": f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", **more}

    def ask(self, client: Client, method: str, path: str, host: str, **headers: str) -> Answer:
        try:
            return client.ask(method, path, host=host, headers=self.headers(**headers))
        except (AssertionError, ConnectionError, TimeoutError) as error:
            error.add_note(f"the answer to {method} {host}{path}")
            raise

    def lines(self) -> list[dict[str, Any]]:
        """Return the complete lines of the log."""
        text = self.world.server.data.with_suffix(".stderr").read_text("utf-8")
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def access_log(self) -> list[dict[str, Any]]:
        """Return the access log. It is complete: a marker request is sent and its line awaited."""
        with Client(self.port) as client:
            marker = client.ask("GET", "/healthz").headers["x-request-id"]
        eventually(lambda: any(line.get("request_id") == marker for line in self.lines()), within_s=30)
        return [line for line in self.lines() if line["event"] == "request"]

    def refused(self) -> dict[str, int]:
        """Return the number of refusals of the guard in the metrics, by reason."""
        with Client(self.port) as client:
            text = client.ask("GET", "/metrics").body.decode()
        found = re.findall(r'^kiai_guard_refused_total{reason="(.*?)"} (\S+)', text, re.M)
        return {reason: int(float(count)) for reason, count in found}

    def counted(self) -> Counter[tuple[str, str, str]]:
        """Return the number of requests in the metrics by face, route and status, without this scrape."""
        with Client(self.port) as client:
            text = client.ask("GET", "/metrics").body.decode()
        series = re.findall(r'^kiai_http_requests_total{face="(.*?)",route="(.*?)",status="(.*?)"} (\S+)', text, re.M)
        return Counter({(face, route, status): int(float(count)) for face, route, status, count in series})


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoggedServer]:
    server = Server(
        tmp_path_factory.mktemp("answers") / "data",
        RATE_LIMITS="on",
        TRUSTED_PROXY="127.0.0.1/32",
        API_RATE_PER_MINUTE="1000000",
    )
    world = small_world(server)
    try:
        server.start()
        yield LoggedServer(world, itertools.count(1))
        server.stop()
    finally:
        server.kill()
        world.rows.close()


@pytest.fixture(scope="module")
def exchanges(served: LoggedServer, routes: list[Route]) -> list[Exchange]:
    """Send every route with every method, declared methods also with a key, and unknown paths, on every host.

    Each host has one connection.
    """
    requests_by_host: dict[str, list[tuple[str, str, str, Route | None]]] = {host: [] for host in HOSTS}
    for route in routes:
        for method in METHODS:
            if (route.template, method) == (STREAM, "GET"):
                continue  # the stream has no end
            if (route.face, route.template, method != "POST") in OF_ANOTHER_FACE:
                continue
            requests_by_host[route.host].append((method, route.path, "", route))
            if route.face == "api" and method.replace("HEAD", "GET") in route.methods:
                requests_by_host[route.host].append((method, route.path, "key", route))
    for host, method in itertools.product(HOSTS, METHODS):
        for path in (*ELSEWHERE, *NOWHERE, *(OLD_PAGES if host in (OSU, "localhost") else ())):
            requests_by_host[host].append((method, path, "", None))
        requests_by_host[host] += [(method, "/", "login", None), (method, "/", "poll", None)]
    headers = {
        "": {},
        "key": {"Authorization": served.world.staff_key},
        "login": AGENT,
        "poll": {**AGENT, "osu-token": "nobody's"},
    }
    made = []
    for host, requests in requests_by_host.items():
        with Client(served.port) as client:
            for method, path, credentials, known in requests:
                answer = served.ask(client, method, path, host, **headers[credentials])
                made.append(Exchange(method, host, path, credentials, answer, known))
    return made


def test_routes_include_every_face(routes: list[Route]) -> None:
    assert {route.face for route in routes} == {"api", "client", "site", "health"}
    assert {route.template for route in routes} >= {"/get_player_info", STREAM, "/web/osu-search.php", "/healthz"}


def test_declared_method_is_answered_by_its_handler(exchanges: list[Exchange]) -> None:
    wrong = [str(one) for one in exchanges if one.is_declared and one.answer.status in (405, 500, 502, 503)]

    assert not wrong, "\n".join(wrong)
    assert {str(one.route.template) for one in exchanges if one.route and one.answer.status > 500} == {NOT_IMPLEMENTED}


def test_undeclared_method_is_405_with_the_allowed_ones(exchanges: list[Exchange]) -> None:
    wrong = []
    for one in exchanges:
        if one.route is None or one.is_declared:
            continue
        allowed = {*one.route.methods, *({"HEAD"} if "GET" in one.route.methods else ())}
        if one.route.face == "api":  # for the pages of other sites, too, whose browsers ask first
            allowed.add("OPTIONS")
        named = set(one.answer.headers.get("allow", "").split(", "))
        status = 204 if (one.route.face, one.method) == ("api", "OPTIONS") else 405
        right = one.answer.status == status and named == allowed
        is_page = one.answer.headers.get("content-type", "").startswith("text/html")
        has_body = {"api": True, "site": is_page}.get(one.route.face, not one.answer.body)
        if not right or not has_body:
            wrong.append(f"{one} {one.answer.headers.get('allow')!r} {one.answer.body[:80]!r}, not {allowed}")

    assert not wrong, "\n".join(wrong)


def test_unknown_path_of_the_website_is_a_page(served: LoggedServer) -> None:
    with Client(served.port) as client:
        missing = served.ask(client, "GET", "/nope", "localhost")
        refused = served.ask(client, "POST", "/nope", "localhost")
        after = served.ask(client, "GET", "/healthz", "localhost")

    assert (missing.status, b"<h1" in missing.body) == (404, True)
    assert (refused.status, refused.headers["allow"], b"<h1" in refused.body) == (405, "GET, HEAD", True)
    assert after.body == b"ok"


def test_unknown_path_is_a_client_error(exchanges: list[Exchange]) -> None:
    wrong = [
        str(one)
        for one in exchanges
        if one.path in NOWHERE
        and one.answer.status not in (404, 405)
        and (one.path, one.answer.status, one.answer.headers.get("location")) != ("/nope/", 301, "/nope")
        and not (one.host == "a.localhost" and one.method in ("GET", "HEAD"))  # the default picture
        and not (one.method == "OPTIONS" and "access-control-allow-methods" in one.answer.headers)  # what browsers ask
    ]

    assert not wrong, "\n".join(wrong)
    assert not [str(one) for one in exchanges if one.route is None and one.answer.status >= 500]


def test_every_answer_leaves_its_connection_open(exchanges: list[Exchange]) -> None:
    # The fixture has already checked that each answer was followed by the next on the same connection.
    assert not [str(one) for one in exchanges if "connection" in one.answer.headers]


def test_head_is_answered_like_get_without_the_body(exchanges: list[Exchange]) -> None:
    heads = {(one.host, one.path, one.credentials): one for one in exchanges if one.method == "HEAD"}

    wrong = []
    for get in exchanges:
        if get.method == "GET":
            head = heads[get.host, get.path, get.credentials]
            # The ids of the two requests can have different lengths.
            has_id = get.answer.headers.get("x-request-id", "no id").encode() in get.answer.body
            different = _lasting(get, has_id=has_id) ^ _lasting(head, has_id=has_id)
            if get.answer.status != head.answer.status or different:
                wrong.append(f"{get} {head} {different}")

    assert not wrong, "\n".join(wrong)


def _lasting(one: Exchange, *, has_id: bool) -> set[tuple[str, str]]:
    """Return the headers that do not change. With `has_id`, the length of the body is that without its request id."""
    passing = {"date", "x-request-id", "x-ratelimit-remaining", "x-ratelimit-reset", "set-cookie"}
    if one.path in CHANGING:
        passing |= {"content-length", "etag"}
    headers = dict(one.answer.headers.items())
    if has_id and "content-length" in headers:
        headers["content-length"] = str(int(headers["content-length"]) - len(headers.get("x-request-id", "")))
    return {(name, text) for name, text in headers.items() if name not in passing}


def test_access_log_agrees_with_the_socket(served: LoggedServer, exchanges: list[Exchange]) -> None:
    access_log = {line["request_id"]: line for line in served.access_log()}

    wrong = []
    for one in exchanges:
        request_id = one.answer.headers.get("x-request-id")
        if request_id is None:  # an answer of the realtime face
            continue
        line = access_log[request_id]
        right = (line["status"], line["method"]) == (one.answer.status, one.method) and "cut" not in line
        if one.route is not None:
            right = right and (line["face"], line["route"]) == (one.route.face, one.route.template)
        if not right:
            wrong.append(f"{one}: {line}")
    realtime = Counter((line["method"], line["status"]) for line in access_log.values() if line["face"] == "bancho")

    assert not wrong, "\n".join(wrong)
    assert realtime == Counter(
        (one.method, one.answer.status)
        for one in exchanges
        if "x-request-id" not in one.answer.headers and not one.is_poll
    )


def test_log_contains_no_errors(served: LoggedServer, exchanges: list[Exchange]) -> None:
    served.access_log()

    assert not [line for line in served.lines() if line["level"] == "error" and line.get("route") != NOT_IMPLEMENTED]


def test_metrics_agree_with_the_socket(served: LoggedServer, exchanges: list[Exchange]) -> None:
    access_log = served.access_log()
    counted = served.counted()

    by_line = Counter((line["face"], line["route"], str(line["status"])) for line in access_log)
    assert counted == by_line + Counter({("bancho", "poll", "200"): sum(one.is_poll for one in exchanges)})


def test_matching_etag_gets_304(served: LoggedServer, exchanges: list[Exchange]) -> None:
    known = [one for one in exchanges if one.method == "GET" and one.credentials == "" and "etag" in one.answer.headers]
    wrong = []
    with Client(served.port) as client:
        for one, method in itertools.product(known, ("GET", "HEAD")):
            etag = one.answer.headers["etag"]
            answer = served.ask(client, method, one.path, one.host, **{"If-None-Match": etag})
            if answer.status == 200 and answer.headers["etag"] != etag:  # a later request has changed what it shows
                etag = answer.headers["etag"]
                answer = served.ask(client, method, one.path, one.host, **{"If-None-Match": etag})
            if (answer.status, answer.body, answer.headers.get("etag")) != (304, b"", etag):
                wrong.append(f"{one}, then {answer}")

    assert {one.route.face if one.route else one.host for one in known} >= {"api", "a.localhost"}
    assert not wrong, "\n".join(wrong)


def test_range_of_a_file_is_answered_with_that_range(served: LoggedServer) -> None:
    path = f"/get_replay?id={WITH_REPLAY}&include_headers=false"
    with Client(served.port) as client:
        whole = served.ask(client, "GET", path, API)
        part = served.ask(client, "GET", path, API, Range="bytes=3-9")
        head = served.ask(client, "HEAD", path, API, Range="bytes=3-9")
        beyond = served.ask(client, "GET", path, API, Range="bytes=999999-")

    assert (whole.status, whole.body) == (200, FRAMES)
    assert (part.status, part.body, part.headers["content-length"]) == (206, FRAMES[3:10], "7")
    assert (head.status, head.body, head.headers["content-length"]) == (206, b"", "7")
    assert (beyond.status, beyond.headers["content-range"]) == (416, f"bytes */{len(FRAMES)}")


# --- pipelining, closing and streams


def _gets(exchanges: list[Exchange]) -> list[Exchange]:
    """Return the exchanges with GET without credentials, whose answers do not change."""
    return [one for one in exchanges if one.method == "GET" and one.credentials == ""]


def test_pipelined_requests_get_the_same_answers_as_single_ones(
    served: LoggedServer, exchanges: list[Exchange]
) -> None:
    wrong = []
    for start in range(0, len(_gets(exchanges)), PIPELINED):
        batch = _gets(exchanges)[start : start + PIPELINED]
        with Client(served.port) as client:
            for one in batch:
                client.say("GET", one.path, host=one.host, headers=served.headers())
            answers = [client.answer("GET") for _ in batch]
            assert client.unread() == b""
        wrong += [
            f"{one}, then {answer}"
            for one, answer in zip(batch, answers, strict=True)
            if one.answer.status != answer.status
        ]

    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("version", "header"), [("1.0", ""), ("1.0", "keep-alive"), ("1.1", "close")])
def test_client_that_requests_close_gets_one_answer_and_a_close(
    served: LoggedServer, exchanges: list[Exchange], version: str, header: str
) -> None:
    headers = {"Connection": header} if header else {}
    wrong = []
    for one in {(one.route.template if one.route else one.path, one.host): one for one in _gets(exchanges)}.values():
        with Client(served.port) as client:
            client.say("GET", one.path, host=one.host, headers=served.headers(**headers), version=version)
            answer = client.answer("GET")
            rest = client.rest()
        right = answer.status == one.answer.status and answer.headers["connection"] == "close" and not rest
        if not right or (version == "1.0" and "transfer-encoding" in answer.headers):
            wrong.append(f"{one}, then {answer}, {rest!r}")

    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_stream_begins_at_once_and_ends_with_its_client(served: LoggedServer, version: str) -> None:
    with Client(served.port) as client:
        client.say("GET", STREAM, host=API, headers=served.headers(), version=version)
        status, headers = client.head()
        first = client.exactly(1)

    assert (status, headers["content-type"]) == (200, "text/event-stream")
    assert headers.get("transfer-encoding") == ("chunked" if version == "1.1" else None)
    assert headers.get("connection") == ("close" if version == "1.0" else None)
    assert first
    line: dict[str, Any] = {}

    def is_logged() -> bool:
        for one in served.lines():
            if one.get("request_id") == headers["x-request-id"]:
                line.update(one)
        return bool(line)

    eventually(is_logged, within_s=30)
    assert (line["status"], line["route"], line.get("cut")) == (200, STREAM, None)


GUARDED: Final = {
    "malformed": (b"nonsense\r\n\r\n", 400),
    "unknown method": (b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "path": (b"GET /a/../b HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "target_large": (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
    "fields": (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 100 + b"\r\n", 431),
    "body_large": (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n", 413),
}


@pytest.mark.parametrize("reason", GUARDED)
def test_refusal_of_the_guard_is_counted_only_by_its_reason(served: LoggedServer, reason: str) -> None:
    request, status = GUARDED[reason]
    before, lines = served.counted(), len(served.access_log())

    with Client(served.port) as client:
        client.socket.sendall(request)
        answer = client.answer("GET")
        rest = client.rest()
    after = served.counted()

    assert (answer.status, answer.headers["connection"], rest) == (status, "close", b"")
    # Between the two counts: the first scrape itself, and the marker request of `access_log`.
    assert after - before == Counter({("health", "/metrics", "200"): 1, ("health", "/healthz", "200"): 1})
    assert len(served.access_log()) == lines + 2
    assert served.refused()["malformed" if reason == "unknown method" else reason] >= 1


# --- single answers


@pytest.mark.parametrize(
    ("method", "host", "path", "status"),
    [
        ("GET", OSU, "/web/osu-session.php", 405),
        ("GET", OSU, "/web/nope.php", 404),
        ("OPTIONS", OSU, "/web/osu-getfriends.php", 405),
        ("GET", OSU, "/release/x", 404),
        ("GET", OSU, "/u/3", 302),
        ("GET", "b.localhost", "/", 404),
        ("GET", "s.localhost", "/nope", 404),
        ("GET", "assets.localhost", "/", 404),
        ("POST", "a.localhost", "/1", 405),
        ("OPTIONS", "localhost", "/healthz", 405),
        ("GET", "localhost", "/rating/x", 404),
        ("GET", "localhost", "/difficulty-rating", 405),
        ("GET", "localhost", "/metrics", 404),
    ],
)
def test_empty_answer_has_the_status_of_its_handler(
    served: LoggedServer, method: str, host: str, path: str, status: int
) -> None:
    with Client(served.port) as client:
        answer = served.ask(client, method, path, host)
        after = served.ask(client, "GET", "/healthz", host)

    assert (answer.status, answer.body) == (status, b"")
    assert "connection" not in answer.headers
    assert after.body == b"ok"
