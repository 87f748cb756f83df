"""Deadlines that follow the machine.

A deadline in a test says how long an idle machine of today needs, with room to spare. Here it grows with what else runs
on the machine and with how slow a core is, so that a test fails because kiai is wrong and not because the machine is
busy. A wait asks again while it lasts: load that begins later counts, too. `PATIENCE=3` multiplies every deadline.
"""

import os
import select
import time
from collections.abc import Callable
from typing import Final

ASKED_EVERY_S: Final = 1.0
SLOWEST: Final = 30.0
"""Beyond this factor a machine counts as stuck, so that a hanging test still ends."""
SPIN: Final = 20_000
SPIN_IDLE_S: Final = 0.0016
"""What `SPIN` rounds take on an idle core of 2023; a faster core does not shorten deadlines."""
LONGEST_PAUSE_S: Final = 0.1


class _Machine:
    """How slow this machine is, measured at most once a second."""

    def __init__(self) -> None:
        self._asked_at = float("-inf")
        self._factor = 1.0

    def slowness(self) -> float:
        """How many times longer than on an idle machine work takes now: from 1 to SLOWEST."""
        now = time.monotonic()
        if now - self._asked_at >= ASKED_EVERY_S:
            self._asked_at = now
            self._factor = min(SLOWEST, max(1.0, _crowd()) * max(1.0, _spin_s() / SPIN_IDLE_S))
        return self._factor


def _crowd() -> float:
    """How many processes want each core: of the last minute or at this moment, whichever is more."""
    cores = os.cpu_count() or 1
    wanting = os.getloadavg()[0]
    try:
        with open("/proc/loadavg", encoding="ascii") as file:
            wanting = max(wanting, float(file.read().split()[3].partition("/")[0]))
    except (OSError, ValueError, IndexError):
        pass  # not Linux: the average alone
    return wanting / cores


def _spin_s() -> float:
    """How long a fixed piece of work keeps a core busy. Time spent waiting for the core is `_crowd`'s."""
    began = time.thread_time()
    total = 0
    for number in range(SPIN):
        total += number
    return time.thread_time() - began


_machine: Final = _Machine()


def patiently(seconds: float) -> float:
    """So many seconds of an idle machine, on this machine now."""
    return seconds * _machine.slowness() * float(os.environ.get("PATIENCE", "1"))


class Deadline:
    """A point in time that moves away while the machine is slow. `seconds` are those of an idle machine."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._began = time.monotonic()

    @property
    def waited_s(self) -> float:
        """How long ago it was set."""
        return time.monotonic() - self._began

    def passed(self) -> bool:
        """Whether it is over."""
        return self.waited_s >= patiently(self.seconds)

    def left_s(self) -> float:
        """How long until it is over, as things are now."""
        return max(0.0, patiently(self.seconds) - self.waited_s)


def wait_until(holds: Callable[[], object], *, within_s: float, what: Callable[[], str] | str = "") -> None:
    """Waits until `holds()`; fails with `what` when an idle machine would have had `within_s` seconds."""
    deadline = Deadline(within_s)
    pause_s = 0.005
    while not holds():
        if deadline.passed():
            told = what if isinstance(what, str) else what()
            raise AssertionError(f"not within {deadline.waited_s:.1f} s ({within_s:g} s of an idle machine) {told}")
        select.select([], [], [], pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
