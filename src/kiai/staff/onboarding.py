"""Changes to an account at login: verification, the first country, and notes about shared devices."""

import hashlib
from collections.abc import Sequence
from typing import Final

from kiai.accounts import Accounts, HardwareMatch
from kiai.clock import Clock
from kiai.osu.privileges import UNRESTRICTED
from kiai.scores.flags import Flags, Suspicion
from kiai.scores.visibility_changes import Standing
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.storage.port import Database, Transaction

SYSTEM = Actor(user_id=0, source="game")
FLAG: Final = "restricted_hardware"


class Onboarding:
    """Verifies accounts, sets their first country and notes shared devices."""

    def __init__(self, database: Database, accounts: Accounts, standing: Standing, flags: Flags, clock: Clock) -> None:
        self._database = database
        self._accounts = accounts
        self._standing = standing
        self._flags = flags
        self._clock = clock

    async def verify(self, user_id: int) -> int:
        """Verify the account and return its new privileges (docs/spec/game-rules.md#privileges)."""

        async def body(tx: Transaction) -> int:
            return await self._accounts.verify(tx, user_id)

        return await self._database.transaction(body)

    async def set_friends_only_dms(self, user_id: int, on: bool) -> None:
        """Store the game's setting, whether only friends may send private messages."""
        await self._accounts.set_friends_only_dms(user_id, on)

    async def set_first_country(self, user_id: int, country: str) -> None:
        """Set the country of an account that has none, permanently, and move its ranks.

        See docs/spec/game-rules.md#names.
        """

        async def body(tx: Transaction) -> None:
            # False if another login has set a country in the meantime; then the ranks have moved already.
            if await self._accounts.set_first_country(tx, user_id, country):
                await self._standing.on_country_change(tx, user_id, country)

        await self._database.transaction(body)

    async def record_hardware_match(self, user_id: int, matches: Sequence[HardwareMatch]) -> None:
        """Write an audit row about restricted accounts on the same device, and raise one flag for each of them.

        Without a restricted or banned account among the matches, nothing happens.
        """
        matches = sanctioned(matches)
        if not matches:
            return
        # The details name the kinds of the matching hashes, not the hashes, which identify a device.
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await audit.write(
                tx,
                SYSTEM,
                "hardware_match",
                at_ms=now,
                target_kind="user",
                target_id=user_id,
                details={"accounts": {str(match.user_id): list(match.kinds) for match in matches}},
            )

            for match in matches:
                # In place of the checksum of a play: a pair of accounts is flagged once, also after the flag is closed.
                pair = hashlib.blake2b(f"hardware:{user_id}:{match.user_id}".encode(), digest_size=16).digest()
                details = f"{', '.join(match.kinds)} as {match.name} (#{match.user_id}), who is restricted"
                await self._flags.add_within(tx, user_id, [Suspicion(FLAG, details)], pair)

        await self._database.transaction(body)


def sanctioned(matches: Sequence[HardwareMatch]) -> list[HardwareMatch]:
    """Return the matches that are restricted or banned."""
    return [match for match in matches if not match.priv & UNRESTRICTED or match.banned]
