"""Rate limits of acts of players in clans."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kiai.clans.model import ACTS_BURST, ACTS_PER_MINUTE, WRONG_CODES_PER_HOUR
from kiai.clans.recording import AsStaff
from kiai.errors import KiaiError, LacksRole, TooOften
from kiai.realtime.rate_limiter import RateLimiter


class ActLimits:
    """Counts acts and guesses of codes. Without a limiter nothing is counted."""

    def __init__(self, limiter: RateLimiter | None) -> None:
        self._limiter = limiter

    @asynccontextmanager
    async def counted(self, by: int, as_staff: AsStaff | None = None) -> AsyncIterator[None]:
        """Count an act of a player that others learn of, unless the body fails. Raises TooOften."""
        if self._limiter is None or as_staff is not None:
            yield
            return
        taken = await self._limiter.consume(f"clan-acts:{by}", limit=ACTS_PER_MINUTE, period_s=60.0, burst=ACTS_BURST)
        if not taken.granted:
            raise TooOften("you do too much in clans: try again in a minute", taken.reset_s)
        try:
            yield
        except KiaiError:
            await self._limiter.refund(f"clan-acts:{by}", limit=ACTS_PER_MINUTE, period_s=60.0)
            raise

    @asynccontextmanager
    async def guess(self, user_id: int) -> AsyncIterator[None]:
        """Count a guess of a code, and do not count it after all unless the body raises LacksRole. Raises LacksRole."""
        if self._limiter is None:
            yield
            return
        # Consumed before the code is checked, so that guesses that arrive at the same time are all counted.
        taken = await self._limiter.consume(f"clan-codes:{user_id}", limit=WRONG_CODES_PER_HOUR, period_s=3_600.0)
        if not taken.granted:
            raise LacksRole("too many wrong codes: try again in an hour")
        try:
            yield
        except LacksRole:
            raise
        except KiaiError:  # e.g. the server is busy
            await self._refund_guess(user_id)
            raise
        await self._refund_guess(user_id)

    async def _refund_guess(self, user_id: int) -> None:
        if self._limiter is not None:
            await self._limiter.refund(f"clan-codes:{user_id}", limit=WRONG_CODES_PER_HOUR, period_s=3_600.0)
