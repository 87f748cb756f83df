"""Acts of staff in Chromium: form, question, result, undo, the audit log, and what the public sees."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import msgspec
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from tests.browser.kit import a_visitor
from tests.site.admin.kit import ADMINISTRATOR, DEVELOPER, MODERATOR, OWNER, PLAYER, SECOND, World
from tests.site.kit import a_browser

TARGET: Final = f"/admin/users/{PLAYER}"
NEW_NAME: Final = "Another Name"


class Flow(msgspec.Struct, frozen=True):
    """An act and the act that undoes it: the names of their forms, the fields, and the actions in the audit log.

    `offered` means that the message after the act leads to the form of the other one.
    """

    actor: int
    act: str
    action: str
    undo: str
    undo_action: str
    fields: Mapping[str, str] = {}
    undo_fields: Mapping[str, str] = {}
    offered: bool = True


FLOWS: Final = (
    Flow(MODERATOR, "silence", "silence", "unsilence", "unsilence", {"duration": "1h"}),
    Flow(ADMINISTRATOR, "restrict", "restrict", "unrestrict", "unrestrict"),
    Flow(ADMINISTRATOR, "freeze", "freeze", "unfreeze", "unfreeze"),
    Flow(DEVELOPER, "donor", "donor_give", "end-donor", "donor_take", {"tier": "supporter", "duration": "30d"}),
    Flow(DEVELOPER, "wipe", "user_wipe", "restore", "user_restore"),
)


class Staff:
    """A member of staff with a browser."""

    def __init__(self, chromium: Browser, world: World, user_id: int) -> None:
        self.origin = f"http://localhost:{world.server.port}"
        self.context: BrowserContext = a_visitor(chromium)
        session = a_browser(world.server, user_id=user_id, second_factor_h=0)
        self.context.add_cookies(
            [{"name": name, "value": value, "url": self.origin} for name, value in session.cookies.items()]
        )
        self.page: Page = self.context.new_page()
        self._world = world

    def open(self, path: str = TARGET) -> Page:
        """Open a page."""
        self.page.goto(self.origin + path)
        return self.page

    def ask(self, act: str, fields: Mapping[str, str] | None = None) -> None:
        """Fill in the form of an act and press its button. The question must name the player."""
        form = self.page.locator(f"#act-{act}")
        for name, value in {"reason": "a test", **(fields or {})}.items():
            field = form.locator(f"[name={name}]")
            if field.count():
                field.select_option(value) if field.evaluate("e => e.tagName") == "SELECT" else field.fill(value)
        with self.page.expect_navigation():
            form.locator("button[type=submit]").click()
        expect(self.page.locator("h1")).to_contain_text(self._world.name(PLAYER))

    def confirm(self) -> None:
        """Answer the question with yes."""
        with self.page.expect_navigation():
            self.page.get_by_role("button", name="Confirm").click()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server with staff of every role."""
    world = World(tmp_path_factory.mktemp("admin-flows") / "data")
    yield world
    world.server.stop()


@pytest.fixture
def staff(chromium: Browser, world: World) -> Iterator[Callable[[int], Staff]]:
    """Returns a member of staff by id."""
    members: list[Staff] = []

    def member(user_id: int) -> Staff:
        members.append(Staff(chromium, world, user_id))
        return members[-1]

    yield member
    for one in members:
        one.context.close()


def acts_since(world: World, newest: int) -> list[str]:
    return [row.action for row in world.audit() if row.id > newest]


def newest_id(world: World) -> int:
    return max((int(row.id) for row in world.audit()), default=0)


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.act)
def test_act_is_confirmed_logged_once_and_undone(world: World, staff: Callable[[int], Staff], flow: Flow) -> None:
    before = newest_id(world)
    member = staff(flow.actor)
    page = member.open()

    member.ask(flow.act, flow.fields)
    assert acts_since(world, before) == [], "the question does nothing"
    member.confirm()

    expect(page.locator("main [role=status]")).to_contain_text(world.name(PLAYER))
    page.get_by_role("link", name="Undo:").click()
    member.ask(flow.undo, flow.undo_fields)
    member.confirm()
    expect(page.locator("main [role=status]")).to_contain_text(world.name(PLAYER))
    assert acts_since(world, before) == [flow.action, flow.undo_action]
    log = staff(OWNER).open(f"/admin/audit?target={PLAYER}")
    rows = log.locator("table.rows tbody tr")
    expect(rows.nth(0)).to_contain_text(flow.undo_action)
    expect(rows.nth(1)).to_contain_text(flow.action)


def test_two_presses_of_confirm_are_one_act(world: World, staff: Callable[[int], Staff]) -> None:
    before = newest_id(world)
    member = staff(MODERATOR)
    member.open()
    member.ask("silence", {"duration": "1h"})

    member.page.get_by_role("button", name="Confirm").dblclick(no_wait_after=True)
    member.page.wait_for_load_state()
    expect(member.page.locator("main [role=status], main [role=alert]").first).to_be_visible()

    assert acts_since(world, before) == ["silence"]
    member.open()
    member.ask("unsilence")
    member.confirm()


def test_second_of_two_administrators_learns_who_was_first(world: World, staff: Callable[[int], Staff]) -> None:
    before = newest_id(world)
    first, second = staff(ADMINISTRATOR), staff(SECOND)
    for member in (first, second):
        member.open()
        member.ask("freeze")

    first.confirm()
    second.confirm()

    expect(second.page.locator("main [role=alert]")).to_contain_text(f"Changed by {world.name(ADMINISTRATOR)}")
    assert acts_since(world, before) == ["freeze"]
    second.open()
    second.ask("unfreeze")
    second.confirm()


def test_public_follows_a_restriction_and_its_end_at_once(world: World, staff: Callable[[int], Staff]) -> None:
    name = world.name(PLAYER)

    def seen() -> list[bool]:
        stranger = a_browser(world.server)
        answer = world.server.ask("GET", f"/get_player_info?scope=all&id={PLAYER}", host="api.localhost")
        return [
            stranger.get(f"/users/{PLAYER}").status == 200,
            name in stranger.get("/leaderboard?mode=0").text,
            answer.status == 200,
            f'"{name}"'.encode() in world.server.ask("GET", f"/search_players?q={name[:4]}", host="api.localhost").body,
        ]

    member = staff(ADMINISTRATOR)
    before = seen()
    member.open()
    member.ask("restrict")
    member.confirm()
    hidden = seen()
    member.page.get_by_role("link", name="Undo:").click()
    member.ask("unrestrict")
    member.confirm()

    assert before[0]
    assert before[2]
    assert hidden == [False, False, False, False]
    assert seen() == before


def test_act_can_be_done_with_the_keyboard_only(world: World, staff: Callable[[int], Staff]) -> None:
    before = newest_id(world)
    page = staff(MODERATOR).open()

    def tab_to(selector: str) -> None:
        for _ in range(300):
            page.keyboard.press("Tab")
            if page.evaluate("one => document.activeElement.matches(one)", selector):
                return
        raise AssertionError(f"Tab does not reach {selector}")

    tab_to("#act-kick [name=reason]")
    page.keyboard.type("stuck")
    tab_to("#act-kick button[type=submit]")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text(world.name(PLAYER))
    tab_to("button.sure")
    with page.expect_navigation():
        page.keyboard.press("Enter")

    expect(page.locator("main [role=status]")).to_be_visible()
    assert acts_since(world, before) == ["kick"]


def test_cancel_does_nothing(world: World, staff: Callable[[int], Staff]) -> None:
    before = newest_id(world)
    member = staff(ADMINISTRATOR)
    member.open()
    member.ask("rename", {"name": NEW_NAME})

    member.page.get_by_role("link", name="Cancel").click()

    member.page.wait_for_url(f"**{TARGET}")
    assert acts_since(world, before) == []
    assert world.name(PLAYER) != NEW_NAME
