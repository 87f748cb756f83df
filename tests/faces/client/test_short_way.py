"""The short way of song select and Falcon give the same answers, byte for byte.

Each request goes to one server from two addresses. The requests of one address are served by Falcon only.
"""

import asyncio
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote, urlencode

import pytest
from tests.demo_server import HOST, MAP, PLAYER, RESTRICTED, DemoServer, demo_server
from tests.faces.both_ways import ask, kept_open, raw
from tests.wire.submitting import SUBMIT, Played, multipart

from kiai.clock import ManualClock
from kiai.errors import Unavailable
from kiai.faces.asgi import Receive, Scope, Send
from kiai.faces.client import short_way
from kiai.faces.client.gateway import BROWSING, ClientGateway
from kiai.faces.client.short_way import ClientShortWay
from kiai.faces.quick import QuickAnswer
from kiai.osu.names import password_md5
from kiai.presence import Presence

FALCON: Final = "127.0.0.2"
SHORT: Final = "127.0.0.3"
OSU: Final = "osu.localhost:8080"
PATH: Final = "/web/osu-osz2-getscores.php"
PASSWORD: Final = "correct horse 7"
REFILL_S: Final = 4.0
"""The time in which the limit of an account is full again."""


class _Ways:
    """Counts the requests that each way has answered."""

    def __init__(self) -> None:
        self.short = 0
        self.quick = 0
        self.falcon = 0


@pytest.fixture(scope="module")
def ways() -> _Ways:
    return _Ways()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, ways: _Ways) -> Iterator[DemoServer]:
    original, at_once = ClientShortWay.__call__, ClientShortWay.answer_at_once

    async def by_address(self: ClientShortWay, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["client"][0] == FALCON:
            ways.falcon += 1
            await self._others(scope, receive, send)
            return
        ways.short += self._endpoint(scope) is not None
        await original(self, scope, receive, send)

    def quick_by_address(self: ClientShortWay, scope: Scope, body: bytes) -> QuickAnswer | None:
        if scope["client"][0] == FALCON:
            return None
        answer = at_once(self, scope, body)
        ways.quick += answer is not None
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClientShortWay, "__call__", by_address)
        patch.setattr(ClientShortWay, "answer_at_once", quick_by_address)
        with demo_server(tmp_path_factory.mktemp("demo") / "data") as running:
            for user_id in (PLAYER, HOST, RESTRICTED):
                set_password(running, user_id, PASSWORD)
            yield running


def set_password(server: DemoServer, user_id: int, password: str) -> None:
    accounts = server.services.accounts
    server.run(accounts.set_password(user_id, password=password, name="another", email="another@example.org"))


@pytest.fixture(scope="module")
def names(server: DemoServer) -> dict[int, str]:
    """The names of the players of these tests."""
    return {id_: server.run(server.services.accounts.account_of(id_)).name for id_ in (PLAYER, HOST, RESTRICTED)}


@pytest.fixture(scope="module")
def md5(server: DemoServer) -> str:
    return server.run(server.services.beatmaps.find(id=MAP)).md5


def target(name: str, md5: str, **query: Any) -> str:
    asked = {"us": name, "ha": password_md5(PASSWORD), "s": 0, "vv": 4, "v": 1, "c": md5, "f": "", "m": 0, "i": -1}
    return f"{PATH}?{urlencode(asked | {'mods': 0} | query, quote_via=quote)}"


def refill(server: DemoServer) -> None:
    """Let the limits of the accounts fill up again."""
    clock = server.services.clock
    assert isinstance(clock, ManualClock)
    clock.advance(REFILL_S)


def both(server: DemoServer, request: bytes) -> bytes:
    """Return the answer of the short way, after a comparison with that of Falcon.

    A request on a connection that stays open may get a quick answer, so it is sent that way, too.
    """
    refill(server)
    kept = kept_open(request) + raw("/nothing", host=OSU)
    assert ask(server, SHORT, kept) == ask(server, FALCON, kept)
    short = ask(server, SHORT, request)
    assert short == ask(server, FALCON, request)
    return short


@pytest.mark.parametrize("user_id", [PLAYER, HOST, RESTRICTED])
@pytest.mark.parametrize(
    "query",
    [
        {},
        {"v": 2, "mods": 8},
        {"v": 3},
        {"v": 4},
        {"v": 0},
        {"v": "x"},
        {"m": 1},
        {"m": 9},
        {"mods": 128},
        {"s": 1},
        {"c": "a" * 32},
        {"c": "nonsense"},
        {"c": ""},
    ],
)
def test_every_board_has_the_same_answer(
    server: DemoServer, names: dict[int, str], md5: str, user_id: int, query: dict[str, Any]
) -> None:
    request = target(names[user_id], md5, **query)

    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        both(server, raw(request, host=OSU, method=method))
    both(server, raw(request, host="localhost:8080"))
    both(server, raw(request, host=OSU, version="1.0"))


@pytest.mark.parametrize("query", [{"ha": "0" * 32}, {"ha": ""}, {"us": "nobody"}, {"us": ""}, {"us": "x" * 99}])
def test_wrong_credentials_have_the_same_answer(
    server: DemoServer, names: dict[int, str], md5: str, query: dict[str, Any]
) -> None:
    answer = both(server, raw(target(names[PLAYER], md5, **query), host=OSU))

    assert answer.startswith(b"HTTP/1.1 401 ")


def test_names_and_queries_are_read_alike(server: DemoServer, names: dict[int, str], md5: str) -> None:
    request = target(names[PLAYER], md5)

    both(server, raw(target(quote(names[PLAYER]), md5), host=OSU))  # encoded twice
    both(server, raw(f"{request}&us=nobody", host=OSU))
    both(server, raw(f"{request}&m", host=OSU))
    both(server, raw(f"{request}&f=%ff%fe+%2b", host=OSU))
    both(server, raw(PATH, host=OSU))
    both(server, raw(f"{PATH}?", host=OSU))
    both(server, raw(f"{request}#part", host=OSU))


@pytest.mark.parametrize(
    "headers", [("Expect: 100-continue",), ("Content-Length: 0",), ("Accept-Encoding: gzip", "Origin: null")]
)
def test_headers_have_the_same_effect(
    server: DemoServer, names: dict[int, str], md5: str, headers: tuple[str, ...]
) -> None:
    both(server, raw(target(names[PLAYER], md5), *headers, host=OSU))


def test_a_body_is_ignored(server: DemoServer, names: dict[int, str], md5: str) -> None:
    head = f"GET {target(names[PLAYER], md5)} HTTP/1.1\r\nHost: {OSU}\r\nConnection: close\r\n"

    both(server, f"{head}Content-Length: 5\r\n\r\nhello".encode())
    both(server, f"{head}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".encode())


def posted(body: bytes, *headers: str, path: str = SUBMIT) -> bytes:
    return raw(path, *headers, f"Content-Length: {len(body)}", host=OSU, method="POST") + body


def test_submissions_have_the_same_answer(server: DemoServer, names: dict[int, str], md5: str, ways: _Ways) -> None:
    body, kind = multipart(Played(md5, names[PLAYER], password=PASSWORD).parts())
    wrong, _ = multipart(Played(md5, names[PLAYER], password="another one 1").parts())
    of_form = f"Content-Type: {kind}"
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:700], body[700:])) + b"0\r\n\r\n"
    before = ways.short

    answers = [
        both(server, request)
        for request in (
            posted(body, of_form),
            posted(body, "Content-Type: text/plain", of_form),
            posted(body, of_form, "Expect: 100-continue"),
            raw(SUBMIT, of_form, "Transfer-Encoding: chunked", host=OSU, method="POST") + chunks,
            posted(body + bytes(300_000), of_form),
            posted(body, of_form, path=f"{SUBMIT}?a=%ff&b"),
            posted(wrong, of_form),
            posted(body),
            posted(body, "Content-Type: text/plain"),
            posted(body[:-9], of_form),
            posted(b"", of_form),
            posted(b"", "Content-Type: multipart/form-data"),
            posted(b"score=1&score=2", "Content-Type: application/x-www-form-urlencoded"),
            posted(body, of_form, path=SUBMIT.replace("-selector", "")),
            raw(SUBMIT, of_form, "Content-Length: 99999999", host=OSU, method="POST"),
        )
    ]

    assert all(b"\r\n\r\nbeatmapId:" in answer for answer in answers[:6])
    assert answers[6].endswith(b"\r\n\r\nerror: pass")
    assert answers[7].endswith(b"\r\n\r\nerror: no")
    assert answers[-1].startswith(b"HTTP/1.1 413 ")
    assert ways.short > before
    for method in ("GET", "PUT", "OPTIONS"):
        both(server, raw(SUBMIT, host=OSU, method=method))


def test_other_endpoints_are_answered_by_falcon(server: DemoServer, names: dict[int, str], ways: _Ways) -> None:
    before = ways.short, ways.quick
    login = f"u={quote(names[PLAYER])}&h={password_md5(PASSWORD)}"

    for path in (
        f"/web/osu-getfriends.php?{login}",
        "/web/osu-getseasonal.php",
        f"{PATH}/",
        "/web/nothing",
        "/ss/1.png",
    ):
        both(server, raw(path, host=OSU))

    assert (ways.short, ways.quick) == before


def test_a_used_up_allowance_is_refused(server: DemoServer, names: dict[int, str], md5: str) -> None:
    assert BROWSING.burst is not None
    last = raw(target(names[PLAYER], md5), host=OSU, method="HEAD")
    requests = kept_open(raw(target(names[PLAYER], md5, s=1), host=OSU)) * BROWSING.burst + last
    answers = []

    for address in (SHORT, FALCON):
        refill(server)
        answers.append(ask(server, address, requests))

    assert answers[0] == answers[1]
    assert answers[0].count(b"HTTP/1.1 200 ") == BROWSING.burst
    assert answers[0].count(b"HTTP/1.1 429 ") == 1


def test_a_request_that_begins_again_is_counted_once(
    server: DemoServer, names: dict[int, str], md5: str, ways: _Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handler waits after the limit was counted, so there is no quick answer."""
    assert BROWSING.burst is not None
    switch = Presence.switch_mode

    async def waits(self: Presence, user_id: int, mode: int) -> None:
        await asyncio.sleep(0)
        await switch(self, user_id, mode)

    monkeypatch.setattr(Presence, "switch_mode", waits)
    refill(server)
    before = ways.quick

    requests = kept_open(raw(target(names[PLAYER], md5, s=1), host=OSU)) * (BROWSING.burst - 1)
    answers = ask(server, SHORT, requests + raw(target(names[PLAYER], md5, s=1), host=OSU))

    assert answers.count(b"HTTP/1.1 200 ") == BROWSING.burst
    assert ways.quick == before


def test_another_mode_is_announced_once(
    server: DemoServer, names: dict[int, str], md5: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change of the session needs a task, so the quick answer begins again before it."""
    began = []
    set_status = Presence.set_status

    async def counted(self: Presence, session: Any, status: Any) -> Any:
        began.append(status.mode)
        return await set_status(self, session, status)

    monkeypatch.setattr(Presence, "set_status", counted)
    refill(server)

    for mode in (2, 2, 0):
        request = kept_open(raw(target(names[PLAYER], md5, m=mode), host=OSU))
        ask(server, SHORT, request + raw("/nothing", host=OSU))

    assert began == [2, 0]


def test_a_large_answer_is_no_quick_one_so_it_counts_until_it_is_read(
    server: DemoServer, names: dict[int, str], md5: str, ways: _Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = raw(target(names[HOST], md5), host=OSU)
    both(server, request)
    before = ways.quick
    monkeypatch.setattr(short_way, "JOINED_MAX", 100)

    both(server, request)

    assert ways.quick == before


@pytest.mark.parametrize("error", [Unavailable("database"), RuntimeError("a bug")])
def test_a_failed_handler_has_the_same_answer(
    server: DemoServer, names: dict[int, str], md5: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(server.services.boards, "stamp", fails)

    answer = both(server, raw(target(names[PLAYER], md5), host=OSU))

    assert answer.startswith(b"HTTP/1.1 50")


def test_the_first_request_of_a_player_verifies_the_password_once(
    server: DemoServer, names: dict[int, str], md5: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request waits for the hash, so it begins again with a task before anything is counted."""
    other = "another battery 9"
    set_password(server, HOST, other)
    request = kept_open(raw(target(names[HOST], md5, ha=password_md5(other)), host=OSU))
    counted: list[str] = []
    check = ClientGateway.check_rate_limit

    async def counts(self: ClientGateway, rate_limit: Any, bucket: str) -> None:
        counted.append(bucket)
        await check(self, rate_limit, bucket)

    monkeypatch.setattr(ClientGateway, "check_rate_limit", counts)
    refill(server)

    answers = ask(server, SHORT, request + raw("/nothing", host=OSU))
    set_password(server, HOST, PASSWORD)

    assert answers.startswith(b"HTTP/1.1 200 ")
    assert counted == [f"user:{HOST}"]


def test_boards_take_the_short_way(server: DemoServer, names: dict[int, str], md5: str, ways: _Ways) -> None:
    refill(server)
    before = ways.short, ways.quick
    request = raw(target(names[PLAYER], md5), host=OSU)

    ask(server, SHORT, request)
    ask(server, SHORT, kept_open(request) + raw("/nothing", host=OSU))

    assert (ways.short - before[0], ways.quick - before[1]) == (1, 1)
    assert ways.falcon > 0
