"""Friends and blocks that change outside the game: the player's sessions in the game follow at once."""

from typing import Final

from kiai.accounts import Relationships
from kiai.accounts.model import Relation
from kiai.own_account.acts import own_change
from kiai.presence import Presence

ACTION: Final = "relation"


class Friendships:
    """The friends and blocked players of an account."""

    def __init__(self, relationships: Relationships, presence: Presence) -> None:
        self._relationships = relationships
        self._presence = presence

    async def friends(self, user_id: int) -> list[Relation]:
        """Return the visible friends, ordered by name."""
        return await self._relationships.friends_listed(user_id)

    async def blocks(self, user_id: int) -> list[Relation]:
        """Return the visible blocked players, ordered by name."""
        return await self._relationships.blocks_listed(user_id)

    async def befriend(self, user_id: int, target_id: int) -> None:
        """Add a friend and remove a block. Raises NotFound, and Refused for oneself and at the limit."""
        await self._relationships.befriend(user_id, target_id, own_change(user_id, ACTION))
        await self._update_sessions(user_id)

    async def block(self, user_id: int, target_id: int) -> None:
        """Block a player and end the friendship. Raises NotFound, and Refused for oneself, the bot, at the limit."""
        await self._relationships.block(user_id, target_id, own_change(user_id, ACTION))
        await self._update_sessions(user_id)

    async def remove_friend(self, user_id: int, target_id: int) -> None:
        """Remove a friendship, if there is one. A block stays."""
        await self._relationships.remove_friend(user_id, target_id, own_change(user_id, ACTION))
        await self._update_sessions(user_id)

    async def unblock(self, user_id: int, target_id: int) -> None:
        """Remove a block, if there is one. A friendship stays."""
        await self._relationships.unblock(user_id, target_id, own_change(user_id, ACTION))
        await self._update_sessions(user_id)

    async def forget(self, user_id: int, target_id: int) -> None:
        """Remove a friendship or block, if there is one."""
        await self._relationships.forget(user_id, target_id, own_change(user_id, ACTION))
        await self._update_sessions(user_id)

    async def _update_sessions(self, user_id: int) -> None:
        friends, blocked = await self._relationships.relations_of(user_id)
        await self._presence.set_relations(user_id, friends, blocked)
