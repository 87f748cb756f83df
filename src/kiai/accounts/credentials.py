"""Names and passwords as they arrive from the network: each check of a password is a guess with a price.

A right password that was verified within the last hour costs nothing, because no hash is computed for it. Any other
password takes a guess from three buckets before it is verified, and gives it back when it was right. Guesses that
arrive together are therefore counted together. The game's log-in and its web requests share these buckets.
"""

import asyncio
from typing import Final

from kiai.accounts.model import User
from kiai.accounts.service import Accounts
from kiai.errors import KiaiError, Unavailable
from kiai.networks import is_loopback, network_of
from kiai.osu.names import safe_name
from kiai.realtime.rate_limiter import RateLimiter

ADDRESS_GUESSES_PER_MINUTE: Final = 30
NAME_GUESSES_PER_MINUTE: Final = 10  # for one name from one address
ACCOUNT_GUESSES_PER_HOUR: Final = 100  # for one name from everywhere
SLOWED_S: Final = 1.0
_NAME_MAX: Final = 64


class TooManyGuesses(KiaiError):
    """The address has guessed too many passwords; `retry_s` seconds until the next guess is allowed."""

    def __init__(self, retry_s: float) -> None:
        super().__init__(f"too many wrong passwords; the next is allowed in {retry_s:.0f} s")
        self.retry_s = retry_s


class Credentials:
    """Checks names and passwords for the faces. `limited` is False when the operator switched rate limits off."""

    def __init__(self, accounts: Accounts, limiter: RateLimiter, *, limited: bool) -> None:
        self._accounts = accounts
        self._limiter = limiter
        self._limited = limited
        self._checking: dict[tuple[str, str, str], asyncio.Task[User]] = {}

    async def check(self, name: str, password_md5: str, address: str) -> User:
        """The account with this name and password, restricted and banned ones too.

        `password_md5` is what the game sends: the md5 of the password as 32 hex digits. Equal requests that arrive
        while one is being checked share its result. Raises NotAuthenticated, TooManyGuesses, and Unavailable when too
        many passwords wait to be verified.
        """
        known = await self._accounts.remembered(name, password_md5)
        if known is not None:
            return known
        network = network_of(address)
        key = network, safe_name(name), password_md5
        task = self._checking.get(key)
        if task is None:
            task = self._checking[key] = asyncio.create_task(self._guess(name, password_md5, network))
            task.add_done_callback(lambda _: self._checking.pop(key, None))
        # A client that disconnects must not cancel the check that other requests wait for.
        return await asyncio.shield(task)

    async def _guess(self, name: str, password_md5: str, network: str) -> User:
        if not self._limited:
            return await self._accounts.authenticate(name, password_md5, caller=network)
        short = safe_name(name)[:_NAME_MAX]
        buckets = [(f"guesses:{network}:{short}", NAME_GUESSES_PER_MINUTE, 60.0)]
        if not is_loopback(network):
            buckets.insert(0, (f"guesses:{network}", ADDRESS_GUESSES_PER_MINUTE, 60.0))
        taken: list[tuple[str, int, float]] = []
        for bucket, limit, period_s in buckets:
            answer = await self._limiter.take(bucket, limit=limit, period_s=period_s)
            if not answer.granted:
                await self._give_back(taken)
                raise TooManyGuesses(answer.reset_s)
            taken.append((bucket, limit, period_s))
        account = f"guesses-of:{short}", ACCOUNT_GUESSES_PER_HOUR, 3600.0
        hour = await self._limiter.take(account[0], limit=account[1], period_s=account[2])
        if hour.granted:
            taken.append(account)
        else:
            # Slower, never locked: otherwise anybody could lock a player out by guessing.
            await asyncio.sleep(SLOWED_S)
        try:
            user = await self._accounts.authenticate(name, password_md5, caller=network)
        except Unavailable:  # nothing was verified: a busy server must not use up the guesses of honest players
            await self._give_back(taken)
            raise
        await self._give_back(taken)
        return user

    async def _give_back(self, taken: list[tuple[str, int, float]]) -> None:
        for bucket, limit, period_s in taken:
            await self._limiter.refund(bucket, limit=limit, period_s=period_s)
