"""News and pages that staff writes: what the public sees and when, next to the files of the operator."""

import json

import pytest
from sqlalchemy import update
from tests.builders import NORMAL, World, a_player

from kiai.clock import ManualClock
from kiai.documents import BYTES_MAX, Documents
from kiai.documents import service as documents
from kiai.documents.stored import LISTED, NEWS, PAGE, StoredTexts
from kiai.errors import Conflict, Invalid, KiaiError, NotAllowed, NotFound, Unavailable, WrongState
from kiai.osu.privileges import Privilege
from kiai.staff import Actor
from kiai.staff.audit import ChangedMeanwhile
from kiai.staff.site_texts import EXCERPT, SiteTexts
from kiai.storage.tables import site_texts

MINUTE_MS = 60_000


class Desk:
    """The acts of one worker, and what its readers see."""

    def __init__(self, world: World) -> None:
        stored = StoredTexts(world.database)
        self.world = world
        self.clock: ManualClock = world.clock
        self.documents = Documents(world.folder, "kiai club", world.clock, stored)
        self.texts = SiteTexts(world.authority, stored, self.documents, world.clock)

    def add(self, actor: Actor, slug: str, in_minutes: int | None = 0, title: str = "", text: str = "Text.") -> int:
        """Add a text of the news that appears in `in_minutes` minutes, None for a draft."""
        at_ms = None if in_minutes is None else self.clock.now_ms() + in_minutes * MINUTE_MS
        return self.world.run(self.texts.add_news(actor, slug, title or slug, text, at_ms, reason="new"))

    def news(self) -> list[str]:
        """Return the slugs of the public news."""
        return [item.slug for item in self.world.run(self.documents.news())]

    def page(self, slug: str = "rules") -> str:
        """Return the text of a page."""
        return self.world.run(self.documents.page(slug)).text

    def write(self, name: str, text: str) -> None:
        """Write a file of the operator."""
        path = self.world.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
        self.clock.advance(documents.LOOK_EVERY_S)


@pytest.fixture
def desk(world: World) -> Desk:
    return Desk(world)


@pytest.fixture
def admin(world: World) -> Actor:
    return Actor(world.add_player(a_player("admin", priv=NORMAL | Privilege.ADMINISTRATOR)), "web")


def test_text_is_public_at_once_and_in_the_log_once(desk: Desk, admin: Actor) -> None:
    text_id = desk.add(admin, "season-two", title="Season  two\n", text="It *begins*.\r\n\r\nNow.")

    [item] = desk.world.run(desk.documents.news())
    assert (item.title, item.text, item.summary) == ("Season two", "It *begins*.\n\nNow.", "It begins.")
    assert item.at_ms == desk.clock.now_ms()
    assert desk.world.run(desk.documents.news_item("season-two")) == item
    [row] = desk.world.audit(text_id, "text")
    details = json.loads(row.details)
    assert (row.action, row.actor_id, row.source, row.reason) == ("news_edit", admin.user_id, "web", "new")
    assert (details["before"], details["after"]["title"], details["slug"]) == (None, "Season two", "season-two")


def test_draft_and_future_text_are_invisible_until_their_time(desk: Desk, admin: Actor) -> None:
    draft = desk.add(admin, "draft", None)
    desk.add(admin, "later", 10)
    assert desk.news() == []
    for slug in ("draft", "later"):
        with pytest.raises(NotFound):
            desk.world.run(desk.documents.news_item(slug))

    desk.clock.advance(9 * 60)
    assert desk.news() == []
    desk.clock.advance(60)
    assert desk.news() == ["later"]

    desk.clock.advance(60)
    desk.world.run(desk.texts.edit_news(admin, draft, "Draft", "Text.", desk.clock.now_ms(), reason="done"))
    assert desk.news() == ["draft", "later"]
    desk.world.run(desk.texts.edit_news(admin, draft, "Draft", "Text.", None, reason="not done"))
    assert desk.news() == ["later"]


def test_withdrawn_text_comes_back_with_restoring(desk: Desk, admin: Actor) -> None:
    text_id = desk.add(admin, "oops")

    desk.world.run(desk.texts.set_withdrawn(admin, NEWS, text_id, True, reason="wrong"))
    assert desk.news() == []
    with pytest.raises(WrongState):
        desk.world.run(desk.texts.set_withdrawn(admin, NEWS, text_id, True, reason="wrong"))
    desk.world.run(desk.texts.set_withdrawn(admin, NEWS, text_id, False, reason="right"))

    assert desk.news() == ["oops"]
    with pytest.raises(WrongState):
        desk.world.run(desk.texts.set_withdrawn(admin, NEWS, text_id, False, reason="right"))
    changes = [json.loads(row.details) for row in reversed(desk.world.audit(text_id, "text"))][1:]
    assert [(one["before"]["withdrawn"], one["after"]["withdrawn"]) for one in changes] == [
        (False, True),
        (True, False),
    ]


def test_other_worker_sees_a_change_within_a_second(world: World, admin: Actor) -> None:
    here, there = Desk(world), Desk(world)
    assert there.news() == []
    here.add(admin, "first")
    assert (here.news(), there.news()) == (["first"], [])

    world.clock.advance(documents.LOOK_EVERY_S)

    assert there.news() == ["first"]


def test_texts_are_read_again_only_after_a_change(desk: Desk, admin: Actor) -> None:
    text_id = desk.add(admin, "first")
    assert desk.news() == ["first"]
    # Behind the back of the verbs, which set a new stamp.
    desk.world.change(update(site_texts).values(slug="second"))
    desk.clock.advance(documents.LOOK_EVERY_S)
    assert desk.news() == ["first"]

    desk.world.run(desk.texts.edit_news(admin, text_id, "Other", "Text.", desk.clock.now_ms(), reason="x"))

    assert desk.news() == ["second"]


def test_files_and_stored_texts_stand_in_one_list_and_a_stored_text_hides_the_file_with_its_name(
    desk: Desk, admin: Actor
) -> None:
    text_id = desk.add(admin, "season")
    day = desk.world.run(desk.documents.news())[0].date
    desk.write("news/2001-02-03-old.md", "# Old\n\nFile.\n")
    desk.write(f"news/{day}-season.md", "# File\n\nFile.\n")

    assert desk.news() == ["season", "old"]
    assert desk.world.run(desk.documents.news_item("season")).text == "Text."

    desk.world.run(desk.texts.set_withdrawn(admin, NEWS, text_id, True, reason="the file is right"))
    assert desk.world.run(desk.documents.news_item("season")).text == "File."
    assert [item.name for item in desk.world.run(desk.documents.file_news())] == [f"{day}-season", "2001-02-03-old"]


def test_page_of_the_panel_hides_the_file_until_it_is_withdrawn(desk: Desk, admin: Actor) -> None:
    default = desk.page()
    desk.write("pages/rules.md", "# Rules\n\nFile.\n")
    assert desk.page() == "File."

    desk.world.run(desk.texts.set_page(admin, "rules", "Rules", "Panel.", reason="shorter"))
    assert desk.page() == "Panel."
    stored = desk.world.run(desk.texts.page(admin, "rules"))
    assert stored is not None
    desk.world.run(desk.texts.set_withdrawn(admin, PAGE, stored.id, True, reason="back"))
    assert desk.page() == "File."
    (desk.world.folder / "pages" / "rules.md").unlink()
    desk.clock.advance(documents.LOOK_EVERY_S)
    assert desk.page() == default
    # A new text restores the page, too.
    desk.world.run(desk.texts.set_page(admin, "rules", "Rules", "Again.", reason="again"))

    assert desk.page() == "Again."
    assert [row.action for row in desk.world.audit(stored.id, "text")] == ["page_edit"] * 3
    with pytest.raises(WrongState):
        desk.world.run(desk.texts.set_page(admin, "rules", "Rules", "Again.", reason="again"))


def test_log_has_a_bounded_part_of_a_long_text(desk: Desk, admin: Actor) -> None:
    text_id = desk.add(admin, "long", text="a" * BYTES_MAX)
    [row] = desk.world.audit(text_id, "text")

    after = json.loads(row.details)["after"]
    assert (len(after["text"]), after["characters"], len(after["sha256"])) == (EXCERPT, BYTES_MAX, 64)


@pytest.mark.parametrize(
    ("slug", "title", "text", "at_ms", "field"),
    [
        ("Bad Slug", "T", "x", 1, "slug"),
        ("a--b", "T", "x", 1, "slug"),
        ("a" * 101, "T", "x", 1, "slug"),
        ("../rules", "T", "x", 1, "slug"),
        ("a", " \n", "x", 1, "title"),
        ("a", "T" * 201, "x", 1, "title"),
        ("a", "T", " \n", 1, "text"),
        ("a", "T", "ä" * (BYTES_MAX // 2 + 1), 1, "text"),
        ("a", "T", "x\0", 1, "text"),
        ("a", "T", "x", 0, "published"),
        ("a", "T", "x", 2**53, "published"),
    ],
)
def test_wrong_input_is_refused(
    desk: Desk, admin: Actor, slug: str, title: str, text: str, at_ms: int, field: str
) -> None:
    with pytest.raises(Invalid) as caught:
        desk.world.run(desk.texts.add_news(admin, slug, title, text, at_ms, reason="x"))

    assert caught.value.field == field
    assert desk.world.run(desk.texts.news(admin, 2**53)) == []


def test_slug_is_taken_once_and_unknown_texts_are_not_found(desk: Desk, admin: Actor) -> None:
    desk.add(admin, "one")

    with pytest.raises(Conflict):
        desk.add(admin, "one")
    for call in (
        desk.texts.one_of_news(admin, 999),
        desk.texts.edit_news(admin, 999, "T", "x", None, reason="x"),
        desk.texts.set_withdrawn(admin, NEWS, 999, True, reason="x"),
        desk.texts.set_page(admin, "nope", "T", "x", reason="x"),
        desk.texts.page(admin, "../../etc/passwd"),
    ):
        with pytest.raises(NotFound):
            desk.world.run(call)


def test_page_is_no_text_of_the_news(desk: Desk, admin: Actor) -> None:
    desk.world.run(desk.texts.set_page(admin, "rules", "Rules", "Panel.", reason="x"))
    stored = desk.world.run(desk.texts.page(admin, "rules"))
    assert stored is not None

    assert desk.news() == []
    with pytest.raises(NotFound):
        desk.world.run(desk.texts.set_withdrawn(admin, NEWS, stored.id, True, reason="x"))


def test_moderator_neither_reads_nor_writes(desk: Desk, admin: Actor) -> None:
    text_id = desk.add(admin, "one")
    moderator = Actor(desk.world.add_player(a_player("mod", priv=NORMAL | Privilege.MODERATOR)), "web")

    calls = (
        desk.texts.news(moderator, 2**53),
        desk.texts.one_of_news(moderator, text_id),
        desk.texts.page(moderator, "rules"),
        desk.texts.add_news(moderator, "two", "T", "x", None, reason="x"),
        desk.texts.edit_news(moderator, text_id, "T", "x", None, reason="x"),
        desk.texts.set_page(moderator, "rules", "T", "x", reason="x"),
        desk.texts.set_withdrawn(moderator, NEWS, text_id, True, reason="x"),
    )
    for call in calls:
        with pytest.raises(NotAllowed):
            desk.world.run(call)
    assert desk.news() == ["one"]


def test_second_of_two_editors_changes_nothing(desk: Desk, admin: Actor) -> None:
    text_id = desk.add(admin, "one")
    other = desk.world.add_player(a_player("other", priv=NORMAL | Privilege.ADMINISTRATOR))
    late = Actor(other, "web", seen_id=1)
    desk.clock.advance(1)
    desk.world.run(desk.texts.edit_news(admin, text_id, "Mine", "x", None, reason="x"))
    desk.clock.advance(1)

    with pytest.raises(ChangedMeanwhile) as caught:
        desk.world.run(desk.texts.edit_news(late, text_id, "Yours", "y", None, reason="y"))

    assert caught.value.actor_id == admin.user_id
    assert desk.world.run(desk.texts.one_of_news(admin, text_id)).title == "Mine"


def test_list_has_pages_of_the_newest_texts(desk: Desk, admin: Actor) -> None:
    ids = [desk.add(admin, f"text-{number}", None) for number in range(LISTED + 2)]

    first = desk.world.run(desk.texts.news(admin, 2**53))
    assert [one.id for one in first] == list(reversed(ids))[: LISTED + 1]
    assert [one.id for one in desk.world.run(desk.texts.news(admin, first[LISTED - 1].id))] == [ids[1], ids[0]]


def test_files_are_shown_while_the_database_does_not_answer(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.write("pages/rules.md", "# Rules\n\nFile.\n")

    async def fails(*_: object, **__: object) -> None:
        raise Unavailable("database")

    monkeypatch.setattr(desk.world.database, "one", fails)

    assert desk.page() == "File."
    with pytest.raises(KiaiError):
        desk.world.run(desk.texts.page(Actor(0, "cli"), "rules"))
