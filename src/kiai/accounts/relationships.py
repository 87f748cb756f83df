"""Friends and blocks: one table, one kind a pair (docs/spec/game-rules.md#friends-and-blocks)."""

from typing import Final

from kiai.accounts import queries
from kiai.accounts.model import BOT_ID, Friend
from kiai.clock import Clock
from kiai.errors import NotFound, Refused
from kiai.storage.port import Database, Transaction

BLOCKS_MAX: Final = 100


class Relationships:
    """Who is whose friend, and who has blocked whom. Private to the account; *mutual* is derived."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def friends_of(self, user_id: int) -> list[Friend]:
        """The account's friends by name; hidden players are left out, their row stays."""
        return await self._database.all(queries.FRIENDS_OF, user_id=user_id)

    async def relations_of(self, user_id: int) -> tuple[frozenset[int], frozenset[int]]:
        """The ids of the account's friends and of those it has blocked, hidden players among them."""
        rows = await self._database.all(queries.RELATIONS_OF, user_id=user_id)
        return (
            frozenset(target_id for target_id, kind in rows if kind == queries.FRIEND),
            frozenset(target_id for target_id, kind in rows if kind == queries.BLOCK),
        )

    async def is_friend(self, user_id: int, target_id: int) -> bool:
        """Whether `user_id` counts `target_id` among its friends."""
        return await self._database.one(queries.RELATION, user_id=user_id, target_id=target_id) == queries.FRIEND

    async def has_blocked(self, user_id: int, target_id: int) -> bool:
        """Whether `user_id` has blocked `target_id`."""
        return await self._database.one(queries.RELATION, user_id=user_id, target_id=target_id) == queries.BLOCK

    async def befriend(self, user_id: int, target_id: int) -> None:
        """Makes `target_id` a friend; a block of them ends. Raises NotFound, Refused at oneself or past the limit."""
        await self._relate(user_id, target_id, queries.FRIEND, queries.FRIENDS_MAX)

    async def block(self, user_id: int, target_id: int) -> None:
        """Blocks `target_id`; a friendship ends. Raises NotFound, Refused at oneself, the bot or past the limit."""
        if target_id == BOT_ID:
            raise Refused("the bot cannot be blocked")
        await self._relate(user_id, target_id, queries.BLOCK, BLOCKS_MAX)

    async def forget(self, user_id: int, target_id: int) -> None:
        """Ends a friendship or block; fine when there is none."""

        async def body(tx: Transaction) -> None:
            await tx.run(queries.DROP_RELATIONSHIP, user_id=user_id, target_id=target_id)

        await self._database.transaction(body)

    async def _relate(self, user_id: int, target_id: int, kind: int, most: int) -> None:
        if user_id == target_id:
            raise Refused("nobody can be their own friend or enemy")
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            if await tx.one(queries.USER_BY_ID, id=target_id) is None:
                raise NotFound("player")
            await tx.run(queries.DROP_RELATIONSHIP, user_id=user_id, target_id=target_id)
            if (await tx.one(queries.FRIEND_COUNT, user_id=user_id, kind=kind) or 0) >= most:
                raise Refused(f"at most {most} are allowed")
            await tx.run(queries.ADD_RELATIONSHIP, user_id=user_id, target_id=target_id, kind=kind, added_at_ms=now)

        await self._database.transaction(body)
