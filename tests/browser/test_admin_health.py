"""The page of the health in Chromium: the charts, both themes, a narrow window."""

import time
from collections.abc import Iterator
from typing import Final

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import insert
from tests.browser import kit
from tests.site.admin.kit import DEVELOPER, World
from tests.site.kit import a_browser

from kiai.storage.tables import samples

MINUTES_AGO: Final = (range(1_440, 700, -1), range(600, 0, -1))
"""The server was down from 700 to 600 minutes ago."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server with a day of samples."""
    world = World(tmp_path_factory.mktemp("health") / "data")
    now = int(time.time()) // 60
    figures = {"minutes": 1, "seconds": 60, "server": "demo:1", "lag_ms": 1.5}
    for span in MINUTES_AGO:
        rows = [
            {
                **figures,
                "minute": now - ago,
                "requests": 600 + 5 * (ago % 90),
                "errors": int(ago % 50 == 0),
                "submissions": ago % 4,
                "p99_ms": 12.0 + ago % 70 / 7,
                "online": 20 + ago // 60,
            }
            for ago in span
        ]
        world.write(insert(samples).values(rows))
    yield world
    world.server.stop()


@pytest.mark.parametrize(("theme", "width"), [("dark", 1_280), ("light", 390)])
def test_charts_are_drawn_with_gaps_and_the_page_is_accessible(
    world: World, chromium: Browser, axe: str, theme: str, width: int
) -> None:
    session = a_browser(world.server, user_id=DEVELOPER, second_factor_h=0)
    origin = f"http://localhost:{world.server.port}"
    context = chromium.new_context(locale="en", viewport={"width": width, "height": 900}, color_scheme=theme)  # type: ignore[arg-type]
    context.add_cookies([{"name": name, "value": value, "url": origin} for name, value in session.cookies.items()])
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{origin}/admin/health")

    expect(page.locator("figure[data-chart=line] canvas")).to_have_count(6)
    page.locator("figure[data-chart=line] .u-over").first.hover()
    expect(page.locator(".tip:visible")).to_have_count(1)
    page.locator("summary", has_text="Show as a table").click()

    assert kit.violations(page, axe) == []
    assert kit.sticking_out(page) == []
    assert errors == []
    context.close()
