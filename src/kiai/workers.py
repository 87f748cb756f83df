"""Work in processes that can be killed: what strangers send may cost minutes of processor time, and threads cannot be
stopped.

A pool starts its processes when they are needed. A job has a limit of processor time, which its process enforces
itself, and a deadline by the clock, `WALL_FACTOR` times as long, for a machine that is too busy to give it that time.
The first tells something about the job (`TookTooLong`), the second only about the machine (`Unavailable`). A process
that ends by itself is replaced and its job tried once more.

Callers take turns (`fair_queue.py`). A caller that stops waiting leaves its job to finish, so that the process lives.
"""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, TypeVar

from kiai.errors import KiaiError, Unavailable
from kiai.fair_queue import FairQueue
from kiai.measuring import Pool
from kiai.worker_process import FRAME_MAX, LENGTH, READY, REQUEST

T = TypeVar("T")

WALL_FACTOR: Final = 6.0
START_S: Final = 30.0
EXIT_S: Final = 0.5  # between the end of a process's output and its own
TRIES: Final = 2
READ_BYTES: Final = 1024 * 1024
SLICE_BYTES: Final = 256 * 1024  # of a blob; what the transport holds beside the blob itself

Load = Callable[[], Awaitable[bytes]]
"""Fetches the blob of a request once its turn has come, so that jobs which wait hold no memory."""


class TookTooLong(KiaiError):
    """The job needs more processor time than it may use."""


class Crashed(KiaiError):
    """The job ended or confused its process, twice."""


class Garbage(Exception):
    """Raised by the reader of an answer that is none: the process is replaced."""


class Asks(Protocol):
    """What has jobs done."""

    async def ask(
        self, caller: str, head: bytes, read: Callable[[bytes], T], *, cpu_s: float, load: Load | None = None
    ) -> T:
        """Has a job done in `caller`'s turn and returns its answer as `read` makes it.

        Raises TookTooLong and Crashed, which are the job's fault, and Unavailable when too many wait, one waits for
        too long, no process starts or the machine is too busy.
        """
        ...

    def pool(self) -> Pool:
        """What works."""
        ...

    async def close(self) -> None:
        """Ends what works; jobs that wait or run raise Unavailable."""
        ...


class _Worker:
    """One process, started when first needed and after each death."""

    def __init__(self, part: str, command: Sequence[str], idle_s: float | None) -> None:
        self._part = part
        self._command = command
        self._idle_s = idle_s
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._killed: asyncio.subprocess.Process | None = None
        self._closed = False
        self._idle: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None

    async def do(self, head: bytes, read: Callable[[bytes], T], cpu_s: float, load: Load | None) -> T:
        if self._idle is not None:
            self._idle.cancel()
        async with self._turn:
            blob = b"" if load is None else await load()
            try:
                return await self._tried(head, blob, read, cpu_s)
            finally:
                if self._idle_s is not None and not self._closed:
                    self._idle = asyncio.get_running_loop().call_later(self._idle_s, self._end_idle)

    async def close(self) -> None:
        """Ends the process and lets nobody start another."""
        self._closed = True
        if self._idle is not None:
            self._idle.cancel()
        self._kill()
        async with self._turn:
            await self._stop()

    def _end_idle(self) -> None:
        async def end() -> None:
            if not self._turn.locked():
                async with self._turn:
                    await self._stop()

        self._ending = asyncio.create_task(end())

    async def _tried(self, head: bytes, blob: bytes, read: Callable[[bytes], T], cpu_s: float) -> T:
        for _ in range(TRIES):
            process = await self._started()
            try:
                async with asyncio.timeout(WALL_FACTOR * cpu_s):
                    await _send(process, head, blob, cpu_s)
                    return read(await _receive(process))
            except TimeoutError:
                await self._stop()
                raise Unavailable(self._part, f"no answer within {WALL_FACTOR * cpu_s:g} s") from None
            except (asyncio.IncompleteReadError, ConnectionError, Garbage):
                if await self._exit_code() == -_CPU_LIMIT:
                    raise TookTooLong(f"it needs more than {cpu_s:g} s of processor time") from None
            except asyncio.CancelledError:
                await self._stop()  # a half-read answer must not become the next one's
                raise
        self._check_open()
        raise Crashed(f"the process of {self._part} ended, twice")

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is not None:
            await self._stop()
        if self._process is not None:
            return self._process
        self._check_open()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=READ_BYTES,
                start_new_session=True,  # a closed terminal or Ctrl-C is for its parent, which closes its stdin
            )
            self._check_open()
            async with asyncio.timeout(START_S):
                if await _receive(self._process) != READY:
                    raise Garbage
        except (OSError, asyncio.IncompleteReadError, Garbage) as error:
            await self._stop()
            raise Unavailable(self._part, "its process does not start") from error
        except (Unavailable, asyncio.CancelledError):
            await self._stop()
            raise
        return self._process

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable(self._part, "it is closed")

    def _kill(self) -> None:
        # Once: a second signal to what has just died would take its exit code from the loop, which waits for it.
        if self._process is not None and self._process.returncode is None and self._process is not self._killed:
            self._killed = self._process
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _exit_code(self) -> int | None:
        """Why a process that no longer answers has ended, as `subprocess` states it; ends it if it has not."""
        process = self._process
        if process is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EXIT_S):
                    await process.wait()
        await self._stop()
        return None if process is None else process.returncode

    async def _stop(self) -> None:
        self._kill()
        process, self._process = self._process, None
        if process is not None:
            await process.communicate()  # reads to the end, so that both pipes are closed


_CPU_LIMIT: Final[int] = getattr(signal, "SIGPROF", 0)


class WorkerPool:
    """At most `size` processes of one kind. `part` names them in errors.

    `waiting_max` jobs wait, `per_caller_max` of one caller, each for at most `wait_s` seconds. A process that has had
    nothing to do for `idle_s` seconds ends; None keeps it.
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
    ) -> None:
        self._size = size
        self._workers = [_Worker(part, command, idle_s) for _ in range(size)]
        self._free = list(self._workers)
        self._queue = FairQueue(
            part, running_max=size, waiting_max=waiting_max, per_caller_max=per_caller_max, wait_s=wait_s
        )

    async def ask(
        self, caller: str, head: bytes, read: Callable[[bytes], T], *, cpu_s: float, load: Load | None = None
    ) -> T:
        """Implements `Asks`."""
        await self._queue.enter(caller)
        worker = self._free.pop()
        work = asyncio.create_task(worker.do(head, read, cpu_s, load))
        work.add_done_callback(lambda done: self._leave(worker, done))
        return await asyncio.shield(work)

    @property
    def unfinished(self) -> int:
        """How many jobs wait or are in work."""
        return self._queue.waiting + self._queue.running

    def pool(self) -> Pool:
        """The processes that work."""
        return Pool(self._size - len(self._free), self._size)

    async def close(self) -> None:
        """Ends all processes; jobs that wait or run raise Unavailable."""
        await asyncio.gather(*(worker.close() for worker in self._workers))

    def _leave(self, worker: _Worker, done: asyncio.Task[T]) -> None:
        self._free.append(worker)  # the last one used is the next: the others may end
        self._queue.leave()
        if not done.cancelled():
            done.exception()  # looked at, even when nobody waits for it any more


async def _send(process: asyncio.subprocess.Process, head: bytes, blob: bytes, cpu_s: float) -> None:
    assert process.stdin is not None
    process.stdin.write(REQUEST.pack(len(head), len(blob), cpu_s) + head)
    whole = memoryview(blob)
    for start in range(0, len(blob), SLICE_BYTES):
        process.stdin.write(whole[start : start + SLICE_BYTES])
        await process.stdin.drain()
    await process.stdin.drain()


async def _receive(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    (size,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
    if size > FRAME_MAX:
        raise Garbage
    return await process.stdout.readexactly(size)
