"""Rate limits that hold while the shared state is away.

Workers count together in the realtime state. While that does not answer, each worker counts by itself: what only reads
goes on, and a guess at a password still has its price.
"""

from typing import Final

from kiai.clock import Clock
from kiai.realtime.buckets import TokenBuckets
from kiai.realtime.port import Allowance, Realtime, StateUnavailable

LOCAL_BUCKETS_MAX: Final = 50_000


class RateLimiter:
    """Takes units from buckets as `Realtime.take` does, and never raises StateUnavailable."""

    def __init__(self, realtime: Realtime, clock: Clock) -> None:
        self._realtime = realtime
        self._local = TokenBuckets(clock.monotonic, LOCAL_BUCKETS_MAX)

    async def take(
        self, bucket: str, *, limit: int, period_s: float, burst: int | None = None, cost: int = 1
    ) -> Allowance:
        """Takes `cost` units from the bucket if it holds them, else nothing; see `Realtime.take`."""
        try:
            return await self._realtime.take(bucket, limit=limit, period_s=period_s, burst=burst, cost=cost)
        except StateUnavailable:
            return self._local.take(bucket, limit=limit, period_s=period_s, burst=burst, cost=cost)

    async def refund(self, bucket: str, *, limit: int, period_s: float, cost: int = 1) -> None:
        """Puts `cost` units back that were taken from the bucket for something that turned out to be free."""
        self._local.refund(bucket, limit=limit, period_s=period_s, cost=cost)
        try:
            await self._realtime.refund(bucket, limit=limit, period_s=period_s, cost=cost)
        except StateUnavailable:
            return
