"""Logins on the website."""

import pytest
from tests.builders import PASSWORD
from tests.entry.kit import ORIGIN, Entry
from tests.entry.test_security import ban

from kiai.accounts import TooManyGuesses
from kiai.entry import AccountBanned, Origin
from kiai.entry.model import WrongCode
from kiai.entry.web_login import LoggedIn, SecondStep
from kiai.errors import NotAuthenticated, NotFound
from kiai.staff import audit
from kiai.staff.audit import OPERATOR
from kiai.storage.port import Transaction


def log_in(entry: Entry, name: str = "alice", password: str = PASSWORD) -> LoggedIn | SecondStep:
    return entry.run(entry.services.web_login.log_in(name, password, ORIGIN))


@pytest.mark.parametrize("name", ["alice", "ALICE", " alice ", "alice@example.org", "Alice@Example.ORG"])
def test_player_logs_in_with_the_name_or_the_address(entry: Entry, name: str) -> None:
    outcome = log_in(entry, name)

    assert isinstance(outcome, LoggedIn)
    found = entry.run(entry.web_sessions.find(outcome.token, ORIGIN.address))
    assert found is not None
    assert (found[0].user_id, found[0].agent, found[0].second_factor_at_ms) == (3, "Firefox", None)
    assert entry.events() == ["login"]


@pytest.mark.parametrize(
    "name", ["alice", "alice@example.org", "nobody", "nobody@example.org", "", "x" * 10_000, "a\0", "@"]
)
def test_wrong_name_and_wrong_password_give_the_same_error(entry: Entry, name: str) -> None:
    with pytest.raises(NotAuthenticated):
        log_in(entry, name, "wrong horse 1")


def test_wrong_password_is_shown_to_the_owner(entry: Entry) -> None:
    with pytest.raises(NotAuthenticated):
        log_in(entry, "alice@example.org", "wrong horse 1")
    entry.run(entry.services.history.record_wrong_password("Alice", Origin("game", "203.0.113.9")))
    entry.run(entry.services.history.record_wrong_password("nobody", Origin("game", "203.0.113.9")))

    assert entry.events() == ["wrong_password", "wrong_password"]


def refused_after(entry: Entry, address: str, *typed: str) -> int:
    """Log in with wrong passwords and these names in turn. Return the number of guesses before the first refusal."""
    for n in range(30):
        try:
            entry.run(
                entry.services.web_login.log_in(typed[n % len(typed)], f"wrong horse {n}", Origin("web", address))
            )
        except NotAuthenticated:
            continue
        except TooManyGuesses:
            return n
    raise AssertionError("no refusal")


@pytest.mark.parametrize(
    "forms",
    [("{0}@example.org",), ("{0}@example.org", " {0}@Example.org "), ("{0}", "{0}@example.org"), ("{0}", " {0} ")],
)
def test_refusal_does_not_tell_whether_an_account_exists(entry: Entry, forms: tuple[str, ...]) -> None:
    known, unknown = ([form.format(name) for form in forms] for name in ("alice", "nobody"))

    assert refused_after(entry, "203.0.113.1", *known) == refused_after(entry, "203.0.113.2", *unknown)


def test_banned_player_gets_the_reason_only_with_the_right_password(entry: Entry) -> None:
    ban(entry)

    async def write(tx: Transaction) -> None:
        await audit.write(tx, OPERATOR, "ban", at_ms=1, target_kind="user", target_id=3, reason="Cheated twice")

    entry.run(entry.world.database.transaction(write))
    with pytest.raises(AccountBanned, match="Cheated twice"):
        log_in(entry)
    with pytest.raises(NotAuthenticated):
        log_in(entry, password="wrong horse 1")
    assert entry.events() == ["wrong_password", "banned"]


def test_restricted_player_logs_in(entry: Entry) -> None:
    entry.run(entry.world.restrictions.restrict(OPERATOR, "alice", "test"))

    assert isinstance(log_in(entry), LoggedIn)


def test_second_factor_finishes_the_login(entry: Entry) -> None:
    secret, _ = entry.turn_on_authenticator()
    step = log_in(entry)
    assert isinstance(step, SecondStep)
    assert entry.run(entry.web_sessions.find(step.token, ORIGIN.address)) is None, "a step is no session"
    assert entry.run(entry.services.web_login.step(step.token)).user.id == 3

    with pytest.raises(WrongCode):
        entry.run(entry.services.web_login.finish_with_code(step.token, "x", ORIGIN))
    done = entry.run(entry.services.web_login.finish_with_code(step.token, entry.code(secret, 1), ORIGIN))

    found = entry.run(entry.web_sessions.find(done.token, ORIGIN.address))
    assert found is not None
    assert found[0].second_factor_at_ms == entry.clock.now_ms()
    with pytest.raises(NotFound):
        entry.run(entry.services.web_login.finish_with_code(step.token, entry.code(secret, -1), ORIGIN))


def test_second_step_expires_and_ends_with_a_new_password(entry: Entry) -> None:
    secret, _ = entry.turn_on_authenticator()
    first, second = log_in(entry), log_in(entry)
    assert isinstance(first, SecondStep)
    assert isinstance(second, SecondStep)
    entry.run(entry.services.security.change_password(entry.alice, PASSWORD, "another horse 9", ORIGIN))
    with pytest.raises(NotFound):
        entry.run(entry.services.web_login.finish_with_code(first.token, entry.code(secret, 1), ORIGIN))

    third = log_in(entry, password="another horse 9")
    assert isinstance(third, SecondStep)
    entry.clock.advance(600)
    with pytest.raises(NotFound):
        entry.run(entry.services.web_login.step(third.token))


def test_ban_during_the_second_step_ends_the_login(entry: Entry) -> None:
    secret, _ = entry.turn_on_authenticator()
    step = log_in(entry)
    assert isinstance(step, SecondStep)
    ban(entry)

    with pytest.raises(AccountBanned):
        entry.run(entry.services.web_login.finish_with_code(step.token, entry.code(secret, 1), ORIGIN))


def test_wrong_passwords_do_not_remove_other_events(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    log_in(entry)
    for _ in range(250):
        entry.run(entry.services.history.record_wrong_password("alice", Origin("game")))

    assert entry.events().count("login") == 1
    assert entry.events().count("wrong_password") == 20
