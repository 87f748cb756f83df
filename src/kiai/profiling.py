"""Samples the stacks of all threads of this process for a while, for `kiai profile`.

A thread looks at the stacks every few milliseconds and adds the CPU time that each thread has used since the last look
to its present stack. Without a profile nothing runs. Stacks consist of names of functions; values of arguments and
variables are never read.
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Final

import msgspec

from kiai.stacks import path_of

SECONDS_MIN: Final = 1
SECONDS_MAX: Final = 60
LOOK_EVERY_S: Final = 0.004
SWITCH_S: Final = 0.000_5
"""The time that a thread may run before another gets its turn while a profile runs, in seconds.

With Python's default of 5 ms, work that is shorter would always have ended before the look at the stacks.
"""
FRAMES_MAX: Final = 100
"""The frames of a stack that are counted; of a deeper one, the outermost are left out."""
STACKS_MAX: Final = 5_000  # of one thread
THREADS_MAX: Final = 200
OTHERS: Final = ("(other stacks)",)
UNSEEN: Final = ("(between the looks)",)
"""The stack for CPU time of a thread that was never seen at work."""
_WAITING: Final = frozenset(
    {
        ("runners.py", "Runner.run"),  # uvloop waits in C
        ("thread.py", "_worker"),
        ("threading.py", "Condition.wait"),
        ("threading.py", "Event.wait"),
        ("selectors.py", "EpollSelector.select"),
        ("selectors.py", "KqueueSelector.select"),
    }
)
"""The file and function in which a thread without work waits."""


class StackTime(msgspec.Struct, frozen=True):
    """The CPU time of a thread in one stack of functions, the innermost last."""

    thread: str
    frames: tuple[str, ...]
    ms: float


class Profile(msgspec.Struct, frozen=True):
    """A profile of one process: its process id, duration, looks at the stacks, and CPU time by stack.

    `is_cpu` is False on systems that do not tell the CPU time of a thread; then the time of `stacks` is that between
    the looks, and threads that wait in functions of libraries count too.
    """

    pid: int
    seconds: float
    looks: int
    is_cpu: bool
    stacks: list[StackTime]


class _Thread:
    """The times of one thread by stack. `clock` is the file of its CPU time, None where the system has none."""

    def __init__(self, name: str, native_id: int | None) -> None:
        self.name = name
        self.unseen_s = 0.0
        self.times: dict[tuple[CodeType, ...], float] = {}
        self.others_s = 0.0
        self._clock: int | None = None
        with contextlib.suppress(OSError):
            self._clock = os.open(f"/proc/self/task/{native_id}/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        self._used_ns = 0
        self.spent_s()  # what it has used before the profile is not part of it

    @property
    def has_clock(self) -> bool:
        """Whether the system tells the CPU time of this thread."""
        return self._clock is not None

    def spent_s(self) -> float:
        """Return the CPU time since the last call, in seconds."""
        # Not time.pthread_getcpuclockid: it may crash the process for a thread that has just ended.
        try:
            used_ns = int(os.pread(self._clock, 64, 0).split()[0]) if self._clock is not None else 0
        except (OSError, IndexError, ValueError):  # it has ended
            return 0.0
        spent_ns, self._used_ns = used_ns - self._used_ns, used_ns
        return spent_ns / 1e9

    def close(self) -> None:
        """Close the file."""
        if self._clock is not None:
            os.close(self._clock)


def profile(pid: int, seconds: float, stopped: threading.Event) -> Profile:
    """Sample this process for `seconds`, or until `stopped` is set. Blocks; call it in a thread of its own."""
    own, threads, looks = threading.get_ident(), dict[int, _Thread](), 0
    began = before = time.monotonic()
    try:
        with _short_turns():
            while not stopped.wait(LOOK_EVERY_S):
                now = time.monotonic()
                _look(threads, own, now - before)
                looks += 1
                before = now
                if now - began >= seconds:
                    break
        is_cpu = all(thread.has_clock for thread in threads.values())
        return Profile(pid, round(before - began, 3), looks, is_cpu, _stacks(threads))
    finally:
        for thread in threads.values():
            thread.close()


@contextlib.contextmanager
def _short_turns() -> Iterator[None]:
    turns_s = sys.getswitchinterval()
    sys.setswitchinterval(min(turns_s, SWITCH_S))
    try:
        yield
    finally:
        sys.setswitchinterval(turns_s)


def _look(threads: dict[int, _Thread], own: int, passed_s: float) -> None:
    """Add the time since the last look, `passed_s` seconds ago, to the present stacks of the other threads."""
    for ident, frame in sys._current_frames().items():
        if ident == own:
            continue
        thread = threads.get(ident)
        if thread is None:
            if len(threads) < THREADS_MAX:
                threads[ident] = _Thread(*_identity(ident))
            continue
        spent_s = thread.spent_s() if thread.has_clock else passed_s
        code = frame.f_code
        if (code.co_filename.rpartition("/")[2], code.co_qualname) in _WAITING:
            # Its work was shorter than the time between two looks: it is spread over the stacks that are seen.
            thread.unseen_s += spent_s if thread.has_clock else 0.0
        elif spent_s > 0:
            stack = tuple(_codes(frame))
            if stack in thread.times or len(thread.times) < STACKS_MAX:
                thread.times[stack] = thread.times.get(stack, 0.0) + spent_s
            else:
                thread.others_s += spent_s


def _codes(frame: FrameType) -> list[CodeType]:
    """Return the functions of a stack, the innermost last."""
    found: list[CodeType] = []
    current: FrameType | None = frame
    while current is not None and len(found) < FRAMES_MAX:
        found.append(current.f_code)
        current = current.f_back
    return found[::-1]


def _identity(ident: int) -> tuple[str, int | None]:
    """Return the name of a thread and its number in the system."""
    found = next((thread for thread in threading.enumerate() if thread.ident == ident), None)
    return ("?", None) if found is None else (found.name, found.native_id)


def _stacks(threads: dict[int, _Thread]) -> list[StackTime]:
    """Return the times of all threads, the longest first."""
    found = []
    for thread in threads.values():
        seen_s = sum(thread.times.values()) + thread.others_s
        factor = 1 + thread.unseen_s / seen_s if seen_s else 1.0
        times = [(tuple(map(_function, stack)), spent_s * factor) for stack, spent_s in thread.times.items()]
        times.append((OTHERS, thread.others_s * factor))
        if not seen_s:
            times.append((UNSEEN, thread.unseen_s))
        found += [
            StackTime(thread.name, frames, round(spent_s * 1000, 3))
            for frames, spent_s in times
            if spent_s >= 0.000_001
        ]
    return sorted(found, key=lambda one: -one.ms)


def _function(code: CodeType) -> str:
    """Return the file and the function, such as `kiai/jobs.py Jobs._run`."""
    return f"{path_of(code)} {code.co_qualname}"
