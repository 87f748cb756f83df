"""Deletion of an account by staff: at once, without the time in which a player can change their mind."""

from kiai.accounts import User
from kiai.errors import NotFound
from kiai.own_account.deletion import Deletion
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement, Who


class DeletionByStaff:
    """Deletes accounts for staff."""

    def __init__(self, authority: Authority, deletion: Deletion) -> None:
        self._authority = authority
        self._deletion = deletion

    async def check(self, actor: Actor, who: Who) -> User:
        """Return the account that `delete` would delete. Raises what `delete` raises for the actor and the target."""
        return (await self._check(actor, who))[0]

    async def delete(self, actor: Actor, who: Who) -> int:
        """Anonymise an account and return its id. Its old name is free afterwards.

        Raises NotAllowed, NotFound, and Refused by the target rule and for the last developer.
        """
        _, required = await self._check(actor, who)

        async def act() -> bool:
            return await self._deletion.execute_for(
                actor, required.target_id, check=lambda tx: self._authority.recheck(tx, required)
            )

        if not await self._authority.recording_denial(required, act):  # another act did in the meantime
            raise NotFound("user")
        return required.target_id

    async def _check(self, actor: Actor, who: Who) -> tuple[User, Requirement]:
        await self._authority.require(actor, "users.delete")
        target = await self._authority.target(who)
        return target, await self._authority.require_over(actor, "users.delete", target, action="user_delete")
