"""What the first log-in of an account decides."""

import pytest
from tests.builders import World, a_map, a_play, a_player

from kiai.accounts import HardwareMatch
from kiai.osu.privileges import OWNER, UNRESTRICTED, VERIFIED
from kiai.staff.joining import Joining


def joining(world: World, *, first_user_is_owner: bool = True) -> Joining:
    return Joining(world.database, world.accounts, world.standing, world.clock, first_user_is_owner=first_user_is_owner)


def test_the_first_player_becomes_the_owner_at_its_first_login_and_the_log_says_so(world: World) -> None:
    first = world.add_player(a_player(priv=UNRESTRICTED))

    assert world.run(joining(world).first_login(first)) == OWNER

    [row] = world.audit(first)
    assert (row.action, row.actor_id) == ("bootstrap_owner", 0)


@pytest.mark.parametrize("allowed", [True, False])
def test_others_are_verified_and_no_more(world: World, allowed: bool) -> None:
    first = world.add_player(a_player(priv=UNRESTRICTED))
    second = world.add_player(a_player("bob", priv=UNRESTRICTED))

    assert world.run(joining(world).first_login(second)) == UNRESTRICTED | VERIFIED
    owner = world.run(joining(world, first_user_is_owner=allowed).first_login(first)) == OWNER

    assert owner == allowed
    assert world.audit(second) == []


def test_an_account_without_country_gets_one_for_good_and_its_rank_moves_with_it(world: World) -> None:
    song = world.add_map(a_map())
    anna = world.add_player(a_player(country="xx"))
    world.record(a_play(by=anna, on=song, pp=100.0))

    world.run(joining(world).settle_country(anna, "nl"))
    world.run(joining(world).settle_country(anna, "de"))
    world.run(world.outbox.deliver())

    assert world.user(anna).country == "nl"
    assert world.run(world.realtime.around(0, country="nl")) == [anna]
    assert world.run(world.realtime.around(0, country="xx")) == []
    assert world.problems() == []


def test_a_shared_device_is_noted_without_its_hashes(world: World) -> None:
    anna = world.add_player(a_player())
    match = HardwareMatch(user_id=9, name="other", priv=2, banned=False, kinds=("disk", "uninstall"))

    world.run(joining(world).note_hardware(anna, [match]))

    [row] = world.audit(anna)
    assert (row.action, row.details) == ("hardware_match", '{"accounts":{"9":["disk","uninstall"]}}')
