"""Looks for restricted accounts on the device of a player, at each login and each submission.

See docs/spec/sessions.md#shared-devices. The first login of an account is checked in `faces/bancho/login.py`, because a
match refuses it.
"""

import contextlib
import math
from collections import OrderedDict
from typing import Final

import msgspec

from kiai.accounts import HardwareMatch, Logins
from kiai.clock import Clock
from kiai.errors import Unavailable
from kiai.realtime.port import Realtime
from kiai.staff.onboarding import Onboarding, sanctioned

AGAIN_S: Final = 6 * 3_600.0
"""The time after which the same device, or the same matches, are recorded again."""
RETRY_S: Final = 60.0
"""The time after which matches are recorded again if an attempt has failed."""
REMEMBERED_S: Final = 600.0
"""The time for which a process remembers that a device was compared, so that it may be compared that much later."""
REMEMBERED_MAX: Final = 10_000
"""Keys that a process remembers. Beyond that the oldest is looked up again."""
KEYED_MAX: Final = 8  # restricted accounts on the same device whose change is recorded at once
WINE: Final = "runningunderwine"
PARTS: Final = 5


class ClientDevice(msgspec.Struct, frozen=True):
    """The hashes of a device, md5 in hex as the client sends them. `wine`: it runs under wine."""

    adapters: str
    uninstall: str
    disk: str
    wine: bool


def device_of(client_hashes: str) -> ClientDevice | None:
    """Return the device in the client hashes of a submission, or None if they do not have the form of the game."""
    parts = client_hashes.removesuffix(":").split(":")
    if len(parts) != PARTS:
        return None
    return ClientDevice(adapters=parts[2], uninstall=parts[3], disk=parts[4], wine=parts[1] == WINE)


class HardwareWatch:
    """Compares devices with those of other accounts, and records matches with restricted ones."""

    def __init__(self, logins: Logins, onboarding: Onboarding, realtime: Realtime, clock: Clock) -> None:
        self._logins = logins
        self._onboarding = onboarding
        self._realtime = realtime
        self._now = clock.monotonic
        # PERF: keys that are done, and until when that need not be looked up. It saves a call of shared state per play.
        self._done: OrderedDict[str, float] = OrderedDict()

    async def matches(self, user_id: int, device: ClientDevice) -> list[HardwareMatch]:
        """Return other accounts on the device, see `Logins.shared_with`."""
        return await self._logins.shared_with(user_id, **msgspec.structs.asdict(device))

    async def record(self, user_id: int, matches: list[HardwareMatch]) -> bool:
        """Record the restricted and banned accounts among the matches, the same ones at most once in 6 hours.

        Return False if another call that records the same ones has not finished, and may fail.
        """
        found = sanctioned(matches)
        others = ".".join(str(match.user_id) for match in found[:KEYED_MAX])
        key = f"hardware:{user_id}:{others}"
        if not found or await self._is_done(key):
            return True
        if not await self._realtime.once(key, RETRY_S):
            return False
        await self._onboarding.record_hardware_match(user_id, found)
        await self._set_done(key)
        return True

    async def check_submission(self, user_id: int, client_hashes: str) -> None:
        """Compare the device that has submitted a play, which can differ from that of the login.

        One device of a player is compared at most once in 6 hours. Raises nothing: the play is stored.
        """
        device = device_of(client_hashes)
        if device is None:
            return
        with contextlib.suppress(Unavailable):
            key = f"device:{user_id}:{device.adapters[:32]}:{device.uninstall[:32]}:{device.disk[:32]}"
            if not await self._is_done(key) and await self.record(user_id, await self.matches(user_id, device)):
                await self._set_done(key)

    # A key counts as done only after the work: after an outage or a killed process, the next play repeats the work.

    async def _is_done(self, key: str) -> bool:
        if self._done.get(key, -math.inf) > self._now():
            return True
        if not await self._realtime.stashed(key):
            return False
        self._remember(key)
        return True

    async def _set_done(self, key: str) -> None:
        await self._realtime.stash(key, "", b"1", AGAIN_S)
        self._remember(key)

    def _remember(self, key: str) -> None:
        self._done[key] = self._now() + REMEMBERED_S
        self._done.move_to_end(key)
        if len(self._done) > REMEMBERED_MAX:
            self._done.popitem(last=False)
