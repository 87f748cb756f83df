"""Reconciling after changes of status, visibility and country, with other changes between and during its steps."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest
from sqlalchemy import func, select
from tests.builders import NORMAL, World, a_map, a_play, a_player
from tests.pausing import Pause, PausingDatabase

from kiai.beatmaps import Beatmap, MapStatus, queries
from kiai.scores import statements
from kiai.scores.reconciling import Reconciler
from kiai.scores.recording import TotalsOptions
from kiai.staff import OPERATOR
from kiai.storage import tasks as tasks_of
from kiai.storage.port import Command, Database, Query
from kiai.storage.tables import audit_log, first_places, scores, stale_totals, stats, tasks
from kiai.storage.tasks import Task

RESTRICTED = NORMAL & ~1


def paused(world: World, statement: Query[Any] | Command) -> tuple[Pause, World]:
    """Return the same world with transactions that pause after a statement."""
    pause = Pause(world.database, statement)
    return pause, World(cast(Database, PausingDatabase(pause)), world.run, world.folder)


def run_during(world: World, pause: Pause, slow: Coroutine[Any, Any, Any], quick: Coroutine[Any, Any, Any]) -> None:
    """Run `slow` up to the pause, then `quick` until it ends or waits for `slow`, then both to their end."""

    async def scenario() -> None:
        first = asyncio.create_task(slow)
        await pause.reached(first)
        second = asyncio.create_task(quick)
        await pause.until_stuck(second)
        pause.go()
        await asyncio.gather(first, second)

    world.run(scenario())


def set_status(world: World, song: Beatmap, status: MapStatus) -> Coroutine[Any, Any, None]:
    return world.staff.set_map_status(OPERATOR, [song], status)


def expand(world: World, task: Task) -> None:
    """Run the next step of a change of status, without the totals."""
    world.run(world.reconciler._sized(task.kind, lambda tx, most: world.reconciler._apply_status(tx, task, most)))


def check(world: World) -> None:
    """Check that no work remains and that all derived rows match the scores."""
    world.reconcile()
    assert world.look(select(tasks)) == world.look(select(stale_totals)) == []
    assert world.problems() == []


# --- immediate and later effects


def test_status_and_audit_row_are_written_at_once_and_totals_follow(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    world.record(a_play(by=alice, on=song))

    world.run(set_status(world, song, MapStatus.PENDING))

    assert world.map(song.md5).status == MapStatus.PENDING
    assert len(world.look(select(audit_log.c.id))) == 1
    assert world.stats(alice).pp > 0
    assert world.run(world.reconciler.pending()).left > 0
    check(world)
    assert world.stats(alice).pp == 0


def test_restricted_player_disappears_from_boards_at_once_and_counters_follow(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    world.record(a_play(by=alice, on=song))

    world.run(world.restrictions.restrict(OPERATOR, "alice", "because"))

    assert world.board(song) == []
    assert world.map(song.md5).plays == 1
    check(world)
    assert world.map(song.md5).plays == 0


def test_cost_of_a_change_does_not_depend_on_the_number_of_players(world: World) -> None:
    song = world.add_map(a_map())
    for n in range(20):
        world.record(a_play(by=world.add_player(a_player(f"player{n}")), on=song))
    rows = world.look(select(stats))

    world.run(set_status(world, song, MapStatus.LOVED))

    assert world.look(select(stats)) == rows
    assert world.look(select(func.count()).select_from(tasks)) == [(1,)]


def test_profile_with_bests_on_all_maps_of_a_set_is_computed_once(world: World) -> None:
    alice = world.add_player(a_player())
    songs = [world.add_map(a_map(id=n, set_id=5)) for n in (1, 2, 3)]
    for song in songs:
        world.record(a_play(by=alice, on=song))

    world.run(world.staff.set_map_status(OPERATOR, songs, MapStatus.PENDING))
    while len(world.look(select(tasks))):
        expand(world, world.run(world.reconciler._tasks.waiting(1))[0])

    assert world.look(select(stale_totals.c.user_id, stale_totals.c.mode)) == [(alice, 0)]
    check(world)


def test_steps_of_one_row_give_the_same_result(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    songs = [world.add_map(a_map(id=n)) for n in (1, 2, 3)]
    for n in range(4):
        player = world.add_player(a_player(f"player{n}", country="xx"))
        for song in songs:
            world.record(a_play(by=player, on=song, score=1_000 + n))
    monkeypatch.setattr("kiai.scores.reconciling.STEP_ROWS_MAX", 1)
    world.reconciler._sizes = dict.fromkeys(("map_status", "visibility", "country", "totals"), 1)

    world.run(set_status(world, songs[0], MapStatus.PENDING))
    world.run(world.restrictions.restrict(OPERATOR, "player3", "because"))

    async def move() -> None:
        async def body(tx: Any) -> None:
            await world.accounts.set_first_country(tx, 3, "nl")
            await world.standing.on_country_change(tx, 3, "nl")

        await world.database.transaction(body)

    world.run(move())
    check(world)
    assert {country for (country,) in world.look(select(scores.c.country).where(scores.c.user_id == 3))} == {"nl"}


# --- concurrent plays and changes


@pytest.mark.parametrize(
    "stop",
    [statements.reconciling.STALE_TOTALS, statements.reconciling.NEW_TOTALS, statements.reconciling.SET_NEW_TOTALS],
    ids=["locked", "computed", "written"],
)
def test_play_during_the_computation_of_its_players_totals(world: World, stop: Query[Any] | Command) -> None:
    alice, song, other = world.add_player(a_player()), world.add_map(a_map()), world.add_map(a_map(id=2))
    world.record(a_play(by=alice, on=song, score=1_000, pp=50))
    world.record(a_play(by=alice, on=other, score=1_000, pp=60))
    world.run(set_status(world, song, MapStatus.PENDING))
    pause, slow = paused(world, stop)
    better = a_play(by=alice, on=other, score=2_000, pp=90)

    run_during(world, pause, slow.reconciler.finish(), world.recorder.record(better))

    check(world)


@pytest.mark.parametrize("priv", [NORMAL, RESTRICTED], ids=["seen", "hidden"])
@pytest.mark.parametrize("stop", [statements.plays.LOCK_USER, queries.BY_KEY, statements.plays.INSERT_SCORE])
def test_status_that_changes_during_a_first_play(world: World, stop: Query[Any], priv: int) -> None:
    bob = world.add_player(a_player("bob", priv=priv))
    song = world.add_map(a_map(), MapStatus.PENDING)
    pause, slow = paused(world, stop)

    async def change_and_reconcile() -> None:
        await set_status(world, song, MapStatus.RANKED)
        await world.reconciler.finish()

    run_during(world, pause, slow.recorder.record(a_play(by=bob, on=song)), change_and_reconcile())

    check(world)
    assert world.stats(bob).rscore > 0


@pytest.mark.parametrize("stop", [statements.first_places.FIRST_PLACE, statements.plays.INSERT_SCORE])
@pytest.mark.parametrize("had_holder", [False, True])
@pytest.mark.parametrize("score", [500, 1_500, 3_000])
def test_first_place_that_another_player_takes_during_a_play(
    world: World, score: int, had_holder: bool, stop: Query[Any]
) -> None:
    bob, carol, song = world.add_player(a_player("bob")), world.add_player(a_player("carol")), world.add_map(a_map())
    if had_holder:
        world.record(a_play(by=world.add_player(a_player()), on=song, score=1_000))
    pause, slow = paused(world, stop)

    run_during(
        world,
        pause,
        slow.recorder.record(a_play(by=bob, on=song, score=score)),
        world.recorder.record(a_play(by=carol, on=song, score=2_000)),
    )

    check(world)
    [holder] = world.look(select(first_places.c.user_id))
    assert holder == (bob if score > 2_000 else carol,)
    assert world.map(song.md5).plays == 2 + had_holder


@pytest.mark.parametrize("stop", [statements.first_places.FIRST_PLACE, statements.plays.INSERT_SCORE])
def test_holder_of_the_first_place_who_is_restricted_during_a_play(world: World, stop: Query[Any]) -> None:
    alice, bob, song = world.add_player(a_player()), world.add_player(a_player("bob")), world.add_map(a_map())
    world.record(a_play(by=alice, on=song, score=2_000))
    pause, slow = paused(world, stop)

    async def restrict() -> None:
        await world.restrictions.restrict(OPERATOR, "alice", "because")
        await world.reconciler.finish()

    run_during(world, pause, slow.recorder.record(a_play(by=bob, on=song, score=1_000)), restrict())

    check(world)
    assert world.look(select(first_places.c.user_id)) == [(bob,)]


@pytest.mark.parametrize(
    "stop",
    [statements.reconciling.LOCK_MAP, statements.reconciling.LOCK_PLAYERS_ON, statements.reconciling.ADD_STALE_TOTALS],
)
def test_second_change_during_a_step_of_the_first(world: World, stop: Query[Any] | Command) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map(), MapStatus.PENDING)
    world.record(a_play(by=alice, on=song, score=1_000, pp=50))
    world.run(set_status(world, song, MapStatus.RANKED))
    pause, slow = paused(world, stop)

    run_during(world, pause, slow.reconciler.finish(), set_status(world, song, MapStatus.LOVED))

    check(world)
    assert (world.map(song.md5).status, world.stats(alice).pp) == (MapStatus.LOVED, 0)


def test_step_of_a_restarted_task_is_not_committed(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map(), MapStatus.PENDING)
    world.record(a_play(by=alice, on=song))
    world.run(set_status(world, song, MapStatus.RANKED))
    [before] = world.run(world.reconciler._tasks.waiting())
    world.run(set_status(world, song, MapStatus.LOVED))

    with pytest.raises(tasks_of.StaleTask):
        expand(world, before)

    [now] = world.run(world.reconciler._tasks.waiting())
    assert (now.round, now.place) == (before.round + 1, "")
    check(world)


@pytest.mark.parametrize(
    "stop",
    [
        statements.reconciling.LOCK_MAPS_OF,
        statements.reconciling.COUNTERS_OF_MAPS,
        statements.rebuilding.SET_MAP_COUNTERS,
    ],
)
def test_play_of_another_player_while_maps_of_a_restricted_player_are_counted(
    world: World, stop: Query[Any] | Command
) -> None:
    alice, bob, song = world.add_player(a_player()), world.add_player(a_player("bob")), world.add_map(a_map())
    world.record(a_play(by=alice, on=song, score=2_000))
    world.run(world.restrictions.restrict(OPERATOR, "alice", "because"))
    pause, slow = paused(world, stop)

    run_during(world, pause, slow.reconciler.finish(), world.recorder.record(a_play(by=bob, on=song, score=1_000)))

    check(world)
    assert (world.map(song.md5).plays, len(world.board(song))) == (1, 1)


def test_restriction_that_is_lifted_during_its_own_step(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    world.record(a_play(by=alice, on=song))
    world.run(world.restrictions.restrict(OPERATOR, "alice", "because"))
    pause, slow = paused(world, statements.reconciling.COUNTERS_OF_MAPS)

    run_during(world, pause, slow.reconciler.finish(), world.restrictions.unrestrict(OPERATOR, "alice"))

    check(world)
    assert world.map(song.md5).plays == 1


@pytest.mark.parametrize(
    "stop",
    [statements.reconciling.LOCK_MAPS, statements.rebuilding.MAP_COUNTERS, statements.rebuilding.DROP_FIRST_PLACES],
)
def test_play_during_the_rebuild_of_its_map_is_counted(world: World, stop: Query[Any] | Command) -> None:
    alice, bob, song = world.add_player(a_player()), world.add_player(a_player("bob")), world.add_map(a_map())
    world.record(a_play(by=alice, on=song, score=1_000))
    pause, slow = paused(world, stop)

    run_during(
        world,
        pause,
        slow.rebuilder.maps(0, song.key),
        world.recorder.record(a_play(by=bob, on=song, score=2_000)),
    )

    check(world)
    assert world.map(song.md5).plays == 2


def test_two_workers_reconciling_at_once(world: World) -> None:
    songs = [world.add_map(a_map(id=n)) for n in range(1, 5)]
    for n in range(6):
        player = world.add_player(a_player(f"player{n}"))
        for song in songs:
            world.record(a_play(by=player, on=song, score=1_000 + n))
    world.run(world.staff.set_map_status(OPERATOR, songs[:2], MapStatus.PENDING))
    world.run(world.restrictions.restrict(OPERATOR, "player5", "because"))
    other = Reconciler(world.database, TotalsOptions(), world.clock)

    async def both() -> None:
        await asyncio.gather(world.reconciler.finish(), other.finish())

    world.run(both())

    check(world)


# --- crashes


class Died(Exception):
    """The process died."""


@pytest.mark.parametrize("inside", [True, False], ids=["before the commit", "after the commit"])
def test_worker_that_dies_at_any_step_loses_nothing(world: World, *, inside: bool) -> None:
    songs = [world.add_map(a_map(id=n)) for n in (1, 2)]
    for n in range(3):
        player = world.add_player(a_player(f"player{n}"))
        for song in songs:
            world.record(a_play(by=player, on=song, score=1_000 + n))

    def dies_at(step: int) -> Callable[[str], None]:
        left = step

        def reach(name: str) -> None:
            nonlocal left
            if (name != "reconcile.committed") == inside:
                left -= 1
                if left < 0:
                    raise Died

        return reach

    async def run_until_death(worker: Reconciler) -> bool:
        """Return whether the worker died. A failed step counts as the death of the process."""
        failed: dict[tuple[str, int], Exception] = {}
        try:
            while (await worker.pending()).left:
                await worker.step(failed)
                if failed:
                    return True
        except Died:
            return True
        return False

    statuses = [MapStatus.PENDING, MapStatus.RANKED]
    died, step = True, 0
    while died:
        world.run(set_status(world, songs[0], statuses[step % 2]))
        if step % 2:
            world.run(world.restrictions.unrestrict(OPERATOR, "player2"))
        else:
            world.run(world.restrictions.restrict(OPERATOR, "player2", "because"))
        died = world.run(run_until_death(Reconciler(world.database, TotalsOptions(), world.clock, dies_at(step))))
        check(world)
        step += 1
    assert step > 10


def test_failing_task_does_not_stop_other_tasks(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    world.record(a_play(by=alice, on=song))

    async def broken(tx: Any) -> None:
        await tasks_of.begin(tx, "visibility", 10**9, 0)
        await tx.run(Command(tasks.update().values(place="nonsense")))

    world.run(world.database.transaction(broken))
    world.run(set_status(world, song, MapStatus.PENDING))

    with pytest.raises(ValueError, match="nonsense"):
        world.run(world.reconciler.run(rest=False))

    assert world.stats(alice).pp == 0
    assert [one.kind for one in world.run(world.reconciler.pending()).tasks] == ["visibility"]
