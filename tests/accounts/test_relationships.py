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


def test_friend_is_mutual_when_both_have_added_each_other(world: World, alice: int, bob: int) -> None:
    world.run(world.relationships.befriend(alice, bob))
    one_sided = world.run(world.relationships.friends_of(alice))

    world.run(world.relationships.befriend(bob, alice))

    assert one_sided == [Friend(bob, "bob", "de", mutual=False)]
    assert world.run(world.relationships.friends_of(alice)) == [Friend(bob, "bob", "de", mutual=True)]
    assert world.run(world.relationships.friends_of(bob)) == [Friend(alice, "alice", "nl", mutual=True)]


def test_adding_a_friend_twice_has_no_further_effect(world: World, alice: int, bob: int) -> None:
    for _ in range(2):
        world.run(world.relationships.befriend(alice, bob))

    assert kinds(world) == [(alice, bob, 1)]


def test_block_ends_the_own_friendship_and_friendship_ends_the_block(world: World, alice: int, bob: int) -> None:
    world.run(world.relationships.befriend(alice, bob))
    world.run(world.relationships.befriend(bob, alice))

    world.run(world.relationships.block(alice, bob))
    blocked = kinds(world), world.run(world.relationships.friends_of(bob))
    world.run(world.relationships.befriend(alice, bob))

    assert blocked == ([(alice, bob, 2), (bob, alice, 1)], [Friend(alice, "alice", "nl", mutual=False)])
    assert kinds(world) == [(alice, bob, 1), (bob, alice, 1)]


def test_removal_ends_a_friendship_or_block_and_accepts_neither(world: World, alice: int, bob: int) -> None:
    world.run(world.relationships.befriend(alice, bob))

    for _ in range(2):
        world.run(world.relationships.forget(alice, bob))

    assert kinds(world) == []


def test_befriending_or_blocking_oneself_and_blocking_the_bot_are_rejected(world: World, alice: int) -> None:
    for steps in (
        world.relationships.befriend(alice, alice),
        world.relationships.block(alice, alice),
        world.relationships.block(alice, BOT_ID),
    ):
        with pytest.raises(Refused):
            world.run(steps)

    assert kinds(world) == []


def test_hidden_friend_is_not_listed_but_still_stored(world: World, alice: int, bob: int) -> None:
    world.run(world.relationships.befriend(alice, bob))

    world.run(world.restrictions.restrict(OPERATOR, "bob", "because"))
    hidden = world.run(world.relationships.friends_of(alice))
    world.run(world.restrictions.unrestrict(OPERATOR, "bob"))

    assert hidden == []
    assert len(world.run(world.relationships.friends_of(alice))) == 1


def test_rejected_block_does_not_end_the_friendship(world: World, alice: int, bob: int) -> None:
    for n in range(BLOCKS_MAX):
        world.run(world.relationships.block(alice, world.add_player(a_player(f"player{n}"))))
    world.run(world.relationships.befriend(alice, bob))

    with pytest.raises(Refused, match=f"at most {BLOCKS_MAX}"):
        world.run(world.relationships.block(alice, bob))

    assert (alice, bob, 1) in kinds(world)


def test_befriending_an_unknown_account_raises_not_found(world: World, alice: int) -> None:
    with pytest.raises(KiaiError):
        world.run(world.relationships.befriend(alice, 999))

    assert kinds(world) == []


def test_relations_are_ids_including_hidden_players(world: World, alice: int, bob: int) -> None:
    carol = world.add_player(a_player("carol"))
    world.run(world.relationships.befriend(alice, bob))
    world.run(world.relationships.befriend(alice, BOT_ID))
    world.run(world.relationships.block(alice, carol))
    world.run(world.relationships.befriend(bob, carol))
    world.run(world.restrictions.restrict(OPERATOR, "bob", "because"))

    assert world.run(world.relationships.relations_of(alice)) == (frozenset({bob, BOT_ID}), frozenset({carol}))
    assert world.run(world.relationships.relations_of(carol)) == (frozenset(), frozenset())


def test_relation_is_looked_up_by_direction_and_kind(world: World, alice: int, bob: int) -> None:
    def answers() -> list[bool]:
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

    before = answers()
    world.run(world.relationships.befriend(alice, bob))
    befriended = answers()
    world.run(world.relationships.block(alice, bob))

    assert before == [False] * 4
    assert befriended == [True, False, False, False]
    assert answers() == [False, False, True, False]
