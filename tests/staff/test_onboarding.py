"""Changes to an account at its first login."""

import pytest
from tests.builders import World, a_map, a_play, a_player

from kiai.accounts import HardwareMatch
from kiai.errors import Unavailable
from kiai.osu.privileges import UNRESTRICTED, VERIFIED
from kiai.scores.flags import Flags
from kiai.staff.onboarding import Onboarding


def onboarding(world: World) -> Onboarding:
    return Onboarding(world.database, world.accounts, world.standing, Flags(world.database, world.clock), world.clock)


def test_first_login_verifies_the_account_without_making_an_owner(world: World) -> None:
    first = world.add_player(a_player(priv=UNRESTRICTED))
    second = world.add_player(a_player("bob", priv=UNRESTRICTED))

    assert world.run(onboarding(world).verify(second)) == UNRESTRICTED | VERIFIED
    assert world.run(onboarding(world).verify(first)) == UNRESTRICTED | VERIFIED
    assert world.audit(first) == []


def test_first_country_is_permanent_and_moves_the_rank(world: World) -> None:
    song = world.add_map(a_map())
    anna = world.add_player(a_player(country="xx"))
    world.record(a_play(by=anna, on=song, pp=100.0))

    world.run(onboarding(world).set_first_country(anna, "nl"))
    world.run(onboarding(world).set_first_country(anna, "de"))
    world.reconcile()
    world.run(world.outbox.deliver())

    assert world.user(anna).country == "nl"
    assert world.run(world.realtime.ranked_ids(0, country="nl")) == [anna]
    assert world.run(world.realtime.ranked_ids(0, country="xx")) == []
    assert world.problems() == []


def test_audit_row_of_shared_device_contains_no_hashes(world: World) -> None:
    anna = world.add_player(a_player())
    match = HardwareMatch(user_id=9, name="other", priv=2, banned=False, kinds=("disk", "uninstall"))

    world.run(onboarding(world).record_hardware_match(anna, [match]))

    [row] = world.audit(anna)
    assert (row.action, row.details) == ("hardware_match", '{"accounts":{"9":["disk","uninstall"]}}')


def test_row_and_flags_of_a_shared_device_are_written_together(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    anna = world.add_player(a_player())
    match = HardwareMatch(user_id=9, name="other", priv=2, banned=False, kinds=("disk",))

    async def fails(*_: object, **__: object) -> None:
        raise Unavailable("database", "gone")

    monkeypatch.setattr(Flags, "_announce", fails)
    with pytest.raises(Unavailable):
        world.run(onboarding(world).record_hardware_match(anna, [match]))

    assert world.audit(anna) == []
