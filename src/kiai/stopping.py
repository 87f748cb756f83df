"""The time that a stop of the server may take: one budget, which its parts share.

The budget begins with the signal. A part that exceeds its share is left behind, and the next one begins. If the process
still runs at the end of the budget, e.g. because something blocks the event loop, a thread ends it. So a stop always
takes less than 10 s, and what it does not finish is what a crash would leave: the stores are written so that a crash
loses nothing that was acknowledged.
"""

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, NoReturn, TypeVar

from kiai.logs import get_logger

T = TypeVar("T")

STOP_S: Final = 9.0
"""From the signal until the process is ended. The rest of the 10 s is for the event loop to notice the signal."""
HURRY_S: Final = 1.0
"""The seconds that remain after a second signal."""
CANCELLED_S: Final = 0.1
"""Given to a part that has exceeded its time and was cancelled."""
WATCHED_EVERY_S: Final = 0.1
TASKS_LOGGED: Final = 20


def end_process(code: int) -> NoReturn:
    """End this process now. Threads that hang, e.g. in a lookup of a name, do not delay it."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


class StopBudget:
    """The time of one stop.

    `on_overrun` is called from a thread when the time has run out; with None nothing is. By default it ends the process
    with exit code 0: the stop was asked for, and the log says what it did not finish.
    """

    def __init__(self, total_s: float = STOP_S, on_overrun: Callable[[], None] | None = lambda: end_process(0)) -> None:
        self._total_s = total_s
        self._on_overrun = on_overrun
        self._until: float | None = None
        self._part = "requests"

    def begin(self) -> None:
        """Begin the stop. Further calls change nothing."""
        if self._until is None:
            self._until = time.monotonic() + self._total_s
            if self._on_overrun is not None:
                watching = (asyncio.get_running_loop(), self._on_overrun)
                threading.Thread(target=self._watch, args=watching, name="stop", daemon=True).start()

    def hurry(self) -> None:
        """Shorten the rest of the stop to `HURRY_S`."""
        self.begin()
        self._until = time.monotonic() + self.left_s(most_s=HURRY_S)

    def left_s(self, *, reserve_s: float = 0.0, most_s: float = float("inf")) -> float:
        """Return the seconds for a part of the stop, at most `most_s`; `reserve_s` are for the parts after it."""
        left_s = self._total_s if self._until is None else self._until - time.monotonic()
        return max(0.0, min(most_s, left_s - reserve_s))

    async def run(
        self, part: str, work: Coroutine[Any, Any, object], *, reserve_s: float = 0.0, most_s: float = float("inf")
    ) -> None:
        """Run a part of the stop. A failure, and a part that exceeds its time, are logged; the stop continues."""
        self.begin()
        self._part = part
        task = asyncio.create_task(work, name=f"stop: {part}")
        await asyncio.wait((task,), timeout=self.left_s(reserve_s=reserve_s, most_s=most_s))
        if not task.done():
            get_logger("serve").error("part of the stop takes too long", what=part)
            task.cancel()
            await asyncio.wait((task,), timeout=CANCELLED_S)
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            get_logger("serve").error("part of the stop failed", what=part, exc_info=error)

    @asynccontextmanager
    async def closing(self, opened: AbstractAsyncContextManager[T], *, reserve_s: float = 0.0) -> AsyncIterator[T]:
        """Open the context, and close it as the last part of the stop."""
        value = await opened.__aenter__()
        try:
            yield value
        finally:
            await self.run("closing the stores", _closed(opened), reserve_s=reserve_s)

    def _watch(self, loop: asyncio.AbstractEventLoop, on_overrun: Callable[[], None]) -> None:
        """End the process when the time has run out. Runs in a thread: the event loop itself may be blocked."""
        while (left_s := self.left_s()) > 0:
            time.sleep(min(left_s, WATCHED_EVERY_S))
        with contextlib.suppress(Exception):  # whatever happens, the process must end
            tasks = _described(loop)
            get_logger("serve").error("stop takes too long, the process is ended", part=self._part, tasks=tasks)
        on_overrun()


def _described(loop: asyncio.AbstractEventLoop) -> list[str]:
    """Return the name of each task, and the line at which it waits."""
    found = []
    for task in list(asyncio.all_tasks(loop))[:TASKS_LOGGED]:
        frames = task.get_stack(limit=1)
        at = f"{frames[0].f_code.co_filename}:{frames[0].f_lineno}" if frames else "?"
        found.append(f"{task.get_name()} at {at}")
    return found


async def _closed(opened: AbstractAsyncContextManager[object]) -> None:
    await opened.__aexit__(None, None, None)
