"""What the first log-in of an account decides."""

from tests.builders import World, a_map, a_play, a_player

from kiai.accounts import HardwareMatch
from kiai.osu.privileges import UNRESTRICTED, VERIFIED
from kiai.staff.joining import Joining


def joining(world: World) -> Joining:
    return Joining(world.database, world.accounts, world.standing, world.clock)


def test_a_first_login_verifies_and_makes_nobody_owner(world: World) -> None:
    first = world.add_player(a_player(priv=UNRESTRICTED))
    second = world.add_player(a_player("bob", priv=UNRESTRICTED))

    assert world.run(joining(world).first_login(second)) == UNRESTRICTED | VERIFIED
    assert world.run(joining(world).first_login(first)) == UNRESTRICTED | VERIFIED
    assert world.audit(first) == []


def test_an_account_without_country_gets_one_for_good_and_its_rank_moves_with_it(world: World) -> None:
    song = world.add_map(a_map())
    anna = world.add_player(a_player(country="xx"))
    world.record(a_play(by=anna, on=song, pp=100.0))

    world.run(joining(world).settle_country(anna, "nl"))
    world.run(joining(world).settle_country(anna, "de"))
    world.settle()
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
