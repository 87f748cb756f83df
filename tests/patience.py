"""Deadlines that follow the speed and load of the machine.

A test states a deadline in seconds of an idle machine, with a margin. This module lengthens it by the load of the
machine and the speed of a core, so that a test fails because kiai is wrong and not because the machine is busy. A wait
measures again while it lasts, so load that begins later counts too. `PATIENCE=3` multiplies every deadline.
"""

import asyncio
import os
import select
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

ASKED_EVERY_S: Final = 1.0
SLOWEST: Final = 30.0
"""The largest factor. It ends a test that hangs."""
SPIN: Final = 20_000
SPIN_IDLE_S: Final = 0.0016
"""Seconds for `SPIN` rounds on an idle core of 2023. A faster core does not shorten deadlines."""
LONGEST_PAUSE_S: Final = 0.1
ENDED_S: Final = 60.0


class _Machine:
    """Measures how slow this machine is, at most once a second."""

    def __init__(self) -> None:
        self._asked_at = float("-inf")
        self._factor = 1.0

    def slowness(self) -> float:
        """Return how many times longer work takes than on an idle machine: 1 to SLOWEST."""
        now = time.monotonic()
        if now - self._asked_at >= ASKED_EVERY_S:
            self._asked_at = now
            self._factor = min(SLOWEST, max(1.0, _crowd()) * max(1.0, _spin_s() / SPIN_IDLE_S))
        return self._factor


def _crowd() -> float:
    """Return the processes for each core: the average of the last minute, or the present number if it is larger."""
    cores = os.cpu_count() or 1
    wanting = os.getloadavg()[0]
    try:
        with open("/proc/loadavg", encoding="ascii") as file:
            wanting = max(wanting, float(file.read().split()[3].partition("/")[0]))
    except (OSError, ValueError, IndexError):
        pass  # only Linux has the present number
    return wanting / cores


def _spin_s() -> float:
    """Return the CPU seconds of a fixed piece of work. `_crowd` measures the time spent waiting for a core."""
    began = time.thread_time()
    total = 0
    for number in range(SPIN):
        total += number
    return time.thread_time() - began


_machine: Final = _Machine()


def core_seconds(work: Callable[[], object], *, enough: float = 0.0) -> float:
    """Run `work` and return its processor time in seconds of an idle core. Other processes do not lengthen it.

    A core that two busy threads of the machine share is slow. So the same fixed work is measured before and after. A
    time above `enough` is measured up to twice more, because other load may begin and end between these measurements.
    The shortest time is returned.
    """
    took_s = _core_seconds_once(work)
    for _ in range(2):
        if took_s <= enough:
            break
        took_s = min(took_s, _core_seconds_once(work))
    return took_s


def _core_seconds_once(work: Callable[[], object]) -> float:
    fixed_s = [_spin_s()]
    began = time.process_time()
    work()
    took_s = time.process_time() - began
    fixed_s.append(_spin_s())
    return took_s / max(1.0, *(spin_s / SPIN_IDLE_S for spin_s in fixed_s))


def patiently(seconds: float) -> float:
    """Return the seconds that this machine needs now for `seconds` of an idle machine."""
    return seconds * _machine.slowness() * float(os.environ.get("PATIENCE", "1"))


class Deadline:
    """A point in time that moves back while the machine is slow. `seconds` are those of an idle machine."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._began = time.monotonic()

    @property
    def waited_s(self) -> float:
        """Return the seconds since the deadline was set."""
        return time.monotonic() - self._began

    def passed(self) -> bool:
        """Return whether the deadline has passed."""
        return self.waited_s >= patiently(self.seconds)

    def left_s(self) -> float:
        """Return the seconds that are left at the present speed."""
        return max(0.0, patiently(self.seconds) - self.waited_s)


def wait_until(holds: Callable[[], object], *, within_s: float, what: Callable[[], str] | str = "") -> None:
    """Wait until `holds()` is true. Fail with `what` after `within_s` seconds of an idle machine."""
    deadline = Deadline(within_s)
    pause_s = 0.005
    while not holds():
        if deadline.passed():
            told = what if isinstance(what, str) else what()
            raise AssertionError(f"not within {deadline.waited_s:.1f} s ({within_s:g} s of an idle machine) {told}")
        select.select([], [], [], pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def join(thread: threading.Thread, *, within_s: float = ENDED_S) -> None:
    """Wait for the end of a thread. Fail after `within_s` seconds of an idle machine."""
    thread.join(patiently(within_s))
    assert not thread.is_alive(), f"the thread {thread.name} does not end"


async def in_time(work: Coroutine[Any, Any, T], *, within_s: float = ENDED_S) -> T:
    """Run a coroutine to its end. After `within_s` seconds of an idle machine, fail at the line where it waits."""
    async with asyncio.timeout(patiently(within_s)):
        return await work
