"""Several workers on one port: started, watched and replaced by one process that serves nothing itself.

The port is opened once and inherited, so that a worker that dies takes no waiting connection with it. A worker that
ends is started again. SIGTERM ends all of them, each finishing what it has begun; SIGHUP replaces them one after
another, the next one ready before the last one goes.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Coroutine, Iterable
from typing import Any, Final

from kiai import slots
from kiai.handing_over import FIGURES_IN, LISTEN_ON, SETTINGS_FROM, SUPERVISOR, announce
from kiai.logs import get_logger

READY_S: Final = 60.0
STOP_S: Final = 15.0
SLOTS_OF_ONE: Final = 3  # its own, that of one that still goes, that of one that has just gone
STABLE_S: Final = 5.0  # a worker that lived no longer is not started again at once
AGAIN_S: Final = 1.0


class Worker:
    """One worker process."""

    def __init__(self, number: int, process: asyncio.subprocess.Process) -> None:
        self.number = number
        self.process = process
        self.leaving = False

    async def is_ready(self) -> bool:
        """Waits until it accepts requests; False when it ended instead, or takes a minute."""
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(READY_S):
                return (await self.process.stdout.readline()).startswith(b"ready ")
        except TimeoutError:
            return False

    def send(self, number: int) -> None:
        """Sends a signal, if the process is still there."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)


class Supervisor:
    """Keeps `count` workers running on one listening socket."""

    def __init__(self, settings_json: bytes, count: int, listening: socket.socket) -> None:
        self._settings_json = settings_json
        self._listening = listening
        self._figures = slots.make(SLOTS_OF_ONE * count)
        self._slots = slots.Slots(self._figures, SLOTS_OF_ONE * count)
        self._free = list(range(SLOTS_OF_ONE * count))  # the last one freed is the next one taken
        self._living: set[Worker] = set()
        self._serving: dict[int, Worker] = {}
        self._filling = {number: asyncio.Lock() for number in range(1, count + 1)}  # one at a time finds a successor
        self._replacing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_due = False  # a round of replacements that has not begun yet
        self._stopping = asyncio.Event()
        self._log = get_logger("workers")

    async def run(self) -> int:
        """Serves until SIGTERM; the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        async with self._replacing:
            started = await asyncio.gather(*(self._start(number) for number in self._filling))
            if not all(started):
                told = self._stopping.is_set()
                self._stopping.set()
                await self._end(self._living)
                return 0 if told else 1
            for worker in self._serving.values():
                self._go(self._tend(worker))
        host, port = self._listening.getsockname()[:2]
        announce(f"ready http://{f'[{host}]' if ':' in host else host}:{port}")
        await self._stopping.wait()
        await self._end(self._living)
        return 0

    def _stop(self) -> None:
        if self._stopping.is_set():
            for worker in self._living:
                worker.send(signal.SIGKILL)
        self._stopping.set()

    def _hang_up(self) -> None:
        # One round that has not begun yet is enough for any number of signals.
        if not self._is_due:
            self._is_due = True
            self._go(self._replace())

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start(self, number: int) -> bool:
        """Lets a new worker serve under this number; False, and nothing has changed, when it does not come up."""
        out, into = os.pipe()
        os.write(into, self._settings_json)
        os.close(into)
        listen = self._listening.fileno()
        slot = self._free.pop()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "kiai.serving",
                f"{SETTINGS_FROM}{out}",
                f"{LISTEN_ON}{listen}",
                f"{SUPERVISOR}{os.getpid()}",
                f"{FIGURES_IN}{self._figures},{slot},{self._slots.count}",
                pass_fds=(out, listen, self._figures),
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is told to them by us, once
            )
        except OSError as error:
            self._log.error("no process for a worker", worker=number, why=error.strerror)
            self._free.append(slot)
            return False
        finally:
            os.close(out)
        self._go(self._free_slot(slot, process))
        worker = Worker(number, process)
        self._living.add(worker)
        if not await self._comes_up(worker):
            await self._end([worker])
            return False
        self._serving[number] = worker
        return True

    async def _free_slot(self, slot: int, process: asyncio.subprocess.Process) -> None:
        """Gives the slot of a worker that is gone to the next one. What it counted goes on from there."""
        await process.wait()
        self._slots.freed(slot)
        self._free.append(slot)

    async def _comes_up(self, worker: Worker) -> bool:
        """Whether it serves; False, too, as soon as everything is to stop."""
        async with asyncio.TaskGroup() as waiting:
            ready = waiting.create_task(worker.is_ready())
            stop = waiting.create_task(self._stopping.wait())
            await asyncio.wait((ready, stop), return_when=asyncio.FIRST_COMPLETED)
            serves = ready.done() and ready.result() and not self._stopping.is_set()
            ready.cancel()
            stop.cancel()
        return serves

    async def _tend(self, worker: Worker) -> None:
        """Starts another one in its place whenever it ends by itself."""
        now = asyncio.get_running_loop().time
        began = now()
        code = await worker.process.wait()
        self._living.discard(worker)
        async with self._filling[worker.number]:
            if worker.leaving or self._stopping.is_set():
                return
            self._log.warning("worker ended", worker=worker.number, code=code)
            if now() - began < STABLE_S:
                await self._pause()
            tries = 0
            while not await self._start(worker.number):
                if self._stopping.is_set():
                    return
                tries += 1
                if tries == 1:
                    self._log.error("worker does not start", worker=worker.number)
                await self._pause()
            if tries:
                self._log.warning("worker starts again", worker=worker.number, failures=tries)
        self._go(self._tend(self._serving[worker.number]))

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), AGAIN_S)

    async def _replace(self) -> None:
        async with self._replacing:
            self._is_due = False
            for number, filling in self._filling.items():
                async with filling:
                    old = self._serving[number]
                    if self._stopping.is_set() or not await self._start(number):
                        self._log.error("no worker took over", worker=number)
                        return
                    old.leaving = True
                    self._go(self._tend(self._serving[number]))
                await self._end([old])
            self._log.info("workers replaced", workers=len(self._filling))

    async def _end(self, workers: Iterable[Worker]) -> None:
        async def end(worker: Worker) -> None:
            worker.leaving = True
            worker.send(signal.SIGTERM)
            try:
                await asyncio.wait_for(worker.process.wait(), STOP_S)
            except TimeoutError:
                worker.send(signal.SIGKILL)
                await worker.process.wait()
            self._living.discard(worker)

        await asyncio.gather(*(end(worker) for worker in list(workers)))
