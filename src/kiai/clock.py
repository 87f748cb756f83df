"""Clocks, passed in by the caller: the wall clock for stored times, the monotonic clock for durations.

Timeouts, periods and rate limits use `monotonic`, so that a change of the wall clock does not affect them.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """A source of time."""

    def now_ms(self) -> int:
        """Return unix time in milliseconds."""
        ...

    def monotonic(self) -> float:
        """Return the seconds since a fixed moment. Never decreases, even when the wall clock is set back."""
        ...


class SystemClock:
    """The clocks of the operating system."""

    # PERF: The function itself, not a method that calls it: rate limits read the clock on each request.
    monotonic = staticmethod(time.monotonic)

    def now_ms(self) -> int:
        """Return unix time in milliseconds."""
        return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that moves only when a test moves it."""

    def __init__(self, now_ms: int = 1_700_000_000_000, monotonic: float = 1_000.0) -> None:
        self._now_ms = float(now_ms)
        self._monotonic = monotonic

    def now_ms(self) -> int:
        """Return unix time in milliseconds."""
        # A float inside: many steps of less than a millisecond must add up.
        return round(self._now_ms)

    def monotonic(self) -> float:
        """Return the seconds since a fixed moment."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Move both clocks forward."""
        assert seconds >= 0, "monotonic time never decreases; use set_now_ms to set back the wall clock"
        self._now_ms += seconds * 1000
        self._monotonic += seconds

    def set_now_ms(self, now_ms: int) -> None:
        """Set only the wall clock, forward or back, as an operator or NTP does."""
        self._now_ms = float(now_ms)
