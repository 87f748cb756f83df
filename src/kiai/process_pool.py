"""Pools of processes that can be killed, for jobs on untrusted data.

Such a job may need minutes of CPU time, and a thread cannot be stopped. A pool starts a process when it is first
needed. A job has a limit of CPU time, which its process enforces itself. It also has a deadline by the clock,
`WALL_FACTOR` times as long and at least `WALL_MIN_S`, because the processes have a low priority. Exceeding the first is
a fault of the job (`JobTimedOut`); exceeding only the second means that the machine is overloaded (`Unavailable`). A
process that dies is replaced, and its job is tried once more.

Callers take turns (`fair_queue.py`). When a caller stops waiting, its job runs to its end: killing the process would
cost the next caller its start-up time.
"""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, TypeVar

from kiai.errors import KiaiError, Unavailable
from kiai.fair_queue import FairQueue
from kiai.measuring import PoolUsage
from kiai.pool_process import READY
from kiai.process_pipe import InvalidAnswer, ProcessPipe

T = TypeVar("T")

WALL_FACTOR: Final = 6.0
WALL_MIN_S: Final = 20.0
START_S: Final = 30.0
EXIT_S: Final = 0.5  # between the end of a process's output and its exit
TRIES: Final = 2

Load = Callable[[], Awaitable[bytes]]
"""Fetches the blob of a job when it is its turn, so that waiting jobs take no memory."""


class JobTimedOut(KiaiError):
    """The job exceeds its limit of CPU time."""


class WorkerCrashed(KiaiError):
    """The job made its process die or send an invalid answer, twice."""


class WorkerClient(Protocol):
    """The use of a pool."""

    async def run_job(
        self, caller: str, head: bytes, read: Callable[[bytes], T], *, cpu_s: float, load: Load | None = None
    ) -> T:
        """Run a job when it is the caller's turn. Return its answer, decoded by `read`.

        `cpu_s` is the limit of CPU time in seconds. Raises JobTimedOut and WorkerCrashed, which are faults of the job,
        and Unavailable when the queue is full, the wait is too long, no process starts or the machine is overloaded.
        """
        ...

    def pool(self) -> PoolUsage:
        """Return the usage of the processes and their queue."""
        ...

    async def close(self) -> None:
        """End all processes. Waiting and running jobs raise Unavailable."""
        ...


class _Worker:
    """One process, started when it is first needed and again after it has died."""

    def __init__(self, part: str, command: Sequence[str], idle_s: float | None) -> None:
        self._part = part
        self._command = command
        self._idle_s = idle_s
        self._process: ProcessPipe | None = None
        self._busy = asyncio.Lock()  # one job at a time; also held while the process is stopped
        self._closed = False
        self._idle: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        """Whether a job would not wait for the start of the process."""
        return self._process is not None and self._process.is_usable

    async def run(self, head: bytes, read: Callable[[bytes], T], cpu_s: float, load: Load | None) -> T:
        if self._idle is not None:
            self._idle.cancel()
        async with self._busy:
            blob = b"" if load is None else await load()
            try:
                return await self._try(head, blob, read, cpu_s)
            finally:
                self._end_when_idle()

    async def prepare(self) -> None:
        """Start the process if it is not running, so that the next job does not wait for this."""
        async with self._busy:
            if self._process is None and not self._closed:
                with contextlib.suppress(Unavailable):  # the next job tries again, and reports it
                    await self._start()
                self._end_when_idle()

    async def close(self) -> None:
        """End the process. No other one is started."""
        self._closed = True
        if self._idle is not None:
            self._idle.cancel()
        # Before the lock: the running job has it until its process dies.
        if self._process is not None:
            self._process.kill()
        async with self._busy:
            await self._stop()

    def _end_when_idle(self) -> None:
        if self._idle_s is not None and not self._closed:
            self._idle = asyncio.get_running_loop().call_later(self._idle_s, self._end_idle)

    def _end_idle(self) -> None:
        async def end() -> None:
            if not self._busy.locked():  # else a job came between the timer and this task
                async with self._busy:
                    await self._stop()

        # A reference, because the event loop has only a weak one.
        self._ending = asyncio.create_task(end())

    async def _try(self, head: bytes, blob: bytes, read: Callable[[bytes], T], cpu_s: float) -> T:
        wall_s = max(WALL_FACTOR * cpu_s, WALL_MIN_S)
        for _ in range(TRIES):
            process = await self._start()
            try:
                return read(await process.ask(head, blob, cpu_s, within_s=wall_s))
            except TimeoutError:
                await self._stop()
                raise Unavailable(self._part, f"no answer within {wall_s:g} s") from None
            except (ConnectionError, InvalidAnswer):
                # The only signal that the job itself causes; the kernel kills with others, e.g. when memory is short.
                if await self._exit_code() == -_CPU_LIMIT:
                    raise JobTimedOut(f"it needs more than {cpu_s:g} s of CPU time") from None
            except asyncio.CancelledError:
                await self._stop()  # the next job must not read the rest of this answer
                raise
        self._check_open()
        raise WorkerCrashed(f"the process of {self._part} ended, twice")

    async def _start(self) -> ProcessPipe:
        """Return the running process, started if necessary. Raises Unavailable."""
        if self._process is not None and not self._process.is_usable:
            await self._stop()
        if self._process is not None:
            return self._process
        self._check_open()
        try:
            self._process = await ProcessPipe.start(self._command)
            self._check_open()  # `close` may have been called meanwhile
            if await self._process.first_answer(within_s=START_S) != READY:
                raise InvalidAnswer
        except (OSError, InvalidAnswer) as error:
            await self._stop()
            raise Unavailable(self._part, "its process does not start") from error
        except (Unavailable, asyncio.CancelledError):
            await self._stop()
            raise
        return self._process

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable(self._part, "it is closed")

    async def _exit_code(self) -> int | None:
        """Return the exit code of a process that no longer answers, as in `subprocess`. End it if it is running."""
        process = self._process
        if process is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EXIT_S):
                    await process.wait()
        await self._stop()
        return None if process is None else process.exit_code

    async def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await process.close()


# The signal of ITIMER_PROF, see `pool_process.py`. Windows has neither.
_CPU_LIMIT: Final[int] = getattr(signal, "SIGPROF", 0)


class WorkerPool:
    """A pool of at most `size` processes. `part` names it in errors.

    At most `waiting_max` jobs wait, at most `per_caller_max` of one caller, each for at most `wait_s` seconds. One
    caller uses at most `running_per_caller_max` processes at once (None: all). A process without a job for `idle_s`
    seconds ends; with None it never does. With `spare`, the process for the next job is started in advance.
    """

    def __init__(
        self,
        part: str,
        command: Sequence[str],
        *,
        size: int,
        waiting_max: int,
        per_caller_max: int,
        wait_s: float,
        idle_s: float | None,
        running_per_caller_max: int | None = None,
        spare: bool = False,
    ) -> None:
        self._size = size
        self._spare = spare
        self._preparing: asyncio.Task[None] | None = None
        self._workers = [_Worker(part, command, idle_s) for _ in range(size)]
        self._free = list(self._workers)
        self._queue = FairQueue(
            part,
            running_max=size,
            waiting_max=waiting_max,
            per_caller_max=per_caller_max,
            wait_s=wait_s,
            running_per_caller_max=running_per_caller_max,
        )

    async def run_job(
        self, caller: str, head: bytes, read: Callable[[bytes], T], *, cpu_s: float, load: Load | None = None
    ) -> T:
        """Implement `WorkerClient.run_job`."""
        await self._queue.enter(caller)
        worker = next((one for one in reversed(self._free) if one.is_running), self._free[-1])
        self._free.remove(worker)
        # A task of its own: a caller that is cancelled does not cancel the job.
        job = asyncio.create_task(worker.run(head, read, cpu_s, load))
        job.add_done_callback(lambda done: self._leave(caller, worker, done))
        self._prepare_spare()
        return await asyncio.shield(job)

    @property
    def unfinished(self) -> int:
        """The number of waiting and running jobs."""
        return self._queue.waiting + self._queue.running

    def pool(self) -> PoolUsage:
        """Return the number of busy processes and of waiting jobs."""
        return self._queue.pool()._replace(in_use=self._size - len(self._free))

    async def close(self) -> None:
        """End all processes. Waiting and running jobs raise Unavailable."""
        await asyncio.gather(*(worker.close() for worker in self._workers))

    def _prepare_spare(self) -> None:
        if self._spare and self._preparing is None and self._free and not any(one.is_running for one in self._free):
            self._preparing = asyncio.create_task(self._free[-1].prepare())
            self._preparing.add_done_callback(self._prepared)

    def _prepared(self, _: asyncio.Task[None]) -> None:
        self._preparing = None

    def _leave(self, caller: str, worker: _Worker, done: asyncio.Task[T]) -> None:
        self._free.append(worker)  # a stack: the process used last is used next, so that idle ones can end
        self._queue.leave(caller)
        if not worker.is_running:  # its job exceeded its limit
            self._prepare_spare()
        if not done.cancelled():
            done.exception()  # marks it as retrieved: asyncio logs an error when the caller is gone
