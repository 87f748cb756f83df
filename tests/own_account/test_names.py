"""Name changes: the rules, the wait, old names, sessions and two changes at once."""

import asyncio

import pytest
from sqlalchemy import select
from tests.own_account.conftest import OwnAccounts

from kiai.accounts import Viewer
from kiai.errors import Conflict, Invalid, KiaiError, Refused
from kiai.own_account.names import TooEarly
from kiai.storage.tables import users


def names_of(own: OwnAccounts, user_id: int) -> list[str]:
    return [old.name for old in own.run(own.names.state(own.user(user_id))).old_names]


def test_new_name_is_found_and_the_old_one_still_leads_to_the_player(own: OwnAccounts) -> None:
    own.log_in(own.alice)

    changed = own.run(own.names.change(own.alice, "Alice B"))
    own.deliver()

    assert (changed.name, changed.safe_name) == ("Alice B", "alice_b")
    assert own.run(own.world.accounts.user(name="alice")).id == own.alice
    assert names_of(own, own.alice) == ["alice"]
    assert own.sessions(own.alice) == []
    assert own.actions(own.alice) == ["rename"]


@pytest.mark.parametrize("name", ["a", "a" * 16, "a  b", " ab", "a_b c", "12345", "banchobot", "deleteduser_1", "å b"])
def test_name_outside_the_rules_is_refused(own: OwnAccounts, name: str) -> None:
    with pytest.raises(Invalid, match="name must be"):
        own.run(own.names.change(own.alice, name))

    assert own.user(own.alice).name == "alice"
    assert own.actions(own.alice) == []


def test_taken_name_is_refused_by_its_safe_form(own: OwnAccounts) -> None:
    with pytest.raises(Conflict):
        own.run(own.names.change(own.alice, "BOB"))

    assert names_of(own, own.alice) == []


def test_second_change_has_to_wait_thirty_days(own: OwnAccounts) -> None:
    own.run(own.names.change(own.alice, "first"))
    own.advance_days(29.9)
    with pytest.raises(TooEarly) as early:
        own.run(own.names.change(own.alice, "second"))
    waits = own.run(own.names.state(own.user(own.alice))).next_ms
    own.advance_days(0.2)

    assert early.value.next_ms == waits
    assert own.run(own.names.state(own.user(own.alice))).next_ms is None
    assert own.run(own.names.change(own.alice, "second")).name == "second"


def test_return_to_an_old_name_is_allowed_at_any_time_and_does_not_start_a_new_wait(own: OwnAccounts) -> None:
    own.run(own.names.change(own.alice, "first"))
    since = own.user(own.alice).renamed_at_ms
    own.advance_days(1)

    assert own.run(own.names.change(own.alice, "alice")).name == "alice"
    assert own.user(own.alice).renamed_at_ms == since
    with pytest.raises(TooEarly):
        own.run(own.names.change(own.alice, "third"))


def test_another_spelling_of_the_name_does_not_start_a_wait(own: OwnAccounts) -> None:
    own.run(own.names.change(own.alice, "ALICE"))

    assert own.run(own.names.change(own.alice, "other")).name == "other"


def test_present_name_is_refused(own: OwnAccounts) -> None:
    with pytest.raises(Refused, match="present name"):
        own.run(own.names.change(own.alice, "alice"))


def test_released_name_is_reserved_for_its_former_owner(own: OwnAccounts) -> None:
    own.run(own.names.change(own.alice, "first"))

    with pytest.raises(Conflict):
        own.run(own.names.change(own.bob, "alice"))
    own.advance_days(91)
    assert own.run(own.names.change(own.bob, "alice")).name == "alice"
    with pytest.raises(Conflict):  # an old name that another player has now
        own.run(own.names.change(own.alice, "alice"))


def test_two_players_who_ask_for_one_name_at_once_do_not_both_get_it(own: OwnAccounts) -> None:
    async def both() -> list[object]:
        changes = [own.names.change(user_id, "wanted") for user_id in (own.alice, own.bob)]
        return list(await asyncio.gather(*changes, return_exceptions=True))

    results = own.run(both())

    assert sorted(isinstance(result, KiaiError) for result in results) == [False, True]
    assert len(own.world.look(select(users.c.id).where(users.c.name == "wanted"))) == 1


def test_player_who_sends_the_form_twice_changes_the_name_once(own: OwnAccounts) -> None:
    async def both() -> list[object]:
        changes = [own.names.change(own.alice, name) for name in ("one", "two")]
        return list(await asyncio.gather(*changes, return_exceptions=True))

    results = own.run(both())

    assert sorted(isinstance(result, TooEarly) for result in results) == [False, True]
    assert names_of(own, own.alice) == ["alice"]


def test_restricted_player_can_change_the_name(own: OwnAccounts) -> None:
    own.world.change(users.update().where(users.c.id == own.alice).values(priv=2))

    changed = own.run(own.names.change(own.alice, "hidden one"))

    assert changed.name == "hidden one"
    assert own.run(own.world.accounts.user(Viewer(user_id=own.alice), name="alice")).id == own.alice
