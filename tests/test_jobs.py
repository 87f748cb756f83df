"""Periodic work of several workers: one worker does each run."""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable

import pytest
from tests.patience import patiently

from kiai import jobs, logs
from kiai.clock import SystemClock
from kiai.errors import Unavailable
from kiai.jobs import Jobs, Paced, PeriodicJob
from kiai.realtime.memory import MemoryRealtime

EVERY_S = 0.02


def a_worker(realtime: MemoryRealtime, name: str) -> Jobs:
    async def acquire(job: str, for_s: float) -> bool:
        return await realtime.lease(job, name, for_s)

    return Jobs(acquire)


class Work:
    """Records which worker ran, and whether two ever ran at the same time."""

    def __init__(self, lasts_s: float) -> None:
        self.done: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self._lasts_s = lasts_s

    def of(self, name: str) -> Callable[[], Awaitable[None]]:
        async def work() -> None:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            try:
                await asyncio.sleep(self._lasts_s)
                self.done.append(name)
            finally:
                self.at_once -= 1

        return work


def test_shared_job_longer_than_its_period_runs_on_one_worker_at_a_time() -> None:
    async def scenario() -> Work:
        realtime, work = MemoryRealtime(SystemClock()), Work(lasts_s=4 * EVERY_S)
        workers = {name: a_worker(realtime, name) for name in ("one", "other", "third")}
        for name, worker in workers.items():
            worker.every(PeriodicJob("deliver", EVERY_S, work.of(name), shared=True))
            worker.start()
        await asyncio.sleep(40 * EVERY_S)
        for worker in workers.values():
            await worker.stop()
        return work

    work = asyncio.run(scenario())

    assert len(work.done) > 2
    assert work.most_at_once == 1


def test_job_that_is_not_shared_runs_on_every_worker() -> None:
    async def scenario() -> Work:
        realtime, work = MemoryRealtime(SystemClock()), Work(lasts_s=0)
        workers = {name: a_worker(realtime, name) for name in ("one", "other")}
        for name, worker in workers.items():
            worker.every(PeriodicJob("count", EVERY_S, work.of(name)))
            worker.start()
        await asyncio.sleep(10 * EVERY_S)
        for worker in workers.values():
            await worker.stop()
        return work

    assert set(asyncio.run(scenario()).done) == {"one", "other"}


def test_job_of_a_killed_worker_moves_to_another_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "LEASE_S", 10 * EVERY_S)

    async def scenario() -> tuple[list[str], list[str]]:
        realtime, work = MemoryRealtime(SystemClock()), Work(lasts_s=0)
        await realtime.lease("deliver", "dead", jobs.LEASE_S)  # and is then killed
        other = a_worker(realtime, "other")
        other.every(PeriodicJob("deliver", EVERY_S, work.of("other"), shared=True))
        other.start()
        await asyncio.sleep(5 * EVERY_S)
        early = list(work.done)
        await asyncio.sleep(15 * EVERY_S)
        await other.stop()
        return early, work.done

    early, late = asyncio.run(scenario())

    assert early == []
    assert set(late) == {"other"}


def test_renewal_in_progress_ends_before_the_lease_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "LEASE_S", 3 * EVERY_S)
    arrived: list[float] = []

    async def acquire(job: str, for_s: float) -> bool:
        if arrived and for_s == jobs.LEASE_S:
            await asyncio.sleep(2 * EVERY_S)  # a slow renewal
        arrived.append(for_s)
        return True

    async def scenario() -> None:
        async with jobs.job_lease(acquire, "deliver", 0.5):
            await asyncio.sleep(1.5 * EVERY_S)  # the renewal is on its way when the work ends
        await asyncio.sleep(4 * EVERY_S)

    asyncio.run(scenario())

    assert arrived == [jobs.LEASE_S, jobs.LEASE_S, 0.5]


def test_work_that_ends_before_the_first_renewal_needs_no_task() -> None:
    arrived: list[float] = []

    async def acquire(job: str, for_s: float) -> bool:
        arrived.append(for_s)
        return True

    async def scenario() -> int:
        async with jobs.job_lease(acquire, "deliver", 0.5) as mine:
            assert mine
            await asyncio.sleep(EVERY_S)
            return len(asyncio.all_tasks())

    assert asyncio.run(scenario()) == 1
    assert arrived == [jobs.LEASE_S, 0.5]


@pytest.mark.parametrize("steps", range(40))
def test_shared_job_can_be_stopped_at_any_moment(steps: int) -> None:
    async def acquire(job: str, for_s: float) -> bool:
        return True

    async def scenario() -> None:
        worker = Jobs(acquire)
        worker.every(PeriodicJob("count", 0, Work(lasts_s=0).of("one"), shared=True))
        worker.start()
        for _ in range(steps):
            await asyncio.sleep(0)
        async with asyncio.timeout(jobs.CANCEL_AGAIN_S / 2):  # so that the first cancellation must be enough
            await worker.stop()

    asyncio.run(scenario())


def test_job_that_catches_a_cancellation_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "CANCEL_AGAIN_S", EVERY_S)
    caught: list[int] = []

    async def work() -> None:
        if len(caught) < 3:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                caught.append(1)
        await asyncio.sleep(60)

    async def scenario() -> None:
        worker = Jobs()
        worker.every(PeriodicJob("deaf", 0, work))
        worker.start()
        await asyncio.sleep(EVERY_S)
        await worker.stop()

    asyncio.run(scenario())

    assert caught == [1]


def test_failing_job_is_logged_once_and_again_when_it_works(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.configure("json", "info")
    monkeypatch.setattr(logs, "QUIET_S", 0.0)
    turns = iter(["well", *["away"] * 5, "bug", *["away"] * 3, "well", "well", "away", "well"])
    worker = Jobs(now=lambda: 1_234.5)
    ended = asyncio.Event()

    async def work() -> None:
        match next(turns, None):
            case "away":
                raise Unavailable("database", "it is away")
            case "bug":
                raise ZeroDivisionError
            case None:
                ended.set()

    async def scenario() -> None:
        worker.every(PeriodicJob("deliver", 0.001, work))
        worker.start()
        async with asyncio.timeout(patiently(20)):
            await ended.wait()
        await worker.stop()

    asyncio.run(scenario())

    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    logged = [
        (line["event"], line["job"], line.get("error", "").partition(":")[0], line.get("failures")) for line in lines
    ]
    assert logged == [
        ("job failed", "deliver", "Unavailable", None),
        ("job failed", "deliver", "ZeroDivisionError", None),
        ("job works again", "deliver", "", 9),
        ("job failed", "deliver", "Unavailable", None),
        ("job works again", "deliver", "", 1),
    ]
    assert worker.failures == {"deliver": 10}
    assert worker.done_at == {"deliver": 1_234.5}


def test_job_leased_by_another_worker_does_not_count_as_a_success() -> None:
    async def acquire(job: str, for_s: float) -> bool:
        return False

    async def scenario() -> Jobs:
        worker, turns, ended = Jobs(acquire), iter(range(3)), asyncio.Event()

        async def own() -> None:
            if next(turns, None) is None:
                ended.set()

        worker.every(PeriodicJob("deliver", 0.001, lambda: asyncio.sleep(0), shared=True))
        worker.every(PeriodicJob("own", 0.001, own))
        worker.start()
        async with asyncio.timeout(patiently(20)):
            await ended.wait()
        await worker.stop()
        return worker

    assert set(asyncio.run(scenario()).done_at) == {"own"}


async def _swallows() -> None:
    """Work that loses its cancellation, as a library does that finishes its call instead."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(3_600)


async def _replaces() -> None:
    """Work that raises another error in place of its cancellation."""
    try:
        await asyncio.sleep(3_600)
    except asyncio.CancelledError:
        raise ConnectionResetError from None


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("work", [_swallows, _replaces])
def test_job_that_loses_its_cancellation_ends(work: Callable[[], Awaitable[None]], shared: bool) -> None:
    async def scenario() -> None:
        worker = a_worker(MemoryRealtime(SystemClock()), "one")
        worker.every(PeriodicJob("deliver", 0.001, work, shared=shared))
        worker.start()
        await asyncio.sleep(10 * EVERY_S)
        async with asyncio.timeout(patiently(5)):
            await worker.stop(within_s=patiently(20))

    asyncio.run(scenario())


def test_job_that_does_not_end_is_left_and_logged(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "info")
    ended = asyncio.Event()

    async def stuck() -> None:
        while not ended.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await ended.wait()

    async def scenario() -> float:
        worker = Jobs()
        worker.every(PeriodicJob("stuck", 0.001, stuck), PeriodicJob("other", 0.001, lambda: asyncio.sleep(3_600)))
        worker.start()
        await asyncio.sleep(5 * EVERY_S)
        began = time.monotonic()
        await worker.stop(within_s=0.2)
        ended.set()
        return time.monotonic() - began

    assert 0.2 <= asyncio.run(scenario()) < patiently(2)
    [line] = capfd.readouterr().err.splitlines()
    assert (json.loads(line)["event"], json.loads(line)["jobs"]) == ("jobs do not end", ["job stuck"])


def test_job_that_fails_at_the_stop_does_not_fail_it(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "info")

    async def scenario() -> None:
        worker = Jobs()
        worker.run("once", _replaces)
        worker.start()
        await asyncio.sleep(0)
        await worker.stop()

    asyncio.run(scenario())

    [line] = capfd.readouterr().err.splitlines()
    assert (json.loads(line)["event"], json.loads(line)["job"]) == ("job ended", "job once")


def test_work_without_a_period_that_fails_is_logged_and_begins_again(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.configure("json", "info")
    monkeypatch.setattr(jobs, "FIRST_RETRY_S", 0.001)
    worker, turns, goes_on = Jobs(), iter(range(3)), asyncio.Event()

    async def work() -> None:
        if next(turns, None) is not None:
            raise ZeroDivisionError
        goes_on.set()
        await asyncio.sleep(3_600)

    async def scenario() -> None:
        worker.run("changes", work)
        worker.start()
        async with asyncio.timeout(patiently(20)):
            await goes_on.wait()
        await worker.stop()

    asyncio.run(scenario())

    [line] = map(json.loads, capfd.readouterr().err.splitlines())
    assert (line["event"], line["job"], line["error"].partition(":")[0]) == (
        "job failed",
        "changes",
        "ZeroDivisionError",
    )
    assert worker.failures == {"changes": 3}


def test_alternating_failures_and_successes_are_one_outage(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "info")
    outage = logs.Outage("login", "failed", "works again")

    for _ in range(100):
        outage.failed(OSError("away"))
        outage.worked()

    [line] = capfd.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "failed"


def test_failure_long_after_the_last_one_is_a_new_outage(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "info")
    outage = logs.Outage("jobs", "failed", "works again", stale_s=0.0)

    for _ in range(2):
        outage.failed(OSError("away"))
        time.sleep(0.001)

    assert len(capfd.readouterr().err.splitlines()) == 2


def test_paced_work_takes_a_bounded_share_of_the_time() -> None:
    now_s, runs = 0.0, 0

    async def work() -> None:
        nonlocal now_s, runs
        runs += 1
        now_s += 1.0

    paced = Paced(work, now=lambda: now_s)

    async def scenario() -> None:
        nonlocal now_s
        while now_s < 1_000.0:
            await paced.run()
            now_s += 1.0

    asyncio.run(scenario())

    assert 18 <= runs <= 1_000 * Paced.SHARE
