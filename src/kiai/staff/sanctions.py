"""All sanctions by the names of their kinds, for the API and the command line."""

from typing import Final

import msgspec

from kiai.errors import Invalid
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Who
from kiai.staff.kicks import Kicks
from kiai.staff.reasons import checked_reason
from kiai.staff.restrictions import FREEZE_S, Restrictions, Sanction
from kiai.staff.silences import Silences

KINDS: Final = {
    "silence": "users.silence",
    "unsilence": "users.silence",
    "kick": "users.kick",
    "restrict": "users.restrict",
    "unrestrict": "users.restrict",
    "ban": "users.ban",
    "unban": "users.ban",
    "freeze": "users.freeze",
    "unfreeze": "users.freeze",
}
"""Kind -> the permission that it needs."""
TIMED: Final = ("silence", "restrict", "freeze")


class SanctionState(msgspec.Struct, frozen=True):
    """The sanctions of an account. Ends are unix seconds, 0 for none."""

    restricted: bool
    banned: bool
    restricted_until: int
    silence_end: int
    freeze_until: int
    donor_end: int


class Sanctions:
    """Carries out sanctions by kind."""

    def __init__(self, authority: Authority, restrictions: Restrictions, silences: Silences, kicks: Kicks) -> None:
        self._authority = authority
        self._restrictions = restrictions
        self._silences = silences
        self._kicks = kicks

    async def require(self, actor: Actor, kind: str) -> None:
        """Raise NotAllowed if the actor may not carry out sanctions of this kind."""
        await self._authority.require(actor, KINDS[kind])

    async def apply(self, actor: Actor, kind: str, who: Who, reason: str, seconds: int | None = None) -> Sanction:
        """Carry out a sanction of `KINDS`. Raises what the verb of the kind raises.

        `seconds` is required for a silence, optional for a restriction and a freeze, and Invalid for the others.
        """
        await self.require(actor, kind)
        if seconds is not None and kind not in TIMED:
            raise Invalid("duration", f"left out for the kind {kind}", seconds)
        restrictions = self._restrictions
        match kind:
            case "silence":
                if seconds is None:
                    raise Invalid("duration", "given for a silence, such as 10m or 7d", None)
                return await self._silence(actor, who, reason, seconds)
            case "unsilence":
                target = await self._authority.target(who)
                audit_id = await self._silences.unsilence(actor, target.id, reason)
                reason = checked_reason(reason, optional=True)
                return Sanction(kind, await self._authority.target(target.id), reason, None, audit_id)
            case "kick":
                return await self._kicks.kick(actor, who, reason)
            case "restrict":
                return await restrictions.restrict(actor, who, reason, seconds=seconds)
            case "freeze":
                return await restrictions.freeze(actor, who, reason, seconds=FREEZE_S if seconds is None else seconds)
            case "unrestrict":
                return await restrictions.unrestrict(actor, who, reason)
            case "ban":
                return await restrictions.ban(actor, who, reason)
            case "unban":
                return await restrictions.unban(actor, who, reason)
        return await restrictions.unfreeze(actor, who, reason)

    async def _silence(self, actor: Actor, who: Who, reason: str, seconds: int) -> Sanction:
        imposed = await self._silences.silence(actor, who, seconds, reason)
        target = await self._authority.target(who)
        return Sanction("silence", target, imposed.reason, imposed.until_ms, imposed.audit_id)

    async def state(self, actor: Actor, who: Who, now_ms: int) -> SanctionState:
        """Return the sanctions of an account. Raises NotAllowed, NotFound."""
        await self._authority.require(actor, "users.silence")
        user = await self._authority.target(who)
        return SanctionState(
            restricted=not user.priv & 1,
            banned=user.banned_at_ms is not None,
            restricted_until=user.restricted_until_ms // 1000,
            silence_end=user.silenced_until_ms // 1000 if user.silenced_until_ms > now_ms else 0,
            freeze_until=user.freeze_until_ms // 1000,
            donor_end=user.donor_until_ms // 1000,
        )
