"""The short way of reads and Falcon give the same answers, byte for byte.

Each request goes to one server from two addresses. The requests of one address are served by Falcon only.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
from tests.demo_server import MAP, MODERATOR, PLAYER, RESTRICTED, DemoServer, demo_server
from tests.faces.api.openapi_examples import REQUESTS, SCORE
from tests.faces.both_ways import ask, kept_open
from tests.faces.both_ways import raw as raw_request

from kiai.errors import Unavailable
from kiai.faces.api import short_way
from kiai.faces.api.answering import Answering
from kiai.faces.api.short_way import ShortWay
from kiai.faces.asgi import Receive, Scope, Send
from kiai.faces.quick import QuickAnswer
from kiai.faces.rate_limit import RateLimit

FALCON: Final = "127.0.0.2"
SHORT: Final = "127.0.0.3"
FALCON_AGAIN: Final = "127.0.0.4"
SHORT_AGAIN: Final = "127.0.0.5"
API: Final = "api.localhost:8080"
BOARD: Final = f"/get_map_scores?id={MAP}&scope=best&limit=3"
_ALLOWANCE: Final = re.compile(rb"^(x-ratelimit-(?:remaining|reset)): [^\r]*", re.MULTILINE)


class _Ways:
    """Counts the requests that each way has answered."""

    def __init__(self) -> None:
        self.short = 0
        self.quick = 0
        self.copied = 0
        self.falcon = 0
        self.gateway: Any = None


@pytest.fixture(scope="module")
def ways() -> _Ways:
    return _Ways()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, ways: _Ways) -> Iterator[DemoServer]:
    original, at_once, fill = ShortWay.__call__, ShortWay.answer_at_once, Answering.fill
    from_copy = Answering.from_copy

    async def by_address(self: ShortWay, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["client"][0] in (FALCON, FALCON_AGAIN):
            ways.falcon += 1
            await self._others(scope, receive, send)
            return
        await original(self, scope, receive, send)

    def quick_by_address(self: ShortWay, scope: Scope, body: bytes) -> QuickAnswer | None:
        if scope["client"][0] in (FALCON, FALCON_AGAIN):
            return None
        answer = at_once(self, scope, body)
        ways.quick += answer is not None
        return answer

    async def counted(self: Answering, answer: Any, served: Any, request: Any, path: Any) -> None:
        ways.short += request.read_body is None
        await fill(self, answer, served, request, path)

    def counted_copy(self: Answering, served: Any, request: Any, body_max: int) -> QuickAnswer | None:
        ways.gateway = self.gateway
        answer = from_copy(self, served, request, body_max)
        ways.copied += answer is not None
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Answering, "from_copy", counted_copy)
        patch.setattr(ShortWay, "__call__", by_address)
        patch.setattr(ShortWay, "answer_at_once", quick_by_address)
        patch.setattr(Answering, "fill", counted)
        with demo_server(tmp_path_factory.mktemp("demo") / "data") as running:
            yield running


def both(server: DemoServer, request: bytes) -> bytes:
    """Return the answer of the short way, after a comparison with that of Falcon.

    A request on a connection that stays open may get a quick answer, so it is sent that way, too.
    """
    _compare(server, kept_open(request) + raw("/nothing"))
    return _compare(server, request)


def _compare(server: DemoServer, request: bytes) -> bytes:
    short, falcon = ask(server, SHORT, request), ask(server, FALCON, request)
    if b"\r\nAuthorization:" in request:  # the holder of a key has one allowance, wherever the requests come from
        short, falcon = (_ALLOWANCE.sub(rb"\1: *", answer) for answer in (short, falcon))
    assert short == falcon
    return short


def raw(target: str, *headers: str, method: str = "GET", host: str = API, version: str = "1.1") -> bytes:
    """Return a request to the API without a body, after which the server closes the connection."""
    return raw_request(target, *headers, host=host, method=method, version=version)


def key(server: DemoServer, user_id: int) -> str:
    return f"Authorization: Bearer {server.keys[user_id]}"


READS: Final = {
    name: request
    for name, request in REQUESTS.items()
    # Not streams, and not the health, which differs from moment to moment.
    if request.method == "GET" and "events" not in name and "health" not in name
}


@pytest.mark.parametrize("name", READS)
def test_every_read_has_the_same_answer(server: DemoServer, name: str) -> None:
    request = READS[name]
    headers = () if not request.by else (key(server, request.by),)

    for method in ("GET", "HEAD", "OPTIONS", "POST"):
        both(server, raw(request.target, *headers, method=method))
    both(server, raw(request.target, *headers, "Origin: https://example.org", "Accept-Encoding: gzip"))


@pytest.mark.parametrize(
    "target",
    [
        f"/get_map_info?id={MAP}",
        f"/api/v1/get_map_info?id={MAP}",
        f"/get_map_info/?id={MAP}",
        f"//get_map_info?id={MAP}",
        "/get_map_inf%6f?id=1",
        "/get_map_info",
        "/get_map_info?",
        "/get_map_info?id=",
        "/get_map_info?id=0",
        "/get_map_info?id=1&id=2",
        "/get_map_info?id=%31%30&unknown=x",
        "/get_map_info?id=1+2",
        "/get_map_info?md5=%ff%fe",
        "/get_map_info?id=99999999",
        f"/get_map_info?id={MAP}#part",
        BOARD,
        f"{BOARD}&offset=3",
        f"{BOARD}&offset=1000000",
        f"{BOARD}&mods=~HDDT",
        "/get_player_info?id=43&scope=all",
        "/get_player_info?name=%C3%A4%C3%B6&scope=all",
        "/get_leaderboard?mode=0&sort=acc&country=US&limit=2",
        "/get_leaderboard?mode=9",
        f"/get_replay?id={SCORE}",
        "/v2/players?page=2&page_size=2",
        "/v2/players?unknown=1",
        "/v2/players/",
        "/nothing",
        "/",
    ],
)
def test_targets_have_the_same_answer(server: DemoServer, target: str) -> None:
    for host in (API, "localhost:8080"):
        path = target if host == API or target.startswith("/api") else f"/api{target}"
        both(server, raw(path, host=host))
        both(server, raw(path, "Origin: null", host=host, method="HEAD"))
        both(server, raw(path, host=host, version="1.0"))


@pytest.mark.parametrize(
    "headers",
    [
        ("Origin: https://example.org",),
        ("Origin: nonsense",),
        ("Origin: https://a.example", "Origin: https://b.example"),
        ("If-None-Match: *",),
        ('If-None-Match: W/"another"',),
        ("Accept-Encoding: gzip",),
        ("Accept-Encoding: br", "Accept-Encoding: gzip"),
        ("Accept-Encoding: gzip;q=0",),
        ("Range: bytes=0-9",),
        ("Range: bytes=-5",),
        ("Range: bytes=99999999-",),
        ("Authorization: Bearer nobody",),
        ("Authorization: nobody",),
        ("Expect: 100-continue",),
        ("Content-Length: 0",),
    ],
)
@pytest.mark.parametrize("target", [f"/get_map_info?id={MAP}", BOARD, f"/get_replay?id={SCORE}", "/v2/medals"])
def test_headers_have_the_same_effect(server: DemoServer, target: str, headers: tuple[str, ...]) -> None:
    both(server, raw(target, *headers))


def test_a_known_answer_is_not_sent_again(server: DemoServer) -> None:
    found = re.search(rb"etag: (.*)\r", both(server, raw(f"/get_map_info?id={MAP}")))
    assert found is not None

    answer = both(server, raw(f"/get_map_info?id={MAP}", f"If-None-Match: {found[1].decode()}"))

    assert answer.startswith(b"HTTP/1.1 304 ")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("target", [f"/get_map_info?id={MAP}", BOARD])
@pytest.mark.parametrize("form", ['W/"a", {}', '{}, W/"a"', '{}\r\nIf-None-Match: W/"a"', 'W/"a"\r\nIf-None-Match: {}'])
@pytest.mark.parametrize("weak", ["W/", ""])
def test_a_known_answer_may_be_any_of_several(server: DemoServer, target: str, form: str, weak: str) -> None:
    found = re.search(rb"etag: W/(.*)\r", both(server, raw(target)))
    assert found is not None

    answer = both(server, raw(target, "If-None-Match: " + form.format(weak + found[1].decode())))

    assert answer.startswith(b"HTTP/1.1 304 ")


@pytest.mark.parametrize("user_id", [PLAYER, RESTRICTED, MODERATOR])
@pytest.mark.parametrize(
    "target", ["/get_friends", "/v2/me", "/v2/flags", f"/get_player_info?id={RESTRICTED}&scope=info"]
)
def test_keys_have_the_same_effect(server: DemoServer, target: str, user_id: int) -> None:
    both(server, raw(target, key(server, user_id)))
    both(server, raw(target))


def test_a_body_of_a_read_is_ignored(server: DemoServer) -> None:
    head = f"GET /get_map_info?id={MAP} HTTP/1.1\r\nHost: {API}\r\nConnection: close\r\n"

    both(server, f"{head}Content-Length: 5\r\n\r\nhello".encode())
    both(server, f"{head}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".encode())


def test_a_large_answer_is_no_quick_one_so_it_counts_until_it_is_read(
    server: DemoServer, ways: _Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    both(server, raw(BOARD))
    before = ways.quick
    monkeypatch.setattr(short_way, "JOINED_MAX", 100)

    both(server, raw(BOARD))

    assert ways.quick == before


def test_requests_of_one_connection_are_answered_in_order(server: DemoServer) -> None:
    first = kept_open(raw(f"/get_map_info?id={MAP}"))

    answers = both(server, first + kept_open(raw("/nothing")) + raw(BOARD))

    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"404", b"200"]


@pytest.mark.parametrize("headers", [(), ("Accept-Encoding: gzip", "Cookie: a=b")])
@pytest.mark.parametrize(
    "target",
    [
        "/get_player_count",
        f"/get_map_info?id={MAP}",
        f"/get_map_info?unknown=%2f&id={MAP}",
        f"/get_map_info?id={MAP}&unknown={'x' * 200}",
        f"/get_score_info?id={SCORE}",
        f"/get_player_scores?id={PLAYER}&scope=best",
        f"/get_player_scores?id={PLAYER}&scope=best&limit=2&offset=1",
        "/get_leaderboard?mode=0&limit=2",
        BOARD,
    ],
)
def test_a_copy_is_sent_as_it_was_made(server: DemoServer, ways: _Ways, target: str, headers: tuple[str, ...]) -> None:
    both(server, raw(target, *headers))
    before = ways.copied

    both(server, raw(target, *headers))

    assert ways.copied == before + 1


@pytest.mark.parametrize("header", ["Origin: https://example.org", "If-None-Match: *", "Authorization: nobody"])
def test_a_copy_is_not_sent_as_it_is_to_requests_with_special_headers(
    server: DemoServer, ways: _Ways, header: str
) -> None:
    both(server, raw(BOARD))
    before = ways.copied

    both(server, raw(BOARD, header))

    assert ways.copied == before


def test_copies_count_against_the_allowance(server: DemoServer, ways: _Ways, monkeypatch: pytest.MonkeyPatch) -> None:
    both(server, raw(BOARD))
    monkeypatch.setattr(ways.gateway, "everything", RateLimit("few", 3, 60.0))
    last = raw(BOARD)

    short, falcon = (ask(server, address, kept_open(last) * 4 + last) for address in (SHORT_AGAIN, FALCON_AGAIN))

    assert short == falcon
    assert re.findall(rb"HTTP/1.1 (\d+)", short) == [b"200", b"200", b"200", b"429", b"429"]
    assert re.findall(rb"x-ratelimit-remaining: (\d+)", short) == [b"2", b"1", b"0", b"0", b"0"]


def test_a_used_up_allowance_is_refused(server: DemoServer) -> None:
    last = raw(f"/get_replay?id={SCORE}", method="HEAD")
    request = kept_open(last)

    short, falcon = (ask(server, address, request * 60 + last) for address in (SHORT_AGAIN, FALCON_AGAIN))

    assert short == falcon
    assert short.count(b"HTTP/1.1 200 ") == 60
    assert short.count(b"HTTP/1.1 429 ") == 1


@pytest.mark.parametrize("error", [Unavailable("database"), RuntimeError("a bug")])
def test_a_failed_handler_has_the_same_answer(
    server: DemoServer, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(server.services.accounts, "search", fails)

    answer = both(server, raw("/search_players?q=cri"))

    assert re.match(rb"HTTP/1.1 50[03] ", answer)


def test_reads_take_the_short_way(server: DemoServer, ways: _Ways) -> None:
    before = ways.short

    ask(server, SHORT, raw(f"/get_map_info?id={MAP}"))
    ask(server, SHORT, raw("/v2/players/3"))

    assert ways.short - before == 1
    assert ways.falcon > 0
    assert ways.quick > 0
