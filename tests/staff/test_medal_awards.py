"""Awards of missing medals that staff queues: carried out once, resumed after a restart, reported to their author."""

import json
from typing import cast

import pytest
from sqlalchemy import delete, select, update
from tests.builders import NORMAL, FakeDifficulties, World, a_map, a_play, a_player
from tests.staff.lines_kit import letters

from kiai.errors import NotAllowed, NotFound, WrongState
from kiai.osu.privileges import Privilege
from kiai.scores.medal_backfill import MedalBackfill
from kiai.scores.performance import Difficulties
from kiai.staff import OPERATOR, Actor
from kiai.staff.job_runs import JobDesk, JobState, JobWorker
from kiai.staff.medal_awards import KIND, MedalAwards
from kiai.storage.tables import job_runs, medal_holders, medals


class Queue(MedalAwards):
    """The awards with their worker."""

    def __init__(self, world: World) -> None:
        desk = JobDesk(world.database, world.authority, world.clock)
        backfill = MedalBackfill(world.database, world.beatmaps, cast(Difficulties, FakeDifficulties()))
        super().__init__(world.database, world.authority, backfill, desk, world.clock)
        self._worker = JobWorker(world.database, desk.kinds, world.clock)

    async def work(self) -> bool:
        """Carry out the oldest one."""
        return await self._worker.work(KIND)


def awards(world: World) -> Queue:
    return Queue(world)


@pytest.fixture
def admin(world: World) -> Actor:
    return Actor(world.add_player(a_player("admin", priv=NORMAL | Privilege.ADMINISTRATOR)), "web")


@pytest.fixture
def players(world: World, admin: Actor) -> list[int]:
    """Two players with a play each and no medals."""
    song = world.add_map(a_map(1))
    found = [world.add_player(a_player(name)) for name in ("alice", "bob")]
    for user_id in found:
        world.record(a_play(by=user_id, on=song))
    world.change(delete(medals))
    world.change(update(medal_holders).values(holders=0))
    return found


def holders(world: World) -> set[int]:
    return {user_id for (user_id,) in world.look(select(medals.c.user_id))}


def test_queued_award_is_carried_out_and_reported(world: World, admin: Actor, players: list[int]) -> None:
    service = awards(world)
    award_id = world.run(service.queue(admin, reason="a new medal"))
    assert holders(world) == set()
    assert [one.id for one in world.run(service.active(admin))] == [award_id]

    assert world.run(service.work())

    assert holders(world) == set(players)
    [(author, line)] = letters(world)
    assert author == admin.user_id
    assert line.startswith(f"Award of medals {award_id}: ")
    assert "3 players examined" in line
    assert not world.run(service.work())
    [row] = world.audit(0, "server")
    assert (row.action, row.actor_id, row.source, row.reason) == ("medals_award", admin.user_id, "web", "a new medal")


def test_award_to_one_player_leaves_the_others(world: World, admin: Actor, players: list[int]) -> None:
    service = awards(world)
    run_id = world.run(service.queue(admin, user_id=players[0], reason="asked for it"))
    world.run(service.work())

    assert holders(world) == {players[0]}
    [row] = world.audit(players[0])
    details = {"job": KIND, "run": run_id, "user": f"#{players[0]}", "before": None, "after": "waiting"}
    assert (row.action, json.loads(row.details)) == ("medals_award", details)


def test_interrupted_award_continues_behind_the_last_player(world: World, admin: Actor, players: list[int]) -> None:
    service = awards(world)
    world.run(service.queue(admin))
    world.change(update(job_runs).values(state=int(JobState.RUNNING), position=players[0], done=2))

    world.run(service.work())

    assert holders(world) == {players[1]}


def test_same_award_is_queued_once(world: World, admin: Actor, players: list[int]) -> None:
    service = awards(world)
    world.run(service.queue(admin))
    world.clock.advance(1)

    with pytest.raises(WrongState):
        world.run(service.queue(OPERATOR))

    world.run(service.queue(admin, user_id=players[0]))
    assert len(world.run(service.active(admin))) == 2


def test_only_administrators_award_and_only_to_accounts(world: World, admin: Actor, players: list[int]) -> None:
    moderator = Actor(world.add_player(a_player("mod", priv=NORMAL | Privilege.MODERATOR)), "web")
    service = awards(world)

    for call in (service.queue(moderator), service.award_now(moderator), service.active(moderator)):
        with pytest.raises(NotAllowed):
            world.run(call)
    with pytest.raises(NotFound):
        world.run(service.queue(admin, user_id=999))
    with pytest.raises(NotFound):
        world.run(service.award_now(admin, user_id=999))
    assert world.look(job_runs.select()) == []


def test_operator_awards_at_once(world: World, players: list[int]) -> None:
    report = world.run(awards(world).award_now(OPERATOR))

    assert holders(world) == set(players)
    assert report.players == 3
    assert len(world.audit(0, "server")) == 1
