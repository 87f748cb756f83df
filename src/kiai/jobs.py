"""Runs periodic jobs. The modules of each subject define the work; `kiai.server` lists the jobs."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Final, NamedTuple

from kiai.logs import STALE_S, Outage, get_logger

AcquireLease = Callable[[str, float], Awaitable[bool]]
"""Acquire or extend the lease on a job for this worker, for a number of seconds. Return False if another has it."""
LEASE_S: Final = 5.0  # another worker takes over this long after a worker was killed during a job
RENEWALS: Final = 3  # in each LEASE_S, so that a late renewal does not lose the lease
FREE_AFTER: Final = 0.9  # of the job's period: the lease must have expired when the next run is due
STALE_AFTER: Final = 10  # periods without a failure on this worker, after which the next one is a new outage
SLOWEST_S: Final = 5.0  # maximum wait between runs of a failing job, unless its period is longer
FIRST_RETRY_S: Final = 0.1  # before work without a period begins again; doubles after each failure
STOP_S: Final = 5.0
CANCEL_AGAIN_S: Final = 1.0  # long enough for a job to release its lease after the first cancellation


@contextlib.asynccontextmanager
async def job_lease(acquire: AcquireLease, job: str, free_after_s: float) -> AsyncIterator[bool]:
    """Yield whether this worker has the lease on a job.

    If it has, no other worker gets it until `free_after_s` seconds after the block has ended. The lease is renewed
    while the block runs.
    """
    if not await acquire(job, LEASE_S):
        yield False
        return

    done = asyncio.Event()
    renewing: list[asyncio.Task[None]] = []

    async def renew() -> None:
        while not done.is_set():
            # The result is ignored: a job that has lost its lease cannot stop in the middle.
            await acquire(job, LEASE_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEASE_S / RENEWALS):
                    await done.wait()
        # In the same task: a renewal in progress would otherwise arrive later and extend the lease again.
        await acquire(job, free_after_s)

    # PERF: nearly all work ends before the first renewal, so the task begins only then. A worker runs 20 shared jobs a
    # second, and a task with its timeout for each took 60 us.
    timer = asyncio.get_running_loop().call_later(
        LEASE_S / RENEWALS, lambda: renewing.append(asyncio.create_task(renew()))
    )
    try:
        yield True
    finally:
        timer.cancel()
        done.set()
        # The last call shortens the lease, so that the next run is not delayed.
        if renewing:
            # Shielded: a cancellation of the job would cancel the task in its place, and get lost or keep the lease.
            await asyncio.shield(renewing[0])
        else:
            await acquire(job, free_after_s)


class PeriodicJob(NamedTuple):
    """Work that runs again `period_s` seconds after it has ended.

    A `shared` job runs on one worker at a time. Other jobs run on every worker.
    """

    name: str
    period_s: float
    work: Callable[[], Awaitable[object]]
    shared: bool = False


class Paced:
    """Work whose cost grows with the tables. The pause after each run keeps it below `SHARE` of the time.

    A call during the pause does nothing.
    """

    SHARE: Final = 0.02

    def __init__(self, work: Callable[[], Awaitable[object]], now: Callable[[], float] = time.monotonic) -> None:
        self._work = work
        self._now = now
        self._due = 0.0

    async def run(self) -> None:
        """Do the work, unless it is too early."""
        began = self._now()
        if began < self._due:
            return
        await self._work()
        ended = self._now()
        self._due = ended + (ended - began) / self.SHARE


class Jobs:
    """The periodic jobs of one worker, started and stopped together.

    A failure does not end a job. It is logged once, and once more when the job works again. `acquire` is required only
    where several workers share jobs. `failures` counts the failed runs of each job. `done_at` is the Unix time in
    seconds of this worker's last successful run.
    """

    def __init__(self, acquire: AcquireLease | None = None, *, now: Callable[[], float] = time.time) -> None:
        self._acquire_lease = acquire
        self._now = now
        self._declared: list[tuple[str, Callable[[], Coroutine[Any, Any, object]]]] = []
        self._running: list[asyncio.Task[object]] = []
        self._stopping = False
        self.failures: dict[str, int] = {}
        self.done_at: dict[str, float] = {}

    def every(self, *jobs: PeriodicJob) -> None:
        """Declare periodic jobs. A failing job waits longer after each failure, up to `SLOWEST_S`."""
        for job in jobs:
            self._declare(*job)

    def _declare(self, name: str, seconds: float, work: Callable[[], Awaitable[object]], shared: bool) -> None:
        run_once = (
            self._exclusive(name, work, seconds * FREE_AFTER)
            if shared and self._acquire_lease is not None
            else _always(work)
        )
        outage = Outage("jobs", "job failed", "job works again", stale_s=max(STALE_S, STALE_AFTER * seconds), job=name)
        self.failures[name] = 0

        async def run_forever() -> None:
            failures = 0
            # A cancellation can get lost in the work: a library may raise another error in its place, or none.
            while not self._stopping:
                # Back off while the job fails, but never run it more often than declared.
                await asyncio.sleep(max(seconds, min(seconds * 2**failures, SLOWEST_S)))
                try:
                    if await run_once():
                        self.done_at[name] = self._now()
                        outage.worked()
                    failures = 0
                except Exception as error:
                    failures = min(failures + 1, 16)  # 2**failures must stay a small number
                    self.failures[name] += 1
                    outage.failed(error, trace=True)

        self.run(name, run_forever)

    def _exclusive(
        self, name: str, work: Callable[[], Awaitable[object]], free_after_s: float
    ) -> Callable[[], Awaitable[bool]]:
        """Return a function that runs shared work once and returns whether this worker had the lease."""
        acquire = self._acquire_lease
        assert acquire is not None

        async def run_once() -> bool:
            async with job_lease(acquire, name, free_after_s) as mine:
                if mine:
                    await work()
            return mine

        return run_once

    def run(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Declare work that runs until it ends or `stop` cancels it.

        Work that fails is logged and begins again. It waits longer after each failure, up to `SLOWEST_S`.
        """
        outage = Outage("jobs", "job failed", "job works again", job=name)
        self.failures[name] = 0

        async def run_again() -> object:
            failures = 0
            while True:
                began = time.monotonic()
                try:
                    return await work()
                except Exception as error:
                    if self._stopping:
                        raise
                    failures = 0 if time.monotonic() - began > STALE_S else min(failures + 1, 16)
                    self.failures[name] += 1
                    outage.failed(error, trace=True)
                await asyncio.sleep(min(FIRST_RETRY_S * 2**failures, SLOWEST_S))

        self._declared.append((name, run_again))

    def start(self) -> None:
        """Start all declared jobs."""
        self._running = [asyncio.create_task(work(), name=f"job {name}") for name, work in self._declared]

    async def stop(self, within_s: float = STOP_S) -> None:
        """Cancel all jobs and wait until they have ended, at most `within_s` seconds. Those that still run are logged.

        A job whose work has failed does not fail the stop.
        """
        self._stopping = True
        until = time.monotonic() + within_s
        left = set(self._running)
        # All of them at once: a job that ends slowly does not delay the others.
        while left and (left_s := until - time.monotonic()) > 0:
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=min(left_s, CANCEL_AGAIN_S))
        for task in self._running:
            if task not in left and not task.cancelled() and (error := task.exception()) is not None:
                get_logger("jobs").error("job ended", job=task.get_name(), exc_info=error)
        if left:
            get_logger("jobs").error("jobs do not end", jobs=sorted(task.get_name() for task in left))
        self._running.clear()


def _always(work: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[bool]]:
    """Return a function that runs the work and returns True: every worker runs it."""

    async def run_once() -> bool:
        await work()
        return True

    return run_once
