"""API keys and IRC passwords: shown once, stored hashed, replaced, removed and audited."""

import asyncio
from typing import Final

import pytest
from sqlalchemy import select
from tests.own_account.conftest import OwnAccounts

from kiai.entry import Origin
from kiai.errors import Invalid, NotAuthenticated, NotFound, Refused
from kiai.storage.tables import api_keys, irc_passwords, users

ORIGIN: Final = Origin("web", "198.51.100.7", "Firefox")


def test_api_key_works_until_it_is_revoked_and_both_acts_are_audited(own: OwnAccounts) -> None:
    key = own.run(own.keys.create_api_key(own.alice, " my bot ", ORIGIN))
    holder = own.run(own.world.api_keys.holder(key))
    [listed] = own.run(own.keys.api_keys(own.alice))

    own.run(own.keys.revoke_api_key(own.alice, listed.id, ORIGIN))

    assert holder.user_id == own.alice
    assert (listed.label, listed.used_at_ms) == ("my bot", own.world.clock.now_ms())
    with pytest.raises(NotAuthenticated):
        own.run(own.world.api_keys.holder(key))
    assert own.actions(own.alice) == ["api_key_revoked", "api_key_created"]
    assert key not in str(own.world.audit(own.alice))
    events = own.run(own.entry.history.recent(own.alice))
    assert [(event.kind, event.address) for event in events] == [
        ("api_key_revoked", "198.51.100.7"),
        ("api_key_created", "198.51.100.7"),
    ]


def test_key_of_another_player_cannot_be_revoked(own: OwnAccounts) -> None:
    key = own.run(own.keys.create_api_key(own.alice, "", ORIGIN))
    [listed] = own.run(own.keys.api_keys(own.alice))

    with pytest.raises(NotFound):
        own.run(own.keys.revoke_api_key(own.bob, listed.id, ORIGIN))

    assert own.run(own.world.api_keys.holder(key)).user_id == own.alice
    assert own.actions(own.bob) == []


@pytest.mark.parametrize("label", ["x" * 65, "a\nb", "\x00"])
def test_label_outside_its_range_creates_no_key(own: OwnAccounts, label: str) -> None:
    with pytest.raises(Invalid, match="label"):
        own.run(own.keys.create_api_key(own.alice, label, ORIGIN))

    assert own.run(own.keys.api_keys(own.alice)) == []


def test_keys_created_at_the_same_time_do_not_exceed_the_limit(own: OwnAccounts) -> None:
    async def many() -> list[object]:
        keys = [own.keys.create_api_key(own.alice, f"key {n}", ORIGIN) for n in range(24)]
        return list(await asyncio.gather(*keys, return_exceptions=True))

    results = own.run(many())

    assert sum(isinstance(result, Refused) for result in results) == 4
    assert len(own.world.look(select(api_keys.c.id))) == 20


def test_irc_password_authenticates_by_name_and_is_not_stored(own: OwnAccounts) -> None:
    password = own.run(own.keys.create_irc_password(own.alice, ORIGIN))
    stored = own.world.look(select(irc_passwords))

    found = own.run(own.irc.holder("Alice", password))
    times = own.run(own.keys.irc_password(own.alice))

    assert found.id == own.alice
    assert password not in str(stored)
    assert times is not None
    assert times.used_at_ms == own.world.clock.now_ms()
    for name, wrong in (("bob", password), ("alice", password + "x"), ("alice", ""), ("", password), ("a\x00", "b")):
        with pytest.raises(NotAuthenticated):
            own.run(own.irc.holder(name, wrong))


def test_new_irc_password_replaces_the_old_one_and_a_removed_one_is_dead(own: OwnAccounts) -> None:
    first = own.run(own.keys.create_irc_password(own.alice, ORIGIN))
    second = own.run(own.keys.create_irc_password(own.alice, ORIGIN))
    with pytest.raises(NotAuthenticated):
        own.run(own.irc.holder("alice", first))
    assert own.run(own.irc.holder("alice", second)).id == own.alice

    own.run(own.keys.remove_irc_password(own.alice, ORIGIN))
    own.run(own.keys.remove_irc_password(own.alice, ORIGIN))  # nothing is left to remove

    with pytest.raises(NotAuthenticated):
        own.run(own.irc.holder("alice", second))
    assert own.run(own.keys.irc_password(own.alice)) is None
    assert own.actions(own.alice) == ["irc_password"] * 3


def test_two_irc_passwords_at_once_leave_one(own: OwnAccounts) -> None:
    async def both() -> list[str]:
        return list(await asyncio.gather(*[own.keys.create_irc_password(own.alice, ORIGIN) for _ in range(2)]))

    passwords = own.run(both())

    assert len(own.world.look(select(irc_passwords.c.user_id))) == 1

    def works(password: str) -> bool:
        try:
            return own.run(own.irc.holder("alice", password)).id == own.alice
        except NotAuthenticated:
            return False

    assert sorted(map(works, passwords)) == [False, True]


def test_banned_player_cannot_use_the_irc_password(own: OwnAccounts) -> None:
    password = own.run(own.keys.create_irc_password(own.alice, ORIGIN))
    own.world.change(users.update().where(users.c.id == own.alice).values(banned_at_ms=1))

    with pytest.raises(NotAuthenticated):
        own.run(own.irc.holder("alice", password))
