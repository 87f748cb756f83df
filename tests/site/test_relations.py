"""The forms of friends and blocks on profiles."""

from collections.abc import Iterator
from typing import Final

import pytest
from tests.site.forms_kit import at_once, migrated_rows, token_field
from tests.site.kit import a_browser
from tests.wire.kit import Server
from tests.wire.rows import RESTRICTED, Rows

from kiai.accounts.model import BOT_ID
from kiai.accounts.relationships import BLOCKS_MAX
from kiai.storage.tables import audit_log, relationships

ANNA, BORIS, HIDDEN, CARLA, DORA, FIRST = 3, 4, 5, 6, 7, 100
FRIEND, BLOCK = 1, 2
FORMS: Final = ("friend", "block")
pytestmark = pytest.mark.usefixtures("new_address")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rows]:
    """Players, one of them restricted, and one who has blocked as many as allowed."""
    with migrated_rows(tmp_path_factory) as rows:
        for user_id, name in ((ANNA, "anna"), (BORIS, "boris"), (CARLA, "carla"), (DORA, "dora")):
            rows.player(user_id, name)
        rows.player(HIDDEN, "ghost", priv=RESTRICTED)
        for number in range(FIRST, FIRST + BLOCKS_MAX):
            rows.player(number, f"blocked {number}")
            rows.put(relationships, {"user_id": CARLA, "target_id": number, "kind": BLOCK, "added_at_ms": 0})
        yield rows


def relations(rows: Rows, user_id: int) -> dict[int, int]:
    return {row.target_id: row.kind for row in rows.look(relationships) if row.user_id == user_id}


def test_block_ends_a_friendship_and_a_friendship_ends_a_block(server: Server, rows: Rows) -> None:
    browser = a_browser(server, user_id=ANNA)

    friend = browser.get(f"/users/{BORIS}").button("Add friend").press()
    assert friend.message == "The player is your friend now."
    blocked = friend.button("Block").press()
    assert blocked.message == "The player is blocked. You see no more of their messages."
    assert relations(rows, ANNA) == {BORIS: BLOCK}
    assert blocked.button("Unblock")
    again = blocked.button("Add friend").press()
    assert relations(rows, ANNA) == {BORIS: FRIEND}
    blocked = again.button("Block").press()
    unblocked = blocked.button("Unblock").press()

    assert unblocked.message == "The player was unblocked."
    assert relations(rows, ANNA) == {}
    assert [row.action for row in rows.look(audit_log) if row.actor_id == ANNA] == ["relation"] * 5


def test_profile_marks_mutual_friends(server: Server) -> None:
    anna, boris = a_browser(server, user_id=ANNA), a_browser(server, user_id=BORIS)

    anna.get(f"/users/{BORIS}").button("Add friend").press()
    assert "Follows you" in boris.get(f"/users/{ANNA}").text
    page = boris.get(f"/users/{ANNA}").button("Add friend").press()

    assert "Mutual friends" in page.text
    assert "Mutual friends" not in anna.get(f"/users/{CARLA}").text


def test_form_of_an_old_page_does_not_undo_the_other_relation(server: Server, rows: Rows) -> None:
    browser = a_browser(server, user_id=DORA)
    page = browser.get(f"/users/{ANNA}").button("Block").press()
    unblock = page.button("Unblock")
    page.button("Add friend").press()

    unblock.press()

    assert relations(rows, DORA) == {ANNA: FRIEND}


@pytest.mark.parametrize(("button", "kind"), [("Add friend", FRIEND), ("Block", BLOCK)])
def test_act_at_once_is_stored_once(server: Server, rows: Rows, button: str, kind: int) -> None:
    target = FIRST + kind
    forms = [a_browser(server, user_id=DORA).get(f"/users/{target}").button(button) for _ in range(4)]
    before = len([row for row in rows.look(audit_log) if row.actor_id == DORA])

    statuses = at_once(forms, button)

    assert statuses == [303] * 4
    assert relations(rows, DORA)[target] == kind
    assert len([row for row in rows.look(audit_log) if row.actor_id == DORA]) == before + 1


def test_more_blocks_than_allowed_are_refused_in_words(server: Server, rows: Rows) -> None:
    page = a_browser(server, user_id=CARLA).get(f"/users/{ANNA}").button("Block").press()

    assert (page.status, page.alert) == (422, f"At most {BLOCKS_MAX} are allowed.")
    assert len(relations(rows, CARLA)) == BLOCKS_MAX


@pytest.mark.parametrize("form", FORMS)
def test_hidden_and_unknown_players_are_not_found(server: Server, rows: Rows, form: str) -> None:
    browser = a_browser(server, user_id=BORIS)
    fields = token_field(browser)
    before = relations(rows, BORIS)

    for target in (HIDDEN, 999_999, 2**31, "x", "0"):
        assert browser.post(f"/users/{target}/{form}", fields).status == 404
    assert relations(rows, BORIS) == before


def test_oneself_and_the_bot_are_no_targets(server: Server) -> None:
    browser = a_browser(server, user_id=ANNA)
    fields = token_field(browser)

    for form in FORMS:
        own = browser.post(f"/users/{ANNA}/{form}", fields)
        assert (own.status, own.alert) == (422, "You can't do that to yourself.")
        assert browser.post(f"/users/{BOT_ID}/{form}", fields).status == 404
    assert browser.get(f"/users/{ANNA}").css('form[aria-label="Block"], form[aria-label="Friend"]') == []


def test_restricted_visitor_has_no_forms(server: Server, rows: Rows) -> None:
    browser = a_browser(server, user_id=HIDDEN)
    page = browser.get(f"/users/{ANNA}")

    assert "Your account is restricted." in page.text
    assert page.css("main form") == []
    for form in FORMS:
        assert browser.post(f"/users/{ANNA}/{form}", token_field(browser)).status == 403
    assert relations(rows, HIDDEN) == {}
