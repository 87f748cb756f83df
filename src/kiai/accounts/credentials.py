"""Checks of names and passwords from the network, with rate limits against guessing.

A password that was verified within the last hour costs nothing, because it needs no hash. Any other password consumes a
guess from three buckets before it is verified, and a right one gives it back. So guesses that arrive at the same time
are all counted. The login of the game and its web requests share these buckets.
"""

import asyncio
import time
from typing import Final, NoReturn

from kiai.accounts.model import User
from kiai.accounts.service import Accounts
from kiai.at_once import needs_task
from kiai.errors import KiaiError, Unavailable
from kiai.networks import is_loopback, network_of
from kiai.osu.names import safe_name
from kiai.realtime.rate_limiter import RateLimiter

ADDRESS_GUESSES_PER_MINUTE: Final = 30
NAME_GUESSES_PER_MINUTE: Final = 10  # for one name from one address
NAME_GUESSES_PER_HOUR: Final = 80  # for one name from everywhere
EMAIL_GUESSES_PER_HOUR: Final = 20  # for one e-mail address from everywhere
SLOWED_S: Final = 1.0
REFUSAL_DELAY_S: Final = 0.25
REFUSALS_PER_S: Final = 100
DELAYED_MAX: Final = 200
_NAME_MAX: Final = 64  # of the name in the key of a bucket: the client may send any length


class TooManyGuesses(KiaiError):
    """The address has sent too many wrong passwords. The next guess is allowed in `retry_s` seconds."""

    def __init__(self, retry_s: float) -> None:
        super().__init__(f"too many wrong passwords; the next is allowed in {retry_s:.0f} s")
        self.retry_s = retry_s


class Credentials:
    """Checks names and passwords for the faces. `limited` is False when the operator has disabled rate limits."""

    def __init__(self, accounts: Accounts, limiter: RateLimiter, *, limited: bool) -> None:
        self._accounts = accounts
        self._limiter = limiter
        self._limited = limited
        self._checking: dict[tuple[str, str, str], asyncio.Task[User]] = {}
        self._delayed = 0
        self._last_refusal_s = 0.0

    async def check(self, name: str, password_md5: str, address: str, *, typed: str | None = None) -> User:
        """Return the account with this name and password, also a restricted or banned one.

        `password_md5` is the md5 of the password as 32 hex digits. `typed` is what the player typed in place of the
        name: guesses count for it and not for the name, so that a refusal does not tell whether `typed` is of an
        account. Requests with the same values that arrive during a check share its result. Raises NotAuthenticated,
        TooManyGuesses, and Unavailable when too many passwords wait to be verified.
        """
        known = await self._accounts.remembered(name, password_md5)
        if known is not None:
            return known
        await needs_task()
        network, counted = network_of(address), safe_name(name if typed is None else typed)
        key = network, f"{safe_name(name)} {counted}", password_md5
        task = self._checking.get(key)
        if task is None:
            task = self._checking[key] = asyncio.create_task(self._guess(name, password_md5, network, counted))
            task.add_done_callback(lambda _: self._checking.pop(key, None))
        # A client that disconnects must not cancel the check that other requests wait for.
        return await asyncio.shield(task)

    async def recheck(self, name: str, password_md5: str) -> User | None:
        """Read the account again. Return None if the password that `check` has accepted is not valid any more."""
        return await self._accounts.remembered(name, password_md5)

    async def _guess(self, name: str, password_md5: str, network: str, counted: str) -> User:
        if not self._limited:
            return await self._accounts.authenticate(name, password_md5, caller=network)
        short = counted[:_NAME_MAX]
        buckets = [(f"guesses:{network}:{short}", NAME_GUESSES_PER_MINUTE, 60.0)]
        # Behind a proxy that sends no client address, all players have the address of the proxy.
        if not is_loopback(network):
            buckets.insert(0, (f"guesses:{network}", ADDRESS_GUESSES_PER_MINUTE, 60.0))
        consumed: list[tuple[str, int, float]] = []
        for bucket, limit, period_s in buckets:
            answer = await self._limiter.consume(bucket, limit=limit, period_s=period_s)
            if not answer.granted:
                await self._refund(consumed)
                await self.refuse(answer.reset_s)
            consumed.append((bucket, limit, period_s))
        # The limits of a name and of an e-mail address add up to that of an account. A bucket of the account would tell
        # which address it has: guesses of the name would slow down those of the address.
        if "@" in counted:  # no name contains @
            account = f"guesses-of-email:{short}", EMAIL_GUESSES_PER_HOUR, 3600.0
        else:
            account = f"guesses-of:{short}", NAME_GUESSES_PER_HOUR, 3600.0
        hour = await self._limiter.consume(account[0], limit=account[1], period_s=account[2])
        if hour.granted:
            consumed.append(account)
        else:
            # Delay the guess but do not reject it: otherwise any player could lock another one out by guessing.
            await asyncio.sleep(SLOWED_S)
        try:
            user = await self._accounts.authenticate(name, password_md5, caller=network)
        except Unavailable:  # nothing was verified, so the guess does not count
            await self._refund(consumed)
            raise
        await self._refund(consumed)
        return user

    async def refuse(self, retry_s: float) -> NoReturn:
        """Raise TooManyGuesses after a delay of at least `REFUSAL_DELAY_S`.

        At most `REFUSALS_PER_S` delayed refusals leave this process in a second. When `DELAYED_MAX` refusals are
        already delayed, the next one is immediate.
        """
        # An attacker sends the next guess when the answer arrives. The delay slows each connection down, and the
        # spacing prevents the guesses of many connections from arriving as one burst.
        if self._delayed < DELAYED_MAX:
            now_s = time.monotonic()
            self._last_refusal_s = max(now_s + REFUSAL_DELAY_S, self._last_refusal_s + 1 / REFUSALS_PER_S)
            self._delayed += 1
            try:
                await asyncio.sleep(self._last_refusal_s - now_s)
            finally:
                self._delayed -= 1
        raise TooManyGuesses(retry_s)

    async def _refund(self, consumed: list[tuple[str, int, float]]) -> None:
        for bucket, limit, period_s in consumed:
            await self._limiter.refund(bucket, limit=limit, period_s=period_s)
