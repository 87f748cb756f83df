"""The pages of failed requests, and the redirect from the host that the game opens. Neither needs a store."""

import asyncio
from typing import Any

import pytest
from selectolax.lexbor import LexborHTMLParser

from kiai.faces.asgi import Receive, Scope, Send
from kiai.faces.site.assets import Assets
from kiai.faces.site.failure import FailurePages
from kiai.faces.site.osu_host import redirecting_osu_host
from kiai.faces.site.templating import Templates

SITE = {
    "title": "kiai <club>",
    "domain": "kiai.example",
    "registration": lambda: "on",
    "base_url": "https://kiai.example",
    "mail_verification": False,
}


def scope_of(
    path: str = "/", *, host: str = "kiai.example", method: str = "GET", query: str = "", **headers: str
) -> Scope:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(b"host", host.encode()), *[(name.encode(), value.encode()) for name, value in headers.items()]],
        "kiai.request_id": "5f0c1b7e-2a",
    }


@pytest.fixture(scope="module")
def failures() -> FailurePages:
    return FailurePages(Templates(Assets(), SITE))


@pytest.mark.parametrize(("status", "h1"), [(500, "Something went wrong"), (503, "Maintenance")])
def test_browser_gets_a_page_in_the_design(failures: FailurePages, status: Any, h1: str) -> None:
    found = failures.page(scope_of(accept="text/html,application/xhtml+xml"), status)

    assert found is not None
    headers, body = dict(found[0]), found[1]
    page = LexborHTMLParser(body.decode())
    assert [node.text() for node in page.css("h1")] == [h1]
    assert page.css('main [role="alert"]')
    assert ("5f0c1b7e-2a" in body.decode()) == (status == 500)
    assert headers[b"cache-control"] == b"no-store"
    assert int(headers[b"content-length"]) == len(body)
    assert (b"retry-after" in headers) == (status == 503)


@pytest.mark.parametrize("accept", ["", "*/*", "application/json"])
def test_program_gets_no_page(failures: FailurePages, accept: str) -> None:
    assert failures.page(scope_of(accept=accept), 500) is None
    assert failures.page(scope_of(), 500) is None


def ask(scope: Scope) -> list[Any]:
    """Send a request to the site behind the redirect; return its messages."""
    sent: list[Any] = []

    async def site(scope: Scope, receive: Receive, send: Send) -> None:
        await send("served")

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return None

    async def request() -> None:
        await redirecting_osu_host(site, "kiai.example", "https://kiai.example")(scope, receive, send)

    asyncio.run(request())
    return sent


@pytest.mark.parametrize(
    ("path", "query", "target"),
    [
        ("/", "", "https://kiai.example/"),
        ("/u/some player", "mode=1&x=%2F", "https://kiai.example/u/some%20player?mode=1&x=%2F"),
        ("//evil.example/u", "", "https://kiai.example/evil.example/u"),
        ("/u/a\r\nX: y", "", "https://kiai.example/u/a%0D%0AX%3A%20y"),
        ("/u/\u00e4", "", "https://kiai.example/u/%C3%A4"),
    ],
)
def test_page_of_the_osu_host_leads_to_the_bare_domain(path: str, query: str, target: str) -> None:
    start, _ = ask(scope_of(path, host="OSU.kiai.example:443", query=query))

    assert start["status"] == 302
    assert dict(start["headers"])[b"location"] == target.encode()


@pytest.mark.parametrize(
    "scope",
    [
        scope_of("/u/3"),
        scope_of("/u/3", host="osu.other.example"),
        scope_of("/u/3", host="osu.kiai.example.evil.example"),
        scope_of("/u/3", host="osu.kiai.example", method="POST"),
    ],
)
def test_other_requests_are_served(scope: Scope) -> None:
    assert ask(scope) == ["served"]
