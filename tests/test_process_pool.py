"""Pools of worker processes: queueing, killing, and cleaning up."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from tests.patience import patiently, wait_until

from kiai import process_pool
from kiai.errors import Unavailable
from kiai.measuring import PoolUsage
from kiai.pool_process import NICENESS
from kiai.process_pipe import ProcessPipe
from kiai.process_pool import JobTimedOut, WorkerCrashed, WorkerPool

STORY_S: Final = 30.0
AUTOGROUP: Final = Path("/proc/self/autogroup")
CODE: Final = """
import os, sys, time
from kiai.pool_process import FRAME_MAX, LENGTH, answer_frame, serve

def answering(head, blob):
    match head.decode().split():
        case ["echo"]: return blob
        case ["pid"]: return str(os.getpid()).encode()
        case ["priority"]:
            with open("/proc/self/autogroup") as group:
                return f"{os.nice(0)} {group.read().split()[-1]}".encode()
        case ["die"]: os._exit(1)
        case ["twice"]:
            sys.stdout.buffer.write(2 * answer_frame(b"first"))
            return b"second"
        case ["huge"]:
            sys.stdout.buffer.write(LENGTH.pack(FRAME_MAX + 1))
            return b""
        case ["burn"]:
            while True: pass
        case ["sleep", seconds]:
            time.sleep(float(seconds))
            return b"slept"
        case ["wait", path]:
            while not os.path.exists(path): time.sleep(0.01)
            return b"waited"

serve(answering)
"""
COMMAND: Final = (sys.executable, "-c", CODE)


@asynccontextmanager
async def pool(
    *, size: int = 1, waiting_max: int = 8, per_caller_max: int = 4, idle_s: float | None = None, spare: bool = False
) -> AsyncIterator[WorkerPool]:
    made = WorkerPool(
        "work",
        COMMAND,
        size=size,
        waiting_max=waiting_max,
        per_caller_max=per_caller_max,
        wait_s=patiently(STORY_S),
        idle_s=idle_s,
        spare=spare,
    )
    try:
        async with asyncio.timeout(patiently(STORY_S)):
            yield made
    finally:
        await made.close()


async def until(holds: Callable[[], bool]) -> None:
    await asyncio.to_thread(wait_until, holds, within_s=STORY_S)


async def ask(workers: WorkerPool, head: str, blob: bytes = b"", *, caller: str = "a", cpu_s: float = 5.0) -> bytes:
    async def load() -> bytes:
        return blob

    return await workers.run_job(caller, head.encode(), bytes, cpu_s=cpu_s, load=load)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_blob_of_any_size_is_returned_unchanged() -> None:
    async def scenario() -> None:
        async with pool() as workers:
            for size in (0, 1, 65_536, 20 * 1024**2):
                blob = os.urandom(size)
                assert await ask(workers, "echo", blob) == blob

    asyncio.run(scenario())


def test_spare_process_is_ready_before_the_job_that_needs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[Sequence[str]] = []
    start = ProcessPipe.start

    async def count(command: Sequence[str]) -> ProcessPipe:
        started.append(command)
        return await start(command)

    monkeypatch.setattr(ProcessPipe, "start", count)

    async def scenario() -> None:
        async with pool(size=3, spare=True) as workers:
            running = asyncio.create_task(ask(workers, f"wait {tmp_path / 'go'}", cpu_s=patiently(STORY_S)))
            await until(lambda: len(started) == 2 and workers._preparing is None)
            await ask(workers, "echo", caller="b")
            await until(lambda: workers._preparing is None)
            assert len(started) == 3  # the second job used the spare process and started the next one
            (tmp_path / "go").touch()
            assert await running == b"waited"

    asyncio.run(scenario())


def test_job_after_a_killed_one_does_not_wait_for_a_new_process() -> None:
    async def scenario() -> None:
        async with pool(size=2, spare=True) as workers:
            first = await ask(workers, "pid")
            await until(lambda: workers._preparing is None)
            with pytest.raises(JobTimedOut):
                await ask(workers, "burn", cpu_s=0.1)
            running = [worker._process.pid for worker in workers._workers if worker.is_running and worker._process]
            assert len(running) == 1
            assert str(running[0]).encode() != first
            assert await ask(workers, "pid") == str(running[0]).encode()

    asyncio.run(scenario())


def test_spare_process_ends_when_it_is_idle_and_with_the_pool() -> None:
    async def scenario() -> None:
        async with pool(size=2, idle_s=0.2, spare=True) as workers:
            await ask(workers, "echo")
            await until(lambda: workers._preparing is None)
            await until(lambda: all(worker._process is None for worker in workers._workers))
            await ask(workers, "echo")  # the pool is closed while it starts the spare process

    asyncio.run(scenario())


def test_job_that_uses_too_much_cpu_is_killed_and_the_next_one_runs() -> None:
    async def scenario() -> None:
        async with pool() as workers:
            with pytest.raises(JobTimedOut, match=r"0\.2 s of CPU time"):
                await ask(workers, "burn", cpu_s=0.2)
            assert await ask(workers, "echo", b"next") == b"next"

    asyncio.run(scenario())


def test_job_without_cpu_time_is_a_timeout_and_not_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_pool, "WALL_MIN_S", 0.5)

    async def scenario() -> None:
        async with pool() as workers:
            await ask(workers, "echo")
            with pytest.raises(Unavailable, match="no answer within"):
                await ask(workers, "sleep 600", cpu_s=0.05)
            assert await ask(workers, "echo", b"next") == b"next"

    asyncio.run(scenario())


def test_job_that_kills_two_processes_fails() -> None:
    async def scenario() -> None:
        async with pool() as workers:
            with pytest.raises(WorkerCrashed):
                await ask(workers, "die")

    asyncio.run(scenario())


@pytest.mark.parametrize("head", ["twice", "huge"])
def test_process_that_sends_something_else_than_an_answer_is_replaced(head: str) -> None:
    async def scenario() -> None:
        async with pool() as workers:
            first = await ask(workers, "pid")
            with pytest.raises(WorkerCrashed):
                await ask(workers, head)
            assert await ask(workers, "pid") != first

    asyncio.run(scenario())


def test_data_after_an_answer_makes_the_process_unusable() -> None:
    async def scenario() -> None:
        async with pool() as workers:
            first = await ask(workers, "pid")
            worker = workers._workers[0]
            assert worker._process is not None
            worker._process.pipe_data_received(1, b"unasked")
            assert not worker.is_running
            assert await ask(workers, "pid") != first

    asyncio.run(scenario())


def test_large_blob_is_not_sent_to_a_process_that_has_ended() -> None:
    async def scenario() -> None:
        async with pool() as workers:
            with pytest.raises(WorkerCrashed):
                await ask(workers, "die", bytes(20 * 1024**2))

    asyncio.run(scenario())


def test_callers_take_turns_and_the_queue_is_bounded(tmp_path: Path) -> None:
    done: list[str] = []

    async def scenario() -> None:
        async with pool() as workers:

            async def job(caller: str) -> None:
                await ask(workers, "echo", caller=caller)
                done.append(caller)

            holding = asyncio.create_task(ask(workers, f"wait {tmp_path / 'go'}", cpu_s=patiently(STORY_S)))
            await asyncio.sleep(0)
            waiting = [asyncio.create_task(job("a")) for _ in range(4)]
            await asyncio.sleep(0)
            with pytest.raises(Unavailable, match="one caller may have 4 jobs waiting"):
                await job("a")
            waiting.append(asyncio.create_task(job("b")))
            await asyncio.sleep(0)
            assert workers.unfinished == 6
            (tmp_path / "go").touch()
            await asyncio.gather(holding, *waiting)

    asyncio.run(scenario())

    assert done.index("b") <= 1


def test_processes_start_with_the_first_job_and_end_when_idle() -> None:
    async def scenario() -> None:
        async with pool(size=2, idle_s=0.1) as workers:
            assert workers.pool() == PoolUsage(0, 2)
            first = int(await ask(workers, "pid"))
            while alive(first):  # noqa: ASYNC110 - nobody tells when a process has ended
                await asyncio.sleep(0.01)
            again = int(await ask(workers, "pid"))
            assert again != first

    asyncio.run(scenario())


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this system does not share the CPU time among sessions")
def test_session_of_a_process_has_a_lower_priority_as_well() -> None:
    own = AUTOGROUP.read_text()  # empty for a session that Linux started

    async def scenario() -> None:
        async with pool() as workers:
            niceness = os.nice(0) + NICENESS
            assert await ask(workers, "priority") == f"{niceness} {NICENESS}".encode()

    asyncio.run(scenario())
    assert AUTOGROUP.read_text() == own, "the session of the server keeps its priority"


def test_sequential_jobs_use_one_process() -> None:
    async def scenario() -> set[bytes]:
        async with pool(size=3) as workers:
            return {await ask(workers, "pid") for _ in range(5)}

    assert len(asyncio.run(scenario())) == 1


def test_close_ends_running_and_waiting_jobs_immediately() -> None:
    async def scenario() -> list[object]:
        async with pool() as workers:
            await ask(workers, "echo")
            jobs = [asyncio.create_task(ask(workers, "burn", cpu_s=600.0)) for _ in range(3)]
            await asyncio.sleep(0.05)
            await workers.close()
            return await asyncio.gather(*jobs, return_exceptions=True)

    assert [type(end) for end in asyncio.run(scenario())] == [Unavailable] * 3


def test_process_survives_sigusr1_which_a_service_manager_sends_to_all_processes() -> None:
    async def scenario() -> None:
        async with pool() as workers:
            first = await ask(workers, "pid")
            os.kill(int(first), signal.SIGUSR1)
            assert await ask(workers, "pid") == first

    asyncio.run(scenario())
