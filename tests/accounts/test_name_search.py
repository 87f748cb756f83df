import pytest
from sqlalchemy import select
from tests.builders import NORMAL, SUPPORTER, World, a_player

from kiai.accounts import Viewer
from kiai.accounts.name_search import NameSearch
from kiai.errors import Conflict
from kiai.staff import OPERATOR
from kiai.storage.tables import name_parts


def found(world: World, text: str) -> list[str]:
    """Search for players; a former name follows the present one in brackets."""
    players = world.run(NameSearch(world.database).players(text))
    return [one.player.name if one.formerly is None else f"{one.player.name} ({one.formerly})" for one in players]


def test_names_that_begin_with_the_text_come_before_names_that_contain_it(world: World) -> None:
    for name in ("Banana", "Anna", "anton", "Susan", "bob"):
        world.add_player(a_player(name))

    assert found(world, "an") == ["Anna", "anton", "Banana", "Susan"]


def test_case_spaces_and_underscores_make_no_difference(world: World) -> None:
    world.add_player(a_player("Blue Cat"))

    assert found(world, "bLUE_c") == found(world, " blue  cat ") == found(world, "E C") == ["Blue Cat"]


def test_wildcards_of_sql_are_ordinary_characters(world: World) -> None:
    world.add_player(a_player("alice"))

    assert found(world, "a%e") == found(world, "al_ce") == found(world, "%") == []


def test_text_that_no_name_can_contain_finds_nothing(world: World) -> None:
    world.add_player(a_player("alice"))

    for text in ("", "  ", "a" * 33, "ali\0ce", "\ud800", "\U0010ffff", "ali\nce\u2028"):
        assert found(world, text) == []


def test_renamed_player_is_found_by_the_former_name_and_marked(world: World) -> None:
    alice = world.add_player(a_player("alice", priv=SUPPORTER))
    viewer = Viewer(alice, SUPPORTER)

    world.run(world.accounts.set_profile(viewer, {"name": "Wonder"}))

    assert found(world, "alice") == ["Wonder (alice)"]
    assert found(world, "lic") == ["Wonder (alice)"]
    assert found(world, "wond") == ["Wonder"]


def test_present_name_that_fits_is_not_repeated_as_a_former_one(world: World) -> None:
    alice = world.add_player(a_player("alice", priv=SUPPORTER))

    world.run(world.accounts.set_profile(Viewer(alice, SUPPORTER), {"name": "alicia"}))

    assert found(world, "alic") == ["alicia"]


def test_restricted_and_unverified_players_are_not_found(world: World) -> None:
    world.add_player(a_player("alice"))
    world.add_player(a_player("alina", priv=NORMAL & ~2))
    assert found(world, "ali") == ["alice"]

    world.run(world.restrictions.restrict(OPERATOR, "alice", "because"))

    assert found(world, "ali") == []


def test_refused_registration_leaves_no_row(world: World) -> None:
    world.add_player(a_player("alice"))
    before = world.look(select(name_parts.c.part))

    with pytest.raises(Conflict):
        world.add_player(a_player("Alice", email="other@example.org"))

    assert world.look(select(name_parts.c.part)) == before
