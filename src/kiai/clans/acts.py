"""Acts of players in clans: founding, joining, roles, names, disbanding (docs/spec/game-rules.md#clans).

Each act is one transaction. It locks the clan first and then the players, so that two players cannot take the last seat
and no clan is left without an owner. The outbox delivers the consequences: lines in the chat, events, notices.

Acts of staff on clans of others (`staff/clans.py`) use the same methods and pass `as_staff`, which writes the audit row
in the transaction. Then neither roles nor waiting times count.
"""

import secrets
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from kiai.accounts import BOT_ID
from kiai.accounts.name_index import NameKind, add_names, remove_names
from kiai.accounts.visibility import BOARDS_LOOK_CHANGED, is_public
from kiai.clans import statements as sql
from kiai.clans.act_limits import ActLimits
from kiai.clans.model import (
    CODE_CHARACTERS,
    CODE_LENGTH,
    DAY_MS,
    HOUR_MS,
    INVITATIONS_MAX,
    REQUESTS_MAX,
    REQUESTS_OF_ONE_MAX,
    ChangingClan,
    ClanJoined,
    ClanPlayer,
    JoinForm,
    MustWait,
    Role,
    WrongClanCode,
    is_closed,
    not_in_clan,
    only_officers,
    only_owner,
)
from kiai.clans.naming import (
    NAME,
    TAG,
    check_free,
    check_name,
    check_tag,
    checked_description,
    nothing_changes,
    reserve,
    set_name,
    set_tag,
)
from kiai.clans.recording import AsStaff, notify, record
from kiai.clock import Clock
from kiai.errors import Conflict, LacksRole, NotAllowed, NotFound, Refused, WrongState
from kiai.osu.durations import duration_text
from kiai.osu.modes import MODES
from kiai.osu.names import safe_name
from kiai.osu.privileges import Privilege
from kiai.realtime.rate_limiter import RateLimiter
from kiai.storage.port import Database, Transaction, UniqueViolation, Value

T = TypeVar("T")


class ClanRules(msgspec.Struct, frozen=True):
    """The settings of clans. With `verifies_email`, only players whose address is confirmed found clans."""

    members_max: int = 25
    cooldown_hours: int = 24
    invite_days: int = 7
    rename_days: int = 30
    verifies_email: bool = False


class ClanActs:
    """Changes clans and their members. Every method raises NotFound("clan") for a clan that does not exist.

    Acts of players that others learn of, by a line of the bot or an event, raise TooOften beyond `ACTS_PER_MINUTE`.
    """

    def __init__(
        self,
        database: Database,
        limiter: RateLimiter | None,
        clock: Clock,
        rules: ClanRules,
    ) -> None:
        self._database = database
        self._limits = ActLimits(limiter)
        self._clock = clock
        self.rules = rules

    # --- reading

    async def seat(self, user_id: int) -> sql.ClanSeat | None:
        """Return the clan and the role of a player, or None."""
        return await self._database.one(sql.SEAT, user_id=user_id)

    async def own(self, user_id: int) -> sql.ClanSeat:
        """Return the clan and the role of a player. Raises WrongState without a clan."""
        found = await self.seat(user_id)
        if found is None:
            raise not_in_clan()
        return found

    async def check_may_enter(self, user_id: int) -> None:
        """Raise what `found` and `join` raise for a player who cannot enter any clan now, and change nothing."""
        person = await self._database.one(sql.PERSON, id=user_id)
        if person is None:
            raise NotFound("player")
        self._check_may_enter(person, self._clock.now_ms(), "you")

    # --- founding and ending

    async def found(
        self, by: int, tag: str, name: str, *, actor_id: int | None = None, as_staff: AsStaff | None = None
    ) -> int:
        """Found a clan with `by` as its owner, and return its id.

        Raises Invalid, Conflict("tag"), Conflict("name"), WrongState (in a clan, too early), and NotAllowed or
        LacksRole for restricted, unverified and silenced players, and before the address is confirmed where the
        operator asks for it.
        """
        check_tag(tag)
        check_name(name)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> int:
            founder = await self._person(tx, by)
            self._check_may_enter(founder, now, "you", waits=as_staff is None)
            if self.rules.verifies_email and as_staff is None and founder.email_verified_at_ms is None:
                raise LacksRole("confirm your e-mail address first")
            values: dict[str, Value] = {"name": name, "safe_name": safe_name(name), "tag": tag.upper(), "owner_id": by}
            clan_id = await tx.one(sql.INSERT, **values, created_at_ms=now, joining=int(JoinForm.INVITE))
            assert clan_id is not None
            # After the insert: a clan that gives a name up reserves it in the same transaction.
            await check_free(tx, clan_id, TAG, tag.upper(), now)
            await check_free(tx, clan_id, NAME, safe_name(name), now)
            await add_names(tx, NameKind.CLAN, clan_id, name, tag)
            await self._seat(tx, founder, clan_id, Role.OWNER, now)
            clan = await tx.one(sql.CLAN_TO_CHANGE, id=clan_id)
            assert clan is not None
            actor = by if actor_id is None else actor_id
            await record(tx, clan, "found", now, player_id=by, actor_id=actor, by_staff=as_staff is not None)
            if as_staff is not None:
                await as_staff(tx, clan, {"before": None, "after": {"tag": clan.tag, "name": name, "owner": by}})
            return int(clan_id)

        async with self._limits.counted(by, as_staff):
            return await self._unless_taken(body)

    async def disband(self, by: int, clan_id: int, *, as_staff: AsStaff | None = None) -> ChangingClan:
        """Remove a clan. Its name and tag stay reserved for 30 days. Raises LacksRole for all but the owner."""
        now = self._clock.now_ms()

        async def body(tx: Transaction, clan: ChangingClan) -> ChangingClan:
            await self._check_role(tx, clan, by, Role.OWNER, as_staff)
            await self.remove(tx, clan, now, actor_id=by, by_staff=as_staff is not None)
            if as_staff is not None:
                await as_staff(
                    tx, clan, {"before": {"tag": clan.tag, "name": clan.name, "owner": clan.owner_id}, "after": None}
                )
            return clan

        async with self._limits.counted(by, as_staff):
            return await self._on(clan_id, body)

    async def remove(
        self, tx: Transaction, clan: ChangingClan, now: int, *, actor_id: int, by_staff: bool = False
    ) -> None:
        """Remove a locked clan with everything that belongs to it, except its history."""
        members = await tx.all(sql.MEMBER_IDS_TO_CHANGE, clan_id=clan.id)
        for member in members:
            # Only the owner waits before founding or joining again: the others did not choose to leave.
            if member == clan.owner_id:
                await tx.run(sql.LEAVE, of_user=member, left_at=now, no_time=None)
            else:
                await tx.run(sql.ENTER, of_user=member, new_clan=0, new_role=0, joined_at=None)
        await tx.run(sql.END_INVITATIONS_TO, of_clan=clan.id)
        await tx.run(sql.END_REQUESTS_TO, of_clan=clan.id)
        await remove_names(tx, NameKind.CLAN, clan.id, clan.name, clan.tag)
        await tx.run_many(sql.REMOVE_TOTALS, [{"in_mode": mode, "of_clan": clan.id} for mode in MODES])
        await tx.run(sql.REMOVE, of_clan=clan.id)
        await reserve(tx, clan.id, NAME, safe_name(clan.name), now)
        await reserve(tx, clan.id, TAG, clan.tag, now)
        await tx.run(BOARDS_LOOK_CHANGED)
        await record(
            tx, clan, "disband", now, actor_id=actor_id, by_staff=by_staff, members=tuple(members), before=clan.tag,
            icon=clan.icon or "",
        )  # fmt: skip

    async def edit(
        self,
        by: int,
        clan_id: int,
        *,
        tag: str | None = None,
        name: str | None = None,
        form: JoinForm | None = None,
        description: str | None = None,
        as_staff: AsStaff | None = None,
    ) -> ChangingClan:
        """Change the tag, the name, the form of joining or the description. Return the clan as it was.

        Raises Invalid, Conflict, LacksRole for all but the owner, and WrongState if nothing would change, for a second
        new name within 30 days, and at the limit of reserved names and tags.
        """
        if description is not None:
            description = checked_description(description)
        if tag is not None:
            check_tag(tag)
        if name is not None:
            check_name(name)
        now = self._clock.now_ms()

        async def body(tx: Transaction, clan: ChangingClan) -> ChangingClan:
            await self._check_role(tx, clan, by, Role.OWNER, as_staff)
            before: dict[str, object] = {}
            after: dict[str, object] = {}
            is_staff = as_staff is not None
            if tag is not None and tag.upper() != clan.tag:
                await set_tag(tx, clan, tag.upper(), now, by, by_staff=is_staff)
                before["tag"], after["tag"] = clan.tag, tag.upper()
            if name is not None and name != clan.name:
                await set_name(tx, clan, name, now, by, by_staff=is_staff, rename_days=self.rules.rename_days)
                before["name"], after["name"] = clan.name, name
            if form is not None and form != clan.joining:
                await tx.run(sql.SET_FORM, of_clan=clan.id, new_form=int(form))
                was, becomes = JoinForm(clan.joining).name.lower(), form.name.lower()
                before["join"], after["join"] = was, becomes
                await record(tx, clan, "form", now, actor_id=by, by_staff=is_staff, before=was, after=becomes)
            if description is not None and description != clan.description:
                await tx.run(sql.SET_DESCRIPTION, of_clan=clan.id, new_text=description)
                before["description"], after["description"] = clan.description, description
            if not after:
                raise WrongState(nothing_changes(clan, tag, name, form))
            if "tag" in after or "name" in after:
                await remove_names(tx, NameKind.CLAN, clan.id, clan.name, clan.tag)
                await add_names(
                    tx, NameKind.CLAN, clan.id, str(after.get("name", clan.name)), str(after.get("tag", clan.tag))
                )
                await tx.run(BOARDS_LOOK_CHANGED)
            if as_staff is not None:
                await as_staff(tx, clan, {"before": before, "after": after})
            return clan

        async with self._limits.counted(by, as_staff):
            return await self._unless_taken(lambda tx: self._locked(tx, clan_id, body))

    async def set_icon(
        self, by: int, clan_id: int, key: str | None, *, as_staff: AsStaff | None = None
    ) -> ChangingClan:
        """Set the key of the icon's file, None for no icon. Return the clan as it was. `ClanIcons` stores the file.

        Raises LacksRole for all but the owner, and WrongState if nothing would change.
        """

        now = self._clock.now_ms()

        async def body(tx: Transaction, clan: ChangingClan) -> ChangingClan:
            await self._check_role(tx, clan, by, Role.OWNER, as_staff)
            if key == clan.icon:
                raise WrongState("the clan has no icon" if key is None else "the clan already has this icon")
            await tx.run(sql.SET_ICON, of_clan=clan.id, new_icon=key)
            await record(tx, clan, "icon", now, actor_id=by, by_staff=as_staff is not None)
            if as_staff is not None:
                await as_staff(tx, clan, {"before": {"icon": clan.icon}, "after": {"icon": key}})
            return clan

        async with self._limits.counted(by, as_staff):
            return await self._on(clan_id, body)

    # --- joining

    async def join(self, user_id: int, clan_id: int, *, code: str | None = None) -> ClanJoined:
        """Join a clan, or ask to join it, as its form says.

        Raises WrongState (in a clan, full, closed, too early, asked already), and LacksRole without an invitation or
        with a wrong code.
        """
        if code is None:
            return await self._join(user_id, clan_id, None)
        async with self._limits.guess(user_id):
            return await self._join(user_id, clan_id, code)

    async def _join(self, user_id: int, clan_id: int, code: str | None) -> ClanJoined:
        now = self._clock.now_ms()

        async def body(tx: Transaction, clan: ChangingClan) -> ClanJoined:
            person = await self._person(tx, user_id)
            self._check_may_enter(person, now, "you")
            if clan.joining == JoinForm.CLOSED:
                raise is_closed()
            if code is not None and not _is_code(clan, code):
                raise WrongClanCode("no invitation: the code is wrong")
            until = await tx.one(sql.INVITED_UNTIL, clan_id=clan.id, user_id=user_id)
            is_invited = code is not None or (until is not None and until > now)
            if is_invited or clan.joining == JoinForm.OPEN:
                await self._enter(tx, clan, person, now, actor_id=user_id)
                return ClanJoined(clan.id, clan.tag, clan.name, "joined")
            if clan.joining == JoinForm.INVITE:
                raise LacksRole("no invitation: this clan is joined by invitation or with its code")
            await self._ask(tx, clan, person, now)
            return ClanJoined(clan.id, clan.tag, clan.name, "requested")

        async with self._limits.counted(user_id):
            return await self._on(clan_id, body)

    async def join_by_code(self, user_id: int, code: str) -> ClanJoined:
        """Join the clan that has this code. Raises as `join`; LacksRole if no clan has it."""
        async with self._limits.guess(user_id):
            clan_id = await self._database.one(sql.ID_OF_CODE, code=code.lower()) if _looks_like_code(code) else None
            if clan_id is None:
                raise WrongClanCode("no invitation has this code")
            return await self._join(user_id, clan_id, code)

    async def withdraw(self, user_id: int, clan_id: int) -> None:
        """Take back a request to join. Raises NotFound("request") if it was answered or does not exist."""

        async def body(tx: Transaction, clan: ChangingClan) -> None:
            await self._person(tx, user_id)
            if await tx.one(sql.REQUESTED_AT, clan_id=clan.id, user_id=user_id) is None:
                raise NotFound("request")
            await tx.run(sql.UNREQUEST, of_clan=clan.id, of_user=user_id)

        await self._on(clan_id, body)

    async def leave(self, user_id: int, clan_id: int) -> None:
        """Leave a clan. Raises WrongState for others than members, and for the owner."""
        now = self._clock.now_ms()

        async def body(tx: Transaction, clan: ChangingClan) -> None:
            person = await self._person(tx, user_id)
            if person.clan_id != clan.id:
                raise not_in_clan()
            _check_unrestricted(person)
            if person.clan_priv == Role.OWNER:
                raise WrongState("the owner can't leave: transfer or disband the clan first")
            await self._unseat(tx, clan, person, now)
            await record(tx, clan, "leave", now, player_id=user_id, actor_id=user_id)

        async with self._limits.counted(user_id):
            await self._on(clan_id, body)

    # --- acts of officers

    async def invite(self, by: int, clan_id: int, user_id: int) -> None:
        """Invite a player for `invite_days` days. Raises LacksRole, WrongState, NotFound("player")."""
        now = self._clock.now_ms()
        if user_id == BOT_ID:
            raise Refused("you can't do that to the bot")

        async def body(tx: Transaction, clan: ChangingClan) -> None:
            await self._check_role(tx, clan, by, Role.OFFICER, None)
            if clan.joining == JoinForm.CLOSED:
                raise is_closed()
            person = await self._person(tx, user_id)
            if not person.priv & Privilege.UNRESTRICTED:
                raise NotFound("player")
            if person.clan_id:
                raise WrongState(f"{person.name} is already in a clan")
            await tx.run(sql.UNINVITE_EXPIRED, of_clan=clan.id, now_ms=now)
            if await tx.one(sql.INVITED_UNTIL, clan_id=clan.id, user_id=user_id) is not None:
                raise WrongState(f"{person.name} is already invited")
            if (await tx.one(sql.INVITATIONS, clan_id=clan.id) or 0) >= INVITATIONS_MAX:
                raise WrongState(f"the clan already has {INVITATIONS_MAX} open invitations")
            expires = now + self.rules.invite_days * DAY_MS
            await tx.run(sql.INVITE, clan_id=clan.id, user_id=user_id, by_id=by, expires_at_ms=expires)
            await notify(tx, clan, "invite", now, user_id, by)

        async with self._limits.counted(by):
            await self._on(clan_id, body)

    async def code(self, by: int, clan_id: int, *, reset: bool = False, seen: str | None = None) -> str:
        """Return the code with which players can join; `reset` replaces it. Raises LacksRole for members.

        `seen` is the code that the officer has seen, empty without one: a reset then replaces only that code, so that a
        form that is sent twice makes one new code.
        """

        async def body(tx: Transaction, clan: ChangingClan) -> str:
            await self._check_role(tx, clan, by, Role.OFFICER, None)
            if clan.code is not None and (not reset or (seen is not None and seen != clan.code)):
                return clan.code
            code = "".join(secrets.choice(CODE_CHARACTERS) for _ in range(CODE_LENGTH))
            await tx.run(sql.SET_CODE, of_clan=clan.id, new_code=code)
            return code

        return await self._on(clan_id, body)

    async def requests(self, by: int, clan_id: int) -> list[sql.Asking]:
        """Return the visible players who want to join, the oldest request first. Raises LacksRole for members."""

        async def body(tx: Transaction, clan: ChangingClan) -> list[sql.Asking]:
            await self._check_role(tx, clan, by, Role.OFFICER, None)
            return await tx.all(sql.ASKING, clan_id=clan.id)

        return await self._on(clan_id, body)

    async def answer(self, by: int, clan_id: int, user_id: int, *, accept: bool) -> None:
        """Accept or deny a request. Raises LacksRole, NotFound("request"), and WrongState as `join` does."""
        now = self._clock.now_ms()

        async def body(tx: Transaction, clan: ChangingClan) -> None:
            await self._check_role(tx, clan, by, Role.OFFICER, None)
            person = await self._person(tx, user_id)
            # A hidden player is unknown to officers, too.
            asked = await tx.one(sql.REQUESTED_AT, clan_id=clan.id, user_id=user_id)
            if asked is None or not is_public(person.priv):
                raise NotFound("request")
            if not accept:
                await tx.run(sql.UNREQUEST, of_clan=clan.id, of_user=user_id)
                await notify(tx, clan, "deny", now, user_id, by)
                return
            if clan.joining == JoinForm.CLOSED:
                raise is_closed()
            self._check_may_enter(person, now, person.name)
            await self._enter(tx, clan, person, now, actor_id=by)

        async with self._limits.counted(by):
            await self._on(clan_id, body)

    async def kick(self, by: int, clan_id: int, user_id: int, *, as_staff: AsStaff | None = None) -> None:
        """Remove a member. Officers remove members, the owner officers, too.

        Raises LacksRole, Refused for oneself, NotFound("member"), and WrongState for the owner.
        """
        now = self._clock.now_ms()

        async def body(tx: Transaction, clan: ChangingClan) -> None:
            role = await self._check_role(tx, clan, by, Role.OFFICER, as_staff)
            if by == user_id:
                raise Refused("you can't do that to yourself")
            person = await self._member(tx, clan, user_id)
            if as_staff is None and person.clan_priv >= role:
                raise only_owner()
            if person.clan_priv == Role.OWNER:
                raise WrongState("the owner can't be removed: transfer the clan first")
            await self._unseat(tx, clan, person, now)
            await record(tx, clan, "kick", now, player_id=user_id, actor_id=by, by_staff=as_staff is not None)
            if as_staff is not None:
                await as_staff(tx, clan, {"before": {"member": user_id}, "after": {"member": None}})

        async with self._limits.counted(by, as_staff):
            await self._on(clan_id, body)

    # --- acts of the owner

    async def promote(self, by: int, clan_id: int, user_id: int) -> None:
        """Make a member an officer. Raises LacksRole, NotFound("member"), WrongState for an officer or the owner."""
        await self._set_role(by, clan_id, user_id, Role.OFFICER)

    async def demote(self, by: int, clan_id: int, user_id: int) -> None:
        """Make an officer a member. Raises LacksRole, NotFound("member"), WrongState for a member or the owner."""
        await self._set_role(by, clan_id, user_id, Role.MEMBER)

    async def _set_role(self, by: int, clan_id: int, user_id: int, role: Role) -> None:
        now = self._clock.now_ms()

        async def body(tx: Transaction, clan: ChangingClan) -> None:
            await self._check_role(tx, clan, by, Role.OWNER, None)
            person = await self._member(tx, clan, user_id)
            if person.clan_priv == Role.OWNER:
                raise WrongState(f"{person.name} is already the owner: transfer the clan to change that")
            if person.clan_priv == role:
                name = person.name
                raise WrongState(
                    f"{name} is already an officer" if role is Role.OFFICER else f"{name} is already a member"
                )
            await tx.run(sql.SET_ROLE, of_user=user_id, new_role=int(role))
            kind = "promote" if role is Role.OFFICER else "demote"
            await record(tx, clan, kind, now, player_id=user_id, actor_id=by)

        async with self._limits.counted(by):
            await self._on(clan_id, body)

    async def transfer(self, by: int, clan_id: int, user_id: int, *, as_staff: AsStaff | None = None) -> None:
        """Make a member the owner; the owner becomes an officer. Raises LacksRole, NotFound("member"), WrongState."""
        now = self._clock.now_ms()

        async def body(tx: Transaction, clan: ChangingClan) -> None:
            await self._check_role(tx, clan, by, Role.OWNER, as_staff)
            heir = await self._member(tx, clan, user_id)
            if heir.clan_priv == Role.OWNER:
                raise WrongState(f"{heir.name} is already the owner")
            if not heir.priv & Privilege.UNRESTRICTED:
                raise WrongState(f"{heir.name} is restricted")
            await self.hand_over(tx, clan, heir)
            await record(tx, clan, "transfer", now, player_id=user_id, actor_id=by, by_staff=as_staff is not None)
            if as_staff is not None:
                await as_staff(tx, clan, {"before": {"owner": clan.owner_id}, "after": {"owner": user_id}})

        async with self._limits.counted(by, as_staff):
            await self._on(clan_id, body)

    async def hand_over(self, tx: Transaction, clan: ChangingClan, heir: ClanPlayer) -> None:
        """Make a locked member the owner. The former owner, if still a member, becomes an officer."""
        owner = await self._person(tx, clan.owner_id)
        if owner.clan_id == clan.id:
            await tx.run(sql.SET_ROLE, of_user=owner.id, new_role=int(Role.OFFICER))
        await tx.run(sql.SET_ROLE, of_user=heir.id, new_role=int(Role.OWNER))
        await tx.run(sql.SET_OWNER, of_clan=clan.id, new_owner=heir.id, no_time=None)

    # --- accounts that end, and the job

    async def remove_member(self, tx: Transaction, user_id: int) -> None:
        """Remove a deleted account from its clan. The clan of an owner goes to its highest, longest-standing member.

        Without another member the clan is removed (docs/spec/game-rules.md#clans).
        """
        now = self._clock.now_ms()
        await tx.run(sql.END_INVITATIONS_OF, of_user=user_id)
        await tx.run(sql.END_REQUESTS_OF, of_user=user_id)
        person = await self._person(tx, user_id)
        if not person.clan_id:
            return
        clan = await tx.one(sql.CLAN_TO_CHANGE, id=person.clan_id)
        if clan is None:
            return
        if person.clan_priv != Role.OWNER:
            await self._unseat(tx, clan, person, now)
            await record(tx, clan, "leave", now, player_id=user_id, actor_id=user_id)
            return
        heir = await tx.one(sql.HEIR_TO_CHANGE, clan_id=clan.id, but=user_id)
        if heir is None:
            await self.remove(tx, clan, now, actor_id=0)
            return
        await self._unseat(tx, clan, person, now)
        await self.hand_over(tx, clan, heir)
        await record(tx, clan, "inherit", now, player_id=heir.id)

    async def inherit(self, clan_id: int, away_before_ms: int) -> bool:
        """Give the clan of an owner who is restricted since `away_before_ms` to a visible member. Return whether."""
        now = self._clock.now_ms()

        async def body(tx: Transaction, clan: ChangingClan) -> bool:
            if clan.owner_away_since_ms is None or clan.owner_away_since_ms > away_before_ms:
                return False
            heir = await tx.one(sql.HEIR_TO_CHANGE, clan_id=clan.id, but=clan.owner_id)
            if heir is None or not is_public(heir.priv):
                return False
            await self.hand_over(tx, clan, heir)
            await record(tx, clan, "inherit", now, player_id=heir.id)
            return True

        return await self._on(clan_id, body)

    # --- parts of acts

    async def _on(self, clan_id: int, body: Callable[[Transaction, ChangingClan], Awaitable[T]]) -> T:
        return await self._database.transaction(lambda tx: self._locked(tx, clan_id, body))

    async def _locked(
        self, tx: Transaction, clan_id: int, body: Callable[[Transaction, ChangingClan], Awaitable[T]]
    ) -> T:
        clan = await tx.one(sql.CLAN_TO_CHANGE, id=clan_id)
        if clan is None:
            raise NotFound("clan")
        return await body(tx, clan)

    async def _unless_taken(self, body: Callable[[Transaction], Awaitable[T]]) -> T:
        try:
            return await self._database.transaction(body)
        except UniqueViolation as violation:
            raise Conflict("tag" if "tag" in violation.constraint else "name") from violation

    async def _person(self, tx: Transaction, user_id: int) -> ClanPlayer:
        found = await tx.one(sql.PERSON_TO_CHANGE, id=user_id)
        if found is None:
            raise NotFound("player")
        return found

    async def _member(self, tx: Transaction, clan: ChangingClan, user_id: int) -> ClanPlayer:
        person = await self._person(tx, user_id)
        if person.clan_id != clan.id:
            raise NotFound("member")
        return person

    async def _check_role(
        self, tx: Transaction, clan: ChangingClan, by: int, least: Role, as_staff: AsStaff | None
    ) -> int:
        """Return the actor's role. Raises LacksRole below `least`, NotAllowed for a restricted member."""
        if as_staff is not None:
            return int(Role.OWNER)
        person = await tx.one(sql.PERSON_TO_CHANGE, id=by)
        if person is None or person.clan_id != clan.id or person.clan_priv < least:
            raise only_owner() if least is Role.OWNER else only_officers()
        _check_unrestricted(person)
        if person.silenced_until_ms > self._clock.now_ms():
            raise LacksRole("you are silenced")
        return person.clan_priv

    def _check_may_enter(self, person: ClanPlayer, now: int, who: str, *, waits: bool = True) -> None:
        """Raise WrongState, NotAllowed or LacksRole if the player cannot found or join a clan."""
        you = who == "you"
        if not is_public(person.priv):
            _check_unrestricted(person)
            raise NotAllowed("verified")
        if person.silenced_until_ms > now and waits:
            raise LacksRole("you are silenced" if you else f"{who} is silenced")
        if person.clan_id:
            raise WrongState("you are already in a clan" if you else f"{who} is already in a clan")
        ends = (person.clan_left_at_ms or 0) + self.rules.cooldown_hours * HOUR_MS
        if waits and person.clan_left_at_ms is not None and ends > now:
            left = duration_text(-(-(ends - now) // 1000))
            reason = f"{'you have' if you else f'{who} has'} left a clan recently: wait another {left}"
            raise MustWait(reason, "entering", ends, "" if you else who)

    async def _enter(self, tx: Transaction, clan: ChangingClan, person: ClanPlayer, now: int, *, actor_id: int) -> None:
        if (await tx.one(sql.SEATS, clan_id=clan.id) or 0) >= self.rules.members_max:
            raise WrongState("the clan is full")
        await self._seat(tx, person, clan.id, Role.MEMBER, now)
        await record(tx, clan, "join", now, player_id=person.id, actor_id=actor_id)

    async def _seat(self, tx: Transaction, person: ClanPlayer, clan_id: int, role: Role, now: int) -> None:
        await tx.run(sql.ENTER, of_user=person.id, new_clan=clan_id, new_role=int(role), joined_at=now)
        await tx.run(sql.END_INVITATIONS_OF, of_user=person.id)
        await tx.run(sql.END_REQUESTS_OF, of_user=person.id)
        await tx.run(BOARDS_LOOK_CHANGED)

    async def _unseat(self, tx: Transaction, clan: ChangingClan, person: ClanPlayer, now: int) -> None:
        await tx.run(sql.LEAVE, of_user=person.id, left_at=now, no_time=None)
        await tx.run(BOARDS_LOOK_CHANGED)

    async def _ask(self, tx: Transaction, clan: ChangingClan, person: ClanPlayer, now: int) -> None:
        if await tx.one(sql.REQUESTED_AT, clan_id=clan.id, user_id=person.id) is not None:
            raise WrongState("you have already asked to join this clan")
        if (await tx.one(sql.REQUESTS_TO, clan_id=clan.id) or 0) >= REQUESTS_MAX:
            raise WrongState(f"the clan already has {REQUESTS_MAX} open requests")
        if (await tx.one(sql.REQUESTS_OF, user_id=person.id) or 0) >= REQUESTS_OF_ONE_MAX:
            raise WrongState(f"you have already asked to join {REQUESTS_OF_ONE_MAX} clans")
        await tx.run(sql.REQUEST, clan_id=clan.id, user_id=person.id, at_ms=now)
        await notify(tx, clan, "request", now, person.id, person.id)


def _looks_like_code(code: str) -> bool:
    return len(code) == CODE_LENGTH and set(code.lower()) <= set(CODE_CHARACTERS)


def _is_code(clan: ChangingClan, code: str) -> bool:
    return clan.code is not None and _looks_like_code(code) and secrets.compare_digest(clan.code, code.lower())


def _check_unrestricted(person: ClanPlayer) -> None:
    if not person.priv & Privilege.UNRESTRICTED:
        raise NotAllowed("unrestricted")
