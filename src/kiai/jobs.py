"""Runs what is periodic; the work itself lives with its subject."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from kiai.logs import STALE_S, Outage

Hold = Callable[[str, float], Awaitable[bool]]
"""Whether this worker has a job for so many seconds from now: it was nobody's, or this worker's already."""
LEASE_S: Final = 5.0  # after so long another worker takes over from one that died over its work
RENEWALS: Final = 3
FREE_AFTER: Final = 0.9  # of a job's interval: the next turn must be free again when it comes
STALE_AFTER: Final = 10  # intervals without a failure of this worker: then its next one is a new outage
SLOWEST_S: Final = 5.0  # how long work that fails waits at most, unless it comes more rarely anyway


@contextlib.asynccontextmanager
async def holding(hold: Hold, job: str, free_after_s: float) -> AsyncIterator[bool]:
    """Whether this worker has the job: then nobody else does, until the block has ended and `free_after_s` after."""
    if not await hold(job, LEASE_S):
        yield False
        return

    done = asyncio.Event()

    async def renew() -> None:
        while not done.is_set():
            try:
                await asyncio.wait_for(done.wait(), LEASE_S / RENEWALS)
            except TimeoutError:
                await hold(job, LEASE_S)

    renewing = asyncio.create_task(renew())
    try:
        yield True
    finally:
        # A renewal on its way has to arrive before the job is handed on, or it would take it back.
        done.set()
        await renewing
        await hold(job, free_after_s)


class Jobs:
    """Periodic work of one server: started and stopped together. After a failure the next turn comes.

    A job that fails is logged once, and once more when it works again. `hold` is given where several workers have the
    same jobs: those declared `shared` are then done by one of them. `failures`: how often each job failed. `done_at`:
    when this worker last did it, in seconds of the epoch.
    """

    def __init__(self, hold: Hold | None = None, *, now: Callable[[], float] = time.time) -> None:
        self._hold = hold
        self._now = now
        self._declared: list[tuple[str, Callable[[], Awaitable[object]]]] = []
        self._running: list[asyncio.Task[object]] = []
        self.failures: dict[str, int] = {}
        self.done_at: dict[str, float] = {}

    def every(self, seconds: float, name: str, work: Callable[[], Awaitable[object]], *, shared: bool = False) -> None:
        """Declares work that is done again `seconds` after it was done; later and later while it fails."""
        turn = self._by_one(name, work, seconds * FREE_AFTER) if shared and self._hold is not None else _whole(work)
        outage = Outage("jobs", "job failed", "job works again", stale_s=max(STALE_S, STALE_AFTER * seconds), job=name)
        self.failures[name] = 0

        async def turns() -> None:
            failures = 0
            while True:
                await asyncio.sleep(max(seconds, min(seconds * 2**failures, SLOWEST_S)))
                try:
                    if await turn():
                        self.done_at[name] = self._now()
                        outage.worked()
                    failures = 0
                except Exception as error:
                    failures = min(failures + 1, 16)
                    self.failures[name] += 1
                    outage.failed(error, trace=True)

        self.run(name, turns)

    def _by_one(
        self, name: str, work: Callable[[], Awaitable[object]], free_after_s: float
    ) -> Callable[[], Awaitable[bool]]:
        """A turn of shared work; whether it was this worker's."""
        hold = self._hold
        assert hold is not None

        async def turn() -> bool:
            async with holding(hold, name, free_after_s) as mine:
                if mine:
                    await work()
            return mine

        return turn

    def run(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Declares work that never ends by itself."""
        self._declared.append((name, work))

    def start(self) -> None:
        """Starts everything that was declared."""
        self._running = [asyncio.create_task(_awaited(work), name=f"job {name}") for name, work in self._declared]

    async def stop(self) -> None:
        """Ends everything that runs."""
        for task in self._running:
            task.cancel()
        for task in self._running:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._running.clear()


def _whole(work: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[bool]]:
    """A turn of work that every worker does."""

    async def turn() -> bool:
        await work()
        return True

    return turn


async def _awaited(work: Callable[[], Awaitable[object]]) -> object:
    return await work()
