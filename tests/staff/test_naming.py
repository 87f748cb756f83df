"""Names and countries that staff sets."""

import pytest
from tests.builders import NORMAL, World, a_player

from kiai.errors import Conflict, Invalid, NotAllowed, NotATarget, OutRanked, WrongState
from kiai.osu.privileges import Privilege
from kiai.staff import OPERATOR, Actor
from kiai.staff.naming import Naming

ADMINISTRATOR = int(NORMAL | Privilege.ADMINISTRATOR)


@pytest.fixture
def naming(world: World) -> Naming:
    return Naming(world.accounts, world.authority, world.standing, world.clock)


def test_an_old_name_leads_to_the_player_and_is_reserved(world: World, naming: Naming) -> None:
    alice, bob = world.add_player(a_player()), world.add_player(a_player("bob"))

    assert world.run(naming.rename(OPERATOR, "alice", "alina")).name == "alina"
    with pytest.raises(Conflict):
        world.run(naming.rename(OPERATOR, bob, "Alice"))

    assert world.run(world.accounts.user(name="alice")).id == alice
    assert world.run(naming.rename(OPERATOR, bob, "Alice", force=True)).name == "Alice"
    [row] = world.audit(alice)
    assert (row.action, row.details) == ("rename", '{"before":"alice","after":"alina"}')


@pytest.mark.parametrize(
    ("name", "error"), [("x", Invalid), ("banchobot", Invalid), ("bob", Conflict), ("alice", WrongState)]
)
def test_a_name_outside_the_rules_is_refused_even_with_force(
    world: World, naming: Naming, name: str, error: type[Exception]
) -> None:
    world.add_player(a_player())
    world.add_player(a_player("bob"))

    with pytest.raises(error):
        world.run(naming.rename(OPERATOR, "alice", name, force=True))


def test_only_administrators_over_a_lower_role_set_names_and_countries(world: World, naming: Naming) -> None:
    boss = Actor(world.add_player(a_player("boss", priv=ADMINISTRATOR)), "api")
    other = world.add_player(a_player("other", priv=ADMINISTRATOR))
    mod = Actor(world.add_player(a_player("mod", priv=int(NORMAL | Privilege.MODERATOR))), "api")

    for actor, target, error in ((mod, other, NotAllowed), (boss, 1, NotATarget), (boss, other, OutRanked)):
        with pytest.raises(error):
            world.run(naming.rename(actor, target, "somebody"))
        with pytest.raises(error):
            world.run(naming.set_country(actor, target, "de"))
    with pytest.raises(OutRanked):
        world.run(naming.rename(boss, boss.user_id, "the boss"))


def test_a_player_moves_to_another_country(world: World, naming: Naming) -> None:
    alice = world.add_player(a_player(country="nl"))

    assert world.run(naming.set_country(OPERATOR, alice, "DE")).country == "de"

    [row] = world.audit(alice)
    assert (row.action, row.details) == ("country", '{"before":"nl","after":"de"}')
    with pytest.raises(WrongState, match="already"):
        world.run(naming.set_country(OPERATOR, alice, "de"))
    with pytest.raises(Invalid):
        world.run(naming.set_country(OPERATOR, alice, "zz"))
