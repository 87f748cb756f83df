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
from collections.abc import Sequence
from typing import Final

from kiai.handing_over import LISTEN_ON, SETTINGS_FROM
from kiai.logs import get_logger

READY_S: Final = 60.0
STOP_S: Final = 15.0
AGAIN_S: Final = 5.0
STABLE_S: Final = 10.0


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
        self._count = count
        self._listening = listening
        self._workers: dict[int, Worker] = {}
        self._watching: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._replacing = asyncio.Lock()
        self._log = get_logger("workers")

    async def run(self) -> int:
        """Serves until SIGTERM; the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._replace_soon)
        started = await asyncio.gather(*(self._start(number) for number in range(1, self._count + 1)))
        if not all(started) and not self._stopping.is_set():
            self._stopping.set()
            await self._end(list(self._workers.values()))
            return 1
        host, port = self._listening.getsockname()[:2]
        print(f"ready http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
        await self._stopping.wait()
        await self._end(list(self._workers.values()))
        return 0

    def _stop(self) -> None:
        if self._stopping.is_set():
            for worker in self._workers.values():
                worker.send(signal.SIGKILL)
        self._stopping.set()

    async def _start(self, number: int) -> bool:
        out, into = os.pipe()
        os.write(into, self._settings_json)
        os.close(into)
        listen = self._listening.fileno()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "kiai.serving",
            f"{SETTINGS_FROM}{out}",
            f"{LISTEN_ON}{listen}",
            pass_fds=(out, listen),
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is told to them by us, once
        )
        os.close(out)
        worker = self._workers[number] = Worker(number, process)
        ready = await worker.is_ready()
        task = asyncio.create_task(self._watch(worker))
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)
        return ready

    async def _watch(self, worker: Worker) -> None:
        """Starts another one in its place when it ends by itself."""
        begun = asyncio.get_running_loop().time()
        code = await worker.process.wait()
        if worker.leaving or self._stopping.is_set():
            return
        self._log.warning("worker ended", worker=worker.number, code=code)
        if asyncio.get_running_loop().time() - begun < STABLE_S:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), min(AGAIN_S, 0.2))
        if not self._stopping.is_set() and not await self._start(worker.number):
            self._log.error("worker does not start", worker=worker.number)
            await asyncio.sleep(AGAIN_S)

    def _replace_soon(self) -> None:
        task = asyncio.get_running_loop().create_task(self._replace())
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)

    async def _replace(self) -> None:
        async with self._replacing:
            for number in range(1, self._count + 1):
                old = self._workers[number]
                old.leaving = True
                if self._stopping.is_set() or not await self._start(number):
                    self._log.error("no worker took over", worker=number)
                    self._workers[number] = old
                    old.leaving = False
                    return
                await self._end([old])
            self._log.info("workers replaced", workers=self._count)

    async def _end(self, workers: Sequence[Worker]) -> None:
        for worker in workers:
            worker.leaving = True
            worker.send(signal.SIGTERM)
        for worker in workers:
            try:
                await asyncio.wait_for(worker.process.wait(), STOP_S)
            except TimeoutError:
                worker.send(signal.SIGKILL)
                await worker.process.wait()
