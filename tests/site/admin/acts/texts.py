"""The acts on news, pages and texts of the bot."""

from sqlalchemy import delete, insert, select, update
from tests.site.admin.kit import ADMINISTRATOR, DEVELOPER, Case, World
from tests.site.kit import Browser, FormOnPage

from kiai.storage.tables import faq, site_texts

NEWS = "/admin/news"
PAGES = "/admin/pages"
SLUG = "season-three"
TITLE = "Season three"
PUBLISHED_MS = 1_777_680_000_000  # 2 May 2026
LATEST = 2**40
"""The stamp of rows that the tests write, behind that of every act."""


def without_texts(world: World) -> None:
    """Remove all texts."""
    world.write(delete(site_texts))


def text_id(world: World, kind: str = "news") -> int:
    """Return the id of the text."""
    return int(world.row(select(site_texts.c.id).where(site_texts.c.kind == kind))[0])


def stored(kind: str = "news", **values: object):  # type: ignore[no-untyped-def]
    """Return a function that leaves one text of this kind, public unless the values say otherwise."""

    def prepare(world: World) -> None:
        without_texts(world)
        row = {
            "kind": kind,
            "slug": SLUG if kind == "news" else "rules",
            "title": TITLE,
            "text": "It begins.",
            "published_at_ms": PUBLISHED_MS,
            "created_at_ms": 1,
            "changed_at_ms": 1,
            "stamp": LATEST,
        }
        world.write(insert(site_texts).values(**row, **values))
        world.write(update(site_texts).values(stamp=LATEST + text_id(world, kind)))

    return prepare


def on_text(form: str, **fields: str):  # type: ignore[no-untyped-def]
    """Return a function that fills in a form on the page of the text."""

    def filled_in(world: World, browser: Browser) -> FormOnPage:
        return browser.get(f"{NEWS}/{text_id(world)}").form(form).fill(Reason="better", **fields)

    return filled_in


def on_page(form: str, **fields: str):  # type: ignore[no-untyped-def]
    """Return a function that fills in a form of the rules."""

    def filled_in(world: World, browser: Browser) -> FormOnPage:
        return browser.get(f"{PAGES}/rules").form(form).fill(Reason="better", **fields)

    return filled_in


def on_bot(form: str, **fields: str):  # type: ignore[no-untyped-def]
    """Return a function that fills in a form of the texts of the bot."""

    def filled_in(world: World, browser: Browser) -> FormOnPage:
        return browser.get(f"{PAGES}/bot").form(form).fill(**fields)

    return filled_in


def answered(world: World) -> None:
    """Leave one text of the bot."""
    world.write(delete(faq))
    world.write(insert(faq).values(key="rules", text="Be nice.", changed_at_ms=1))


def new_text(world: World, browser: Browser) -> FormOnPage:
    """Fill in the form of a new text."""
    form = browser.get(NEWS).form("Add news")
    return form.fill(Slug=SLUG, Title=TITLE, Text="It begins.", Published="now", Reason="new")


def title(world: World) -> str:
    """Return the title of the text."""
    return TITLE


def rules(world: World) -> str:
    """Return the address of the page."""
    return "/rules"


def key(world: World) -> str:
    """Return the key of the text of the bot."""
    return "rules"


CASES = {
    f"{NEWS}/add": Case("news_edit", ADMINISTRATOR, new_text, without_texts, title),
    f"{NEWS}/{{text}}/edit": Case("news_edit", ADMINISTRATOR, on_text("Edit", Text="Soon."), stored(), title),
    f"{NEWS}/{{text}}/withdraw": Case("news_edit", ADMINISTRATOR, on_text("Withdraw"), stored(), title),
    f"{NEWS}/{{text}}/restore": Case("news_edit", ADMINISTRATOR, on_text("Restore"), stored(withdrawn=1), title),
    f"{PAGES}/{{document}}/edit": Case(
        "page_edit", ADMINISTRATOR, on_page("Edit", Title="Rules", Text="Be nice."), without_texts, rules
    ),
    f"{PAGES}/{{document}}/withdraw": Case("page_edit", ADMINISTRATOR, on_page("Withdraw"), stored("page"), rules),
    f"{PAGES}/{{document}}/restore": Case(
        "page_edit", ADMINISTRATOR, on_page("Restore"), stored("page", withdrawn=1), rules
    ),
    f"{PAGES}/bot/set": Case(
        "faq_edit", DEVELOPER, on_bot("Set a text of the bot", Key="rules", Text="Be kind."), answered, key
    ),
    f"{PAGES}/bot/remove": Case("faq_edit", DEVELOPER, on_bot("Remove a text of the bot", Key="rules"), answered, key),
}
