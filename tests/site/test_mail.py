"""`/mail`: conversations, and the form that continues them."""

from collections.abc import Iterator
from typing import Final

import pytest
from tests.site.forms_kit import migrated_rows
from tests.site.kit import a_browser
from tests.wire.kit import Server
from tests.wire.rows import RESTRICTED, Rows

from kiai.storage.tables import mail

ALICE, BOB, GHOST, CARLA = 3, 4, 5, 6
HOSTILE: Final = '<script>alert(1)</script> "&'
pytestmark = pytest.mark.usefixtures("new_address")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rows]:
    with migrated_rows(tmp_path_factory) as rows:
        for user_id, name in ((ALICE, "alice"), (BOB, "bob b"), (CARLA, "carla")):
            rows.player(user_id, name)
        rows.player(GHOST, "ghost", priv=RESTRICTED)
        for number, (sender, recipient, text) in enumerate(
            ((BOB, ALICE, HOSTILE), (GHOST, ALICE, "from a hidden player"), (1, ALICE, "\x01ACTION waves\x01"))
        ):
            rows.put(
                mail,
                {
                    "id": number + 1,
                    "from_id": sender,
                    "to_id": recipient,
                    "text": text,
                    "sent_at_ms": 1_700_000_000_000,
                },
            )
        yield rows


def test_player_reads_and_answers_a_message(server: Server, rows: Rows) -> None:
    alice, bob = a_browser(server, user_id=ALICE), a_browser(server, user_id=BOB)
    inbox = alice.get("/mail")
    assert "1 unread" in inbox.text
    assert HOSTILE in inbox.text
    assert "from a hidden player" not in inbox.text

    form = alice.get(f"/mail/{BOB}").form("Message")
    form.fill(Message="hi bob")
    answered = form.press("Send")

    assert answered.message == "bob b is offline and gets the message at the next login."
    assert "hi bob" in answered.text
    assert [(row.from_id, row.to_id, row.text) for row in rows.look(mail)][-1] == (ALICE, BOB, "hi bob")
    assert "hi bob" in bob.get("/mail").text
    assert "* BanchoBot waves" in alice.get("/mail/1").text


def test_conversation_with_a_hidden_or_unknown_player_does_not_exist(server: Server) -> None:
    alice = a_browser(server, user_id=ALICE)

    for other in (GHOST, 999, ALICE):
        assert alice.get(f"/mail/{other}").status == 404
    assert alice.get(f"/mail/{CARLA}").status == 200


def test_restricted_player_reads_and_does_not_write(server: Server, rows: Rows) -> None:
    ghost = a_browser(server, user_id=GHOST)
    before = len(rows.look(mail))

    page = ghost.get(f"/mail/{ALICE}")
    token = str(page.one("input[name=csrf_token]").attributes["value"])
    refused = ghost.post(f"/mail/{ALICE}", {"message": "hello", "csrf_token": token})

    assert "from a hidden player" in page.text
    assert refused.status == 403
    assert len(rows.look(mail)) == before


def test_profile_links_to_the_conversation(server: Server) -> None:
    alice = a_browser(server, user_id=ALICE)

    assert alice.get(f"/users/{BOB}").one(f'a[href="/mail/{BOB}"]').text().strip() == "Message"
    assert alice.get("/").one('dd a[href="/mail"]')
