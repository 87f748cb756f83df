"""The scripts of the website in Chromium: menus, themes, copy buttons, loaded parts, suggestions and charts."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect
from tests.browser.kit import visit
from tests.wire.kit import Server

NARROW = {"width": 390, "height": 800}


@pytest.fixture
def home(chromium: Browser, demo: Server) -> Iterator[Page]:
    context, page = visit(chromium, f"http://localhost:{demo.port}/")
    yield page
    context.close()


def serve(page: Page, parts: dict[str, str]) -> None:
    """Answer requests for these paths with a page whose content is given, in the frame of the start page."""
    frame = page.content()
    before, rest = frame.split('<main id="content" tabindex="-1">')
    after = rest[rest.index("</main>") :]

    def answer(route: Route) -> None:
        path = route.request.url.partition("/test")[2]
        body = parts[path]
        whole = route.request.headers.get("x-fragment") != "1"
        html = f'{before}<main id="content" tabindex="-1">{body}{after}' if whole else body
        route.fulfill(content_type="text/html", body=html)

    page.route("**/test*", answer)


def test_the_navigation_of_a_narrow_window_is_behind_a_button(chromium: Browser, demo: Server) -> None:
    context, page = visit(chromium, f"http://localhost:{demo.port}/", viewport=NARROW)
    button, navigation = page.get_by_role("button", name="Menu"), page.get_by_role("navigation", name="Main")
    expect(navigation).to_be_hidden()

    button.click()
    expect(navigation.get_by_role("link", name="Leaderboard")).to_be_visible()
    expect(button).to_have_attribute("aria-expanded", "true")

    page.keyboard.press("Escape")
    expect(navigation).to_be_hidden()
    expect(button).to_be_focused()
    context.close()


def test_without_script_the_navigation_and_the_button_of_the_footer_are_there(chromium: Browser, demo: Server) -> None:
    context, page = visit(chromium, f"http://localhost:{demo.port}/", viewport=NARROW, java_script_enabled=False)

    expect(page.get_by_role("navigation", name="Main")).to_be_visible()
    expect(page.get_by_role("button", name="Apply")).to_be_visible()
    expect(page.get_by_role("button", name="Menu")).to_be_hidden()
    context.close()


def test_a_chosen_theme_applies_at_once_and_to_the_next_page(home: Page) -> None:
    home.get_by_label("Theme").select_option("light")
    expect(home.locator("html")).to_have_attribute("data-theme", "light")
    home.reload()
    expect(home.locator("html")).to_have_attribute("data-theme", "light")

    home.get_by_label("Theme").select_option("system")
    home.reload()
    assert home.locator("html").get_attribute("data-theme") is None


def test_a_chosen_language_loads_the_page_in_it(home: Page) -> None:
    home.get_by_label("Language").select_option("de")

    expect(home.locator("html")).to_have_attribute("lang", "de")


def test_a_copy_button_copies_and_says_so(home: Page) -> None:
    home.context.grant_permissions(["clipboard-read", "clipboard-write"])
    serve(home, {"": '<button type="button" data-copy="osu!.exe" data-done="Copied" hidden>Copy</button>'})
    home.goto(f"{home.url}test")

    home.get_by_role("button", name="Copy").click()

    expect(home.get_by_role("button", name="Copied")).to_be_visible()
    assert home.evaluate("navigator.clipboard.readText()") == "osu!.exe"


def test_show_more_appends_the_next_part_and_the_focus_follows(home: Page) -> None:
    serve(
        home,
        {
            "": '<ul id="list"><li>1</li></ul><a data-more="list" href="/test?2">Show more</a>',
            "?2": '<ul id="list"><li><a href="/x">2</a></li></ul><a data-more="list" href="/test?3">Show more</a>',
            "?3": '<ul id="list"><li>3</li></ul>',
        },
    )
    home.goto(f"{home.url}test")

    home.get_by_role("link", name="Show more").click()
    expect(home.locator("#list li")).to_have_text(["1", "2"])
    expect(home.get_by_role("link", name="2")).to_be_focused()
    home.get_by_role("link", name="Show more").click()

    expect(home.locator("#list li")).to_have_text(["1", "2", "3"])
    expect(home.get_by_role("link", name="Show more")).to_have_count(0)


def test_tabs_replace_a_part_and_change_the_address(home: Page) -> None:
    tabs = (
        '<nav aria-label="Mode" data-into="part"><a href="/test" aria-current="page">A</a><a href="/test?b">B</a></nav>'
    )
    serve(home, {"": f'{tabs}<div id="part">part A</div>', "?b": f'{tabs}<div id="part">part B</div>'})
    home.goto(f"{home.url}test")

    home.get_by_role("link", name="B", exact=True).click()

    expect(home.locator("#part")).to_have_text("part B")
    expect(home.locator("[data-into] [aria-current]")).to_have_text("B")
    assert home.url.endswith("/test?b")
    home.go_back()
    expect(home.locator("#part")).to_have_text("part A")


def test_a_part_that_does_not_load_is_loaded_as_a_page(home: Page) -> None:
    serve(
        home,
        {
            "": '<ul id="list"><li>1</li></ul><a data-more="list" href="/test?2">Show more</a>',
            "?2": "<p>a page without the list</p>",
        },
    )
    home.goto(f"{home.url}test")

    home.get_by_role("link", name="Show more").click()

    expect(home.get_by_text("a page without the list")).to_be_visible()
    assert home.url.endswith("/test?2")


def test_the_search_box_suggests_links_for_the_keyboard(home: Page) -> None:
    links = '<a href="/users/3">ada</a><a href="/users/4">adam</a>'
    home.route("**/search/suggest*", lambda route: route.fulfill(content_type="text/html", body=links))
    box = home.get_by_role("combobox", name="Search")

    options = home.get_by_role("listbox", name="Search").get_by_role("option")

    box.type("ad")
    expect(options).to_have_text(["ada", "adam"])
    box.press("ArrowDown")
    box.press("ArrowDown")
    expect(options.last).to_have_attribute("aria-selected", "true")
    expect(box).to_have_attribute("aria-expanded", "true")
    box.press("Escape")
    expect(options).to_have_count(0)

    box.fill("ada")
    expect(options).to_have_count(2)
    box.press("ArrowUp")
    box.press("Enter")
    home.wait_for_url("**/users/4")


def test_a_line_chart_is_drawn_and_its_table_stays(home: Page) -> None:
    rows = "".join(
        f'<tr><td>{day} May</td><td><data value="{day * 10}">#{day * 10}</data></td></tr>' for day in (1, 2, 3)
    )
    chart = (
        f'<figure class="chart" data-chart="line"><div class="plot"></div><table><tbody>{rows}</tbody></table></figure>'
    )
    serve(home, {"": chart})
    home.goto(f"{home.url}test")

    plot = home.locator(".plot canvas")
    expect(plot).to_be_visible()
    expect(home.locator("tbody tr")).to_have_count(3)
    home.locator(".plot .u-over").hover()
    expect(home.locator(".tip")).to_have_text("2 May · #20")


def test_old_times_are_kept_current(home: Page) -> None:
    serve(home, {"": '<time datetime="2020-01-01T00:00:00Z" title="1 Jan 2020">just now</time>'})
    home.clock.install()
    home.goto(f"{home.url}test")

    expect(home.locator("main time")).to_have_text("just now")
    home.clock.run_for(60_000)

    expect(home.locator("main time")).to_have_text("6 years ago")
