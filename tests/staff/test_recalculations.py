"""Recalculations that developers queue: they run one after another, once each, and survive a restart."""

import asyncio
import json
from collections.abc import Sequence
from typing import cast

import pytest
from sqlalchemy import select, update
from tests.builders import DEVELOPER, NORMAL, World, a_map, a_play, a_player, pp_of
from tests.staff.lines_kit import letters

from kiai.beatmaps import Beatmap
from kiai.errors import KiaiError, NotAllowed, NotFound, Refused, WrongState
from kiai.osu.privileges import Privilege
from kiai.scores.performance import Performance
from kiai.scores.recalculation import Recalculation
from kiai.staff import OPERATOR, Actor
from kiai.staff.job_runs import QUEUED_MAX, JobDesk, JobState, JobWorker
from kiai.staff.recalculations import KIND, Recalculations
from kiai.storage.tables import audit_log, job_runs, outbox, progress, scores

OLD_PP = 1.0


class Queue(Recalculations):
    """The recalculations with their worker."""

    def __init__(self, world: World, run: Recalculation) -> None:
        desk = JobDesk(world.database, world.authority, world.clock)
        super().__init__(world.authority, run, world.beatmaps, desk)
        self._worker = JobWorker(world.database, desk.kinds, world.clock)

    async def work(self) -> bool:
        """Carry out the oldest one."""
        return await self._worker.work(KIND)


def queued(world: World) -> list[tuple[str, int]]:
    """Return parameters and author of the runs that wait."""
    rows = select(job_runs.c.params, job_runs.c.actor_id).where(job_runs.c.state == int(JobState.WAITING))
    return [tuple(row) for row in world.look(rows.order_by(job_runs.c.id))]


def recalculations(world: World) -> Queue:
    calculator = cast(Performance, world.performance)
    run = Recalculation(world.database, world.beatmaps, calculator, world.rebuilder, world.clock, at_once=1)
    return Queue(world, run)


@pytest.fixture
def root(world: World) -> Actor:
    return Actor(world.add_player(a_player("root", priv=DEVELOPER)), "game")


@pytest.fixture
def songs(world: World, root: Actor) -> list[Beatmap]:
    """Two maps with plays of two players, with pp of an old calculator."""
    songs = [world.add_map(a_map(n, objects=100)) for n in (1, 2)]
    for name in ("alice", "bob"):
        user_id = world.add_player(a_player(name))
        for song in songs:
            world.record(a_play(by=user_id, on=song, n100=10, pp=OLD_PP))
    world.change(update(scores).values(calculator=1))
    return songs


def old_scores(world: World) -> list[tuple[int, int]]:
    """Return player and map of the scores that have the old pp."""
    columns = scores.c.user_id, scores.c.map_key
    return [
        (user, key) for user, key in world.look(select(*columns).where(scores.c.pp == OLD_PP).order_by(scores.c.id))
    ]


def lines(world: World) -> list[tuple[int, str]]:
    """Return the lines of the bot that wait for delivery: player and text."""
    found = world.look(select(outbox.c.payload).where(outbox.c.kind == "bot_lines").order_by(outbox.c.id))
    return [tuple(json.loads(payload)[:2]) for (payload,) in found]


def test_a_queued_recalculation_is_carried_out_and_reported(world: World, root: Actor, songs: list[Beatmap]) -> None:
    service = recalculations(world)
    job = world.run(service.queue(root, map_id=songs[0].id))
    assert len(old_scores(world)) == 4

    assert world.run(service.work())

    assert [key for _, key in old_scores(world)] == [songs[1].key] * 2
    assert lines(world) == [(root.user_id, f"Recalculation {job}: 2 scores computed, 2 changed.")]
    assert not world.run(service.work())
    [row] = world.audit(songs[0].id, "beatmap")
    assert (row.action, row.actor_id, row.source) == ("recalc", root.user_id, "game")


def test_an_offline_author_finds_the_report_as_mail(world: World, root: Actor, songs: list[Beatmap]) -> None:
    service = recalculations(world)
    job = world.run(service.queue(root, map_id=songs[0].id))

    world.run(service.work())

    assert letters(world) == [(root.user_id, f"Recalculation {job}: 2 scores computed, 2 changed.")]


def test_scopes_run_in_the_order_of_the_queue(world: World, root: Actor, songs: list[Beatmap]) -> None:
    service = recalculations(world)
    alice = 4
    world.run(service.queue(root, user_id=alice))
    world.clock.advance(1)
    world.run(service.queue(OPERATOR, mode=1))
    world.clock.advance(1)
    world.run(service.queue(root))

    world.run(service.work())
    assert {user for user, _ in old_scores(world)} == {5}
    world.run(service.work())
    assert len(old_scores(world)) == 2, "the mode has no scores"
    assert len(lines(world)) == 1, "the operator gets no line"
    world.run(service.work())
    assert old_scores(world) == []
    assert world.stats(alice).pp > 2 * pp_of(80, 10) * 0.9
    assert world.problems() == []
    assert world.look(progress.select()) == []


def test_a_map_that_cannot_be_computed_is_reported(world: World, root: Actor, songs: list[Beatmap]) -> None:
    service = recalculations(world)
    world.performance.cannot.add(songs[0].md5)
    world.run(service.queue(root))

    world.run(service.work())

    assert lines(world)[0][1].endswith("4 scores computed, 2 changed. 1 maps cannot be computed.")
    assert [key for _, key in old_scores(world)] == [songs[0].key] * 2


def test_the_same_recalculation_is_queued_once(world: World, root: Actor, songs: list[Beatmap]) -> None:
    service = recalculations(world)

    async def twice() -> Sequence[object]:
        return await asyncio.gather(
            service.queue(root, user_id=4), service.queue(OPERATOR, user_id=4), return_exceptions=True
        )

    results = world.run(twice())

    assert sum(isinstance(result, WrongState) for result in results) == 1
    assert [params for params, _ in queued(world)] == ['{"user":"#4"}']
    assert [row.action for row in world.audit(4)] == ["recalc"]


def test_the_queue_is_bounded(world: World, root: Actor) -> None:
    service = recalculations(world)
    for map_id in range(1, QUEUED_MAX + 1):
        world.run(service.queue(root, map_id=map_id))
    with pytest.raises(Refused, match="10 runs are queued"):
        world.run(service.queue(root))
    assert len(world.look(audit_log.select().where(audit_log.c.action == "recalc"))) == QUEUED_MAX


@pytest.mark.parametrize(
    ("priv", "user_id", "error"),
    [
        (NORMAL, None, NotAllowed),
        (int(NORMAL | Privilege.ADMINISTRATOR), None, NotAllowed),
        (DEVELOPER & ~1, None, NotAllowed),
        (DEVELOPER, 99, NotFound),
    ],
)
def test_refusals_queue_nothing(world: World, priv: int, user_id: int | None, error: type[KiaiError]) -> None:
    alice = world.add_player(a_player(priv=priv))
    with pytest.raises(error):
        world.run(recalculations(world).queue(Actor(alice, "game"), user_id=user_id))
    assert queued(world) == []
    assert world.look(audit_log.select()) == []


def test_a_map_that_was_deleted_since_is_reported(world: World, root: Actor) -> None:
    service = recalculations(world)
    job = world.run(service.queue(root, map_id=77))
    assert world.run(service.work())
    assert lines(world) == [(root.user_id, f"Recalculation {job}: map not found.")]
