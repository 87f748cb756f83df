"""Acts of staff on clans of others. Each writes one audit row in its transaction."""

from collections.abc import Mapping
from typing import Final

import msgspec

from kiai.accounts import Accounts, Viewer
from kiai.clans import ClanActs, Clans
from kiai.clans.icons import ClanIcons
from kiai.clans.model import ChangingClan, JoinForm, Role
from kiai.clans.recording import AsStaff
from kiai.clock import Clock
from kiai.errors import NotAllowed
from kiai.osu.privileges import STAFF
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.storage.port import Transaction

PERMISSION: Final = "clans.manage_any"
EDIT: Final = "clan_edit"
DISBAND: Final = "clan_disband"
_STAFF: Final = Viewer(priv=STAFF)


class ClanStaff:
    """Acts of administrators and the operator on clans of others.

    Every method raises NotAllowed without the permission, OutRanked if the target's role is not below the actor's, and
    NotFound("clan"). The target is the owner of the clan, or the member who is removed.
    """

    def __init__(
        self,
        accounts: Accounts,
        authority: Authority,
        acts: ClanActs,
        icons: ClanIcons,
        clans: Clans,
        clock: Clock,
    ) -> None:
        self._accounts = accounts
        self._authority = authority
        self._acts = acts
        self._icons = icons
        self._clans = clans
        self._clock = clock

    async def found(self, actor: Actor, owner_id: int, tag: str, name: str) -> int:
        """Found a clan for a player, without the waiting time. Return its id. Raises as `ClanActs.found`."""
        await self._authority.require(actor, PERMISSION)
        as_staff = self._record(Requirement(actor, PERMISSION, action=EDIT))
        return await self._acts.found(owner_id, tag, name, actor_id=actor.user_id, as_staff=as_staff)

    async def disband(self, actor: Actor, clan_id: int, reason: str = "") -> ChangingClan:
        """Disband a clan. Return it as it was."""
        required = await self._require_over_owner(actor, clan_id, DISBAND, reason)
        return await self._authority.recording_denial(
            required,
            lambda: self._acts.disband(actor.user_id, clan_id, as_staff=self._record(required, over_owner=True)),
        )

    async def edit(
        self,
        actor: Actor,
        clan_id: int,
        *,
        tag: str | None = None,
        name: str | None = None,
        form: JoinForm | None = None,
        description: str | None = None,
        reason: str = "",
    ) -> ChangingClan:
        """Change the tag, the name, the form of joining or the description. Return the clan as it was.

        Raises as `ClanActs.edit`.
        """
        required = await self._require_over_owner(actor, clan_id, EDIT, reason)
        as_staff = self._record(required, over_owner=True)
        return await self._authority.recording_denial(
            required,
            lambda: self._acts.edit(
                actor.user_id, clan_id, tag=tag, name=name, form=form, description=description, as_staff=as_staff
            ),
        )

    async def change_icon(self, actor: Actor, clan_id: int, picture: bytes, reason: str = "") -> None:
        """Set the icon. Raises as `ClanIcons.change`."""
        required = await self._require_over_owner(actor, clan_id, EDIT, reason)
        as_staff = self._record(required, over_owner=True)
        await self._authority.recording_denial(
            required, lambda: self._icons.change(actor.user_id, clan_id, picture, as_staff=as_staff)
        )

    async def remove_icon(self, actor: Actor, clan_id: int, reason: str = "") -> None:
        """Remove the icon. Raises as `ClanIcons.remove`."""
        required = await self._require_over_owner(actor, clan_id, EDIT, reason)
        as_staff = self._record(required, over_owner=True)
        await self._authority.recording_denial(
            required, lambda: self._icons.remove(actor.user_id, clan_id, as_staff=as_staff)
        )

    async def kick(self, actor: Actor, clan_id: int, user_id: int, reason: str = "") -> None:
        """Remove a member or officer. Raises as `ClanActs.kick`."""
        await self._clans.clan(clan_id)
        target = await self._accounts.user(_STAFF, id=user_id)
        required = await self._authority.require_over(actor, PERMISSION, target, action=EDIT, reason=reason)
        await self._authority.recording_denial(
            required, lambda: self._acts.kick(actor.user_id, clan_id, user_id, as_staff=self._record(required))
        )

    async def transfer(self, actor: Actor, clan_id: int, user_id: int, reason: str = "") -> None:
        """Make a member the owner. Raises as `ClanActs.transfer`."""
        required = await self._require_over_owner(actor, clan_id, EDIT, reason)
        await self._authority.recording_denial(
            required,
            lambda: self._acts.transfer(
                actor.user_id, clan_id, user_id, as_staff=self._record(required, over_owner=True)
            ),
        )

    async def may_manage(self, actor: Actor) -> bool:
        """Return whether the actor has the permission."""
        try:
            await self._authority.require(actor, PERMISSION)
        except NotAllowed:
            return False
        return True

    async def acts_as_staff(self, actor: Actor, clan_id: int, least: Role = Role.OWNER) -> bool:
        """Return whether the actor has the permission and no role of `least` or above in this clan."""
        seat = await self._acts.seat(actor.user_id)
        has_office = seat is not None and seat.clan_id == clan_id and seat.role >= least
        return not has_office and await self.may_manage(actor)

    async def check_may_disband(self, actor: Actor, clan_id: int) -> None:
        """Raise what `disband` would raise, and change nothing."""
        await self._require_over_owner(actor, clan_id, DISBAND, "")

    async def _require_over_owner(self, actor: Actor, clan_id: int, action: str, reason: str) -> Requirement:
        await self._authority.require(actor, PERMISSION)
        clan = await self._clans.clan(clan_id)
        owner = await self._accounts.user(_STAFF, id=clan.owner_id)
        return await self._authority.require_over(
            actor, PERMISSION, owner, action=action, reason=reason, oneself="allowed"
        )

    def _record(self, required: Requirement, *, over_owner: bool = False) -> AsStaff:
        """Return the part of the transaction that checks the actor again and writes the audit row.

        `over_owner`: the target is the owner, who may be another player by now.
        """
        now = self._clock.now_ms()

        async def write(tx: Transaction, clan: ChangingClan, details: Mapping[str, object]) -> None:
            # Last: acts in clans lock the clan before they lock players, and an error rolls the act back.
            target_id = clan.owner_id if over_owner else required.target_id
            await self._authority.recheck(tx, msgspec.structs.replace(required, target_id=target_id))
            await audit.write(
                tx,
                required.actor,
                required.action,
                at_ms=now,
                target_kind="clan",
                target_id=clan.id,
                reason=required.reason,
                details={"tag": clan.tag, "name": clan.name, **details},
            )

        return write
