"""Every page in Chromium, in both themes: no error, no violation of WCAG A and AA, and no sideways scrolling."""

from collections.abc import Iterator
from typing import Any, Final, Literal

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page
from tests.browser.kit import WIDTHS, a_visitor, faults_of, visit
from tests.site.kit import a_browser
from tests.site.test_every_page import NEEDED, OTHER, PLAYER, READ, address_of
from tests.wire.kit import Server

from kiai.faces.site.page import Access

LANGUAGES: Final = ("en", "de", "es", "pl", "ja")
PARTS: Final = ("/static", "/pictures", "/search/suggest")
"""Answers without a page: files and parts of pages."""
SHOWN: Final = [page for page in READ if not page.path.startswith(PARTS) and page.access is not Access.STAFF]
"""The pages for players. `test_admin_pages.py` visits those of staff."""


NEXT: Final = "/robots.txt"
SET: Final = 300_000
THEMES: Final[tuple[Literal["dark", "light"], ...]] = ("dark", "light")
FOR_STRANGERS: Final = ("/", "/login", "/register", "/reset", "/connect", f"/users/{OTHER}", "/no-such-page")
"""Pages that have other parts for a visitor without a session, or lead a player elsewhere."""


@pytest.fixture(scope="module", params=THEMES)
def visitor(request: pytest.FixtureRequest, chromium: Browser, demo: Server) -> Iterator[Page]:
    """The tab of a player with a theme. A new tab for each page would cost more than the page."""
    context = a_visitor(chromium, color_scheme=request.param)
    token = a_browser(demo, user_id=PLAYER).cookies["kiai"]
    context.add_cookies([{"name": "kiai", "value": token, "url": f"http://localhost:{demo.port}"}])
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module", params=THEMES)
def stranger(request: pytest.FixtureRequest, chromium: Browser) -> Iterator[Page]:
    """The tab of a visitor without a session, with a theme."""
    context = a_visitor(chromium, color_scheme=request.param)
    yield context.new_page()
    context.close()


def addresses() -> list[Any]:
    found = [pytest.param(address_of(page) + NEEDED.get(page.path, ""), id=page.path) for page in SHOWN]
    return [*found, pytest.param("/no-such-page", id="an unknown page")]


@pytest.mark.parametrize("path", addresses())
def test_page_is_accessible_and_fits(visitor: Page, demo: Server, axe: str, path: str) -> None:
    check(visitor, demo, axe, path)


@pytest.mark.parametrize("path", FOR_STRANGERS)
def test_page_of_a_stranger_is_accessible_and_fits(stranger: Page, demo: Server, axe: str, path: str) -> None:
    check(stranger, demo, axe, path)


@pytest.mark.parametrize("theme", THEMES)
def test_page_of_an_owner_of_a_clan_is_accessible_and_fits(
    chromium: Browser, demo: Server, axe: str, theme: Literal["dark", "light"]
) -> None:
    owner = demo.ask("GET", "/v2/clans/1", host="api.localhost").json["data"]["owner"]
    token = a_browser(demo, user_id=owner).cookies["kiai"]
    with a_visitor(chromium, color_scheme=theme) as context:
        context.add_cookies([{"name": "kiai", "value": token, "url": f"http://localhost:{demo.port}"}])
        check(context.new_page(), demo, axe, "/clans/1/manage")


def check(page: Page, server: Server, axe: str, path: str) -> None:
    """Open a page in this tab. Check that it has no error and no violation, and fits into windows of three widths."""
    errors: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            errors.append(message.text)

    def on_error(error: Error) -> None:
        errors.append(str(error))

    url = f"http://localhost:{server.port}{path}"
    found: dict[str, list[str]] = {}
    page.on("console", on_console)
    page.on("pageerror", on_error)
    # Redirects lead to pages that have a test of their own. The browser downloads files and feeds.
    reply = page.request.get(url, max_redirects=0)
    if reply.status not in (301, 302, 303) and reply.headers.get("content-type", "").startswith("text/html"):
        page.goto(url)
        found = faults_of(page, axe)
        # Errors while the page ends are its own. A page of the same server keeps the process of the tab: a new one for
        # each page, with nothing compiled, would take a fifth of the time.
        page.goto(f"http://localhost:{server.port}{NEXT}")
    page.remove_listener("console", on_console)
    page.remove_listener("pageerror", on_error)

    assert reply.status < 500
    assert found == {}
    assert errors == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_page_speaks_the_language_of_the_browser(chromium: Browser, demo: Server, language: str) -> None:
    context, page = visit(chromium, f"http://localhost:{demo.port}/", locale=language)

    assert page.locator("html").get_attribute("lang") == language
    context.close()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("path", [f"/beatmapsets/{SET}", "/leaderboard", "/leaderboard/plays"])
def test_names_of_players_in_tables_have_room(chromium: Browser, demo: Server, path: str, width: int) -> None:
    """The cells of long tables are chosen by their number, so a changed column would hide another one."""
    context, page = visit(chromium, f"http://localhost:{demo.port}{path}", viewport={"width": width, "height": 900})
    names = page.locator("tbody tr a[href^='/users/']")
    boxes = [names.nth(at).bounding_box() for at in range(min(names.count(), 5))]
    context.close()

    assert len(boxes) == 5
    assert all(box is not None and box["width"] >= 20 for box in boxes), boxes
