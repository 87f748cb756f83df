"""The texts of pages and of the bot in the panel."""

from tests.patience import wait_until
from tests.site.admin.acts.texts import PAGES, answered, without_texts
from tests.site.admin.kit import ADMINISTRATOR, DEVELOPER, World, confirmed
from tests.site.kit import a_browser

HOSTILE = "<script>alert(1)</script>"


def source_of(world: World) -> str:
    """Return where the rules come from, as the list says it."""
    page = world.browser(ADMINISTRATOR).get(PAGES)
    return page.one('tr[data-page="rules"] td[data-label="Text from"]').text()


def test_page_of_the_panel_hides_the_file_and_withdrawing_shows_it_again(world: World) -> None:
    without_texts(world)
    browser, visitor = world.browser(ADMINISTRATOR), a_browser(world.server)
    wait_until(lambda: source_of(world) == "the default text", within_s=10)
    (world.server.data / "pages").mkdir(exist_ok=True)
    (world.server.data / "pages" / "rules.md").write_text("# House rules\n\nFile.\n", "utf-8")
    wait_until(lambda: source_of(world) == "the file pages/rules.md", within_s=10)

    form = browser.get(f"{PAGES}/rules").form("Edit")
    assert form.values["text"] == "File."
    page = confirmed(form.fill(Title="Our rules", Text=f"Be *nice*. {HOSTILE}", Reason="shorter"), "Save changes")

    assert page.message == "/rules has the new text."
    assert source_of(world) == "the panel"
    public = visitor.get("/rules")
    assert (public.h1, public.one("article em").text()) == ("Our rules", "nice")
    assert public.css("article script") == []
    assert HOSTILE in public.text

    page = confirmed(page.form("Withdraw").fill(Reason="back"))
    assert visitor.get("/rules").h1 == "House rules"
    page = confirmed(page.form("Restore").fill(Reason="again"))
    assert visitor.get("/rules").h1 == "Our rules"


def test_unknown_page_does_not_exist(world: World) -> None:
    browser = world.browser(ADMINISTRATOR)

    for name in ("nope", "rules.md", "bot"):
        assert browser.get(f"{PAGES}/{name}").status == 404, name


def test_developer_changes_the_texts_of_the_bot(world: World) -> None:
    answered(world)
    browser = world.browser(DEVELOPER)
    page = browser.get(PAGES).follow("Welcome text and answers of !faq")

    page = confirmed(page.form("Set a text of the bot").fill(Key="welcome", Text=f"Hello!\n{HOSTILE}"), "Set text")

    assert page.message == "The text is set."
    assert HOSTILE in page.one('tr[data-key="welcome"]').text()
    assert HOSTILE.encode() not in page.body
    page = confirmed(page.form("Remove a text of the bot").fill(Key="welcome"), "Remove text")
    assert page.css('tr[data-key="welcome"]') == []
    page = confirmed(page.form("Remove a text of the bot").fill(Key="welcome"), "Remove text")
    assert page.alert == "The FAQ entry does not exist."
