"""Rate limits that also apply while the shared state does not answer.

Workers count together in the shared state. While it does not answer, each worker counts separately: read-only requests
are still served, and password guesses are still limited.
"""

from typing import Final

from kiai.clock import Clock
from kiai.realtime.buckets import TokenBuckets
from kiai.realtime.port import RateLimitResult, Realtime, StateUnavailable

LOCAL_BUCKETS_MAX: Final = 50_000


class RateLimiter:
    """Consumes units like `Realtime.consume`, but never raises StateUnavailable."""

    def __init__(self, realtime: Realtime, clock: Clock) -> None:
        self._realtime = realtime
        self._local = TokenBuckets(clock.monotonic, LOCAL_BUCKETS_MAX)

    @property
    def answers_at_once(self) -> bool:
        """Whether calls end without waiting."""
        return self._realtime.answers_at_once

    async def consume(
        self, bucket: str, *, limit: int, period_s: float, burst: int | None = None, cost: int = 1
    ) -> RateLimitResult:
        """Consume `cost` units of the bucket if it has them, else none; see `Realtime.consume`."""
        try:
            return await self._realtime.consume(bucket, limit=limit, period_s=period_s, burst=burst, cost=cost)
        except StateUnavailable:
            return self._local.consume(bucket, limit=limit, period_s=period_s, burst=burst, cost=cost)

    async def refund(self, bucket: str, *, limit: int, period_s: float, cost: int = 1) -> None:
        """Return `cost` units that were consumed by a request that turned out to be free."""
        # Both: the shared state may have stopped answering, or started to, since the units were consumed. A bucket
        # that did not pay is full or missing, and a refund does not exceed the capacity.
        self._local.refund(bucket, limit=limit, period_s=period_s, cost=cost)
        try:
            await self._realtime.refund(bucket, limit=limit, period_s=period_s, cost=cost)
        except StateUnavailable:
            return
