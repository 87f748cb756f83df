"""Every page of staff in Chromium, in both themes: no error, no violation of WCAG A and AA, no sideways scrolling."""

from collections.abc import Iterator
from typing import Final

import pytest
from playwright.sync_api import Browser, Page
from tests.browser.kit import a_visitor
from tests.browser.test_every_page import THEMES, check
from tests.site.admin.kit import MODERATOR, OWNER, PLAYER, World, confirmed
from tests.site.kit import a_browser
from tests.site.test_every_page import READ, address_of

from kiai.faces.site.page import Access

PAGES: Final = [page for page in READ if page.access is Access.STAFF and not page.path.endswith(".csv")]
OF_PLAYER: Final = f"/admin/users/{PLAYER}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server with an act in its audit log."""
    world = World(tmp_path_factory.mktemp("admin-pages") / "data")
    confirmed(world.browser(MODERATOR).get(OF_PLAYER).form("Silence").fill(Duration="1h", Reason="spam"))
    yield world
    world.server.stop()


@pytest.fixture(scope="module", params=THEMES)
def staff(request: pytest.FixtureRequest, chromium: Browser, world: World) -> Iterator[Page]:
    """The tab of the owner of the server with a theme."""
    context = a_visitor(chromium, color_scheme=request.param)
    session = a_browser(world.server, user_id=OWNER, second_factor_h=0)
    origin = f"http://localhost:{world.server.port}"
    context.add_cookies([{"name": name, "value": value, "url": origin} for name, value in session.cookies.items()])
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("path", [*(address_of(page) for page in PAGES), OF_PLAYER])
def test_page_of_staff_is_accessible_and_fits(staff: Page, world: World, axe: str, path: str) -> None:
    check(staff, world.server, axe, path)
