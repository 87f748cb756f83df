"""What leaves the socket for every route of every face, and every method, on connections that are kept.

The table is made from the routes that the application serves: a new one is in it by itself. Rate limits are on; each
request comes from an address of its own, by way of a trusted proxy.
"""

import asyncio
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import falcon.inspect
import msgspec
import pytest
from tests import stores
from tests.wire.answers import Answer, Client
from tests.wire.kit import API, Server, eventually
from tests.wire.world import FRAMES, WITH_REPLAY, World, small_world

from kiai.app import Server as Faces
from kiai.app import open_services
from kiai.faces.front import BANCHO_HOSTS, CLIENT_HOSTS
from kiai.logs import AccessLog
from kiai.settings import Settings

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
PIPELINED: Final = 50  # at once: the guard allows 100
OF_ANOTHER_FACE: Final = {("client", "/users", True), ("site", "/", False)}  # a path of two faces, by method
AGENT: Final = {"User-Agent": "osu!"}


class Route(msgspec.Struct, frozen=True):
    """A place where something is served; `methods` are those that its face declares, without HEAD and OPTIONS."""

    face: str
    host: str
    path: str
    template: str
    methods: frozenset[str]


class Exchange(msgspec.Struct, frozen=True):
    """A request that was made, as whom (`key`, `log-in`, `poll` or nobody), and what came."""

    method: str
    host: str
    path: str
    asker: str
    answer: Answer
    route: Route | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.host}{self.path} {self.asker} -> {self.answer.status}"

    @property
    def is_declared(self) -> bool:
        """Whether the face declares this method for this route."""
        return self.route is not None and self.method.replace("HEAD", "GET") in self.route.methods

    @property
    def is_poll(self) -> bool:
        """Whether this is an answered poll, which has no line in the log."""
        return (self.method, self.asker, self.answer.status) == ("POST", "poll", 200)


def routes_of(faces: Faces) -> list[Route]:
    """Every route of the faces that have a router, under each host that they are served on."""
    found = []
    declared: dict[str, set[str]] = {}
    for operation in faces.operations:
        declared.setdefault(operation.path, set()).add(operation.method)
    front = faces.front
    for face, app, hosts in (
        ("api", front._api, {API: "", "localhost": "/api"}),
        ("client", front._client, {OSU: ""}),
        ("site", front._site, {"localhost": ""}),
        ("house", front._house, {"localhost": "", OSU: "", API: ""}),
    ):
        for info in falcon.inspect.inspect_routes(app):  # type: ignore[arg-type]
            resource = app._router.find(info.path.replace("{", "").replace("}", ""))[0]  # type: ignore[attr-defined]
            methods = declared.get(info.path) if face == "api" else set(getattr(resource, "_pages", ()))
            for host, prefix in hosts.items():
                if prefix and info.path not in declared:
                    prefix = ""
                for filled in FILLED if "{" in info.path else FILLED[:1]:
                    path = prefix + re.sub(r"{[^}]*}", filled, info.path)
                    found.append(Route(face, host, path, info.path, frozenset(methods or {"GET"})))
    return found


async def _routes(settings: Settings) -> list[Route]:
    async with open_services(settings) as services:
        log = AccessLog("json")
        try:
            return routes_of(Faces(services, log))
        finally:
            log.close()


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> list[Route]:
    return asyncio.run(_routes(stores.settings(tmp_path_factory.mktemp("routes") / "data")))


class House(msgspec.Struct):
    """A server with its rate limits, and what it logged."""

    world: World
    addresses: Iterator[int]

    @property
    def port(self) -> int:
        return self.world.server.port

    def headers(self, **more: str) -> dict[str, str]:
        """Those of a request from an address that has not asked before."""
        number = next(self.addresses)
        return {"X-Forwarded-For": f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", **more}

    def ask(self, client: Client, method: str, path: str, host: str, **headers: str) -> Answer:
        try:
            return client.ask(method, path, host=host, headers=self.headers(**headers))
        except (AssertionError, ConnectionError, TimeoutError) as error:
            error.add_note(f"the answer to {method} {host}{path}")
            raise

    def lines(self) -> list[dict[str, Any]]:
        """What it logged, whole lines only."""
        text = self.world.server.data.with_suffix(".stderr").read_text("utf-8")
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def noted(self) -> list[dict[str, Any]]:
        """The access log up to now: a marked request is made, and waited for."""
        with Client(self.port) as client:
            marker = client.ask("GET", "/healthz").headers["x-request-id"]
        eventually(lambda: any(line.get("request_id") == marker for line in self.lines()), within_s=30)
        return [line for line in self.lines() if line["event"] == "request"]

    def refused(self) -> dict[str, int]:
        """How often the metrics saw the guard refuse, by reason."""
        with Client(self.port) as client:
            text = client.ask("GET", "/metrics").body.decode()
        found = re.findall(r'^kiai_guard_refused_total{reason="(.*?)"} (\S+)', text, re.M)
        return {reason: int(float(count)) for reason, count in found}

    def counted(self) -> Counter[tuple[str, str, str]]:
        """How often the metrics saw which face, route and status; this question is not among them."""
        with Client(self.port) as client:
            text = client.ask("GET", "/metrics").body.decode()
        series = re.findall(r'^kiai_http_requests_total{face="(.*?)",route="(.*?)",status="(.*?)"} (\S+)', text, re.M)
        return Counter({(face, route, status): int(float(count)) for face, route, status, count in series})


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    server = Server(
        tmp_path_factory.mktemp("answers") / "data",
        RATE_LIMITS="on",
        TRUSTED_PROXY="127.0.0.1/32",
        API_RATE_PER_MINUTE="1000000",
    )
    world = small_world(server)
    try:
        server.start()
        yield House(world, itertools.count(1))
        server.stop()
    finally:
        server.kill()
        world.rows.close()


@pytest.fixture(scope="module")
def asked(house: House, routes: list[Route]) -> list[Exchange]:
    """Every route with every method, those that it has also with a key, and what is no route on every host; one
    connection a host."""
    wanted: dict[str, list[tuple[str, str, str, Route | None]]] = {host: [] for host in HOSTS}
    for route in routes:
        for method in METHODS:
            if (route.template, method) == (STREAM, "GET"):
                continue  # it has no end
            if (route.face, route.template, method != "POST") in OF_ANOTHER_FACE:
                continue
            wanted[route.host].append((method, route.path, "", route))
            if route.face == "api" and method.replace("HEAD", "GET") in route.methods:
                wanted[route.host].append((method, route.path, "key", route))
    for host, method in itertools.product(HOSTS, METHODS):
        for path in (*ELSEWHERE, *NOWHERE, *(OLD_PAGES if host in (OSU, "localhost") else ())):
            wanted[host].append((method, path, "", None))
        wanted[host] += [(method, "/", "log-in", None), (method, "/", "poll", None)]
    headers = {
        "": {},
        "key": {"Authorization": house.world.staff_key},
        "log-in": AGENT,
        "poll": {**AGENT, "osu-token": "nobody's"},
    }
    made = []
    for host, requests in wanted.items():
        with Client(house.port) as client:
            for method, path, asker, known in requests:
                answer = house.ask(client, method, path, host, **headers[asker])
                made.append(Exchange(method, host, path, asker, answer, known))
    return made


def test_the_table_holds_every_face(routes: list[Route]) -> None:
    assert {route.face for route in routes} == {"api", "client", "site", "house"}
    assert {route.template for route in routes} >= {"/get_player_info", STREAM, "/web/osu-search.php", "/healthz"}


def test_a_method_that_a_route_has_is_answered_by_its_handler(asked: list[Exchange]) -> None:
    wrong = [str(one) for one in asked if one.is_declared and one.answer.status in (405, 500, 502, 503)]

    assert not wrong
    assert {str(one.route.template) for one in asked if one.route and one.answer.status > 500} == {NOT_IMPLEMENTED}


def test_a_method_that_a_route_does_not_have_is_405_with_those_it_has(asked: list[Exchange]) -> None:
    wrong = []
    for one in asked:
        if one.route is None or one.is_declared:
            continue
        allowed = {*one.route.methods, *({"HEAD"} if "GET" in one.route.methods else ())}
        if one.route.face == "api":  # for the pages of other sites, too, whose browsers ask first
            allowed.add("OPTIONS")
        named = set(one.answer.headers.get("allow", "").split(", "))
        status = 204 if (one.route.face, one.method) == ("api", "OPTIONS") else 405
        right = one.answer.status == status and named == allowed
        if not right or (one.route.face != "api" and one.answer.body):
            wrong.append(f"{one} {one.answer.headers.get('allow')!r} {one.answer.body[:80]!r}, not {allowed}")

    assert not wrong


def test_nowhere_is_a_mistake_of_the_client(asked: list[Exchange]) -> None:
    wrong = [
        str(one)
        for one in asked
        if one.path in NOWHERE
        and one.answer.status not in (404, 405)
        and not (one.host == "a.localhost" and one.method in ("GET", "HEAD"))  # the default picture
        and not (one.method == "OPTIONS" and "access-control-allow-methods" in one.answer.headers)  # what browsers ask
    ]

    assert not wrong
    assert not [str(one) for one in asked if one.route is None and one.answer.status >= 500]


def test_every_answer_leaves_its_connection_open(asked: list[Exchange]) -> None:
    # That each was followed by the next one on the same connection, the fixture has seen.
    assert not [str(one) for one in asked if "connection" in one.answer.headers]


def test_head_is_answered_like_get_without_the_body(asked: list[Exchange]) -> None:
    heads = {(one.host, one.path, one.asker): one for one in asked if one.method == "HEAD"}

    wrong = []
    for get in asked:
        if get.method == "GET":
            head = heads[get.host, get.path, get.asker]
            if get.answer.status != head.answer.status or _lasting(get) != _lasting(head):
                wrong.append(f"{get} {head} {_lasting(get) ^ _lasting(head)}")

    assert not wrong


def _lasting(one: Exchange) -> set[tuple[str, str]]:
    passing = {"date", "x-request-id", "x-ratelimit-remaining", "x-ratelimit-reset"}
    if one.path in ("/metrics", "/readyz"):
        passing.add("content-length")
    return {(name, text) for name, text in one.answer.headers.items() if name not in passing}


def test_the_access_log_says_what_left_the_socket(house: House, asked: list[Exchange]) -> None:
    noted = {line["request_id"]: line for line in house.noted()}

    wrong = []
    for one in asked:
        request_id = one.answer.headers.get("x-request-id")
        if request_id is None:  # an answer of the realtime face
            continue
        line = noted[request_id]
        right = (line["status"], line["method"]) == (one.answer.status, one.method) and "cut" not in line
        if one.route is not None:
            right = right and (line["face"], line["route"]) == (one.route.face, one.route.template)
        if not right:
            wrong.append(f"{one}: {line}")
    realtime = Counter((line["method"], line["status"]) for line in noted.values() if line["face"] == "bancho")

    assert not wrong
    assert realtime == Counter(
        (one.method, one.answer.status) for one in asked if "x-request-id" not in one.answer.headers and not one.is_poll
    )


def test_the_log_holds_no_fault(house: House, asked: list[Exchange]) -> None:
    house.noted()

    assert not [line for line in house.lines() if line["level"] == "error" and line.get("route") != NOT_IMPLEMENTED]


def test_the_metrics_say_what_left_the_socket(house: House, asked: list[Exchange]) -> None:
    noted = house.noted()
    counted = house.counted()

    by_line = Counter((line["face"], line["route"], str(line["status"])) for line in noted)
    assert counted == by_line + Counter({("bancho", "poll", "200"): sum(one.is_poll for one in asked)})


def test_what_the_client_has_already_is_not_sent_again(house: House, asked: list[Exchange]) -> None:
    known = [one for one in asked if one.method == "GET" and one.asker == "" and "etag" in one.answer.headers]
    wrong = []
    with Client(house.port) as client:
        for one, method in itertools.product(known, ("GET", "HEAD")):
            headers = {"If-None-Match": one.answer.headers["etag"]}
            answer = house.ask(client, method, one.path, one.host, **headers)
            if (answer.status, answer.body, answer.headers.get("etag")) != (304, b"", one.answer.headers["etag"]):
                wrong.append(f"{one}, then {answer}")

    assert {one.route.face if one.route else one.host for one in known} >= {"api", "a.localhost"}
    assert not wrong


def test_a_part_of_a_file_is_that_part(house: House) -> None:
    path = f"/get_replay?id={WITH_REPLAY}&include_headers=false"
    with Client(house.port) as client:
        whole = house.ask(client, "GET", path, API)
        part = house.ask(client, "GET", path, API, Range="bytes=3-9")
        head = house.ask(client, "HEAD", path, API, Range="bytes=3-9")
        beyond = house.ask(client, "GET", path, API, Range="bytes=999999-")

    assert (whole.status, whole.body) == (200, FRAMES)
    assert (part.status, part.body, part.headers["content-length"]) == (206, FRAMES[3:10], "7")
    assert (head.status, head.body, head.headers["content-length"]) == (206, b"", "7")
    assert (beyond.status, beyond.headers["content-range"]) == (416, f"bytes */{len(FRAMES)}")


# --- other ways to ask


def _gets(asked: list[Exchange]) -> list[Exchange]:
    """What was asked for with GET and answers the same each time."""
    return [one for one in asked if one.method == "GET" and one.asker == ""]


def test_pipelined_requests_are_answered_as_single_ones(house: House, asked: list[Exchange]) -> None:
    wrong = []
    for start in range(0, len(_gets(asked)), PIPELINED):
        batch = _gets(asked)[start : start + PIPELINED]
        with Client(house.port) as client:
            for one in batch:
                client.say("GET", one.path, host=one.host, headers=house.headers())
            answers = [client.answer("GET") for _ in batch]
            assert client.unread() == b""
        wrong += [
            f"{one}, then {answer}"
            for one, answer in zip(batch, answers, strict=True)
            if one.answer.status != answer.status
        ]

    assert not wrong


@pytest.mark.parametrize(("version", "header"), [("1.0", ""), ("1.0", "keep-alive"), ("1.1", "close")])
def test_who_asks_for_one_answer_gets_it_and_the_end(
    house: House, asked: list[Exchange], version: str, header: str
) -> None:
    headers = {"Connection": header} if header else {}
    wrong = []
    for one in {(one.route.template if one.route else one.path, one.host): one for one in _gets(asked)}.values():
        with Client(house.port) as client:
            client.say("GET", one.path, host=one.host, headers=house.headers(**headers), version=version)
            answer = client.answer("GET")
            rest = client.rest()
        right = answer.status == one.answer.status and answer.headers["connection"] == "close" and not rest
        if not right or (version == "1.0" and "transfer-encoding" in answer.headers):
            wrong.append(f"{one}, then {answer}, {rest!r}")

    assert not wrong


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_stream_begins_and_ends_with_its_client(house: House, version: str) -> None:
    with Client(house.port) as client:
        client.say("GET", STREAM, host=API, headers=house.headers(), version=version)
        status, headers = client.head()
        first = client.exactly(1)

    assert (status, headers["content-type"]) == (200, "text/event-stream")
    assert headers.get("transfer-encoding") == ("chunked" if version == "1.1" else None)
    assert headers.get("connection") == ("close" if version == "1.0" else None)
    assert first
    line: dict[str, Any] = {}

    def is_noted() -> bool:
        for one in house.lines():
            if one.get("request_id") == headers["x-request-id"]:
                line.update(one)
        return bool(line)

    eventually(is_noted, within_s=30)
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
def test_what_the_guard_answers_is_counted_by_its_reason_and_nowhere_else(house: House, reason: str) -> None:
    request, status = GUARDED[reason]
    before, lines = house.counted(), len(house.noted())

    with Client(house.port) as client:
        client.socket.sendall(request)
        answer = client.answer("GET")
        rest = client.rest()
    after = house.counted()

    assert (answer.status, answer.headers["connection"], rest) == (status, "close", b"")
    # Between the two countings: the first one itself, and the marker of `noted`.
    assert after - before == Counter({("house", "/metrics", "200"): 1, ("house", "/healthz", "200"): 1})
    assert len(house.noted()) == lines + 2
    assert house.refused()["malformed" if reason == "unknown method" else reason] >= 1


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
        ("POST", "localhost", "/nope", 405),
        ("OPTIONS", "localhost", "/healthz", 405),
        ("GET", "localhost", "/rating/x", 404),
        ("GET", "localhost", "/difficulty-rating", 405),
        ("GET", "localhost", "/metrics", 404),
    ],
)
def test_an_answer_without_a_body_is_what_its_handler_chose(
    house: House, method: str, host: str, path: str, status: int
) -> None:
    with Client(house.port) as client:
        answer = house.ask(client, method, path, host)
        after = house.ask(client, "GET", "/healthz", host)

    assert (answer.status, answer.body) == (status, b"")
    assert "connection" not in answer.headers
    assert after.body == b"ok"
