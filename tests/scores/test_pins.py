"""Players pin up to 10 of their scores in each mode, in an order of their choice."""

import asyncio

import pytest
from sqlalchemy import select, update
from tests.builders import World, a_map, a_play, a_player

from kiai.errors import Invalid, NotFound, Refused
from kiai.osu.mods import RX
from kiai.scores.pins import PINS_MAX
from kiai.storage.port import Command
from kiai.storage.tables import pinned_scores, scores


@pytest.fixture
def alice(world: World) -> int:
    return world.add_player(a_player())


def plays(world: World, user_id: int, count: int, mods: int = 0) -> list[int]:
    song = world.add_map(a_map())
    return [world.record(a_play(by=user_id, on=song, score=1_000 + n, mods=mods)).score_id for n in range(count)]


def pinned(world: World, user_id: int, mode: int = 0) -> list[int]:
    return [row.score.id for row in world.run(world.showcase.pins.of(user_id, mode))]


def test_scores_are_shown_in_the_order_of_pinning(world: World, alice: int) -> None:
    first, second, third = plays(world, alice, 3)

    for score_id in (second, third, first, third):
        world.run(world.showcase.pins.pin(alice, score_id))

    assert pinned(world, alice) == [second, third, first]


def test_moved_score_takes_the_position_and_the_others_keep_their_order(world: World, alice: int) -> None:
    ids = plays(world, alice, 4)
    for score_id in ids:
        world.run(world.showcase.pins.pin(alice, score_id))

    world.run(world.showcase.pins.move(alice, ids[3], 1))
    assert pinned(world, alice) == [ids[3], ids[0], ids[1], ids[2]]
    world.run(world.showcase.pins.move(alice, ids[3], 4))
    assert pinned(world, alice) == ids
    for position in (0, 5):
        with pytest.raises(Invalid):
            world.run(world.showcase.pins.move(alice, ids[0], position))


def test_positions_have_no_gap_after_unpinning(world: World, alice: int) -> None:
    ids = plays(world, alice, 3)
    for score_id in ids:
        world.run(world.showcase.pins.pin(alice, score_id))

    world.run(world.showcase.pins.unpin(alice, ids[0]))
    world.run(world.showcase.pins.unpin(alice, ids[0]))

    assert pinned(world, alice) == ids[1:]
    assert world.look(select(pinned_scores.c.position).order_by(pinned_scores.c.position)) == [(1,), (2,)]


def test_eleventh_score_of_a_mode_is_refused(world: World, alice: int) -> None:
    ids = plays(world, alice, PINS_MAX + 1)
    relaxed = plays(world, alice, 1, mods=RX)
    for score_id in ids[:PINS_MAX]:
        world.run(world.showcase.pins.pin(alice, score_id))

    with pytest.raises(Refused):
        world.run(world.showcase.pins.pin(alice, ids[PINS_MAX]))
    world.run(world.showcase.pins.pin(alice, relaxed[0]))

    assert pinned(world, alice) == ids[:PINS_MAX]
    assert pinned(world, alice, 4) == relaxed


def test_only_own_passed_scores_can_be_pinned(world: World, alice: int) -> None:
    bob = world.add_player(a_player("bob"))
    (of_bob,) = plays(world, bob, 1)
    failed = world.record(a_play(by=alice, on=world.add_map(a_map()), passed=False)).score_id

    for score_id in (of_bob, 999):
        for change in (world.showcase.pins.pin, world.showcase.pins.unpin):
            with pytest.raises(NotFound):
                world.run(change(alice, score_id))
    with pytest.raises(Refused):
        world.run(world.showcase.pins.pin(alice, failed))
    with pytest.raises(NotFound):
        world.run(world.showcase.pins.move(bob, of_bob, 1))

    assert pinned(world, alice) == pinned(world, bob) == []


def test_pins_at_the_same_time_get_different_positions(world: World, alice: int) -> None:
    ids = plays(world, alice, 8)

    async def at_once() -> None:
        await asyncio.gather(*[world.showcase.pins.pin(alice, score_id) for score_id in ids])

    world.run(at_once())

    assert sorted(pinned(world, alice)) == ids
    positions = world.look(select(pinned_scores.c.position).order_by(pinned_scores.c.position))
    assert positions == [(n,) for n in range(1, 9)]


def test_score_that_staff_removed_is_not_shown(world: World, alice: int) -> None:
    (score_id,) = plays(world, alice, 1)
    world.run(world.showcase.pins.pin(alice, score_id))

    async def hide() -> None:
        await world.database.transaction(lambda tx: tx.run(HIDE))

    world.run(hide())

    assert pinned(world, alice) == []


HIDE = Command(update(scores).values(hidden=1))
