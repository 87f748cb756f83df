"""A bounded queue in which one caller cannot delay the others for long.

Each caller has its own line. Turns go to the lines in rotation, so a caller with one job waits for at most one job of
each other caller, whatever the length of their lines. A caller that has as many turns at once as it may have is passed
over. When the whole queue is full, a new job displaces the last job of
the longest line, or is rejected when its own line would be as long.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kiai.errors import Unavailable
from kiai.measuring import PoolUsage


class FairQueue:
    """Admits at most `running_max` jobs at once, at most `running_per_caller_max` of one caller (None: no limit).

    `part` names the queue in errors and logs. `waiting_max` limits all waiting jobs, `per_caller_max` those of one
    caller, `wait_s` the time that one job waits, in seconds. A caller is any text, usually a network
    (`networks.network_of`).
    """

    def __init__(
        self,
        part: str,
        *,
        running_max: int,
        waiting_max: int,
        per_caller_max: int,
        wait_s: float,
        running_per_caller_max: int | None = None,
    ) -> None:
        self._part = part
        self._running_max = running_max
        self._running_per_caller_max = running_max if running_per_caller_max is None else running_per_caller_max
        self._waiting_max = waiting_max
        self._per_caller_max = per_caller_max
        self._wait_s = wait_s
        self._lines: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._running_of: Counter[str] = Counter()
        self.running = 0
        self.waiting = 0
        self.refused = 0

    def pool(self) -> PoolUsage:
        """Return the number of running, waiting and rejected jobs."""
        return PoolUsage(self.running, self._running_max, self.waiting, self.refused)

    @asynccontextmanager
    async def turn(self, caller: str) -> AsyncIterator[None]:
        """Run the body of the `with` statement when it is the caller's turn. Raises Unavailable as `enter` does."""
        await self.enter(caller)
        try:
            yield
        finally:
            self.leave(caller)

    async def enter(self, caller: str) -> None:
        """Wait for a turn, which `leave` ends. Raises Unavailable when the queue is full or after `wait_s` seconds."""
        # `leave` gives a free turn to a job that waits, so all jobs that wait now are of callers with all their turns.
        if self.running < self._running_max and self._may_run(caller):
            self._begin(caller)
            return
        try:
            line = self._line(caller)
        except Unavailable:
            self.refused += 1
            raise
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.append(turn)
        self.waiting += 1
        try:
            async with asyncio.timeout(self._wait_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave(caller)  # the turn came at the moment when the wait ended: pass it on
            else:
                self._forget(caller, turn)
            if isinstance(error, TimeoutError | Unavailable):
                self.refused += 1
            if isinstance(error, TimeoutError):
                raise Unavailable(self._part, f"no turn within {self._wait_s:g} s") from None
            raise

    def leave(self, caller: str) -> None:
        """End a turn of this caller and give it to the next line, if one may have it."""
        self.running -= 1
        self._running_of[caller] -= 1
        # A Counter keeps zeros: without this, it would have an entry for each caller ever seen.
        if not self._running_of[caller]:
            del self._running_of[caller]
        while self.running < self._running_max:
            following = next(filter(self._may_run, self._lines), None)
            if following is None:
                return
            line = self._lines.pop(following)
            turn = line.popleft()
            self.waiting -= 1
            if line:
                self._lines[following] = line  # to the end of the rotation
            if not turn.done():  # else its caller was cancelled and has not removed it yet
                self._begin(following)
                turn.set_result(None)

    def _begin(self, caller: str) -> None:
        self.running += 1
        self._running_of[caller] += 1

    def _may_run(self, caller: str) -> bool:
        return self._running_of[caller] < self._running_per_caller_max

    def _line(self, caller: str) -> deque[asyncio.Future[None]]:
        """Return the line for a new job of this caller, with a free position. Raises Unavailable."""
        line = self._lines.get(caller, deque())
        if len(line) >= self._per_caller_max:
            raise Unavailable(self._part, f"one caller may have {self._per_caller_max} jobs waiting")
        if self.waiting >= self._waiting_max:
            longest_caller, longest = max(self._lines.items(), key=lambda found: len(found[1]))
            if len(longest) <= len(line) + 1:
                raise Unavailable(self._part, f"{self._waiting_max} jobs are waiting")
            # Displace the newest job of the longest line: its caller causes the load, and that job has waited least.
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
