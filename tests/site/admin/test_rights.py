"""Rights in the admin panel: a walk over all pages of staff with every role."""

from typing import Final
from urllib.parse import urlencode

import pytest
from sqlalchemy import update
from tests.site.admin.kit import (
    ADMINISTRATOR,
    DEVELOPER,
    MODERATOR,
    NOMINATOR,
    OTHER,
    OWNER,
    PLAYER,
    PRIVILEGES,
    RESTRICTED,
    SECOND,
    World,
    confirmed,
)
from tests.site.kit import Browser, a_browser
from tests.site.test_every_page import PAGES, address_of, ask, name_of

from kiai.faces.site.admin.sections import SECTIONS
from kiai.faces.site.page import Access, Page
from kiai.osu.privileges import may
from kiai.storage.tables import users

STAFF_PAGES: Final = [page for page in PAGES if page.access is Access.STAFF]
ROLES: Final = {
    "player": PLAYER,
    "restricted": RESTRICTED,
    "other player": OTHER,
    "nominator": NOMINATOR,
    "moderator": MODERATOR,
    "administrator": ADMINISTRATOR,
    "developer": DEVELOPER,
    "owner": OWNER,
}


def request(browser: Browser, page: Page) -> tuple[int, str]:
    """Request a page, or send its form without a token, so that nothing changes. Return status and target."""
    reply = ask(browser, page.method, address_of(page))
    return reply.status, reply.headers.get("location", "")


@pytest.mark.parametrize("page", STAFF_PAGES, ids=name_of)
def test_page_exists_only_for_visitors_with_its_permission(world: World, page: Page) -> None:
    status, target = request(a_browser(world.server), page)
    assert (status, target.partition("?")[0]) == (303, "/login"), "nobody"

    for role, user_id in ROLES.items():
        allowed = may(PRIVILEGES[user_id], page.permission)

        status, target = request(world.browser(user_id), page)
        without, second_factor = request(world.browser(user_id, second_factor_h=None), page)
        late, again = request(world.browser(user_id, second_factor_h=12.1), page)

        if not allowed:
            assert (status, without, late) == (404, 404, 404), role
            continue
        assert not target.startswith(("/login", "/admin/second-factor")), role
        # A form without a token is refused, but not because of the role.
        assert status in ((200, 303, 404) if page.method == "GET" else (403,)), f"{role}: {status}"
        assert (without, second_factor.partition("?")[0]) == (303, "/admin/second-factor"), role
        assert (late, again.partition("?")[0]) == (303, "/admin/second-factor"), role


@pytest.mark.parametrize(("role", "user_id"), ROLES.items(), ids=list(ROLES))
def test_navigation_has_only_the_sections_of_the_role_and_all_of_them_exist(
    world: World, role: str, user_id: int
) -> None:
    own = [section for section in SECTIONS if may(PRIVILEGES[user_id], section.permission)]
    browser = world.browser(user_id)
    menu = browser.get("/").css("#account-menu a")

    assert ("Admin" in [link.text(strip=True) for link in menu]) == bool(own)
    for section in own:
        page = browser.get(section.path)
        assert page.status == 200, f"{role}: {section.path}"
        assert [link.attributes["href"] for link in page.css('nav[aria-label="Admin"] a')] == [one.path for one in own]
        assert page.one('nav[aria-label="Admin"] [aria-current]').attributes["href"] == section.path


def test_pages_of_staff_are_private_and_not_indexed(world: World) -> None:
    for section in SECTIONS:
        page = world.browser(OWNER).get(section.path)

        assert page.headers["cache-control"] == "private, no-store", section.path
        assert page.css('meta[name="robots"][content="noindex"]'), section.path


def test_second_factor_opens_the_panel(world: World) -> None:
    browser = world.browser(MODERATOR, second_factor_h=None)

    page = browser.get(f"/admin/users/{PLAYER}")
    assert page.path == f"/admin/second-factor?{urlencode({'next': f'/admin/users/{PLAYER}'})}"
    assert "no second factor" in (page.alert or "")


def test_role_that_is_taken_away_closes_the_panel_at_once(world: World) -> None:
    browser = world.browser(MODERATOR)
    assert browser.get(f"/admin/users/{PLAYER}").status == 200

    world.write(update(users).where(users.c.id == MODERATOR).values(priv=3))
    try:
        assert browser.get(f"/admin/users/{PLAYER}").status == 404
    finally:
        world.write(update(users).where(users.c.id == MODERATOR).values(priv=PRIVILEGES[MODERATOR]))


def test_demotion_ends_the_sessions_of_the_browser_for_good(world: World) -> None:
    browser, others = world.browser(SECOND), world.browser(OTHER)
    form = world.browser(OWNER).get(f"/admin/users/{SECOND}").form("Privileges")
    form.values.pop("privileges-administrator")

    confirmed(form.fill(Reason="left the team"))
    try:
        assert browser.get("/admin", follow=False).headers["location"].startswith("/login")
        assert browser.get("/settings/profile", follow=False).headers["location"].startswith("/login")
        assert others.get("/settings/profile").status == 200
    finally:
        world.write(update(users).where(users.c.id == SECOND).values(priv=PRIVILEGES[SECOND]))
    assert browser.get("/admin", follow=False).headers["location"].startswith("/login")
