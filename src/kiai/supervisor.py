"""Runs several workers on one port: starts, watches and replaces them, and serves no requests itself.

The port is opened once and the workers inherit it, so waiting connections survive the death of a worker. A worker that
ends is started again. SIGTERM ends all workers after their current requests, and so does SIGUSR2, which workers send at
the time of a planned stop. One of the workers then gets SIGUSR2 first, and tells webhooks that the server stops. SIGHUP
replaces them one after another; each new worker is ready before the old one stops. SIGUSR1 is passed on to them
(`stacks.py`).
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Final

from kiai import shared_memory
from kiai.clock import SystemClock
from kiai.exec_server import FIGURES_IN, LISTEN_ON, SETTINGS_FROM, STARTED_AT, SUPERVISOR, settings_pipe
from kiai.logs import get_logger
from kiai.stacks import log_on_signal

READY_S: Final = 60.0
STOP_S: Final = 9.3  # longer than a worker's own budget (`stopping.py`)
SLOTS_PER_WORKER: Final = 3  # during a replacement: the new worker, the old one that still stops, one that has ended
STABLE_S: Final = 5.0  # a worker that ends sooner is restarted after RETRY_S, so that a crash loop uses little time
RETRY_S: Final = 1.0


class Worker:
    """One worker process."""

    def __init__(self, number: int, process: asyncio.subprocess.Process) -> None:
        self.number = number
        self.process = process
        self.stopping = False

    async def is_ready(self) -> bool:
        """Wait until the worker accepts requests. Return False if it ends or takes more than `READY_S`."""
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(READY_S):
                return (await self.process.stdout.readline()).startswith(b"ready ")
        except TimeoutError:
            return False

    def send(self, number: int) -> None:
        """Send a signal to the process if it still runs."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)


class Supervisor:
    """Keeps `count` workers running on one listening socket.

    Workers inherit further sockets, each by the flag that tells them its file descriptor. `on_ready` is called when
    all of them accept requests, `on_stop` before they stop.
    """

    def __init__(
        self,
        settings_json: bytes,
        count: int,
        listening: socket.socket,
        inherited: Mapping[str, socket.socket],
        *,
        on_ready: Callable[[], None],
        on_stop: Callable[[], None],
    ) -> None:
        self._inherited = {flag: opened.fileno() for flag, opened in inherited.items()}
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._settings_json = settings_json
        self._started_ms = SystemClock().now_ms()
        self._listening = listening
        self._memory_fd = shared_memory.create(SLOTS_PER_WORKER * count)
        self._slots = shared_memory.SharedMemory(self._memory_fd, SLOTS_PER_WORKER * count)
        # A stack: a new worker takes the slot that was freed last and continues its counters.
        self._free_slots = list(range(SLOTS_PER_WORKER * count))
        self._workers: set[Worker] = set()
        self._serving: dict[int, Worker] = {}
        # A worker that crashes during its replacement must not get two successors.
        self._start_locks = {number: asyncio.Lock() for number in range(1, count + 1)}
        self._replacing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._replacement_due = False  # a replacement of all workers waits for the current one to end
        self._stopping = asyncio.Event()
        self._log = get_logger("workers")

    async def run(self) -> int:
        """Run the workers until SIGTERM and return the exit code."""
        loop = asyncio.get_running_loop()
        log_on_signal(loop, then=self._pass_on_sigusr1)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._on_sighup)
        # Of workers, at the time of a planned stop. All of them send it, so it has no second meaning as SIGTERM has.
        loop.add_signal_handler(signal.SIGUSR2, self._stopping.set)
        async with self._replacing:
            started = await asyncio.gather(*(self._start(number) for number in self._start_locks))
            if not all(started):
                was_stopped = self._stopping.is_set()
                self._stopping.set()
                await self._stop_workers(self._workers)
                return 0 if was_stopped else 1
            for worker in self._serving.values():
                self._spawn(self._restart_on_exit(worker))
        self._on_ready()
        await self._stopping.wait()
        self._on_stop()
        for worker in self._serving.values():
            if worker.process.returncode is None and not worker.stopping:
                worker.send(signal.SIGUSR2)
                break
        await self._stop_workers(self._workers)
        return 0

    def _stop(self) -> None:
        # The second signal does not wait for requests.
        if self._stopping.is_set():
            for worker in self._workers:
                worker.send(signal.SIGKILL)
        self._stopping.set()

    def _on_sighup(self) -> None:
        # A replacement that has not begun yet covers all further signals.
        if not self._replacement_due:
            self._replacement_due = True
            self._spawn(self._replace())

    def _pass_on_sigusr1(self) -> None:
        for worker in self._serving.values():
            worker.send(signal.SIGUSR1)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        # The event loop has only weak references to tasks.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start(self, number: int) -> bool:
        """Start a worker under this number and wait until it is ready.

        Return False if it does not become ready; the previous worker of this number then stays.
        """
        out = settings_pipe(self._settings_json)
        listen = self._listening.fileno()
        slot = self._free_slots.pop()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "kiai.server_process",
                f"{SETTINGS_FROM}{out}",
                f"{LISTEN_ON}{listen}",
                f"{SUPERVISOR}{os.getpid()}",
                f"{STARTED_AT}{self._started_ms}",
                f"{FIGURES_IN}{self._memory_fd},{slot},{self._slots.count}",
                *(f"{flag}{descriptor}" for flag, descriptor in self._inherited.items()),
                pass_fds=(out, listen, self._memory_fd, *self._inherited.values()),
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,  # Ctrl-C reaches only the supervisor, which sends one SIGTERM to each worker
            )
        except OSError as error:
            self._log.error("worker process not created", worker=number, why=error.strerror)
            self._free_slots.append(slot)
            return False
        finally:
            os.close(out)
        self._spawn(self._free_slot(slot, process))
        worker = Worker(number, process)
        self._workers.add(worker)
        if not await self._wait_until_ready(worker):
            await self._stop_workers([worker])
            return False
        self._serving[number] = worker
        return True

    async def _free_slot(self, slot: int, process: asyncio.subprocess.Process) -> None:
        """Free the slot of a worker after its end. Its counters stay in the slot for the next worker."""
        await process.wait()
        self._slots.mark_free(slot)
        self._free_slots.append(slot)

    async def _wait_until_ready(self, worker: Worker) -> bool:
        """Wait until the worker is ready. Return False if it does not become ready or the supervisor is stopping."""
        async with asyncio.TaskGroup() as waiting:
            ready = waiting.create_task(worker.is_ready())
            stop = waiting.create_task(self._stopping.wait())
            await asyncio.wait((ready, stop), return_when=asyncio.FIRST_COMPLETED)
            serves = ready.done() and ready.result() and not self._stopping.is_set()
            ready.cancel()
            stop.cancel()
        return serves

    async def _restart_on_exit(self, worker: Worker) -> None:
        """Wait for the end of a worker, and start another one unless it was stopped."""
        now = asyncio.get_running_loop().time
        began = now()
        code = await worker.process.wait()
        self._workers.discard(worker)
        async with self._start_locks[worker.number]:
            if worker.stopping or self._stopping.is_set():
                return
            self._log.warning("worker ended", worker=worker.number, code=code)
            if now() - began < STABLE_S:
                await self._wait_before_retry()
            tries = 0
            while not await self._start(worker.number):
                if self._stopping.is_set():
                    return
                # Log the first failure only: the loop repeats every second.
                tries += 1
                if tries == 1:
                    self._log.error("worker does not start", worker=worker.number)
                await self._wait_before_retry()
            if tries:
                self._log.warning("worker starts again", worker=worker.number, failures=tries)
        self._spawn(self._restart_on_exit(self._serving[worker.number]))

    async def _wait_before_retry(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RETRY_S):
                await self._stopping.wait()

    async def _replace(self) -> None:
        async with self._replacing:
            self._replacement_due = False
            for number, start_lock in self._start_locks.items():
                async with start_lock:
                    old = self._serving[number]
                    # Stop at the first failure: the settings or the new version may be broken, and the remaining old
                    # workers still serve.
                    if self._stopping.is_set() or not await self._start(number):
                        if not self._stopping.is_set():  # a stop is no failure
                            self._log.error("worker not replaced", worker=number)
                        return
                    old.stopping = True
                    self._spawn(self._restart_on_exit(self._serving[number]))
                await self._stop_workers([old])
            self._log.info("workers replaced", workers=len(self._start_locks))

    async def _stop_workers(self, workers: Iterable[Worker]) -> None:
        async def stop(worker: Worker) -> None:
            worker.stopping = True
            worker.send(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_S):
                    await worker.process.wait()
            except TimeoutError:
                worker.send(signal.SIGKILL)
                await worker.process.wait()
            self._workers.discard(worker)

        await asyncio.gather(*(stop(worker) for worker in list(workers)))
