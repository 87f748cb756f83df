"""Writes the tasks of the event loop and the stacks of all threads to the log at SIGUSR1.

A thread waits for the signal, so it also works while the event loop is blocked. Frames are named by file, line and
function. Values of arguments and variables are never read, because they may be secrets.
"""

import asyncio
import os
import signal
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import PurePath
from types import CodeType, FrameType
from typing import Any, Final

from kiai.logs import get_logger

SIGNAL: Final = signal.SIGUSR1
FRAMES_MAX: Final = 40  # of one stack; a line of the log has at most 50 elements in a list
STACKS_MAX: Final = 200  # lines about tasks; tasks with the same stack share one
NAMES_MAX: Final = 5
_UNNAMED: Final = "Task-"  # asyncio's names of tasks that nobody named
_FOLDERS: Final = ("site-packages", "src", "lib")  # a path is shown from behind the last of these


def log_on_signal(loop: asyncio.AbstractEventLoop, then: Callable[[], object] = lambda: None) -> None:
    """Write tasks and stacks at each signal until the process ends, and then call `then` on the event loop.

    Must be called, or the signal blocked, before the process starts other threads: one that does not block it would
    end the process.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {SIGNAL})
    threading.Thread(target=_wait, args=(loop, then), name="stacks", daemon=True).start()


def _wait(loop: asyncio.AbstractEventLoop, then: Callable[[], object]) -> None:
    while True:
        signal.sigwait({SIGNAL})
        try:
            log_stacks(loop)
            loop.call_soon_threadsafe(then)
        except Exception as error:  # the next signal must work, whatever happened, e.g. the loop was just closed
            get_logger("stacks").warning("stacks not written", exc_info=error)


def log_stacks(loop: asyncio.AbstractEventLoop) -> None:
    """Write one line for each thread, and one for all tasks with the same stack, the most frequent stack first."""
    log, pid = get_logger("stacks"), os.getpid()
    threads = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = sys._current_frames()
    tasks: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for task in asyncio.all_tasks(loop):
        tasks[tuple(_awaited(task))].append(task.get_name())
    log.warning("stacks", pid=pid, threads=len(frames), tasks=sum(map(len, tasks.values())), different=len(tasks))
    for ident, frame in frames.items():
        if ident != threading.get_ident():
            log.warning("thread", pid=pid, thread=threads.get(ident, "?"), stack=_called(frame))
    for stack, names in sorted(tasks.items(), key=lambda one: -len(one[1]))[:STACKS_MAX]:
        shown = sorted(name for name in names if not name.startswith(_UNNAMED))[:NAMES_MAX]
        log.warning("task", pid=pid, count=len(names), names=shown, stack=list(stack))


def _called(frame: FrameType) -> list[str]:
    """Return the frames of a thread, the innermost last."""
    found: list[str] = []
    current: FrameType | None = frame
    while current is not None and len(found) < FRAMES_MAX:
        found.append(_place(current.f_code, current.f_lineno))
        current = current.f_back
    return found[::-1]


def _awaited(task: "asyncio.Task[Any]") -> Iterator[str]:
    """Yield the frames of a task, the innermost last. A task that runs has only its outermost one."""
    awaited: object = task.get_coro()
    for _ in range(FRAMES_MAX):
        # Coroutines, generators and asynchronous generators name the same two attributes differently.
        for kind, waits_for in (("cr", "cr_await"), ("gi", "gi_yieldfrom"), ("ag", "ag_await")):
            if hasattr(awaited, f"{kind}_code"):
                frame: FrameType | None = getattr(awaited, f"{kind}_frame")
                if frame is not None:
                    yield _place(frame.f_code, frame.f_lineno)
                awaited = getattr(awaited, waits_for)
                break
        else:
            return


def _place(code: CodeType, line: int | None) -> str:
    """Return the file, line and function, such as `kiai/jobs.py:80 Jobs._run`."""
    return f"{path_of(code)}:{line or '?'} {code.co_qualname}"


def path_of(code: CodeType) -> str:
    """Return the file of a function from the folder of its package on, such as `kiai/jobs.py`."""
    parts = PurePath(code.co_filename).parts
    at = max((number for number, part in enumerate(parts) if part in _FOLDERS), default=len(parts) - 3)
    return "/".join(parts[max(at + 1, 0) :])
