"""Rules for all pages: statuses by visitor, headers, the frame, forged forms, and hostile parameters.

The pages come from the table of the site itself, so a new page is part of these tests. A new parameter of a path needs
an example in `EXAMPLES`.
"""

import asyncio
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import pytest
from selectolax.lexbor import LexborHTMLParser
from tests.site.kit import Browser, a_browser
from tests.wire.kit import Reply, Server, cli

from kiai.app import open_services
from kiai.faces.site.page import Access, Page
from kiai.logs import AccessLog
from kiai.server import HttpServer
from kiai.settings import load_settings

PLAYER: Final = 8
RESTRICTED: Final = 5
OTHER: Final = 10
STAFF: Final = 12
"""A developer, whose sessions have a second factor."""
EXAMPLES: Final = {
    "user": f"{OTHER}",
    "player": f"{OTHER}",
    "list": "best",
    "word": "taiko",
    "part": "osu",
    "clan": "1",
    "channel": "1",
    "score": "63",
    "set": "300001",
    "map": "900001",
    "beatmap": "900001",
    "match": "1",
    "pool": "1",
    "slug": "season-two",
    "name": "pages.xml",
    "kind": "card.jpg",
    "path:path": "icons.svg",
    "token": "no-such-token",
    "code": "no-such-code",
    "id": "1",
    "key": "1",
    "session": "1",
    "passkey": "1",
    "comment": "1",
    "mode": "osu",
    "provider": "x",
    "report": "1",
    "flag": "1",
    "block": "1",
    "webhook": "1",
    "text": "1",
    "document": "rules",
    "run": "1",
}
"""A value for each parameter of a path, in the demo world."""
STREAMS: Final = {"/live"}
"""Pages that do not end: tests of their subject read them."""
NEEDED: Final = {"/register/check": "?field=username&value=somebody"}
"""Queries of the pages that have no answer without one."""
WITHOUT_TOKEN: Final[set[str]] = set()
"""Forms without a token. Such a form may not change anything."""
NO_SUCH: Final = (
    "/nope",
    "/community/forums",
    "/wiki/Main",
    "/ap",
    "/p/admin",
    "/admin/nope",
    "/static/nope.css",
    "/Clans",
)
HOSTILE: Final = (
    "0",
    "-1",
    "1e9",
    "99999999999999999999999",
    "%00",
    "%0d%0aSet-Cookie:%20a=b",
    "%3Cscript%3Ealert(1)%3C%2Fscript%3E",
    "'%20OR%20'1'='1",
    "%F4%8F%BF%BF",
    "%C3%A4%E2%80%AE",
    "a" * 300,
)
HOSTILE_QUERIES: Final = tuple(
    urlencode(query)
    for query in (
        {"mode": "9", "page": "0"},
        {"mode": "x"},
        {"mode": "7", "page": "1", "sort": "pp"},
        {"page": "99999999999999999999"},
        {"page": "-1", "cursor": "x", "before": "x", "after": "-1"},
        {"country": "<script>alert(1)</script>", "q": "\0", "lang": "xx"},
        {"q": "<script>alert(1)</script>", "next": "//evil.example", "os": "x", "scope": "x", "mods": "x", "map": "x"},
        {"q": "\U0010ffff" * 50, "filter": "x", "status": "x", "player": "x", "sort": "x"},
    )
)
_INLINE: Final = re.compile(r"\son[a-z]+=|\s(?:href|src|action)=javascript:", re.IGNORECASE)
_PARAMETER: Final = re.compile(r"\{([^}]+)\}")


def table() -> list[Page]:
    """Return the pages of the site."""

    async def look() -> list[Page]:
        with tempfile.TemporaryDirectory() as data:
            async with open_services(load_settings(data=Path(data))) as services:
                return HttpServer(services, AccessLog()).site.pages

    return asyncio.run(look())


PAGES: Final = table()
READ: Final = [page for page in PAGES if page.method == "GET" and page.path != "*" and page.path not in STREAMS]
WRITTEN: Final = [page for page in PAGES if page.method == "POST"]
FORMS: Final = [page for page in WRITTEN if page.csrf]
FORMS_OF_THE_GAME: Final = {"/", "/users"}
"""Paths that the game posts to."""
ONLY_READ: Final = [
    page for page in READ if page.path not in {other.path for other in WRITTEN} and page.path not in FORMS_OF_THE_GAME
]


def name_of(page: Page) -> str:
    return f"{page.method} {page.path}"


def address_of(page: Page, **values: str) -> str:
    """Return a path of the page, with the examples for its parameters except those given."""
    unknown = [name for name in _PARAMETER.findall(page.path) if name not in EXAMPLES]
    assert not unknown, f"{page.path}: add an example of {unknown} to EXAMPLES"
    return _PARAMETER.sub(lambda match: values.get(match[1], EXAMPLES[match[1]]), page.path)


def is_own(target: str) -> bool:
    """Whether a redirect leads to a path of this site."""
    return target.startswith("/") and not target.startswith(("//", "/\\"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the demo world, a restricted player and a text of the news."""
    data: Path = tmp_path_factory.mktemp("pages") / "data"
    cli(data, "demo", "--players", "50", "--maps", "20", "--scores", "2000")
    name = next(user["name"] for user in cli(data, "users", "list")["users"] if user["id"] == RESTRICTED)
    cli(data, "users", "restrict", name, "--reason", "a test")
    staff = next(user["name"] for user in cli(data, "users", "list")["users"] if user["id"] == STAFF)
    cli(data, "users", "grant", staff, "developer")
    (data / "news").mkdir()
    (data / "news" / "2026-01-01-season-two.md").write_text("# Season two\n\nIt begins.\n", "utf-8")
    # Without rate limits: each form is sent dozens of times by one account. `test_frame` tests the limits.
    server = Server(data, RATE_LIMITS="off").start()
    yield server
    server.stop()


def visitors(server: Server) -> dict[str, Browser]:
    return {
        "nobody": a_browser(server),
        "player": a_browser(server, user_id=PLAYER),
        "restricted": a_browser(server, user_id=RESTRICTED),
        "other player": a_browser(server, user_id=OTHER),
        "staff": staff_browser(server),
    }


def staff_browser(server: Server) -> Browser:
    return a_browser(server, user_id=STAFF, second_factor_h=0)


def visitor_of(server: Server, page: Page) -> Browser:
    """Return a visitor for whom the page exists."""
    return staff_browser(server) if page.access is Access.STAFF else a_browser(server, user_id=PLAYER)


def ask(browser: Browser, method: str, path: str, **headers: str) -> Reply:
    """Send a request without fields."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    body = b"" if method == "POST" else None
    if body is not None:
        sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
    return browser.request(method, path, headers=sent, body=body)


def is_page(reply: Reply) -> bool:
    return (
        reply.headers.get("content-type", "").startswith("text/html") and b"<!doctype html>" in reply.body[:200].lower()
    )


def check_frame(path: str, reply: Reply) -> None:
    """Check what every page has, also that of an error."""
    page = LexborHTMLParser(reply.body.decode())
    where = f"{path} ({reply.status})"
    assert len(page.css("h1")) == 1, where
    assert len(page.css("main#content")) == 1, where
    assert page.css('nav[aria-label="Main"]'), where
    assert page.css('[role="search"] [aria-label="Search"]'), where
    assert len(page.css("header.site-header")) == len(page.css("footer.site-footer")) == 1, where
    title = page.css_first("title")
    assert title is not None, where
    assert title.text().strip(), where
    indexed = page.css('link[rel="canonical"]')
    assert len(indexed) == 1 or page.css('meta[name="robots"][content="noindex"]'), where
    if indexed:
        assert page.css('meta[property="og:title"]'), where
        assert page.css('meta[name="twitter:card"]'), where
        assert page.css('meta[name="description"]'), f"{where} has no description"
    assert page.css("[style], style") == [], where
    assert [node for node in page.css("script") if not node.attributes.get("src")] == [], where
    attributes = [f" {name}={value}" for node in page.css("*") for name, value in node.attributes.items()]
    assert [text for text in attributes if _INLINE.match(text)] == [], where
    assert [node for node in page.css("img") if "alt" not in node.attributes] == [], where
    outside = [node.attributes.get("src") for node in page.css("script, img, link[rel=stylesheet]")]
    assert [source for source in outside if source and not source.startswith(("/", "data:"))] == [], where
    for form in page.css('form[method="post"]'):
        assert form.css('input[name="csrf_token"]'), where
        assert (form.attributes.get("action") or "/").startswith("/"), where


def check_headers(path: str, reply: Reply) -> None:
    policy = reply.headers.get("content-security-policy", "")
    assert "default-src 'none'" in policy, path
    assert "frame-ancestors 'none'" in policy, path
    assert "unsafe" not in policy, path
    assert reply.headers.get("x-content-type-options") == "nosniff", path
    assert reply.headers.get("referrer-policy"), path


@pytest.mark.parametrize("page", READ, ids=name_of)
def test_page_has_the_right_status_headers_and_frame_for_every_visitor(world: Server, page: Page) -> None:
    path = address_of(page) + NEEDED.get(page.path, "")

    for visitor, browser in visitors(world).items():
        reply = ask(browser, "GET", path)

        where = f"{visitor}: {path} ({reply.status})"
        if page.access is not Access.PUBLIC and visitor == "nobody":
            assert reply.status == 303, where
            assert reply.headers["location"].startswith("/login?next="), where
            continue
        assert reply.status in (200, 301, 302, 303, 304, 404, 410), where
        if reply.status in (301, 302, 303):
            assert is_own(reply.headers["location"]), where
        check_headers(path, reply)
        if is_page(reply):
            check_frame(path, reply)
            if visitor != "nobody":
                assert reply.headers["cache-control"] == "private, no-store", where


@pytest.mark.parametrize("path", NO_SUCH)
def test_unknown_path_is_a_page_with_404(world: Server, path: str) -> None:
    for browser in visitors(world).values():
        reply = ask(browser, "GET", path)

        assert reply.status == 404, path
        check_headers(path, reply)
        check_frame(path, reply)
        assert b"Not found" in reply.body


@pytest.mark.parametrize("page", READ, ids=name_of)
def test_hostile_parameters_never_fail_and_are_never_echoed_as_markup(world: Server, page: Page) -> None:
    browser = visitor_of(world, page)
    names = _PARAMETER.findall(page.path)
    paths = [address_of(page, **{name: value}) for name in names for value in HOSTILE]
    paths += [f"{address_of(page)}?{query}" for query in HOSTILE_QUERIES]

    for path in paths:
        reply = ask(browser, "GET", path)

        assert reply.status < 500, f"{path}: {reply.status}"
        assert b"<script>alert" not in reply.body, path
        assert "a=b" not in reply.headers.get("set-cookie", ""), path
        target = reply.headers.get("location", "/")
        assert is_own(target), f"{path} -> {target}"
        if is_page(reply):
            check_frame(path, reply)


@pytest.mark.parametrize("page", ONLY_READ, ids=name_of)
def test_page_without_a_form_refuses_to_be_written(world: Server, page: Page) -> None:
    reply = ask(visitor_of(world, page), "POST", address_of(page))

    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD"), page.path
    check_frame(page.path, reply)


def token_of(browser: Browser) -> str:
    """Return the token of the visitor, from the form in the frame of a page or in the login form."""
    path = "/medals" if "kiai" in browser.cookies else "/login"
    return str(browser.get(path).one('input[name="csrf_token"]').attributes["value"])


def submit(browser: Browser, page: Page, *, token: str, **headers: str) -> Reply:
    body = urlencode({"csrf_token": token} if token else {}).encode()
    sent = {"Content-Type": "application/x-www-form-urlencoded", **headers}
    return browser.request("POST", address_of(page), headers=sent, body=body)


def test_all_forms_need_a_token_except_those_that_change_nothing() -> None:
    assert {page.path for page in WRITTEN} - {page.path for page in FORMS} == WITHOUT_TOKEN


@pytest.mark.parametrize("page", FORMS, ids=name_of)
def test_forged_form_is_refused(world: Server, page: Page) -> None:
    player, other, nobody = (visitor_of(world, page), a_browser(world, user_id=OTHER), a_browser(world))
    right, wrong = token_of(player), token_of(other)

    if page.access is not Access.PUBLIC:
        refused = submit(nobody, page, token="")
        assert (refused.status, refused.headers["location"]) == (303, "/login?next=%2F")
    else:
        assert submit(nobody, page, token="").status == 403
        assert submit(nobody, page, token=right).status == 403
    for token in ("", wrong, right + "0", "\u00e4" * 40):
        assert submit(player, page, token=token).status == 403, token
    for origin in (
        "https://evil.example",
        "null",
        "http://localhost.evil.example",
        f"http://localhost:{world.port + 1}",
    ):
        assert submit(player, page, token=right, Origin=origin).status == 403, origin
    assert "kiai" in player.cookies


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_restricted_player_uses_only_the_forms_of_the_own_account(world: Server, page: Page) -> None:
    browser = a_browser(world, user_id=RESTRICTED)

    reply = submit(browser, page, token=token_of(browser))

    if page.access is Access.PLAYER and not page.restricted:
        assert reply.status == 403
    assert reply.status < 500


HOSTILE_TEXT: Final = "<script>alert(1)</script>\0\u202e' OR 1=1 -- " + "a" * 200
NAMES: Final = (
    *("name", "username", "password", "email", "code", "label", "text", "next", "country", "id", "userpage"),
    *("preferred_mode", "messages", "new_name", "current_password", "new_password", "content", "set", "map", "score"),
    *("action", "comment", "confirmed", "kind", "mods", "pick", "rating", "reason", "scope", "status"),
)


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_hostile_fields_never_fail(world: Server, page: Page) -> None:
    for browser in (visitor_of(world, page), a_browser(world)):
        token = token_of(browser)
        for fields in ({}, dict.fromkeys(NAMES, HOSTILE_TEXT), dict.fromkeys(NAMES, "-1")):
            body = urlencode({**fields, "csrf_token": token}).encode()
            sent = {"Content-Type": "application/x-www-form-urlencoded"}
            reply = browser.request("POST", address_of(page), headers=sent, body=body)

            assert reply.status < 500, f"{page.path}: {reply.status}"
            assert b"<script>alert" not in reply.body, page.path
            target = reply.headers.get("location", "/")
            assert is_own(target), f"{page.path} -> {target}"


def test_restricted_player_is_on_no_page_of_others(world: Server) -> None:
    name = next(user["name"] for user in world.cli("users", "list")["users"] if user["id"] == RESTRICTED)
    browser = a_browser(world, user_id=OTHER)
    found = []

    for page in READ:
        if "path:path" in page.path or page.path.startswith("/pictures"):
            continue
        path = address_of(page)
        for shown in (path, f"{path}?q={name}", f"{path}?mode=1"):
            reply = ask(browser, "GET", shown)
            text = LexborHTMLParser(reply.body.decode(errors="replace")).css_first("main") if is_page(reply) else None
            links = [] if text is None else text.css(f'a[href="/users/{RESTRICTED}"], [data-user-id="{RESTRICTED}"]')
            if links:
                found.append(shown)

    assert found == []


def test_trailing_slash_leads_to_the_page_without(world: Server) -> None:
    browser = a_browser(world)
    for path, target in (
        ("/clans/", "/clans"),
        ("/clans/1/?mode=1", "/clans/1?mode=1"),
        ("/evil.example//", "/evil.example"),
    ):
        reply = ask(browser, "GET", path)
        assert (reply.status, reply.headers["location"]) == (301, target)


def test_every_page_is_named_once() -> None:
    named = [(page.method, page.path) for page in PAGES]

    assert sorted(named) == sorted(set(named))
