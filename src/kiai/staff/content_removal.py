"""Removal of avatars, covers and userpages by staff. The player keeps the account and can set new ones."""

from collections.abc import Mapping
from typing import Final

from kiai.accounts import Accounts, User
from kiai.accounts.avatars import Avatars
from kiai.accounts.covers import ProfileCovers
from kiai.accounts.profile_pictures import ProfilePictures
from kiai.clock import Clock
from kiai.errors import WrongState
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement, Who
from kiai.staff.reasons import checked_reason
from kiai.storage.port import Transaction

PERMISSION: Final = "avatars.delete"
ACTION: Final = "content_remove"


class ContentRemoval:
    """Removes what players have put on their profiles. Pages and the avatar host follow at once."""

    def __init__(
        self, accounts: Accounts, avatars: Avatars, covers: ProfileCovers, authority: Authority, clock: Clock
    ) -> None:
        self._accounts = accounts
        self._avatars = avatars
        self._covers = covers
        self._authority = authority
        self._clock = clock

    async def remove_avatar(self, actor: Actor, who: Who, reason: str) -> User:
        """Remove the avatar of an account. Return the account before it.

        Raises NotAllowed, Invalid, NotFound, Refused by the target rule, and WrongState without an avatar.
        """
        return await self._remove(self._avatars, actor, who, reason, "avatar")

    async def remove_cover(self, actor: Actor, who: Who, reason: str) -> User:
        """Remove the cover of an account. Return the account before it. Raises as `remove_avatar`."""
        return await self._remove(self._covers, actor, who, reason, "cover")

    async def _remove(self, pictures: ProfilePictures, actor: Actor, who: Who, reason: str, word: str) -> User:
        target, required = await self._checked(actor, who, reason)
        removed = False

        async def record(
            tx: Transaction, at_ms: int, before: Mapping[str, object], after: Mapping[str, object]
        ) -> None:
            nonlocal removed
            await self._authority.recheck(tx, required)
            removed = True
            await self._write(tx, required, at_ms, dict(before), dict(after))

        await self._authority.recording_denial(required, lambda: pictures.remove(target.id, record))
        if not removed:  # also for the second of two acts at the same time
            raise WrongState(f"{target.name} has no {word}")
        return target

    async def remove_userpage(self, actor: Actor, who: Who, reason: str) -> User:
        """Remove the userpage of an account. Return the account before it.

        Raises NotAllowed, Invalid, NotFound, Refused by the target rule, and WrongState without a userpage.
        """
        target, required = await self._checked(actor, who, reason)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            length = await self._accounts.clear_userpage(tx, target.id)
            if not length:
                raise WrongState(f"{target.name} has no userpage")
            # The length in place of the text, which must not stay in the audit log.
            await self._write(tx, required, now, {"userpage_content": length}, {"userpage_content": 0})

        await self._authority.transaction(required, body)
        return target

    async def _checked(self, actor: Actor, who: Who, reason: str) -> tuple[User, Requirement]:
        await self._authority.require(actor, PERMISSION)
        reason = checked_reason(reason)
        target = await self._authority.target(who)
        return target, await self._authority.require_over(
            actor, PERMISSION, target, action=ACTION, reason=reason, oneself="allowed"
        )

    async def _write(
        self,
        tx: Transaction,
        required: Requirement,
        at_ms: int,
        before: dict[str, object],
        after: dict[str, object],
    ) -> None:
        await audit.write(
            tx,
            required.actor,
            ACTION,
            at_ms=at_ms,
            target_kind="user",
            target_id=required.target_id,
            reason=required.reason,
            details={"before": before, "after": after},
        )
