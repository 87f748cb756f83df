"""Runs what is periodic; the work itself lives with its subject."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from kiai.logs import get_logger

Claim = Callable[[str, float], Awaitable[bool]]
"""Whether this worker does a job's next turn, which none else may do for so many seconds."""
CLAIMED_FOR: Final = 0.9  # of a job's interval: the next turn must be free again when it comes
SLOWEST_S: Final = 5.0  # how long work that fails waits at most, unless it comes more rarely anyway


class Jobs:
    """Periodic work of one server: started and stopped together. A failure is logged and the next turn comes.

    `claim` is given where several workers have the same jobs: those declared `shared` are then done by one of them.
    """

    def __init__(self, claim: Claim | None = None) -> None:
        self._claim = claim
        self._declared: list[tuple[str, Callable[[], Awaitable[object]]]] = []
        self._running: list[asyncio.Task[object]] = []

    def every(self, seconds: float, name: str, work: Callable[[], Awaitable[object]], *, shared: bool = False) -> None:
        """Declares work that is done again `seconds` after it was done; later and later while it fails."""

        async def turns() -> None:
            failures = 0
            while True:
                await asyncio.sleep(max(seconds, min(seconds * 2**failures, SLOWEST_S)))
                try:
                    if shared and self._claim is not None and not await self._claim(name, seconds * CLAIMED_FOR):
                        continue
                    await work()
                    failures = 0
                except Exception as error:
                    failures = min(failures + 1, 16)
                    get_logger("jobs").error("job failed", job=name, exc_info=error)

        self.run(name, turns)

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


async def _awaited(work: Callable[[], Awaitable[object]]) -> object:
    return await work()
