"""Friends and blocks (docs/spec/game-rules.md#friends-and-blocks). A player is either a friend or blocked, not both."""

from typing import Final

from kiai.accounts import queries
from kiai.accounts.changes import Record, no_record
from kiai.accounts.model import BOT_ID, Friend, Relation
from kiai.clock import Clock
from kiai.errors import NotFound, Refused
from kiai.storage.port import Database, Transaction

BLOCKS_MAX: Final = 100
_WORDS: Final = {queries.FRIEND: "friend", queries.BLOCK: "blocked"}


class Relationships:
    """The friends and blocked players of accounts.

    They are private to the account. A friend is *mutual* when both accounts have added each other.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def friends_of(self, user_id: int) -> list[Friend]:
        """Return the account's visible friends, ordered by name."""
        return await self._database.all(queries.FRIENDS_OF, user_id=user_id)

    async def friends_listed(self, user_id: int) -> list[Relation]:
        """Return the account's visible friends for its own page, ordered by name."""
        return await self._database.all(queries.RELATIONS_LISTED, user_id=user_id, kind=queries.FRIEND)

    async def blocks_listed(self, user_id: int) -> list[Relation]:
        """Return the visible players that the account has blocked, ordered by name."""
        return await self._database.all(queries.RELATIONS_LISTED, user_id=user_id, kind=queries.BLOCK)

    async def relations_of(self, user_id: int) -> tuple[frozenset[int], frozenset[int]]:
        """Return the ids of the account's friends and of the players it has blocked, including hidden players."""
        rows = await self._database.all(queries.RELATIONS_OF, user_id=user_id)
        return (
            frozenset(target_id for target_id, kind in rows if kind == queries.FRIEND),
            frozenset(target_id for target_id, kind in rows if kind == queries.BLOCK),
        )

    async def is_friend(self, user_id: int, target_id: int) -> bool:
        """Return whether `target_id` is a friend of `user_id`."""
        return await self._database.one(queries.RELATION, user_id=user_id, target_id=target_id) == queries.FRIEND

    async def has_blocked(self, user_id: int, target_id: int) -> bool:
        """Return whether `user_id` has blocked `target_id`."""
        return await self._database.one(queries.RELATION, user_id=user_id, target_id=target_id) == queries.BLOCK

    async def followers(self, user_id: int) -> int:
        """Return the number of visible players who have added `user_id` as a friend, counted up to 10,000."""
        return await self._database.one(queries.FOLLOWERS, user_id=user_id) or 0

    async def befriend(self, user_id: int, target_id: int, record: Record = no_record) -> None:
        """Add `target_id` as a friend and remove a block. Raises NotFound, and Refused for oneself and at the limit."""
        await self._relate(user_id, target_id, queries.FRIEND, queries.FRIENDS_MAX, record)

    async def block(self, user_id: int, target_id: int, record: Record = no_record) -> None:
        """Block `target_id` and end a friendship.

        Raises NotFound, and Refused for oneself, for the bot and at the limit.
        """
        if target_id == BOT_ID:
            raise Refused("the bot cannot be blocked")
        await self._relate(user_id, target_id, queries.BLOCK, BLOCKS_MAX, record)

    async def remove_friend(self, user_id: int, target_id: int, record: Record = no_record) -> None:
        """Remove a friendship, if there is one. A block stays."""
        await self._remove(user_id, target_id, (queries.FRIEND,), record)

    async def unblock(self, user_id: int, target_id: int, record: Record = no_record) -> None:
        """Remove a block, if there is one. A friendship stays."""
        await self._remove(user_id, target_id, (queries.BLOCK,), record)

    async def forget(self, user_id: int, target_id: int, record: Record = no_record) -> None:
        """Remove a friendship or block, if there is one."""
        await self._remove(user_id, target_id, (queries.FRIEND, queries.BLOCK), record)

    async def _remove(self, user_id: int, target_id: int, kinds: tuple[int, ...], record: Record) -> None:
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await tx.one(queries.PRIV_TO_CHANGE, user_id=user_id)  # locked: a form sent twice at once is one change
            before = await tx.one(queries.RELATION, user_id=user_id, target_id=target_id)
            if before in kinds:
                await tx.run(queries.DROP_RELATIONSHIP, user_id=user_id, target_id=target_id)
                await record(tx, now, _relation(target_id, before), _relation(target_id, None))

        await self._database.transaction(body)

    async def _relate(self, user_id: int, target_id: int, kind: int, limit: int, record: Record) -> None:
        if user_id == target_id:
            raise Refused("you can't do that to yourself")
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            if await tx.one(queries.USER_BY_ID, id=target_id) is None:
                raise NotFound("player")
            # Locked: a form that is sent twice at once stores one row, and others do not pass the limit together.
            await tx.one(queries.PRIV_TO_CHANGE, user_id=user_id)
            before = await tx.one(queries.RELATION, user_id=user_id, target_id=target_id)
            # Before the count: adding an existing friend again must not fail at the limit.
            await tx.run(queries.DROP_RELATIONSHIP, user_id=user_id, target_id=target_id)
            if (await tx.one(queries.FRIEND_COUNT, user_id=user_id, kind=kind) or 0) >= limit:
                raise Refused(f"at most {limit} are allowed")
            await tx.run(queries.ADD_RELATIONSHIP, user_id=user_id, target_id=target_id, kind=kind, added_at_ms=now)
            if before != kind:
                await record(tx, now, _relation(target_id, before), _relation(target_id, kind))

        await self._database.transaction(body)


def _relation(target_id: int, kind: int | None) -> dict[str, object]:
    """Return a relation as the values of a record."""
    return {"player": target_id, "relation": None if kind is None else _WORDS[kind]}
