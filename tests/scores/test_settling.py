"""What follows from a status, a restriction or a country is right whatever happens between its steps, on both engines.

Each story stops one transaction in its middle and lets something else happen meanwhile.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest
from sqlalchemy import func, select
from tests.builders import NORMAL, World, a_map, a_play, a_player
from tests.pausing import Pause, PausingDatabase

from kiai.beatmaps import Beatmap, MapStatus, queries
from kiai.scores import statements
from kiai.scores.recording import Rules
from kiai.scores.settling import Settling
from kiai.staff import OPERATOR
from kiai.storage import tasks as tasks_of
from kiai.storage.port import Command, Database, Query
from kiai.storage.tables import audit_log, scores, stale_totals, stats, tasks
from kiai.storage.tasks import Task

RESTRICTED = NORMAL & ~1


def paused(world: World, statement: Query[Any] | Command) -> tuple[Pause, World]:
    """The same world, whose transactions stop behind a statement."""
    pause = Pause(world.database, statement)
    return pause, World(cast(Database, PausingDatabase(pause)), world.run, world.folder)


def meanwhile(world: World, pause: Pause, slow: Coroutine[Any, Any, Any], quick: Coroutine[Any, Any, Any]) -> None:
    """Runs `slow` up to the pause, then `quick` until it is done or has to wait for `slow`, then both to their end."""

    async def story() -> None:
        first = asyncio.create_task(slow)
        await pause.reached(first)
        second = asyncio.create_task(quick)
        await pause.until_stuck(second)
        pause.go()
        await asyncio.gather(first, second)

    world.run(story())


def judge(world: World, song: Beatmap, status: MapStatus) -> Coroutine[Any, Any, None]:
    return world.staff.set_map_status(OPERATOR, [song], status)


def expand(world: World, task: Task) -> None:
    """The next step of a changed status, without the totals."""
    world.run(world.settling._sized(task.kind, lambda tx, most: world.settling._rejudge(tx, task, most)))


def check(world: World) -> None:
    """Everything is settled, and what is shown follows from the scores."""
    world.settle()
    assert world.look(select(tasks)) == world.look(select(stale_totals)) == []
    assert world.problems() == []


# --- at once, and later


def test_a_status_and_its_audit_row_are_there_at_once_and_totals_follow(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    world.record(a_play(by=alice, on=song))

    world.run(judge(world, song, MapStatus.PENDING))

    assert world.map(song.md5).status == MapStatus.PENDING
    assert len(world.look(select(audit_log.c.id))) == 1
    assert world.stats(alice).pp > 0
    assert world.run(world.settling.waiting()).left > 0
    check(world)
    assert world.stats(alice).pp == 0


def test_a_restricted_player_is_on_no_board_at_once_and_counters_follow(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    world.record(a_play(by=alice, on=song))

    world.run(world.staff.restrict(OPERATOR, "alice", "because"))

    assert world.board(song) == []
    assert world.map(song.md5).plays == 1
    check(world)
    assert world.map(song.md5).plays == 0


def test_a_change_costs_the_same_however_many_have_played(world: World) -> None:
    song = world.add_map(a_map())
    for n in range(20):
        world.record(a_play(by=world.add_player(a_player(f"player{n}")), on=song))
    rows = world.look(select(stats))

    world.run(judge(world, song, MapStatus.LOVED))

    assert world.look(select(stats)) == rows
    assert world.look(select(func.count()).select_from(tasks)) == [(1,)]


def test_a_profile_with_bests_on_all_maps_of_a_set_is_computed_once(world: World) -> None:
    alice = world.add_player(a_player())
    songs = [world.add_map(a_map(id=n, set_id=5)) for n in (1, 2, 3)]
    for song in songs:
        world.record(a_play(by=alice, on=song))

    world.run(world.staff.set_map_status(OPERATOR, songs, MapStatus.PENDING))
    while len(world.look(select(tasks))):
        expand(world, world.run(world.settling._tasks.waiting(1))[0])

    assert world.look(select(stale_totals.c.user_id, stale_totals.c.mode)) == [(alice, 0)]
    check(world)


def test_pages_of_one_row_settle_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    songs = [world.add_map(a_map(id=n)) for n in (1, 2, 3)]
    for n in range(4):
        player = world.add_player(a_player(f"player{n}", country="xx"))
        for song in songs:
            world.record(a_play(by=player, on=song, score=1_000 + n))
    monkeypatch.setattr("kiai.scores.settling.MOST", 1)
    world.settling._sizes = dict.fromkeys(("map_status", "visibility", "country", "totals"), 1)

    world.run(judge(world, songs[0], MapStatus.PENDING))
    world.run(world.staff.restrict(OPERATOR, "player3", "because"))

    async def move() -> None:
        async def body(tx: Any) -> None:
            await world.accounts.settle_country(tx, 3, "nl")
            await world.standing.moved(tx, 3, "nl")

        await world.database.transaction(body)

    world.run(move())
    check(world)
    assert {country for (country,) in world.look(select(scores.c.country).where(scores.c.user_id == 3))} == {"nl"}


# --- beside plays


@pytest.mark.parametrize(
    "stop",
    [statements.STALE_TOTALS, statements.RETOTALLED, statements.SET_RETOTALLED],
    ids=["locked", "computed", "written"],
)
def test_a_play_while_the_totals_of_its_player_are_computed(world: World, stop: Query[Any] | Command) -> None:
    alice, song, other = world.add_player(a_player()), world.add_map(a_map()), world.add_map(a_map(id=2))
    world.record(a_play(by=alice, on=song, score=1_000, pp=50))
    world.record(a_play(by=alice, on=other, score=1_000, pp=60))
    world.run(judge(world, song, MapStatus.PENDING))
    pause, slow = paused(world, stop)
    better = a_play(by=alice, on=other, score=2_000, pp=90)

    meanwhile(world, pause, slow.settling.finish(), world.recorder.record(better))

    check(world)


@pytest.mark.parametrize("priv", [NORMAL, RESTRICTED], ids=["seen", "hidden"])
@pytest.mark.parametrize("stop", [statements.LOCK_USER, queries.BY_KEY, statements.INSERT_SCORE])
def test_a_status_that_changes_and_is_settled_inside_a_first_play(world: World, stop: Query[Any], priv: int) -> None:
    bob = world.add_player(a_player("bob", priv=priv))
    song = world.add_map(a_map(), MapStatus.PENDING)
    pause, slow = paused(world, stop)

    async def judged() -> None:
        await judge(world, song, MapStatus.RANKED)
        await world.settling.finish()

    meanwhile(world, pause, slow.recorder.record(a_play(by=bob, on=song)), judged())

    check(world)
    assert world.stats(bob).rscore > 0


@pytest.mark.parametrize("stop", [statements.LOCK_MAP, statements.LOCK_PLAYERS_ON, statements.NOTE_STALE_TOTALS])
def test_a_second_change_inside_a_step_of_the_first(world: World, stop: Query[Any] | Command) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map(), MapStatus.PENDING)
    world.record(a_play(by=alice, on=song, score=1_000, pp=50))
    world.run(judge(world, song, MapStatus.RANKED))
    pause, slow = paused(world, stop)

    meanwhile(world, pause, slow.settling.finish(), judge(world, song, MapStatus.LOVED))

    check(world)
    assert (world.map(song.md5).status, world.stats(alice).pp) == (MapStatus.LOVED, 0)


def test_a_step_of_the_round_before_is_not_committed(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map(), MapStatus.PENDING)
    world.record(a_play(by=alice, on=song))
    world.run(judge(world, song, MapStatus.RANKED))
    [before] = world.run(world.settling._tasks.waiting())
    world.run(judge(world, song, MapStatus.LOVED))

    with pytest.raises(tasks_of.Overtaken):
        expand(world, before)

    [now] = world.run(world.settling._tasks.waiting())
    assert (now.round, now.place) == (before.round + 1, "")
    check(world)


@pytest.mark.parametrize("stop", [statements.LOCK_MAPS_OF, statements.COUNTERS_OF_MAPS, statements.SET_MAP_COUNTERS])
def test_a_play_of_another_while_the_maps_of_a_restricted_player_are_counted(
    world: World, stop: Query[Any] | Command
) -> None:
    alice, bob, song = world.add_player(a_player()), world.add_player(a_player("bob")), world.add_map(a_map())
    world.record(a_play(by=alice, on=song, score=2_000))
    world.run(world.staff.restrict(OPERATOR, "alice", "because"))
    pause, slow = paused(world, stop)

    meanwhile(world, pause, slow.settling.finish(), world.recorder.record(a_play(by=bob, on=song, score=1_000)))

    check(world)
    assert (world.map(song.md5).plays, len(world.board(song))) == (1, 1)


def test_a_restriction_that_is_lifted_inside_its_own_step(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    world.record(a_play(by=alice, on=song))
    world.run(world.staff.restrict(OPERATOR, "alice", "because"))
    pause, slow = paused(world, statements.COUNTERS_OF_MAPS)

    meanwhile(world, pause, slow.settling.finish(), world.staff.unrestrict(OPERATOR, "alice"))

    check(world)
    assert world.map(song.md5).plays == 1


@pytest.mark.parametrize("stop", [statements.LOCK_MAPS, statements.MAP_COUNTERS, statements.DROP_FIRST_PLACES])
def test_a_play_while_a_map_is_rebuilt_is_counted(world: World, stop: Query[Any] | Command) -> None:
    alice, bob, song = world.add_player(a_player()), world.add_player(a_player("bob")), world.add_map(a_map())
    world.record(a_play(by=alice, on=song, score=1_000))
    pause, slow = paused(world, stop)

    meanwhile(
        world,
        pause,
        slow.rebuilder.maps(0, song.key),
        world.recorder.record(a_play(by=bob, on=song, score=2_000)),
    )

    check(world)
    assert world.map(song.md5).plays == 2


def test_two_workers_that_settle_at_once(world: World) -> None:
    songs = [world.add_map(a_map(id=n)) for n in range(1, 5)]
    for n in range(6):
        player = world.add_player(a_player(f"player{n}"))
        for song in songs:
            world.record(a_play(by=player, on=song, score=1_000 + n))
    world.run(world.staff.set_map_status(OPERATOR, songs[:2], MapStatus.PENDING))
    world.run(world.staff.restrict(OPERATOR, "player5", "because"))
    other = Settling(world.database, Rules(), world.clock)

    async def both() -> None:
        await asyncio.gather(world.settling.finish(), other.finish())

    world.run(both())

    check(world)


# --- dying


class Died(Exception):
    """The process is gone."""


@pytest.mark.parametrize("inside", [True, False], ids=["before the commit", "after the commit"])
def test_a_worker_that_dies_at_any_step_loses_nothing(world: World, *, inside: bool) -> None:
    songs = [world.add_map(a_map(id=n)) for n in (1, 2)]
    for n in range(3):
        player = world.add_player(a_player(f"player{n}"))
        for song in songs:
            world.record(a_play(by=player, on=song, score=1_000 + n))

    def dies_at(step: int) -> Callable[[str], None]:
        left = step

        def reach(name: str) -> None:
            nonlocal left
            if (name != "settle.committed") == inside:
                left -= 1
                if left < 0:
                    raise Died

        return reach

    async def live_and_die(worker: Settling) -> bool:
        """Whether the worker died; a step that failed counts as a death of the process."""
        failed: dict[tuple[str, int], Exception] = {}
        try:
            while (await worker.waiting()).left:
                await worker.step(failed)
                if failed:
                    return True
        except Died:
            return True
        return False

    statuses = [MapStatus.PENDING, MapStatus.RANKED]
    died, step = True, 0
    while died:
        world.run(judge(world, songs[0], statuses[step % 2]))
        if step % 2:
            world.run(world.staff.unrestrict(OPERATOR, "player2"))
        else:
            world.run(world.staff.restrict(OPERATOR, "player2", "because"))
        died = world.run(live_and_die(Settling(world.database, Rules(), world.clock, dies_at(step))))
        check(world)
        step += 1
    assert step > 10


def test_a_task_that_fails_leaves_the_others_their_turn(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    world.record(a_play(by=alice, on=song))

    async def broken(tx: Any) -> None:
        await tasks_of.begin(tx, "visibility", 10**9, 0)
        await tx.run(Command(tasks.update().values(place="nonsense")))

    world.run(world.database.transaction(broken))
    world.run(judge(world, song, MapStatus.PENDING))

    with pytest.raises(ValueError, match="nonsense"):
        world.run(world.settling.work(rest=False))

    assert world.stats(alice).pp == 0
    assert [one.kind for one in world.run(world.settling.waiting()).tasks] == ["visibility"]
