"""Token buckets in the process: the rate limits of an embedded server, and of a worker whose shared state is away.

A bucket is one float: the moment at which it will be full again if nobody takes more. What it holds now follows from
that. A full bucket is the same as a missing one, so full buckets are dropped while new ones come.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from kiai.networks import network_of
from kiai.realtime.port import BUCKETS_MAX, Allowance

GRAIN: Final = 0.001  # the share of a unit that a bucket may lack, because seconds are binary fractions
FAILING_CALLERS_MAX: Final = 10_000
SWEPT_AT_ONCE: Final = 2  # more than one leaves for each that comes, so the table shrinks, and no caller pays for many


class TokenBuckets:
    """Up to `most` buckets; past that, the one longest unused is forgotten and is thereby full."""

    def __init__(self, monotonic: Callable[[], float], most: int = BUCKETS_MAX) -> None:
        self._monotonic = monotonic
        self._most = most
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, bucket: str, *, limit: int, period_s: float, burst: int | None = None, cost: int = 1) -> Allowance:
        """Takes `cost` units if the bucket holds them, else nothing; see `Realtime.take`."""
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
        granted = left > -GRAIN
        if granted:
            full_at += cost * unit_s
        table[bucket] = full_at
        table.move_to_end(bucket)
        if granted:
            return Allowance(True, limit, int(left + GRAIN), full_at - now)
        return Allowance(False, limit, int(left + cost + GRAIN), -left * unit_s)

    def refund(self, bucket: str, *, limit: int, period_s: float, cost: int = 1) -> None:
        """Puts `cost` units back, up to what the bucket can hold; see `Realtime.refund`."""
        full_at = self._full_at.get(bucket)
        if full_at is not None:
            self._full_at[bucket] = max(full_at - cost * period_s / limit, self._monotonic())

    def _drop(self, now: float) -> None:
        table = self._full_at
        for _ in range(SWEPT_AT_ONCE):
            if table:
                oldest = next(iter(table))
                if table[oldest] <= now or len(table) >= self._most:
                    del table[oldest]


class FailureLimit:
    """How many failures one caller may cause before it is refused without being looked at: `limit` in `period_s`.

    For failures that cost work but give an attacker nothing, such as wrong API keys. Each process counts by itself.
    A caller is an address and counts as its network (`networks.network_of`).
    """

    def __init__(self, monotonic: Callable[[], float], *, limit: int, period_s: float) -> None:
        self.limit = limit
        self.period_s = period_s
        self._buckets = TokenBuckets(monotonic, FAILING_CALLERS_MAX)

    def retry_s(self, address: str) -> float:
        """Seconds until the address is looked at again; 0 while it is below the limit."""
        if not len(self._buckets):  # PERF: usually nobody fails
            return 0.0
        left = self._buckets.take(network_of(address), limit=self.limit, period_s=self.period_s, cost=0)
        return 0.0 if left.remaining else self.period_s / self.limit

    def count(self, address: str) -> None:
        """Counts one failure."""
        self._buckets.take(network_of(address), limit=self.limit, period_s=self.period_s)
