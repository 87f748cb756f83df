"""Runs what is periodic; the work itself lives with its subject."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from kiai.logs import get_logger


class Jobs:
    """Periodic work of one server: started and stopped together. A failure is logged and the next turn comes."""

    def __init__(self) -> None:
        self._declared: list[tuple[str, Callable[[], Awaitable[object]]]] = []
        self._running: list[asyncio.Task[object]] = []

    def every(self, seconds: float, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Declares work that is done again `seconds` after it was done."""

        async def turns() -> None:
            while True:
                await asyncio.sleep(seconds)
                try:
                    await work()
                except Exception as error:
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
