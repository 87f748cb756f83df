"""The page of a clan: members, their newest first places, and the search for clans."""

import pytest
from sqlalchemy import bindparam, insert, update
from tests.builders import NOW_MS, World, a_map, a_play, a_player

from kiai.accounts.name_index import NameKind, add_names
from kiai.beatmaps import Beatmap
from kiai.clans import ClanDirectory
from kiai.errors import NotFound
from kiai.osu.mods import RX
from kiai.osu.names import safe_name
from kiai.staff import OPERATOR
from kiai.storage.port import Transaction
from kiai.storage.tables import clans, users


def found_clan(world: World, name: str, tag: str, members: list[int]) -> int:
    """Found a clan; the first member is the owner, the second an officer."""
    world.change(
        insert(clans).values(
            name=name,
            safe_name=safe_name(name),
            tag=tag,
            owner_id=members[0],
            created_at_ms=NOW_MS,
            description="We <3",
        )
    )
    [(clan_id,)] = world.look(clans.select().with_only_columns(clans.c.id).where(clans.c.tag == tag))
    join = update(users).where(users.c.id == bindparam("member"))
    for place, member in enumerate(members):
        role = {0: 3, 1: 2}.get(place, 1)
        world.change(join.values(clan_id=clan_id, clan_priv=role, clan_joined_at_ms=NOW_MS - place), member=member)

    async def index(tx: Transaction) -> None:
        await add_names(tx, NameKind.CLAN, clan_id, name, tag)

    world.run(world.database.transaction(index))
    return int(clan_id)


@pytest.fixture
def directory(world: World) -> ClanDirectory:
    return ClanDirectory(world.database)


@pytest.fixture
def players(world: World) -> list[int]:
    return [world.add_player(a_player(name)) for name in ("alice", "bob", "carol", "dave")]


def song(world: World, number: int) -> Beatmap:
    return world.add_map(a_map(number))


def test_members_are_sorted_by_role_and_then_by_time_with_figures_of_the_mode(
    world: World, directory: ClanDirectory, players: list[int]
) -> None:
    clan_id = found_clan(world, "Night Owls", "OWL", players)
    world.record(a_play(by=players[1], on=song(world, 1), pp=100))

    members = world.run(directory.members(clan_id, 0))

    assert [(one.player.name, one.role) for one in members] == [("alice", 3), ("bob", 2), ("dave", 1), ("carol", 1)]
    assert [(one.plays, one.pp > 0) for one in members] == [(0, False), (1, True), (0, False), (0, False)]
    assert members[0].player.clan_tag == "OWL"
    assert members[0].joined_at_ms == NOW_MS
    assert world.run(directory.members(clan_id, 1))[1].plays == 0
    assert world.run(directory.members(clan_id + 1, 0)) == []


def test_restricted_members_and_their_first_places_are_not_shown(
    world: World, directory: ClanDirectory, players: list[int]
) -> None:
    clan_id = found_clan(world, "Night Owls", "OWL", players)
    world.record(a_play(by=players[0], on=song(world, 1)))
    world.run(world.restrictions.restrict(OPERATOR, "alice", "because"))
    world.reconcile()

    members = world.run(directory.members(clan_id, 0))

    assert "alice" not in [one.player.name for one in members]
    assert world.run(directory.first_places(members, 0)) == []


def test_first_places_of_all_members_are_merged_with_the_newest_first(
    world: World, directory: ClanDirectory, players: list[int]
) -> None:
    alice, bob, carol, stranger = players
    clan_id = found_clan(world, "Night Owls", "OWL", [alice, bob, carol])
    expected: list[tuple[int, int]] = []
    for number in range(1, 15):
        by = (alice, bob, stranger)[number % 3]
        recorded = world.record(a_play(by=by, on=song(world, number)))
        if by != stranger:
            expected.insert(0, (by, recorded.score_id))
    world.record(a_play(by=carol, on=song(world, 20), mods=RX))

    members = world.run(directory.members(clan_id, 0))
    firsts = world.run(directory.first_places(members, 0))

    assert [(one.player.id, one.played.score.id) for one in firsts] == expected[:10]
    assert [one.player.name for one in world.run(directory.first_places(members, 4))] == ["carol"]
    assert world.run(directory.first_places([], 0)) == []


def test_clans_are_found_by_a_part_of_the_name_or_the_tag(
    world: World, directory: ClanDirectory, players: list[int]
) -> None:
    found_clan(world, "Night Owls", "OWL", players[:1])
    found_clan(world, "Early Birds", "NEST", players[1:2])

    def names(text: str) -> list[str]:
        return [clan.name for clan in world.run(directory.search(text))]

    assert names("owl") == names("NIGHT O") == names("ght") == ["Night Owls"]
    assert names("nest") == ["Early Birds"]
    assert names("ir") == ["Early Birds"]
    assert names("n") == ["Early Birds", "Night Owls"]
    assert names("") == names("x" * 50) == names("\ud800") == []


def test_clan_is_found_by_its_tag_in_any_case(world: World, directory: ClanDirectory, players: list[int]) -> None:
    clan_id = found_clan(world, "Night Owls", "OWL", players)

    clan = world.run(directory.with_tag("owl"))

    assert (clan.id, clan.joining, clan.description, clan.owner_id) == (clan_id, 2, "We <3", players[0])
    with pytest.raises(NotFound):
        world.run(directory.with_tag("nope"))
