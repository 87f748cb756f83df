"""The time of a player's last activity, collected in memory and written to the accounts by a job.

The API shows the time as `last_seen` and `latest_activity`.
"""

from kiai.accounts.service import Accounts
from kiai.clock import Clock


class LastSeen:
    """The times that are not written yet, at most one for each account, in unix milliseconds."""

    def __init__(self, accounts: Accounts, clock: Clock) -> None:
        self._accounts = accounts
        self._clock = clock
        self._active: dict[int, int] = {}
        self._offline: dict[int, int] = {}

    def mark_active(self, user_id: int) -> None:
        """Record that the player is active now. The time is written within a minute."""
        self._active[user_id] = self._clock.now_ms()

    def mark_offline(self, user_id: int) -> None:
        """Record that the session of the player ends now. The time is written within a second."""
        # Sooner than activity: the API shows this time as soon as the player is offline.
        self._offline[user_id] = self._clock.now_ms()

    async def flush(self) -> None:
        """Write all times. A job calls this, and the shutdown of the server."""
        # Swap before the await: times recorded meanwhile belong to the next call.
        active, self._active = self._active, {}
        if active:
            await self._accounts.touch(active)
        await self.flush_offline()

    async def flush_offline(self) -> None:
        """Write the times of players who went offline. A job calls this."""
        offline, self._offline = self._offline, {}
        if offline:
            await self._accounts.touch(offline)
