"""The pages of settings, blocked addresses and webhooks in the panel."""

import pytest
from sqlalchemy import delete, insert
from tests.site.admin.acts.server_settings import NETWORK, switched, with_block, with_text, without_block
from tests.site.admin.acts.webhooks import parked
from tests.site.admin.kit import ADMINISTRATOR, DEVELOPER, World, confirmed
from tests.site.kit import a_browser

from kiai.server_settings import SETTING_NAMES
from kiai.staff.address_blocks import PAGE
from kiai.storage.tables import address_blocks, webhooks


def test_page_shows_each_setting_with_its_value_source_and_meaning(world: World) -> None:
    page = world.browser(DEVELOPER).get("/admin/settings")

    rows = {row.attributes["data-setting"]: row for row in page.css("tr[data-setting]")}
    assert rows.keys() == set(SETTING_NAMES)
    factor, port, host = rows["staff_second_factor"], rows["port"], rows["connections_per_address"]
    assert (factor.attributes["data-source"], host.attributes["data-source"]) == ("environment", "default")
    assert "KIAI_STAFF_SECOND_FACTOR" in factor.text()
    assert "Whether the admin panel needs a second factor" in factor.text()
    assert port.attributes["data-source"] == "flag"
    assert "not set" in rows["upstream_key"].text()
    assert "no restart" in rows["welcome"].text()
    assert "no restart" not in port.text()


def test_maintenance_shows_its_reason_and_ends(world: World) -> None:
    switched("maintenance")(world)
    browser = world.browser(DEVELOPER)

    page = confirmed(browser.get("/admin/settings").form("Begin maintenance").fill(Reason="<b>new disk</b>"))
    assert (page.message or "").startswith("The server is under maintenance.")
    assert page.link("Undo: End maintenance") == "#act-end-maintenance"
    state = page.one("[data-maintenance]")
    assert state.attributes["data-maintenance"] == "on"
    assert "<b>new disk</b>" in state.text()
    assert "Begin maintenance" not in page.headings(3)

    page = confirmed(page.form("End maintenance").fill(Reason="done"))
    assert page.one("[data-maintenance]").attributes["data-maintenance"] == "off"


def test_registration_is_closed_on_the_website_and_shown_to_staff_until_the_setting_decides_again(world: World) -> None:
    switched("registration")(world)
    browser, visitor = world.browser(DEVELOPER), a_browser(world.server)
    assert browser.get("/admin/settings").one("[data-registration]").text(strip=True) == "open to everybody"

    page = confirmed(
        browser.get("/admin/settings").form("Change registration").fill(Who_can_register="off", Reason="<b>raid</b>")
    )

    assert (page.message or "").startswith("Registration is changed.")
    assert page.link("Undo: Let the setting decide who registers") == "#act-follow-setting"
    state = page.one("[data-registration]").text(strip=True)
    assert state.startswith("closed since")
    assert state.endswith(": <b>raid</b>")
    assert "off by a decision of staff" in page.one('tr[data-setting="registration"]').text()
    assert "Registration is closed, by a decision of staff" in browser.get("/admin").one("main").text()
    assert "Registration is closed" in visitor.get("/register").text
    assert not visitor.get("/").css('a[href="/register"]')

    page = confirmed(page.form("Let the setting decide who registers").fill(Reason="over"))

    assert page.one("[data-registration]").attributes["data-registration"] == "on"
    assert "Let the setting decide who registers" not in page.headings(3)
    assert "decision of staff" not in page.one("main").text()
    assert visitor.get("/").css('a[href="/register"]')


def test_text_of_the_game_overrides_the_setting_until_it_is_withdrawn(world: World) -> None:
    with_text(None)(world)
    browser = world.browser(DEVELOPER)
    url = "https://example.org/menu.png"

    page = confirmed(
        browser.get("/admin/settings").form("Change the picture of the menu").fill(URL=url, Reason="a party")
    )

    assert (page.message or "").startswith("The picture of the menu is changed.")
    assert page.link("Undo: Withdraw the picture of the menu") == "#act-withdraw-menu-icon"
    row = page.one('tr[data-setting="menu_icon"]')
    assert row.attributes["data-source"] == "panel"
    assert url in row.text()
    assert url.encode() in menu_of(world)

    page = confirmed(page.form("Withdraw the picture of the menu").fill(Reason="over"))

    assert page.one('tr[data-setting="menu_icon"]').attributes["data-source"] == "default"
    assert "Withdraw the picture of the menu" not in page.headings(3)
    assert url.encode() not in menu_of(world)


def test_forms_of_texts_begin_with_the_text_in_force(world: World) -> None:
    with_text("Hello <b>\nand welcome")(world)
    browser = world.browser(DEVELOPER)

    page = browser.get("/admin/settings")
    assert page.form("Change the welcome").values["text"] == "Hello <b>\nand welcome"
    assert page.form("Change the link of the menu").values["text"] == ""

    page = confirmed(page.form("Change the welcome").fill(Text="Hi", Reason="shorter"))
    assert page.form("Change the welcome").values["text"] == "Hi"
    refused = confirmed(page.form("Change the welcome").fill(Text="\x07", Reason="a try"))
    assert refused.form("Change the welcome").values["text"] == "\x07", "what was typed stays"


def test_form_of_registration_begins_with_the_present_choice(world: World) -> None:
    switched("registration", 2)(world)

    form = world.browser(DEVELOPER).get("/admin/settings").form("Change registration")

    assert form.values["state"] == "invite"


@pytest.mark.parametrize(
    ("what", "label", "text"),
    [
        ("the picture of the menu", "URL", "javascript:alert(1)"),
        ("the link of the menu", "URL", "http://"),
        ("the welcome", "Text", "\x07"),
    ],
)
def test_wrong_text_of_the_game_is_refused(world: World, what: str, label: str, text: str) -> None:
    with_text(None)(world)
    form = world.browser(DEVELOPER).get("/admin/settings").form(f"Change {what}")

    page = confirmed(form.fill(**{label: text, "Reason": "a try"}))

    assert page.status == 422
    assert "Must be" in (page.form(f"Change {what}").error(label) or "")


def menu_of(world: World) -> bytes:
    """Return what clients read about the picture of the main menu."""
    return world.server.ask("GET", "/menu-content.json", host="assets.localhost", headers={"User-Agent": "osu!"}).body


def test_second_administrator_of_two_sees_who_switched(world: World) -> None:
    switched("debug")(world)
    first, second = world.browser(DEVELOPER), world.browser(DEVELOPER)
    late = second.get("/admin/settings").form("Log debug lines").fill(Reason="me, too")

    assert confirmed(first.get("/admin/settings").form("Log debug lines").fill(Reason="a fault")).status == 200
    page = confirmed(late)

    assert page.status == 409
    assert "changed this a moment ago" in (page.alert or "")
    confirmed(first.get("/admin/settings").form("Stop debug lines").fill(Reason="found"))


@pytest.mark.parametrize("delay", ["5s", "2d"])
def test_stop_at_once_or_after_more_than_a_day_is_refused(world: World, delay: str) -> None:
    switched("stop")(world)

    page = confirmed(world.browser(DEVELOPER).get("/admin/settings").form("Plan a stop").fill(In=delay, Reason="why"))

    assert (page.status, page.alert) == (422, "Must be 15 seconds to 1 day.")


def test_addresses_are_listed_by_pages_and_a_wrong_one_is_refused(world: World) -> None:
    with_block(world)
    rows = [
        {"network": f"192.0.2.{at}/32", "at_ms": 0, "ends_at_ms": 0, "actor_id": DEVELOPER, "reason": "scan"}
        for at in range(PAGE)
    ]
    world.write(insert(address_blocks).values(rows))
    browser = world.browser(DEVELOPER)
    try:
        first = browser.get("/admin/settings/addresses")
        rest = first.follow("Next")
        again = confirmed(first.form("Block an address").fill(Address=NETWORK, Reason="again"))
        own = confirmed(first.form("Block an address").fill(Address="127.0.0.1", Reason="oops"))
        wide = confirmed(first.form("Block an address").fill(Address="0.0.0.0/0", Reason="oops"))
    finally:
        world.write(delete(address_blocks))

    assert len(first.css("tr[data-block]")) == PAGE
    assert world.name(DEVELOPER) in first.one('tr[data-block="192.0.2.1/32"]').text()
    assert [row.attributes["data-block"] for row in rest.css("tr[data-block]")] == [NETWORK]
    assert "<b>spam</b>" in rest.one("tr[data-block]").text()
    assert (again.status, again.alert) == (422, f"{NETWORK} is already blocked.")
    assert own.status == 422
    assert "addresses of this server" in (own.alert or "")
    assert "at least /8" in (wide.form("Block an address").error("Address") or "")


def test_pages_without_rows_say_so(world: World) -> None:
    without_block(world)
    world.write(delete(webhooks))
    browser = world.browser(DEVELOPER)

    assert "No address is blocked." in browser.get("/admin/settings/addresses").one("main").text()
    assert "There are no webhooks." in browser.get("/admin/webhooks").one("main").text()
    assert browser.get("/admin/settings/addresses/99999").status == 404
    assert browser.get("/admin/webhooks/99999").status == 404


def test_parked_webhook_waits_on_the_start_page_until_a_test_succeeds(world: World) -> None:
    world.write(delete(webhooks))
    assert world.browser(DEVELOPER).get("/admin").stat("webhooks") == "0"
    webhook_id = parked(world)
    browser = world.browser(DEVELOPER)

    [number] = browser.get("/admin").css('dl a[href="/admin/webhooks"]')
    assert number.text(strip=True) == "1"
    listed = browser.get("/admin/webhooks")
    row = listed.one(f'tr[data-webhook="{webhook_id}"]')
    assert "parked" in row.text()
    assert "<b>connection refused</b>" in row.text()
    assert "/hook" not in listed.one("main").text()

    page = browser.get(f"/admin/webhooks/{webhook_id}")
    world.receiver.answers = [500]
    failed = confirmed(page.form("Send a test").fill(Reason="is it up?"))
    assert failed.status == 503
    assert "500" in (failed.alert or "")
    assert failed.one("[data-state]").attributes["data-state"] == "parked"

    done = confirmed(failed.form("Send a test").fill(Reason="is it up?"))
    assert done.message == "The receiver has accepted the test."
    assert done.one("[data-state]").attributes["data-state"] == "ok"


def test_administrator_sees_none_of_these_pages(world: World) -> None:
    browser = world.browser(ADMINISTRATOR)

    for path in ("/admin/settings", "/admin/settings/addresses", "/admin/webhooks"):
        assert browser.get(path).status == 404, path
