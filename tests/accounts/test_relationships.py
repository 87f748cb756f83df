import pytest
from sqlalchemy import select
from tests.builders import World, a_player

from kiai.accounts import BOT_ID, Friend
from kiai.accounts.relationships import BLOCKS_MAX
from kiai.errors import KiaiError, Refused
from kiai.staff import OPERATOR
from kiai.storage.tables import relationships


@pytest.fixture
def alice(world: World) -> int:
    return world.add_player(a_player())


@pytest.fixture
def bob(world: World, alice: int) -> int:
    return world.add_player(a_player("bob", country="de"))


def kinds(world: World) -> list[tuple[int, int, int]]:
    rows = world.look(select(relationships.c.user_id, relationships.c.target_id, relationships.c.kind))
    return sorted((a, b, kind) for a, b, kind in rows)


def test_a_friend_is_mutual_when_both_say_so(world: World, alice: int, bob: int) -> None:
    world.run(world.relationships.befriend(alice, bob))
    one_sided = world.run(world.relationships.friends_of(alice))

    world.run(world.relationships.befriend(bob, alice))

    assert one_sided == [Friend(bob, "bob", "de", mutual=False)]
    assert world.run(world.relationships.friends_of(alice)) == [Friend(bob, "bob", "de", mutual=True)]
    assert world.run(world.relationships.friends_of(bob)) == [Friend(alice, "alice", "nl", mutual=True)]


def test_befriending_twice_is_the_same_as_once(world: World, alice: int, bob: int) -> None:
    for _ in range(2):
        world.run(world.relationships.befriend(alice, bob))

    assert kinds(world) == [(alice, bob, 1)]


def test_a_block_ends_the_friendship_of_who_blocks_and_friendship_the_block(world: World, alice: int, bob: int) -> None:
    world.run(world.relationships.befriend(alice, bob))
    world.run(world.relationships.befriend(bob, alice))

    world.run(world.relationships.block(alice, bob))
    blocked = kinds(world), world.run(world.relationships.friends_of(bob))
    world.run(world.relationships.befriend(alice, bob))

    assert blocked == ([(alice, bob, 2), (bob, alice, 1)], [Friend(alice, "alice", "nl", mutual=False)])
    assert kinds(world) == [(alice, bob, 1), (bob, alice, 1)]


def test_forgetting_ends_either_and_is_fine_with_neither(world: World, alice: int, bob: int) -> None:
    world.run(world.relationships.befriend(alice, bob))

    for _ in range(2):
        world.run(world.relationships.forget(alice, bob))

    assert kinds(world) == []


def test_nobody_befriends_or_blocks_themselves_nor_blocks_the_bot(world: World, alice: int) -> None:
    for steps in (
        world.relationships.befriend(alice, alice),
        world.relationships.block(alice, alice),
        world.relationships.block(alice, BOT_ID),
    ):
        with pytest.raises(Refused):
            world.run(steps)

    assert kinds(world) == []


def test_a_hidden_friend_is_not_listed_but_kept(world: World, alice: int, bob: int) -> None:
    world.run(world.relationships.befriend(alice, bob))

    world.run(world.staff.restrict(OPERATOR, "bob", "because"))
    hidden = world.run(world.relationships.friends_of(alice))
    world.run(world.staff.unrestrict(OPERATOR, "bob"))

    assert hidden == []
    assert len(world.run(world.relationships.friends_of(alice))) == 1


def test_a_refused_block_leaves_the_friendship(world: World, alice: int, bob: int) -> None:
    for n in range(BLOCKS_MAX):
        world.run(world.relationships.block(alice, world.add_player(a_player(f"player{n}"))))
    world.run(world.relationships.befriend(alice, bob))

    with pytest.raises(Refused, match=f"at most {BLOCKS_MAX}"):
        world.run(world.relationships.block(alice, bob))

    assert (alice, bob, 1) in kinds(world)


def test_nobody_is_no_friend(world: World, alice: int) -> None:
    with pytest.raises(KiaiError):
        world.run(world.relationships.befriend(alice, 999))

    assert kinds(world) == []


def test_relations_are_told_as_ids_hidden_players_among_them(world: World, alice: int, bob: int) -> None:
    carol = world.add_player(a_player("carol"))
    world.run(world.relationships.befriend(alice, bob))
    world.run(world.relationships.befriend(alice, BOT_ID))
    world.run(world.relationships.block(alice, carol))
    world.run(world.relationships.befriend(bob, carol))
    world.run(world.staff.restrict(OPERATOR, "bob", "because"))

    assert world.run(world.relationships.relations_of(alice)) == (frozenset({bob, BOT_ID}), frozenset({carol}))
    assert world.run(world.relationships.relations_of(carol)) == (frozenset(), frozenset())


def test_one_relation_is_looked_up_in_its_direction_and_kind(world: World, alice: int, bob: int) -> None:
    def told() -> list[bool]:
        ask = world.relationships
        return [
            world.run(question)
            for question in (
                ask.is_friend(alice, bob),
                ask.is_friend(bob, alice),
                ask.has_blocked(alice, bob),
                ask.has_blocked(bob, alice),
            )
        ]

    before = told()
    world.run(world.relationships.befriend(alice, bob))
    befriended = told()
    world.run(world.relationships.block(alice, bob))

    assert before == [False] * 4
    assert befriended == [True, False, False, False]
    assert told() == [False, False, True, False]
