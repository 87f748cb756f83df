"""What a log-in of an account decides: the first one verifies it, and one with a place may give it its country."""

from collections.abc import Sequence

from kiai.accounts import Accounts, HardwareMatch
from kiai.clock import Clock
from kiai.scores.standing import Standing
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.storage.port import Database, Transaction

SYSTEM = Actor(user_id=0, source="game")


class Joining:
    """Verifying accounts, and what the staff should know about their devices."""

    def __init__(self, database: Database, accounts: Accounts, standing: Standing, clock: Clock) -> None:
        self._database = database
        self._accounts = accounts
        self._standing = standing
        self._clock = clock

    async def first_login(self, user_id: int) -> int:
        """Verifies the account; its privileges then.

        See docs/spec/game-rules.md#privileges.
        """

        async def body(tx: Transaction) -> int:
            return await self._accounts.verify(tx, user_id)

        return await self._database.transaction(body)

    async def settle_country(self, user_id: int, country: str) -> None:
        """An account that has no country yet gets this one, for good; its ranks move with it.

        See docs/spec/game-rules.md#names.
        """

        async def body(tx: Transaction) -> None:
            if await self._accounts.settle_country(tx, user_id, country):
                await self._standing.moved(tx, user_id, country)

        await self._database.transaction(body)

    async def note_hardware(self, user_id: int, matches: Sequence[HardwareMatch]) -> None:
        """Leaves a note for the staff: other accounts that were played on the same device. Never which hashes."""
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

        await self._database.transaction(body)
