"""Periodic work of several workers: each turn is one worker's."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable

import pytest
from tests.patience import patiently

from kiai import jobs, logs
from kiai.clock import SystemClock
from kiai.errors import Unavailable
from kiai.jobs import Jobs
from kiai.realtime.memory import MemoryRealtime

EVERY_S = 0.02


def a_worker(realtime: MemoryRealtime, name: str) -> Jobs:
    async def hold(job: str, for_s: float) -> bool:
        return await realtime.hold(job, name, for_s)

    return Jobs(hold)


class Work:
    """Notes who does it, and whether two ever did at once."""

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


def test_work_that_lasts_longer_than_its_interval_is_still_done_by_one_at_a_time() -> None:
    async def story() -> Work:
        realtime, work = MemoryRealtime(SystemClock()), Work(lasts_s=4 * EVERY_S)
        workers = {name: a_worker(realtime, name) for name in ("one", "other", "third")}
        for name, worker in workers.items():
            worker.every(EVERY_S, "deliver", work.of(name), shared=True)
            worker.start()
        await asyncio.sleep(40 * EVERY_S)
        for worker in workers.values():
            await worker.stop()
        return work

    work = asyncio.run(story())

    assert len(work.done) > 2
    assert work.most_at_once == 1


def test_what_is_not_shared_is_done_by_everybody() -> None:
    async def story() -> Work:
        realtime, work = MemoryRealtime(SystemClock()), Work(lasts_s=0)
        workers = {name: a_worker(realtime, name) for name in ("one", "other")}
        for name, worker in workers.items():
            worker.every(EVERY_S, "count", work.of(name))
            worker.start()
        await asyncio.sleep(10 * EVERY_S)
        for worker in workers.values():
            await worker.stop()
        return work

    assert set(asyncio.run(story()).done) == {"one", "other"}


def test_the_work_of_a_worker_that_died_over_it_goes_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "LEASE_S", 10 * EVERY_S)

    async def story() -> tuple[list[str], list[str]]:
        realtime, work = MemoryRealtime(SystemClock()), Work(lasts_s=0)
        await realtime.hold("deliver", "dead", jobs.LEASE_S)  # and then it was killed
        other = a_worker(realtime, "other")
        other.every(EVERY_S, "deliver", work.of("other"), shared=True)
        other.start()
        await asyncio.sleep(5 * EVERY_S)
        early = list(work.done)
        await asyncio.sleep(15 * EVERY_S)
        await other.stop()
        return early, work.done

    early, late = asyncio.run(story())

    assert early == []
    assert set(late) == {"other"}


def test_a_renewal_on_its_way_arrives_before_the_job_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "LEASE_S", 3 * EVERY_S)
    arrived: list[float] = []

    async def hold(job: str, for_s: float) -> bool:
        if arrived and for_s == jobs.LEASE_S:
            await asyncio.sleep(2 * EVERY_S)  # a slow renewal
        arrived.append(for_s)
        return True

    async def story() -> None:
        async with jobs.holding(hold, "deliver", 0.5):
            await asyncio.sleep(1.5 * EVERY_S)  # the renewal is on its way when the work ends
        await asyncio.sleep(4 * EVERY_S)

    asyncio.run(story())

    assert arrived == [jobs.LEASE_S, jobs.LEASE_S, 0.5]


def test_a_job_that_goes_on_failing_is_a_line_when_it_begins_and_one_when_it_works_again(
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

    async def story() -> None:
        worker.every(0.001, "deliver", work)
        worker.start()
        async with asyncio.timeout(patiently(20)):
            await ended.wait()
        await worker.stop()

    asyncio.run(story())

    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    told = [
        (line["event"], line["job"], line.get("error", "").partition(":")[0], line.get("failures")) for line in lines
    ]
    assert told == [
        ("job failed", "deliver", "Unavailable", None),
        ("job failed", "deliver", "ZeroDivisionError", None),
        ("job works again", "deliver", "", 9),
        ("job failed", "deliver", "Unavailable", None),
        ("job works again", "deliver", "", 1),
    ]
    assert worker.failures == {"deliver": 10}
    assert worker.done_at == {"deliver": 1_234.5}


def test_a_job_that_was_another_workers_turn_is_not_done_by_this_one() -> None:
    async def hold(job: str, for_s: float) -> bool:
        return False

    async def story() -> Jobs:
        worker, turns, ended = Jobs(hold), iter(range(3)), asyncio.Event()

        async def own() -> None:
            if next(turns, None) is None:
                ended.set()

        worker.every(0.001, "deliver", lambda: asyncio.sleep(0), shared=True)
        worker.every(0.001, "own", own)
        worker.start()
        async with asyncio.timeout(patiently(20)):
            await ended.wait()
        await worker.stop()
        return worker

    assert set(asyncio.run(story()).done_at) == {"own"}


def test_what_fails_and_works_in_turn_is_one_outage(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "info")
    outage = logs.Outage("login", "failed", "works again")

    for _ in range(100):
        outage.failed(OSError("away"))
        outage.worked()

    [line] = capfd.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "failed"


def test_a_failure_long_after_the_last_one_is_another_outage(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "info")
    outage = logs.Outage("jobs", "failed", "works again", stale_s=0.0)

    for _ in range(2):
        outage.failed(OSError("away"))
        time.sleep(0.001)

    assert len(capfd.readouterr().err.splitlines()) == 2
