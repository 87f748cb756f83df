"""The search of clans for staff, on both databases."""

import pytest
from tests.builders import NORMAL, World, a_player
from tests.clans.test_directory import found_clan

from kiai.errors import NotAllowed
from kiai.osu.privileges import Privilege
from kiai.staff import OPERATOR
from kiai.staff.audit import Actor
from kiai.staff.clan_search import ClanSearch, FoundClans


def test_clans_are_found_by_name_tag_and_id_with_their_owner_also_a_restricted_one(world: World) -> None:
    search = ClanSearch(world.database, world.authority)
    alice = world.add_player(a_player("alice"))
    bob = world.add_player(a_player("bob", priv=int(Privilege.VERIFIED)))
    owls = found_clan(world, "Night Owls", "OWL", [alice])
    birds = found_clan(world, "Early Birds", "NEST", [bob])

    def ids(found: FoundClans) -> list[int]:
        return [one.clan.id for one in found.clans]

    assert ids(world.run(search.newest(OPERATOR))) == [birds, owls]
    assert ids(world.run(search.newest(OPERATOR, before=birds))) == [owls]
    assert ids(world.run(search.named(OPERATOR, "nest"))) == [birds]
    assert ids(world.run(search.named(OPERATOR, str(owls)))) == [owls]
    assert ids(world.run(search.named(OPERATOR, f"#{owls}"))) == [owls]
    assert ids(world.run(search.named(OPERATOR, "99999999999999999999"))) == []
    assert [one.owner for one in world.run(search.newest(OPERATOR)).clans] == ["bob", "alice"]


def test_only_staff_that_manages_clans_searches_them(world: World) -> None:
    search = ClanSearch(world.database, world.authority)
    moderator = world.add_player(a_player("mod", priv=int(NORMAL | Privilege.MODERATOR)))

    with pytest.raises(NotAllowed):
        world.run(search.newest(Actor(moderator, "web")))
    with pytest.raises(NotAllowed):
        world.run(search.named(Actor(moderator, "web"), "owl"))
