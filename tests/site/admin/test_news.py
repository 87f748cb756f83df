"""The news in the panel: list, editor with preview, time of publication, and what readers see."""

import time
import xml.etree.ElementTree as ET

from tests.patience import wait_until
from tests.site.admin.acts.texts import NEWS, SLUG, TITLE, new_text, stored, text_id, without_texts
from tests.site.admin.kit import ADMINISTRATOR, MODERATOR, SECOND, World, confirmed
from tests.site.kit import Browser, a_browser
from tests.wire.kit import eventually

HOSTILE = "<script>alert(1)</script> [x](javascript:alert(1)) <img src=x onerror=alert(1)>"
TITLE_TAG = "{http://www.w3.org/2005/Atom}title"


def state_of(browser: Browser, world: World) -> str:
    """Return the state of the only text in the list."""
    return browser.get(NEWS).one(f'tr[data-text-id="{text_id(world)}"] td[data-label="State"]').text()


def in_minutes(minutes: int) -> str:
    """Return a time from now on as the field has it."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(time.time() + 60 * minutes))


def test_new_text_is_public_in_the_list_on_its_page_and_in_the_feed(world: World) -> None:
    without_texts(world)
    browser, began = world.browser(ADMINISTRATOR), time.time()

    page = confirmed(new_text(world, browser), "Add news")

    assert page.message == "The text is added."
    assert state_of(browser, world) == "public"
    visitor = a_browser(world.server)
    item = visitor.get("/news").follow(TITLE)
    assert (item.h1, item.path) == (TITLE, f"/news/{SLUG}")
    assert (item.one("article time[datetime*='T']").attributes["datetime"] or "").endswith("Z")
    feed = ET.fromstring(visitor.request("GET", "/news.atom").body)
    assert TITLE in [node.text for node in feed.iter(TITLE_TAG)]
    days = {time.strftime("%Y-%m-%d", time.gmtime(at)) for at in (began, time.time())}
    assert (feed.findtext("{http://www.w3.org/2005/Atom}updated") or "")[:10] in days
    eventually(lambda: TITLE in visitor.get("/").text, within_s=15.0)  # the page may be ten seconds old


def test_draft_and_scheduled_text_are_seen_by_staff_only(world: World) -> None:
    for published, state in (("", "draft"), (in_minutes(60), "scheduled")):
        without_texts(world)
        browser = world.browser(ADMINISTRATOR)

        confirmed(new_text(world, browser).fill(Published=published), "Add news")

        assert state_of(browser, world) == state
        visitor = a_browser(world.server)
        assert visitor.get(f"/news/{SLUG}").status == 404
        assert TITLE not in visitor.get("/news").text
        assert browser.get(f"{NEWS}/{text_id(world)}").link("Public page") is None


def test_preview_shows_the_text_harmless_and_saves_nothing(world: World) -> None:
    stored()(world)
    browser, visitor = world.browser(ADMINISTRATOR), a_browser(world.server)
    wait_until(lambda: visitor.get(f"/news/{SLUG}").h1 == TITLE, within_s=10)
    before = len(world.audit())

    form = browser.get(f"{NEWS}/{text_id(world)}").form("Edit").fill(Title=HOSTILE, Text=f"**Bold** {HOSTILE}")
    page = form.press("Preview")

    assert page.status == 200
    assert page.css('button[name="preview"][formnovalidate]'), "browsers ask for no reason before a preview"
    assert page.css("[aria-invalid]") == []
    preview = page.one("#preview")
    assert preview.css_first("strong").text() == "Bold"  # type: ignore[union-attr]
    assert preview.css("script, img, a[href^=javascript]") == []
    assert HOSTILE in page.headings(2)[0]
    assert page.form("Edit").values["text"] == f"**Bold** {HOSTILE}"
    assert len(world.audit()) == before
    assert visitor.get(f"/news/{SLUG}").h1 == TITLE

    page = confirmed(page.form("Edit").fill(Reason="test"), "Save changes")

    assert page.alert is None
    public = visitor.get(f"/news/{SLUG}")
    assert public.h1 == HOSTILE
    assert public.css("article script, article img, a[href^=javascript]") == []


def test_withdrawn_text_is_gone_and_can_be_restored(world: World) -> None:
    stored()(world)
    browser, visitor = world.browser(ADMINISTRATOR), a_browser(world.server)
    wait_until(lambda: visitor.get(f"/news/{SLUG}").status == 200, within_s=10)

    page = confirmed(browser.get(f"{NEWS}/{text_id(world)}").form("Withdraw").fill(Reason="wrong"))

    assert (page.message or "").startswith(f"{TITLE} is withdrawn.")
    assert page.link("Undo: Restore") == "#act-restore"
    assert visitor.get(f"/news/{SLUG}").status == 404
    page = confirmed(page.form("Restore").fill(Reason="right"))
    assert visitor.get(f"/news/{SLUG}").h1 == TITLE


def test_wrong_time_and_taken_slug_are_explained_and_the_text_is_not_lost(world: World) -> None:
    stored()(world)
    browser = world.browser(ADMINISTRATOR)

    page = confirmed(new_text(world, browser).fill(Slug="other", Published="tomorrow"), "Add news")
    assert page.status == 422
    assert "2026-05-02 18:00" in (page.form("Add news").error("Published") or "")
    assert page.form("Add news").values["text"] == "It begins."

    page = confirmed(new_text(world, browser), "Add news")
    assert (page.status, page.alert) == (409, "Slug is already taken.")


def test_second_of_two_editors_sees_who_was_first(world: World) -> None:
    stored()(world)
    first, second = (
        world.browser(user_id).get(f"{NEWS}/{text_id(world)}").form("Edit").fill(Text=text, Reason="x")
        for user_id, text in ((ADMINISTRATOR, "First."), (SECOND, "Second."))
    )
    confirmed(first, "Save changes")

    # A preview in between does not count as having seen the change.
    late = confirmed(second.press("Preview").form("Edit"), "Save changes")

    assert late.status == 409
    assert f"Changed by {world.name(ADMINISTRATOR)} a moment ago (news_edit)" in (late.alert or "")
    assert late.form("Edit").values["text"] == "Second."


def test_files_of_the_operator_are_listed_and_not_editable(world: World) -> None:
    folder = world.server.data / "news"
    folder.mkdir(exist_ok=True)
    (folder / "2026-01-05-file-news.md").write_text("# File <b>news</b>\n\nText.\n", "utf-8")
    browser = world.browser(ADMINISTRATOR)

    wait_until(lambda: browser.get(NEWS).css('li[data-file="2026-01-05-file-news"]'), within_s=10)

    page = browser.get(NEWS)
    assert page.link("File <b>news</b>") == "/news/2026-01-05-file-news"
    assert world.browser(MODERATOR).get(NEWS).status == 404
    assert browser.get(f"{NEWS}/999999").status == 404
