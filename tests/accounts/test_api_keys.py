import hashlib

import pytest
from sqlalchemy import select, update
from tests.builders import NORMAL, World, a_player

from kiai.accounts import Viewer
from kiai.accounts.queries import KEYS_MAX
from kiai.errors import Invalid, NotAuthenticated, NotFound, Refused
from kiai.osu.privileges import Privilege
from kiai.storage.tables import api_keys, users


def test_key_authenticates_its_owner(world: World) -> None:
    alice = world.add_player(a_player())

    key = world.run(world.api_keys.issue(alice, "bot"))

    assert len(key) == 36
    assert world.run(world.api_keys.holder(key)) == Viewer(alice, NORMAL)


def test_only_the_hash_of_a_key_is_stored(world: World) -> None:
    alice = world.add_player(a_player())

    key = world.run(world.api_keys.issue(alice, "bot"))

    [row] = world.look(select(api_keys))
    assert hashlib.sha256(key.encode()).digest() in row
    assert not any(key in str(value) for value in row)


@pytest.mark.parametrize("key", ["", "wrong", "x" * 129, "\ud7ff"])
def test_wrong_key_is_rejected(world: World, key: str) -> None:
    world.run(world.api_keys.issue(world.add_player(a_player())))

    with pytest.raises(NotAuthenticated):
        world.run(world.api_keys.holder(key))


def test_last_use_is_stored_at_most_once_a_minute(world: World) -> None:
    alice = world.add_player(a_player())
    key = world.run(world.api_keys.issue(alice))
    start = world.clock.now_ms()
    seen = []

    for wait_s in (0, 59, 1):
        world.clock.advance(wait_s)
        world.run(world.api_keys.holder(key))
        seen.append(world.run(world.api_keys.of(alice))[0].used_at_ms)

    assert seen == [start, start, start + 60_000]


def test_revoked_key_is_rejected(world: World) -> None:
    alice, bob = world.add_player(a_player()), world.add_player(a_player("bob"))
    key = world.run(world.api_keys.issue(alice))
    [found] = world.run(world.api_keys.of(alice))

    with pytest.raises(NotFound, match="key"):
        world.run(world.api_keys.revoke(bob, found.id))
    world.run(world.api_keys.revoke(alice, found.id))

    assert world.run(world.api_keys.of(alice)) == []
    with pytest.raises(NotAuthenticated):
        world.run(world.api_keys.holder(key))
    with pytest.raises(NotFound, match="key"):
        world.run(world.api_keys.revoke(alice, found.id))


def test_number_of_keys_of_an_account_is_limited(world: World) -> None:
    alice = world.add_player(a_player())
    for _ in range(KEYS_MAX):
        world.run(world.api_keys.issue(alice))

    with pytest.raises(Refused, match="revoke one first"):
        world.run(world.api_keys.issue(alice))
    world.run(world.api_keys.revoke(alice, world.run(world.api_keys.of(alice))[0].id))
    world.run(world.api_keys.issue(alice))

    assert len(world.run(world.api_keys.of(alice))) == KEYS_MAX


@pytest.mark.parametrize("label", ["x" * 65, "a\nb"])
def test_label_must_be_short_and_printable(world: World, label: str) -> None:
    alice = world.add_player(a_player())

    with pytest.raises(Invalid, match="label"):
        world.run(world.api_keys.issue(alice, label))

    assert world.run(world.api_keys.of(alice)) == []


def test_key_of_a_restricted_account_has_no_privileges_and_of_a_banned_one_is_rejected(world: World) -> None:
    alice = world.add_player(a_player(priv=Privilege.VERIFIED | Privilege.DEVELOPER))
    key = world.run(world.api_keys.issue(alice))

    restricted = world.run(world.api_keys.holder(key))
    world.change(users.update().where(users.c.id == alice).values(banned_at_ms=1))

    assert restricted == Viewer(alice, 0)
    with pytest.raises(NotAuthenticated):
        world.run(world.api_keys.holder(key))


def test_valid_keys_are_told_from_revoked_ones_and_those_of_banned_players(world: World) -> None:
    alice, bob = world.add_player(a_player()), world.add_player(a_player("bob"))
    ids = [
        world.run(world.api_keys.identified(world.run(world.api_keys.issue(owner))))[0] for owner in (alice, alice, bob)
    ]
    assert world.run(world.api_keys.valid_among([*ids, *range(1_000, 1_250)])) == set(ids)

    world.run(world.api_keys.revoke(alice, ids[0]))
    world.change(update(users).where(users.c.id == bob).values(banned_at_ms=1))

    assert world.run(world.api_keys.valid_among(ids)) == {ids[1]}
    assert world.run(world.api_keys.valid_among([])) == set()
