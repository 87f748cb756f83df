"""Runs of jobs: start, progress, cancel, failure, interruption, and starts at the same time."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from sqlalchemy import insert, select
from tests.builders import DEVELOPER, NORMAL, World, a_player
from tests.patience import patiently
from tests.staff.lines_kit import letters

from kiai.errors import Invalid, KiaiError, NotAllowed, NotFound, Refused, Unavailable, WrongState
from kiai.osu.privileges import Privilege
from kiai.staff import OPERATOR, Actor
from kiai.staff.job_runs import (
    _STORE,
    KEPT,
    LINE_MAX,
    LINES_MAX,
    PAGE,
    CheckedStart,
    JobDesk,
    JobKind,
    JobProgress,
    JobRun,
    JobState,
    JobWorker,
)
from kiai.storage.port import Command
from kiai.storage.tables import audit_log, job_runs

ADMINISTRATOR = int(NORMAL | Privilege.ADMINISTRATOR)


class Works:
    """Two kinds of jobs whose work a test controls, with the desk and two workers of one server."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.began = asyncio.Event()
        self.go_on = asyncio.Event()
        self.ran: list[tuple[int, int]] = []  # run and position
        self.ended: list[str] = []
        self.fault: Exception | None = None
        self.desk = JobDesk(world.database, world.authority, world.clock)
        self.desk.add(JobKind("paint", "Painting", self._check, self._run, waits=True))
        self.desk.add(JobKind("sweep", "Sweeping", self._check, self._run, parallel=True))
        self.worker, self.other = (JobWorker(world.database, self.desk.kinds, world.clock) for _ in range(2))

    async def _check(self, given: Mapping[str, str]) -> CheckedStart:
        if given.get("colour") == "none":
            raise Invalid("colour", "a colour", "none")
        return CheckedStart(given)

    async def _run(self, run: JobRun, progress: JobProgress) -> str:
        self.ran.append((run.id, run.position))
        progress(1, 4)
        progress.position = 7
        progress.say("first line")
        self.began.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        if self.fault is not None:
            raise self.fault
        progress(4, 4)
        return "all painted."

    def row(self, run_id: int) -> JobRun:
        """Return the stored run."""
        return self.world.run(self.desk.one(OPERATOR, run_id))

    async def stored(self, run_id: int, **values: object) -> JobRun:
        """Wait until the stored run has these values."""
        async with asyncio.timeout(patiently(30)):
            while True:
                run = await self.desk.one(OPERATOR, run_id)
                if all(getattr(run, name) == value for name, value in values.items()):
                    return run
                await asyncio.sleep(0.05)


@pytest.fixture
def works(world: World) -> Works:
    return Works(world)


@pytest.fixture
def root(world: World) -> Actor:
    return Actor(world.add_player(a_player("root", priv=DEVELOPER)), "web")


def actions(world: World) -> list[str]:
    """Return the actions of all audit rows."""
    return [action for (action,) in world.look(select(audit_log.c.action).order_by(audit_log.c.id))]


def test_a_run_is_carried_out_with_its_progress_and_reported(world: World, works: Works, root: Actor) -> None:
    run_id = world.run(works.desk.start(root, "paint", {"colour": "red", "size": ""}, "new year"))
    waiting = works.row(run_id)
    assert (waiting.state_name, waiting.parameters, waiting.reason) == ("waiting", {"colour": "red"}, "new year")

    async def carry_out() -> JobRun:
        work = asyncio.create_task(works.worker.work("paint"))
        running = await works.stored(run_id, done=1)
        works.go_on.set()
        assert await work
        return running

    running = world.run(carry_out())

    assert (running.state_name, running.total, running.position, running.lines) == ("running", 4, 7, "first line")
    done = works.row(run_id)
    assert (done.state_name, done.done, done.total, done.lines) == ("done", 4, 4, "first line\nall painted.")
    assert letters(world) == [(root.user_id, f"Painting {run_id}: all painted.")]
    assert not world.run(works.worker.work("paint"))
    [row] = world.audit(0, "job")
    assert (row.action, row.reason) == ("job_start", "new year")


def test_the_second_of_two_starts_is_refused_with_the_state_of_the_first(
    world: World, works: Works, root: Actor
) -> None:
    async def twice() -> Sequence[object]:
        starts = (
            works.desk.start(actor, "paint", {"colour": colour}) for actor, colour in ((root, "a"), (OPERATOR, "b"))
        )
        return await asyncio.gather(*starts, return_exceptions=True)

    results = world.run(twice())

    [refused] = [result for result in results if isinstance(result, WrongState)]
    [run_id] = [result for result in results if isinstance(result, int)]
    assert str(refused) == f"Painting {run_id} is already waiting"
    assert actions(world) == ["job_start"]

    async def while_it_runs() -> str:
        work = asyncio.create_task(works.worker.work("paint"))
        await works.stored(run_id, done=1)
        with pytest.raises(WrongState) as late:
            await works.desk.start(root, "paint", {})
        works.go_on.set()
        await work
        return str(late.value)

    assert world.run(while_it_runs()) == f"Painting {run_id} is already running, 1 of 4"
    world.run(works.desk.start(root, "paint", {}))


def test_a_parallel_kind_queues_runs_with_other_parameters(world: World, works: Works, root: Actor) -> None:
    first = world.run(works.desk.start(root, "sweep", {"room": "1", "floor": "2"}))
    second = world.run(works.desk.start(root, "sweep", {"room": "2"}))
    with pytest.raises(WrongState, match=f"Sweeping {first} is already waiting"):
        world.run(works.desk.start(root, "sweep", {"floor": "2", "room": "1"}))
    works.go_on.set()

    assert world.run(works.worker.work("sweep"))
    assert world.run(works.other.work("sweep"))

    assert [run for run, _ in works.ran] == [first, second]


def test_a_waiting_run_is_cancelled_at_once_and_never_begins(world: World, works: Works, root: Actor) -> None:
    run_id = world.run(works.desk.start(root, "paint", {}))

    world.run(works.desk.cancel(root, run_id, "wrong colour"))

    assert works.row(run_id).state_name == "cancelled"
    assert not world.run(works.worker.work("paint"))
    assert works.ran == []
    [row] = world.audit(run_id, "job")
    assert (row.action, row.reason) == ("job_cancel", "wrong colour")
    with pytest.raises(WrongState, match="already cancelled"):
        world.run(works.desk.cancel(root, run_id))
    assert actions(world) == ["job_start", "job_cancel"]


def test_a_running_run_is_ended_by_the_worker_that_runs_it(world: World, works: Works, root: Actor) -> None:
    run_id = world.run(works.desk.start(root, "paint", {}))
    elsewhere = JobDesk(world.database, world.authority, world.clock)
    elsewhere.kinds = works.desk.kinds

    async def cancelled() -> None:
        work = asyncio.create_task(works.worker.work("paint"))
        await works.began.wait()
        await elsewhere.cancel(root, run_id)
        assert (await works.desk.one(root, run_id)).state_name == "cancelling"
        with pytest.raises(WrongState, match="already cancelling"):
            await elsewhere.cancel(OPERATOR, run_id)
        async with asyncio.timeout(patiently(30)):
            assert await work

    world.run(cancelled())

    assert works.ended == ["cancelled"]
    run = works.row(run_id)
    assert (run.state_name, run.done, run.lines) == ("cancelled", 1, "first line\ncancelled.")
    assert actions(world) == ["job_start", "job_cancel"]


def test_a_run_that_a_stop_interrupts_continues_on_the_next_worker(world: World, works: Works, root: Actor) -> None:
    run_id = world.run(works.desk.start(root, "paint", {}))

    async def stopped() -> None:
        work = asyncio.create_task(works.worker.work("paint"))
        await works.stored(run_id, position=7)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    world.run(stopped())
    assert works.row(run_id).state_name == "running"
    works.go_on.set()

    assert world.run(works.other.work("paint"))

    assert works.ran == [(run_id, 0), (run_id, 7)]
    assert works.ended == ["cancelled"]
    assert works.row(run_id).state_name == "done"


def test_progress_that_cannot_be_stored_does_not_end_the_work(
    world: World, works: Works, root: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = world.run(works.desk.start(root, "sweep", {}))
    refused: list[Command] = []
    change = works.worker._change

    async def fail_twice(command: Command, **values: int | str) -> int:
        if command is _STORE and len(refused) < 2:
            refused.append(command)
            raise Unavailable("database")
        return await change(command, **values)

    monkeypatch.setattr(works.worker, "_change", fail_twice)

    async def carried_out() -> None:
        work = asyncio.create_task(works.worker.work("sweep"))
        await works.stored(run_id, position=7)
        works.go_on.set()
        assert await work

    world.run(carried_out())

    assert len(refused) == 2
    assert works.row(run_id).state_name == "done"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Refused("the wall is wet"), "the wall is wet."),
        (Unavailable("the ladder", "broken"), "the ladder is not available: broken."),
        (RuntimeError("a secret"), "failed; the log has the cause."),
    ],
)
def test_a_failure_has_its_cause_in_the_last_line(
    world: World, works: Works, root: Actor, fault: Exception, said: str
) -> None:
    run_id = world.run(works.desk.start(root, "sweep", {}))
    works.fault = fault
    works.go_on.set()

    assert world.run(works.worker.work("sweep"))

    run = works.row(run_id)
    assert (run.state_name, run.lines.split("\n")[-1]) == ("failed", said)


def test_a_kind_that_waits_continues_when_the_part_is_there_again(world: World, works: Works, root: Actor) -> None:
    run_id = world.run(works.desk.start(root, "paint", {}))
    works.fault = Unavailable("the database")
    works.go_on.set()
    with pytest.raises(Unavailable):
        world.run(works.worker.work("paint"))
    assert works.row(run_id).state_name == "running"
    works.fault = None

    assert world.run(works.worker.work("paint"))

    assert works.row(run_id).state_name == "done"


def test_only_the_newest_runs_are_stored_and_shown_by_pages(world: World, works: Works, root: Actor) -> None:
    old = [
        {"kind": "paint", "params": "{}", "state": int(state), "actor_id": 0, "source": "cli", "requested_at_ms": 1}
        for state in (JobState.DONE, JobState.FAILED) * (KEPT // 2)
    ]
    world.change(insert(job_runs).values(old))
    works.go_on.set()
    run_id = world.run(works.desk.start(root, "sweep", {}))

    world.run(works.worker.work("sweep"))

    ids = [run_id for (run_id,) in world.look(select(job_runs.c.id).order_by(job_runs.c.id))]
    assert ids == list(range(run_id - KEPT + 1, run_id + 1))
    page, before = world.run(works.desk.page(root))
    assert [run.id for run in page] == list(range(run_id, run_id - PAGE, -1))
    rest, _ = world.run(works.desk.page(root, before))
    assert rest[0].id == run_id - PAGE


def test_lines_are_bounded() -> None:
    progress = JobProgress(JobRun(1, "paint", "{}", 1, 0, "cli", "", 0, 0, 0, 0, 0, 0, 0, ""))
    for number in range(LINES_MAX + 5):
        progress.say(f"{number}\n" + "x" * 1_000)

    lines = progress.lines.split("\n")
    assert len(lines) == LINES_MAX
    assert lines[0].startswith("5 x")
    assert {len(line) for line in lines} == {LINE_MAX}


@pytest.mark.parametrize(
    ("priv", "kind", "given", "error"),
    [
        (NORMAL, "paint", {}, NotAllowed),
        (ADMINISTRATOR, "paint", {}, NotAllowed),
        (DEVELOPER & ~1, "paint", {}, NotAllowed),
        (DEVELOPER, "fly", {}, Invalid),
        (DEVELOPER, "paint", {"colour": "none"}, Invalid),
    ],
)
def test_refusals_start_nothing(
    world: World, works: Works, priv: int, kind: str, given: dict[str, str], error: type[KiaiError]
) -> None:
    alice = Actor(world.add_player(a_player(priv=priv)), "web")

    with pytest.raises(error):
        world.run(works.desk.start(alice, kind, given))

    assert world.look(job_runs.select()) == []
    assert actions(world) == []


@pytest.mark.parametrize("priv", [NORMAL, ADMINISTRATOR])
def test_only_developers_see_and_cancel_runs(world: World, works: Works, priv: int, root: Actor) -> None:
    run_id = world.run(works.desk.start(root, "paint", {}))
    alice = Actor(world.add_player(a_player(priv=priv)), "web")

    for act in (works.desk.page(alice), works.desk.one(alice, run_id), works.desk.cancel(alice, run_id)):
        with pytest.raises(NotAllowed):
            world.run(act)
    assert works.row(run_id).state_name == "waiting"
    for unknown in (0, 99, 2**63):
        with pytest.raises(NotFound):
            world.run(works.desk.cancel(root, unknown))
