"""The pages of channels in the panel."""

from sqlalchemy import select
from tests.site.admin.acts.channels import CHANNEL, id_of, state
from tests.site.admin.kit import DEVELOPER, MODERATOR, World, confirmed

from kiai.storage.tables import channels

HOSTILE = "<b>Topic</b>"


def test_developer_adds_a_channel_for_staff_and_removes_it(world: World) -> None:
    browser = world.browser(DEVELOPER)
    form = browser.get("/admin/channels").form("Add channel")
    form.fill(Name="#backstage", Topic=HOSTILE, Who_may_read="moderator", Who_may_write="administrator")

    page = confirmed(form)

    assert page.message == "The channel is added."
    row = page.one('tr[data-channel="#backstage"]')
    assert HOSTILE in row.text()
    assert HOSTILE.encode() not in page.body
    assert "moderator" in row.text()
    assert "administrator" in row.text()

    page = confirmed(browser.get(f"/admin/channels/{id_of(world, '#backstage')}").form("Remove channel"))

    assert page.path == "/admin/channels"
    assert page.css('tr[data-channel="#backstage"]') == []


def test_name_of_the_game_or_of_another_channel_is_refused(world: World) -> None:
    state()(world)
    browser = world.browser(DEVELOPER)

    reserved = confirmed(browser.get("/admin/channels").form("Add channel").fill(Name="multiplayer"))
    taken = confirmed(browser.get("/admin/channels").form("Add channel").fill(Name=CHANNEL))

    assert reserved.status == 422
    assert "game's own channels" in (reserved.form("Add channel").error("Name") or "")
    assert (taken.status, taken.alert) == (409, "Channel is already taken.")


def test_moderator_sees_the_channels_and_only_moderates_them(world: World) -> None:
    state()(world)
    browser = world.browser(MODERATOR)
    page = browser.get("/admin/channels")

    assert page.css(f'tr[data-channel="{CHANNEL}"]')
    assert page.headings(3) == []
    page = page.follow(CHANNEL)
    assert page.headings(3) == ["Moderate"]

    page = confirmed(page.form("Moderate"))
    assert page.link("Undo: Stop moderating") == "#act-open"
    assert world.row(select(channels.c.moderated).where(channels.c.name == CHANNEL))[0] == 1
    page = confirmed(page.form("Stop moderating"))
    assert world.row(select(channels.c.moderated).where(channels.c.name == CHANNEL))[0] == 0
    assert browser.get("/admin/channels/99999").status == 404
