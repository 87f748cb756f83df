"""Token buckets in the process, for an embedded server and for a worker whose shared state does not answer.

A bucket is one float: the time at which it will be full again if nothing more is consumed. Its present content follows
from that time. A full bucket equals a missing one, so full buckets are dropped as new ones are added.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from kiai.networks import network_of
from kiai.realtime.port import BUCKETS_MAX, RateLimitResult

# The fraction of a unit that a bucket may lack. Times are binary fractions: without slack, a caller who waits exactly
# `reset_s` could be refused again. consume.lua has the same value.
ROUNDING_SLACK: Final = 0.001
FAILING_CALLERS_MAX: Final = 10_000
# Two removals for each addition let the table shrink, and the cost per call stays constant.
SWEPT_AT_ONCE: Final = 2


class TokenBuckets:
    """Up to `most` buckets. Beyond that, the one unused for the longest time is dropped, which makes it full."""

    def __init__(self, monotonic: Callable[[], float], most: int = BUCKETS_MAX) -> None:
        self._monotonic = monotonic
        self._most = most
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def consume(
        self, bucket: str, *, limit: int, period_s: float, burst: int | None = None, cost: int = 1
    ) -> RateLimitResult:
        """Consume `cost` units if the bucket has them, else none; see `Realtime.consume`."""
        # PERF: runs on every request of the API.
        capacity = limit if burst is None else burst
        assert 0 <= cost <= capacity
        table = self._full_at
        now = self._monotonic()
        full_at = table.get(bucket)
        if full_at is None:
            self._drop(now)
            full_at = now
        elif full_at < now:
            full_at = now
        unit_s = period_s / limit
        left = capacity - (full_at - now) / unit_s - cost
        granted = left > -ROUNDING_SLACK
        if granted:
            full_at += cost * unit_s
        table[bucket] = full_at
        table.move_to_end(bucket)  # also after a refusal: dropping the bucket of a busy attacker would refill it
        if granted:
            return RateLimitResult(True, limit, int(left + ROUNDING_SLACK), full_at - now)
        return RateLimitResult(False, limit, int(left + cost + ROUNDING_SLACK), -left * unit_s)

    def refund(self, bucket: str, *, limit: int, period_s: float, cost: int = 1) -> None:
        """Return `cost` units, up to the bucket's capacity; see `Realtime.refund`."""
        full_at = self._full_at.get(bucket)
        if full_at is not None:  # a missing bucket is full
            self._full_at[bucket] = max(full_at - cost * period_s / limit, self._monotonic())

    def _drop(self, now: float) -> None:
        table = self._full_at
        for _ in range(SWEPT_AT_ONCE):
            if table:
                oldest = next(iter(table))
                if table[oldest] <= now or len(table) >= self._most:
                    del table[oldest]


class FailureLimit:
    """Refuses the requests of a caller, unread, after `limit` failures in `period_s` seconds.

    For failures that cost work but give an attacker nothing, such as wrong API keys. Each process counts separately.
    An address counts as its network (`networks.network_of`).
    """

    def __init__(self, monotonic: Callable[[], float], *, limit: int, period_s: float) -> None:
        self.limit = limit
        self.period_s = period_s
        self._buckets = TokenBuckets(monotonic, FAILING_CALLERS_MAX)

    def retry_s(self, address: str) -> float:
        """Return the seconds until requests of the address are read again; 0 below the limit."""
        if not len(self._buckets):  # PERF: usually there is no failure, and parsing the address takes longer than this
            return 0.0
        result = self._buckets.consume(network_of(address), limit=self.limit, period_s=self.period_s, cost=0)
        return 0.0 if result.remaining else self.period_s / self.limit

    def count(self, address: str) -> None:
        """Count one failure of the address."""
        self._buckets.consume(network_of(address), limit=self.limit, period_s=self.period_s)
