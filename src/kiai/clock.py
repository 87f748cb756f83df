"""Time as a thing one is given: the wall clock for what is stored and shown, the monotonic clock for waiting.

Time-outs, periods and rate limits use `monotonic`, so that a jump of the wall clock is harmless.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """What tells the time."""

    def now_ms(self) -> int:
        """Unix time, ms."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back, not even when the wall clock is set."""
        ...


class SystemClock:
    """The machine's own clocks."""

    # PERF: the function itself, not a method around it: rate limits ask on every request.
    monotonic = staticmethod(time.monotonic)

    def now_ms(self) -> int:
        """Unix time, ms."""
        return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now_ms: int = 1_700_000_000_000, monotonic: float = 1_000.0) -> None:
        self._now_ms = float(now_ms)
        self._monotonic = monotonic

    def now_ms(self) -> int:
        """Unix time, ms."""
        return round(self._now_ms)

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Lets time pass on both clocks."""
        assert seconds >= 0, "time does not go back; a wall clock that is set does: set_now_ms"
        self._now_ms += seconds * 1000
        self._monotonic += seconds

    def set_now_ms(self, now_ms: int) -> None:
        """Sets the wall clock alone, forwards or back, as an operator or NTP does."""
        self._now_ms = float(now_ms)
