"""Passwords and addresses: reset links, changes, confirmations, and what they end."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import update
from tests.builders import PASSWORD, Run, a_player
from tests.entry.kit import BASE, ORIGIN, Entry
from tests.mail_server import link_in

from kiai.accounts import TooManyGuesses
from kiai.entry.security import RESETS_WAITING_MAX, TooManyMails, WrongPassword
from kiai.errors import Conflict, Invalid, NotAuthenticated, NotFound
from kiai.staff.audit import OPERATOR
from kiai.storage.port import Database
from kiai.storage.tables import users

NEW = "another horse 9"


def token_of(entry: Entry, subject: str, to: str = "alice@example.org") -> str:
    entry.deliver()
    assert entry.mail_server is not None
    mail = entry.mail_server.to(to, subject)[-1]
    link = link_in(mail)
    assert link.startswith(f"{BASE}/")
    return link.rpartition("/")[2]


def reset_token(entry: Entry) -> str:
    entry.services.security.request_reset("ALICE@example.org")
    return token_of(entry, "Set a new password")


def a_session(entry: Entry) -> str:
    return entry.run(entry.web_sessions.create(3, address="198.51.100.7", agent="Firefox"))


def is_live(entry: Entry, session: str) -> bool:
    return entry.run(entry.web_sessions.find(session, "198.51.100.7")) is not None


# --- reset links


def test_reset_link_sets_a_password_once_and_ends_everything(entry: Entry) -> None:
    session, key = a_session(entry), entry.run(entry.world.api_keys.issue(3))
    token, other = reset_token(entry), reset_token(entry)

    entry.run(entry.services.security.reset(token, NEW, ORIGIN))

    assert entry.can_log_in(NEW)
    assert not entry.can_log_in(PASSWORD)
    assert not is_live(entry, session)
    with pytest.raises(NotAuthenticated):
        entry.run(entry.world.api_keys.holder(key))
    for dead in (token, other):
        with pytest.raises(NotFound):
            entry.run(entry.services.security.reset(dead, "a third horse 1", ORIGIN))
    assert entry.actions()[0] == "password_reset"
    assert "Kiai Club: The security of your account changed" in entry.subjects()


def test_two_uses_of_a_link_at_once_set_one_password(entry: Entry) -> None:
    token = reset_token(entry)

    async def both() -> list[object]:
        passwords = ("first horse 1", "second horse 2")
        uses = [entry.services.security.reset(token, password, ORIGIN) for password in passwords]
        return [*await asyncio.gather(*uses, return_exceptions=True)]

    outcomes = entry.run(both())

    assert [type(outcome) for outcome in outcomes if outcome is not None] == [NotFound]
    assert entry.can_log_in("first horse 1") != entry.can_log_in("second horse 2")


def test_reset_link_expires_after_30_minutes(entry: Entry) -> None:
    token = reset_token(entry)
    entry.clock.advance(30 * 60 - 1)
    assert entry.run(entry.services.security.can_reset(token))
    entry.clock.advance(1)

    assert not entry.run(entry.services.security.can_reset(token))
    with pytest.raises(NotFound):
        entry.run(entry.services.security.reset(token, NEW, ORIGIN))
    assert entry.run(entry.services.delete_expired()) == 1


def test_weak_password_leaves_the_link_valid(entry: Entry) -> None:
    token = reset_token(entry)

    with pytest.raises(Invalid) as caught:
        entry.run(entry.services.security.reset(token, "short", ORIGIN))
    assert caught.value.field == "password"
    entry.run(entry.services.security.reset(token, NEW, ORIGIN))


@pytest.mark.parametrize("token", ["", "x", "0" * 43, "x" * 10_000, "\0", "ä"])
def test_unknown_link_is_refused(entry: Entry, token: str) -> None:
    with pytest.raises(NotFound):
        entry.run(entry.services.security.reset(token, NEW, ORIGIN))


def test_unknown_address_gets_no_mail_and_no_error(entry: Entry) -> None:
    for email in ("nobody@example.org", "no address", "x" * 10_000, "a\0@example.org"):
        entry.services.security.request_reset(email)
    entry.deliver()

    assert entry.mail_server is not None
    assert entry.mail_server.mails == []


def test_banned_player_gets_no_link(entry: Entry) -> None:
    ban(entry)
    entry.services.security.request_reset("alice@example.org")

    assert entry.subjects() == []


def test_account_gets_three_mails_an_hour(entry: Entry) -> None:
    for _ in range(5):
        entry.services.security.request_reset("alice@example.org")
    assert len(entry.subjects()) == 3

    entry.clock.advance(3600)
    entry.services.security.request_reset("alice@example.org")
    assert len(entry.subjects()) == 4


def test_waiting_requests_are_bounded(entry: Entry) -> None:
    entry.services.security.request_reset("alice@example.org")
    for n in range(RESETS_WAITING_MAX):
        entry.services.security.request_reset(f"n{n}@example.org")

    assert entry.subjects() == []


def test_staff_makes_a_link_without_a_mail_server(database: Database, run: Run, tmp_path: Path) -> None:
    entry = Entry(database, run, tmp_path, None)
    url = run(entry.services.security.reset_link(OPERATOR, "Alice"))

    assert url.startswith(f"{BASE}/reset/")
    run(entry.services.security.reset(url.rpartition("/")[2], NEW, ORIGIN))
    assert entry.can_log_in(NEW)
    assert "reset_link" in entry.actions()
    with pytest.raises(NotFound):
        run(entry.services.security.reset_link(OPERATOR, "nobody"))


# --- passwords


def test_change_of_the_password_needs_the_old_one(entry: Entry) -> None:
    with pytest.raises(WrongPassword):
        entry.run(entry.services.security.change_password(entry.alice, "wrong horse 1", NEW, ORIGIN))
    assert entry.can_log_in(PASSWORD)

    session, link = a_session(entry), reset_token(entry)
    entry.run(entry.services.security.change_password(entry.alice, PASSWORD, NEW, ORIGIN))

    assert entry.can_log_in(NEW)
    assert not is_live(entry, session)
    assert not entry.run(entry.services.security.can_reset(link))
    assert entry.actions()[0] == "password"
    assert entry.events()[0] == "password"


def test_wrong_current_passwords_count_as_guesses(entry: Entry) -> None:
    alice = entry.alice

    async def guess(n: int) -> None:
        await entry.services.security.change_password(alice, f"wrong horse {n}", NEW, ORIGIN)

    for n in range(10):
        with pytest.raises(WrongPassword):
            entry.run(guess(n))
    with pytest.raises(TooManyGuesses):
        entry.run(guess(10))


# --- addresses


def test_change_of_the_address_is_confirmed_by_the_new_one_and_told_to_the_old_one(entry: Entry) -> None:
    assert entry.run(entry.services.security.change_email(entry.alice, PASSWORD, "New@Example.org", ORIGIN))

    token = token_of(entry, "Confirm", "New@Example.org")
    assert entry.subjects() == ["Kiai Club: Change of your e-mail address"]
    assert email_of(entry) == "alice@example.org"
    link = reset_token(entry)
    for _ in range(2):  # mail programs may open links, too
        entry.run(entry.services.security.confirm_email(token, ORIGIN))

    assert email_of(entry) == "new@example.org"
    assert not entry.run(entry.services.security.can_reset(link)), "a link that the old address received"
    assert entry.actions()[0] == "email"
    assert entry.subjects()[-1] == "Kiai Club: The security of your account changed"


def test_without_a_mail_server_the_address_changes_at_once(database: Database, run: Run, tmp_path: Path) -> None:
    entry = Entry(database, run, tmp_path, None)

    assert not run(entry.services.security.change_email(entry.alice, PASSWORD, "new@example.org", ORIGIN))
    assert email_of(entry) == "new@example.org"


def test_address_in_use_cannot_be_taken(entry: Entry) -> None:
    entry.world.add_player(a_player("bob"))
    with pytest.raises(Invalid) as caught:
        entry.run(entry.services.security.change_email(entry.alice, PASSWORD, "BOB@example.org", ORIGIN))
    assert caught.value.field == "email"

    entry.run(entry.services.security.change_email(entry.alice, PASSWORD, "new@example.org", ORIGIN))
    token = token_of(entry, "Confirm", "new@example.org")
    entry.world.add_player(a_player("carol", email="new@example.org"))
    with pytest.raises(Conflict):
        entry.run(entry.services.security.confirm_email(token, ORIGIN))


def test_later_change_ends_the_links_of_earlier_ones(entry: Entry) -> None:
    tokens = []
    for email in ("one@example.org", "two@example.org"):
        entry.run(entry.services.security.change_email(entry.alice, PASSWORD, email, ORIGIN))
        tokens.append(token_of(entry, "Confirm", email))
    entry.run(entry.services.security.confirm_email(tokens[1], ORIGIN))

    with pytest.raises(NotFound):
        entry.run(entry.services.security.confirm_email(tokens[0], ORIGIN))
    assert email_of(entry) == "two@example.org"


def test_confirmation_is_sent_again_once_in_five_minutes(entry: Entry) -> None:
    entry.run(entry.services.security.resend_verification(entry.alice))
    with pytest.raises(TooManyMails):
        entry.run(entry.services.security.resend_verification(entry.alice))
    entry.clock.advance(300)
    entry.run(entry.services.security.resend_verification(entry.alice))

    assert len(entry.subjects()) == 2


# --- sessions


def test_player_ends_all_other_sessions(entry: Entry) -> None:
    mine, others = a_session(entry), [a_session(entry), a_session(entry)]
    found = entry.run(entry.web_sessions.find(mine, "198.51.100.7"))
    assert found is not None

    ended = entry.run(entry.services.security.end_sessions(entry.alice, current=found[0], origin=ORIGIN))

    assert ended == 2
    assert is_live(entry, mine)
    assert not any(is_live(entry, other) for other in others)
    assert entry.actions()[0] == "sessions_ended"


def email_of(entry: Entry) -> str:
    return entry.run(entry.world.accounts.account_of(3)).email


def ban(entry: Entry) -> None:
    entry.world.change(update(users).where(users.c.id == 3).values(banned_at_ms=1, priv=2))
