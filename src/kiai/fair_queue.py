"""A queue for scarce work in which one caller cannot take the place of the others.

Each caller waits in a line of its own. A free place goes to the lines in rotation, so a caller with one job waits for
at most one job of each other caller, however many jobs they have queued. The queue as a whole is bounded, too: when it
is full, a newcomer takes the place of the last job in the longest line, unless its own line is as long.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kiai.errors import Unavailable


class FairQueue:
    """Admits at most `running_max` jobs at once.

    `part` names the queue in errors and logs. `waiting_max` bounds all waiting jobs, `per_caller_max` those of one
    caller, `wait_s` the seconds that one job waits. A caller is any text, usually a network (`networks.network_of`).
    """

    def __init__(self, part: str, *, running_max: int, waiting_max: int, per_caller_max: int, wait_s: float) -> None:
        self._part = part
        self._running_max = running_max
        self._waiting_max = waiting_max
        self._per_caller_max = per_caller_max
        self._wait_s = wait_s
        self._lines: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self.running = 0
        self.waiting = 0

    @asynccontextmanager
    async def place(self, caller: str) -> AsyncIterator[None]:
        """A place for the body of the `with` statement. Raises Unavailable as `enter` does."""
        await self.enter(caller)
        try:
            yield
        finally:
            self.leave()

    async def enter(self, caller: str) -> None:
        """Waits for a place, which `leave` frees. Raises Unavailable when the queue is full or the wait too long."""
        if self.running < self._running_max and not self.waiting:
            self.running += 1
            return
        line = self._line(caller)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.append(turn)
        self.waiting += 1
        try:
            async with asyncio.timeout(self._wait_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave()  # the place was given in the moment in which the wait ended
            else:
                self._forget(caller, turn)
            if isinstance(error, TimeoutError):
                raise Unavailable(self._part, f"no place within {self._wait_s:g} s") from None
            raise

    def leave(self) -> None:
        """Gives the place to the next line, or frees it."""
        while self._lines:
            caller, line = self._lines.popitem(last=False)
            turn = line.popleft()
            self.waiting -= 1
            if line:
                self._lines[caller] = line  # to the end of the rotation
            if not turn.done():
                turn.set_result(None)
                return
        self.running -= 1

    def _line(self, caller: str) -> deque[asyncio.Future[None]]:
        line = self._lines.get(caller, deque())
        if len(line) >= self._per_caller_max:
            raise Unavailable(self._part, f"one caller may have {self._per_caller_max} jobs waiting")
        if self.waiting >= self._waiting_max:
            longest_caller, longest = max(self._lines.items(), key=lambda found: len(found[1]))
            if len(longest) <= len(line) + 1:
                raise Unavailable(self._part, f"{self._waiting_max} jobs are waiting")
            last = longest[-1]
            self._forget(longest_caller, last)
            if not last.done():
                last.set_exception(Unavailable(self._part, f"{self._waiting_max} jobs are waiting"))
        return self._lines.setdefault(caller, line)

    def _forget(self, caller: str, turn: asyncio.Future[None]) -> None:
        line = self._lines.get(caller)
        if line is None or turn not in line:
            return
        line.remove(turn)
        self.waiting -= 1
        if not line:
            del self._lines[caller]
