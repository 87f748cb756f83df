"""Privileges and map statuses. Each act is one transaction with its audit row.

Each verb checks the actor's permission and rank itself (`authority.py`).
"""

from collections.abc import Callable, Collection, Sequence
from typing import Final

from kiai.accounts import Account, Accounts, User
from kiai.accounts.visibility import is_public
from kiai.accounts.web_sessions import end_all_of
from kiai.beatmaps import Beatmap, Beatmaps, MapStatus, ranking, set_comments
from kiai.beatmaps.importing import FormerRevision
from kiai.beatmaps.set_comments import SetComment
from kiai.clock import Clock
from kiai.errors import Invalid, NotATarget, NotFound, Refused, WrongState
from kiai.osu.privileges import ROLES, Privilege, loses_role
from kiai.scores.visibility_changes import Standing
from kiai.staff import audit, map_statuses
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement, Who, check_not_bot
from kiai.staff.reasons import checked_reason
from kiai.storage.outbox import enqueue
from kiai.storage.port import Database, Transaction

DONOR: Final = int(Privilege.SUPPORTER | Privilege.PREMIUM)
NOT_GRANTED: Final = int(Privilege.UNRESTRICTED)  # `unrestrict` sets it

SET_ROLES: Final = (
    "verified",
    "whitelisted",
    "alumni",
    "tournament",
    "nominator",
    "moderator",
    "administrator",
    "developer",
)
"""The roles that `Staff.set_privileges` sets. Supporters have donor time (`staff/donors.py`)."""


class Staff:
    """Changes privileges, sets statuses of maps."""

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        authority: Authority,
        beatmaps: Beatmaps,
        standing: Standing,
        clock: Clock,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._authority = authority
        self._beatmaps = beatmaps
        self._standing = standing
        self._clock = clock

    async def grant(self, actor: Actor, name: str, roles: list[str]) -> Account:
        """Add privileges by role. Raises NotFound, Invalid for an unknown role.

        See docs/spec/game-rules.md#privileges.
        """
        await self._authority.require(actor, "users.privileges")
        bits = _bits(roles) & ~NOT_GRANTED
        if actor.user_id and bits & DONOR and "owner" not in map(str.lower, roles):
            raise Refused("donor roles come with donor time: use !givedonator")
        account = await self._target(name)
        required = await self._authority.require_over(
            actor, "users.privileges", account, action="privileges", oneself="ranked"
        )
        return await self._change_priv(required, account, lambda priv: priv | bits)

    async def revoke(self, actor: Actor, name: str, roles: list[str]) -> Account:
        """Remove privileges by role. Raises NotFound, Invalid, Refused for the actor and for the last developer."""
        account = await self._target(name)
        required = await self._authority.require_over(actor, "users.privileges", account, action="privileges")
        bits = _bits(roles)
        if bits & NOT_GRANTED:  # `owner` and `normal` include these two; only `restrict` removes UNRESTRICTED
            bits &= ~int(Privilege.UNRESTRICTED | Privilege.VERIFIED)
        return await self._change_priv(required, account, lambda priv: priv & ~bits)

    async def set_privileges(self, actor: Actor, who: Who, roles: Collection[str], reason: str) -> User:
        """Give an account exactly these roles of `SET_ROLES`, and leave its other bits. Return the account after it.

        Raises NotAllowed, Invalid, NotFound, Refused by the target rule and for the last developer, NotATarget for an
        actor who would lose a role, and WrongState if nothing changes.
        """
        await self._authority.require(actor, "users.privileges")
        reason = checked_reason(reason)
        unknown = sorted(set(roles) - set(SET_ROLES))
        if unknown:
            raise Invalid("privileges", "some of " + ", ".join(SET_ROLES), unknown[0])
        target = await self._authority.target(who)
        required = await self._authority.require_over(
            actor, "users.privileges", target, action="privileges", reason=reason, oneself="ranked"
        )
        bits = _bits(list(roles))

        def change(priv: int) -> int:
            after = priv & ~_bits(list(SET_ROLES)) | bits
            if after == priv:
                raise WrongState(f"{target.name} already has exactly these privileges")
            if actor.user_id == target.id and priv & ~after:
                raise NotATarget("you can't take a privilege from yourself")
            return after

        await self._change_priv(required, await self._accounts.account_of(target.id), change)
        return await self._authority.target(target.id)

    async def register(self, actor: Actor, *, name: str, email: str, password: str, country: str) -> int:
        """Create a verified account for a player and return its id. Raises as `Accounts.register`, and NotAllowed."""
        await self._authority.require(actor, "users.privileges")
        # A first login normally verifies an account. The operator has already done so.
        priv = int(Privilege.UNRESTRICTED | Privilege.VERIFIED)
        now = self._clock.now_ms()

        async def write(tx: Transaction, user_id: int) -> None:
            details = {"before": None, "after": {"name": name, "country": country}}
            await audit.write(tx, actor, "register", at_ms=now, target_kind="user", target_id=user_id, details=details)

        return await self._accounts.register(
            name=name, email=email, password=password, country=country, priv=priv, also=write
        )

    async def whitelist(self, actor: Actor, who: Who, reason: str, *, on: bool) -> User:
        """Exempt an account from automatic actions against cheating, or end that. Return the account after it.

        Raises NotAllowed, Invalid, NotFound, Refused by the target rule, WrongState.
        """
        await self._authority.require(actor, "users.whitelist")
        reason = checked_reason(reason)
        target = await self._authority.target(who)
        required = await self._authority.require_over(
            actor, "users.whitelist", target, action="privileges", reason=reason, oneself="ranked"
        )
        bit = int(Privilege.WHITELISTED)

        def change(priv: int) -> int:
            if bool(priv & bit) == on:
                raise WrongState(f"{target.name} is {'already' if on else 'not'} whitelisted")
            return priv | bit if on else priv & ~bit

        account = await self._accounts.account_of(target.id)
        await self._change_priv(required, account, change)
        return await self._authority.target(target.id)

    async def set_map_status(
        self, actor: Actor, beatmaps: list[Beatmap], status: MapStatus, *, reason: str = ""
    ) -> None:
        """Set and freeze the status of maps, and answer the requests for their sets.

        Tasks update first places and totals (`scores/reconciling.py`). Raises NotAllowed.
        """
        await self._authority.require(actor, "beatmaps.set_status")
        now = self._clock.now_ms()
        wanted = {beatmap.id for beatmap in beatmaps}

        async def body(tx: Transaction) -> None:
            # The statuses from before this transaction may be out of date.
            found: list[Beatmap] = []
            for set_id in sorted({beatmap.set_id for beatmap in beatmaps}):
                found += [beatmap for beatmap in await ranking.lock(tx, set_id) if beatmap.id in wanted]
            await self._beatmaps.set_statuses(tx, found, status, now)
            await map_statuses.record(tx, actor, found, status, now, reason=reason)

        await self._authority.transaction(Requirement(actor, "beatmaps.set_status"), body)

    async def remove_comment(self, actor: Actor, comment: SetComment, *, reason: str = "") -> None:
        """Remove a player's comment on a set. Raises NotAllowed, and NotFound for one that was removed meanwhile."""
        await self._authority.require(actor, "chat.moderate")
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            if not await tx.run(set_comments.REMOVE, comment_id=comment.id):
                raise NotFound("comment")
            await audit.write(
                tx,
                actor,
                "comment_delete",
                at_ms=now,
                target_kind="user",
                target_id=comment.player.id,
                reason=reason,
                details={"set_id": comment.set_id, "text": comment.text},
            )

        await self._authority.transaction(Requirement(actor, "chat.moderate"), body)

    async def record_import(self, actor: Actor, changed: Sequence[FormerRevision]) -> None:
        """Write audit rows for known maps that an import replaced, restored or gave another status."""
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            for former in changed:
                beatmap = await self._beatmaps.revision(former.key, tx)
                await audit.write(
                    tx,
                    actor,
                    "beatmap_import",
                    at_ms=now,
                    target_kind="beatmap",
                    target_id=beatmap.id,
                    details={
                        "md5": beatmap.md5,
                        "before": {"current": former.current, "status": former.status},
                        "after": {"current": beatmap.current, "status": beatmap.status},
                    },
                )

        await self._database.transaction(body)

    async def _target(self, name: str) -> Account:
        account = await self._accounts.account(name)
        check_not_bot(account.id)
        return account

    async def _change_priv(self, required: Requirement, account: Account, change: Callable[[int], int]) -> Account:
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            # Locks the row: `change` works on the stored bits, not on those that were read before the transaction.
            before = await self._accounts.priv_to_change(tx, account.id)
            after = change(before)
            # Without a developer nobody could grant privileges in the game. A restricted developer does not count.
            if _is_developer(before) and not _is_developer(after) and await self._accounts.developers(tx) <= 1:
                raise Refused(f"{account.name} is the last developer; grant the role to another account first")
            await self._accounts.set_priv(tx, account.id, after)
            if loses_role(before, after):  # a browser that is still logged in does not get the role back later
                await end_all_of(tx, account.id)
            if is_public(before) != is_public(after):
                await self._standing.on_visibility_change(tx, account.id, public=is_public(after))
            # Delivered after the commit, by whichever worker has the player's sessions.
            await enqueue(tx, "privileges", account.id, now)
            await audit.write(
                tx,
                required.actor,
                required.action,
                at_ms=now,
                target_kind="user",
                target_id=account.id,
                reason=required.reason,
                details={"before": before, "after": after},
            )

        await self._authority.transaction(required, body)
        return await self._accounts.account(account.name)


def _is_developer(priv: int) -> bool:
    active_developer = int(Privilege.DEVELOPER | Privilege.UNRESTRICTED)
    return priv & active_developer == active_developer


def check_roles(roles: str) -> None:
    """Raise Invalid if one of these words is not a role."""
    _bits(roles.split())


def _bits(roles: list[str]) -> int:
    bits = 0
    for role in roles:
        if role.lower() not in ROLES:
            raise Invalid("privilege", "one of " + ", ".join(sorted(ROLES)), role)
        bits |= ROLES[role.lower()]
    return bits
