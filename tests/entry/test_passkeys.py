"""Passkeys: adding, logging in without a name, as a second factor, and forged answers."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from tests.builders import PASSWORD, a_player
from tests.entry.kit import BASE, ORIGIN, Entry
from tests.entry.software_passkey import SoftwarePasskey
from tests.entry.test_security import ban

from kiai.accounts import Viewer
from kiai.entry import AccountBanned
from kiai.entry.passkeys import PASSKEYS_MAX, BadPasskey, Ceremony
from kiai.entry.web_login import LoggedIn, SecondStep
from kiai.errors import Conflict, Invalid, NotFound, Refused


def as_browser(ceremony: Ceremony) -> Mapping[str, Any]:
    """Return the options as the script receives them: as JSON."""
    return json.loads(msgspec.json.encode(ceremony))["options"]  # type: ignore[no-any-return]


def add(entry: Entry, passkey: SoftwarePasskey, name: str = "Phone") -> list[str]:
    ceremony = entry.run(entry.services.passkeys.begin_adding(entry.alice))
    answer = passkey.create(as_browser(ceremony))
    return entry.run(entry.services.passkeys.add(entry.alice, ceremony.state, answer, name, ORIGIN))


def log_in(entry: Entry, passkey: SoftwarePasskey, **changed: Any) -> LoggedIn:
    ceremony = entry.run(entry.services.passkeys.begin_login())
    answer = passkey.get(as_browser(ceremony), **changed)
    return entry.run(entry.services.web_login.log_in_with_passkey(ceremony.state, answer, ORIGIN))


@pytest.fixture
def passkey(entry: Entry) -> SoftwarePasskey:
    """A passkey of alice."""
    passkey = SoftwarePasskey(BASE)
    add(entry, passkey)
    return passkey


def test_first_passkey_comes_with_recovery_codes(entry: Entry) -> None:
    assert len(add(entry, SoftwarePasskey(BASE))) == 10
    assert add(entry, SoftwarePasskey(BASE), "Key") == []

    assert [passkey.name for passkey in entry.run(entry.services.passkeys.of(3))] == ["Phone", "Key"]
    assert entry.actions()[0] == "passkey_added"
    assert len(entry.subjects()) == 2


@pytest.mark.parametrize("counts", [True, False])
def test_passkey_logs_in_without_a_name(entry: Entry, counts: bool) -> None:
    passkey = SoftwarePasskey(BASE, counts=counts)
    add(entry, passkey)

    for _ in range(2):
        outcome = log_in(entry, passkey)
        assert outcome.user_id == 3
        found = entry.run(entry.web_sessions.find(outcome.token, ORIGIN.address))
        assert found is not None
        assert found[0].second_factor_at_ms is not None
    (listed,) = entry.run(entry.services.passkeys.of(3))
    assert listed.used_at_ms == entry.clock.now_ms()


def test_passkey_is_the_second_factor_after_a_password(entry: Entry, passkey: SoftwarePasskey) -> None:
    passkey.verifies = False  # the password was checked
    step = entry.run(entry.services.web_login.log_in("alice", PASSWORD, ORIGIN))
    assert isinstance(step, SecondStep)
    ceremony = entry.run(entry.services.web_login.begin_passkey_step(step.token))
    allowed = as_browser(ceremony)["publicKey"]["allowCredentials"]
    assert len(allowed) == 1

    answer = passkey.get(as_browser(ceremony))
    done = entry.run(entry.services.web_login.finish_with_passkey(step.token, ceremony.state, answer, ORIGIN))
    assert done.user_id == 3


def test_recovery_code_replaces_a_lost_passkey(entry: Entry) -> None:
    codes = add(entry, SoftwarePasskey(BASE))
    step = entry.run(entry.services.web_login.log_in("alice", PASSWORD, ORIGIN))
    assert isinstance(step, SecondStep)

    assert entry.run(entry.services.web_login.finish_with_code(step.token, codes[0], ORIGIN)).user_id == 3


def test_login_without_a_name_needs_a_verified_user(entry: Entry, passkey: SoftwarePasskey) -> None:
    passkey.verifies = False

    with pytest.raises(BadPasskey):
        log_in(entry, passkey)


def test_answer_works_once_and_for_five_minutes(entry: Entry) -> None:
    passkey = SoftwarePasskey(BASE, counts=False)  # with a counter, that would refuse the second answer
    add(entry, passkey)
    ceremony = entry.run(entry.services.passkeys.begin_login())
    answer = passkey.get(as_browser(ceremony))
    entry.run(entry.services.passkeys.log_in(ceremony.state, answer))
    with pytest.raises(BadPasskey):
        entry.run(entry.services.passkeys.log_in(ceremony.state, answer))

    ceremony = entry.run(entry.services.passkeys.begin_login())
    answer = passkey.get(as_browser(ceremony))
    entry.clock.advance(301)
    with pytest.raises(BadPasskey):
        entry.run(entry.services.passkeys.log_in(ceremony.state, answer))


def test_copied_passkey_is_refused(entry: Entry, passkey: SoftwarePasskey) -> None:
    log_in(entry, passkey)
    passkey.count = 1  # the next login counts 2 again

    with pytest.raises(BadPasskey):
        log_in(entry, passkey)


def test_passkey_of_another_site_and_unknown_passkeys_are_refused(entry: Entry, passkey: SoftwarePasskey) -> None:
    with pytest.raises(BadPasskey):
        log_in(entry, passkey, rp_id="evil.example")
    passkey.origin = "https://evil.example"
    with pytest.raises(BadPasskey):
        log_in(entry, passkey)
    stranger = SoftwarePasskey(BASE)
    with pytest.raises(BadPasskey):
        log_in(entry, stranger)
    stranger.credential_id = passkey.credential_id
    with pytest.raises(BadPasskey):
        log_in(entry, stranger)


@pytest.mark.parametrize(
    "answer", [{}, {"id": 5}, {"rawId": "x", "response": {}}, {"id": "x" * 5000, "rawId": "x", "type": "public-key"}]
)
def test_damaged_answers_are_refused(entry: Entry, answer: dict[str, Any]) -> None:
    login = entry.run(entry.services.passkeys.begin_login())
    adding = entry.run(entry.services.passkeys.begin_adding(entry.alice))

    with pytest.raises(BadPasskey):
        entry.run(entry.services.passkeys.log_in(login.state, answer))
    with pytest.raises(BadPasskey):
        entry.run(entry.services.passkeys.add(entry.alice, adding.state, answer, "Phone", ORIGIN))
    for state in ("", "x", login.state[:-3], "ä" * 100):
        with pytest.raises(BadPasskey):
            entry.run(entry.services.passkeys.log_in(state, answer))


def test_ceremony_belongs_to_one_account_and_one_kind(entry: Entry, passkey: SoftwarePasskey) -> None:
    entry.world.add_player(a_player("bob"))
    bob = entry.run(entry.world.accounts.user(Viewer(user_id=4), id=4))
    adding = entry.run(entry.services.passkeys.begin_adding(entry.alice))
    answer = SoftwarePasskey(BASE).create(as_browser(adding))
    with pytest.raises(BadPasskey):
        entry.run(entry.services.passkeys.add(bob, adding.state, answer, "Phone", ORIGIN))

    adding = entry.run(entry.services.passkeys.begin_adding(entry.alice))
    with pytest.raises(BadPasskey):
        entry.run(
            entry.services.passkeys.log_in(adding.state, passkey.get({"publicKey": {"challenge": "x", "rpId": "x"}}))
        )
    own = entry.run(entry.services.passkeys.begin_login(4))
    with pytest.raises(BadPasskey):
        entry.run(entry.services.passkeys.log_in(own.state, passkey.get(as_browser(own)), user_id=4))


def test_passkey_is_removed_by_its_owner_only(entry: Entry, passkey: SoftwarePasskey) -> None:
    entry.world.add_player(a_player("bob"))
    bob = entry.run(entry.world.accounts.user(Viewer(user_id=4), id=4))
    (listed,) = entry.run(entry.services.passkeys.of(3))
    with pytest.raises(NotFound):
        entry.run(entry.services.passkeys.remove(bob, listed.id, ORIGIN))

    entry.run(entry.services.passkeys.remove(entry.alice, listed.id, ORIGIN))

    with pytest.raises(BadPasskey):
        log_in(entry, passkey)
    assert not entry.run(entry.services.factors.of(3)).required
    assert entry.run(entry.services.factors.of(3)).recovery_codes == 0
    assert entry.actions()[0] == "passkey_removed"


def test_same_passkey_cannot_be_added_twice(entry: Entry, passkey: SoftwarePasskey) -> None:
    with pytest.raises(Conflict):
        add(entry, passkey)


@pytest.mark.parametrize("name", ["", " ", "x" * 65, "a\nb", "a\0"])
def test_name_of_a_passkey_is_checked(entry: Entry, name: str) -> None:
    with pytest.raises(Invalid):
        add(entry, SoftwarePasskey(BASE), name)


def test_passkeys_of_an_account_are_bounded(entry: Entry) -> None:
    for _ in range(PASSKEYS_MAX):
        add(entry, SoftwarePasskey(BASE))

    with pytest.raises(Refused):
        add(entry, SoftwarePasskey(BASE))


def test_banned_player_does_not_log_in_with_a_passkey(entry: Entry, passkey: SoftwarePasskey) -> None:
    ban(entry)

    with pytest.raises(AccountBanned):
        log_in(entry, passkey)
