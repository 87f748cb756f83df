"""`!clan`: clans (docs/spec/game-rules.md#clans)."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from kiai.accounts import User
from kiai.chat.bot import Argument, ArgumentKind, BadArgument, Bot, BotCommand, CommandContext
from kiai.clans import Clan, ClanActs, ClanDirectory, Clans
from kiai.clans.model import CODE_LENGTH, FORMS, JoinForm, Role, not_in_clan, only_owner
from kiai.clans.statements import ClanSeat
from kiai.errors import NotFound
from kiai.faces.bot.acting import actor_of
from kiai.osu.names import clan_tag_fault
from kiai.osu.texts import chat_link, chat_name, chat_text
from kiai.staff.clans import ClanStaff

GROUP: Final = "clan"
PAGE: Final = 25
NAMED_MAX: Final = 10
"""Names of members that one line shows."""
USER: Final = Argument("user", ArgumentKind.USER)
ANY_USER: Final = Argument("user", ArgumentKind.USER, optional=True)
TAG: Final = Argument("tag", optional=True)


class ClanCommands:
    """Handlers of the `!clan` commands. All answers are for their author only, because some contain a code."""

    def __init__(
        self,
        bot: Bot,
        clans: Clans,
        directory: ClanDirectory,
        acts: ClanActs,
        staff: ClanStaff,
        link: Callable[[str], str],
    ) -> None:
        self._bot = bot
        self._clans = clans
        self._directory = directory
        self._acts = acts
        self._staff = staff
        self._link = link

    async def help(self, context: CommandContext) -> Sequence[str]:
        """`!clan help`."""
        return (f"!clan {' | '.join(command.name for command in self.commands())}",)

    async def create(self, context: CommandContext, tag: str, name: str) -> Sequence[str]:
        """`!clan create`."""
        clan_id = await self._acts.found(context.session.user_id, tag, name)
        return (f"You have founded {self._shown(clan_id, tag.upper(), name)}. Invite players: !clan invite <user>.",)

    # --- disbanding

    async def confirm_disband(self, context: CommandContext, tag: str | None) -> str:
        """Return what `!clan disband` will do."""
        clan, as_staff = await self._to_disband(context, tag)
        if as_staff:
            await self._staff.check_may_disband(actor_of(context), clan.id)
        members = await self._clans.size(clan.id)
        return (
            f"This disbands [{chat_text(clan.tag)}] {chat_text(clan.name)} with {members} "
            f"{'member' if members == 1 else 'members'} and can't be undone."
        )

    async def disband(self, context: CommandContext, tag: str | None) -> Sequence[str]:
        """`!clan disband`."""
        clan, as_staff = await self._to_disband(context, tag)
        if as_staff:
            await self._staff.disband(actor_of(context), clan.id)
        else:
            await self._acts.disband(context.session.user_id, clan.id)
        return (f"The clan [{chat_text(clan.tag)}] {chat_text(clan.name)} is disbanded.",)

    async def _to_disband(self, context: CommandContext, tag: str | None) -> tuple[Clan, bool]:
        """Return the clan, and whether the author acts as staff. Raises NotFound, WrongState, LacksRole."""
        seat = await self._acts.seat(context.session.user_id)
        if tag is None:
            if seat is None:
                raise not_in_clan()
            clan = await self._clans.clan(seat.clan_id)
        else:
            clan = await self._with_tag(tag)
        if seat is not None and seat.clan_id == clan.id and seat.role == Role.OWNER:
            return clan, False
        if tag is None or not await self._staff.may_manage(actor_of(context)):
            raise only_owner()
        return clan, True

    # --- reading

    async def info(self, context: CommandContext, tag: str | None) -> Sequence[str]:
        """`!clan info`."""
        clan_id = (await self._with_tag(tag)).id if tag else (await self._acts.own(context.session.user_id)).clan_id
        clan = await self._clans.clan(clan_id)
        members = await self._clans.members(clan.id)
        founded = datetime.fromtimestamp(clan.created_at_ms // 1000, UTC)
        standing = await self._clans.standing(clan, 0)
        place = await self._directory.place(clan.id, 0)
        lines = [
            f"{self._shown(clan.id, clan.tag, clan.name)}: founded {founded:%Y-%m-%d}, {_form(clan.joining)}, "
            f"{len(members)} of {self._acts.rules.members_max} members, "
            f"{'no rank' if place is None else f'#{place} with {standing.pp:,}pp'}."
        ]
        for role, kind in ((Role.OWNER, "Owner"), (Role.OFFICER, "Officers"), (Role.MEMBER, "Members")):
            names = [chat_name(member.name) for member in members if member.clan_priv == role]
            if names:
                more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
                lines.append(f"{kind}: {', '.join(names[:NAMED_MAX])}{more}")
        return lines

    async def listed(self, context: CommandContext, page: int | None) -> Sequence[str]:
        """`!clan list`."""
        number = page or 1
        first = (number - 1) * PAGE
        found, total = await self._clans.board(0, limit=PAGE, offset=first)
        if not total:
            return ("There are no ranked clans yet.",)
        if not found:
            return ("This page does not exist.",)
        lines = [
            f"#{first + place} [{chat_text(clan.tag)}] {chat_text(clan.name)}: {clan.pp:,}pp, {clan.members} ranked"
            for place, clan in enumerate(found, 1)
        ]
        return [*lines, f"Page {number} of {-(-total // PAGE)}, {total} clan{'' if total == 1 else 's'}."]

    # --- members

    async def leave(self, context: CommandContext) -> Sequence[str]:
        """`!clan leave`."""
        seat = await self._seat(context)
        await self._acts.leave(context.session.user_id, seat.clan_id)
        return (f"You have left {_titled(seat)}.",)

    async def invite(self, context: CommandContext, who: str, reset: str | None) -> Sequence[str]:
        """`!clan invite`: a player, or `code`."""
        if who.lower() == "code":
            return await self._code(context, reset=reset is not None)
        if reset is not None:
            raise BadArgument("Too many arguments.")
        user = await self._bot.player(context, who)
        seat = await self._seat(context)
        await self._acts.invite(context.session.user_id, seat.clan_id, user.id)
        days = self._acts.rules.invite_days
        return (f"{chat_name(user.name)} is invited to {_titled(seat)} for {days} {'day' if days == 1 else 'days'}.",)

    async def _code(self, context: CommandContext, *, reset: bool) -> Sequence[str]:
        seat = await self._seat(context)
        code = await self._acts.code(context.session.user_id, seat.clan_id, reset=reset)
        return (f"The code of {_titled(seat)} is {code}. Players join with: !clan join {code}",)

    async def join(self, context: CommandContext, which: str) -> Sequence[str]:
        """`!clan join`."""
        user_id = context.session.user_id
        if clan_tag_fault(which) is None:
            joined = await self._acts.join(user_id, (await self._with_tag(which)).id)
        else:
            joined = await self._acts.join_by_code(user_id, which[: 2 * CODE_LENGTH])
        clan = f"[{chat_text(joined.tag)}] {chat_text(joined.name)}"
        if joined.state == "joined":
            return (f"You are now a member of {clan}.",)
        return (f"You have asked to join {clan}. An officer can accept you.",)

    async def requests(self, context: CommandContext) -> Sequence[str]:
        """`!clan requests`."""
        seat = await self._seat(context)
        found = await self._acts.requests(context.session.user_id, seat.clan_id)
        if not found:
            return ("There are no open requests.",)
        names = [chat_name(one.name) for one in found[:PAGE]]
        more = f" and {len(found) - PAGE} more" if len(found) > PAGE else ""
        return (f"{len(found)} {'player wants' if len(found) == 1 else 'players want'} to join: "
                f"{', '.join(names)}{more}",)  # fmt: skip

    async def accept(self, context: CommandContext, user: User | None) -> Sequence[str]:
        """`!clan accept`."""
        return await self._answer(context, user, accept=True)

    async def deny(self, context: CommandContext, user: User | None) -> Sequence[str]:
        """`!clan deny`."""
        return await self._answer(context, user, accept=False)

    async def _answer(self, context: CommandContext, user: User | None, *, accept: bool) -> Sequence[str]:
        seat = await self._seat(context)
        by = context.session.user_id
        if user is None:
            # Without a name the only open request is meant.
            found = await self._acts.requests(by, seat.clan_id)
            if len(found) != 1:
                return await self.requests(context)
            player, name = found[0].id, found[0].name
        else:
            player, name = user.id, user.name
        try:
            await self._acts.answer(by, seat.clan_id, player, accept=accept)
        except NotFound:
            return (f"{chat_name(name)} has not asked to join.",)
        if accept:
            return (f"{chat_name(name)} is now a member of {_titled(seat)}.",)
        return (f"The request of {chat_name(name)} is denied.",)

    async def kick(self, context: CommandContext, user: User) -> Sequence[str]:
        """`!clan kick`."""
        seat = await self._seat(context)
        await self._acts.kick(context.session.user_id, seat.clan_id, user.id)
        return (f"{chat_name(user.name)} is no longer a member of {_titled(seat)}.",)

    async def promote(self, context: CommandContext, user: User) -> Sequence[str]:
        """`!clan promote`."""
        seat = await self._seat(context)
        await self._acts.promote(context.session.user_id, seat.clan_id, user.id)
        return (f"{chat_name(user.name)} is now an officer of {_titled(seat)}.",)

    async def demote(self, context: CommandContext, user: User) -> Sequence[str]:
        """`!clan demote`."""
        seat = await self._seat(context)
        await self._acts.demote(context.session.user_id, seat.clan_id, user.id)
        return (f"{chat_name(user.name)} is now a member of {_titled(seat)} without an office.",)

    async def transfer(self, context: CommandContext, user: User) -> Sequence[str]:
        """`!clan transfer`."""
        seat = await self._seat(context)
        await self._acts.transfer(context.session.user_id, seat.clan_id, user.id)
        return (f"{chat_name(user.name)} is now the owner of {_titled(seat)}. You are an officer.",)

    # --- the clan itself

    async def rename(self, context: CommandContext, name: str) -> Sequence[str]:
        """`!clan rename`. Administrators write the tag of another clan first."""
        clan_id, value, as_staff = await self._target(context, name)
        await self._edit(context, clan_id, as_staff=as_staff, name=value)
        return (f"The clan is now named {chat_text(value)}.",)

    async def tag(self, context: CommandContext, tag: str, new_tag: str | None) -> Sequence[str]:
        """`!clan tag`. Administrators write the present tag of another clan first."""
        clan_id, value, as_staff = await self._target(context, tag if new_tag is None else " ".join((tag, new_tag)))
        await self._edit(context, clan_id, as_staff=as_staff, tag=value)
        return (f"The clan now has the tag {chat_text(value.upper())}.",)

    async def status(self, context: CommandContext, status: str, of_clan: str | None) -> Sequence[str]:
        """`!clan status`. Administrators write the tag of another clan first."""
        line = status if of_clan is None else " ".join((status, of_clan))
        clan_id, value, as_staff = await self._target(context, line)
        if value.lower() not in FORMS:
            raise BadArgument(f"status must be one of {', '.join(FORMS)}.")
        form = FORMS[value.lower()]
        await self._edit(context, clan_id, as_staff=as_staff, form=form)
        return (f"The clan is now {_form(form)}.",)

    async def description(self, context: CommandContext, text: str | None) -> Sequence[str]:
        """`!clan description`. Without a text it removes the description."""
        clan_id = (await self._seat(context)).clan_id
        await self._edit(context, clan_id, as_staff=False, description=text or "")
        return ("The description of the clan is changed." if text else "The description of the clan is removed.",)

    async def _target(self, context: CommandContext, line: str) -> tuple[int, str, bool]:
        """Return the clan, the value, and whether the author acts as staff.

        The first word of an administrator's line can be the tag of a clan, if other words follow.
        """
        first, _, rest = line.partition(" ")
        value = rest.strip()
        if value and await self._staff.may_manage(actor_of(context)):
            seat = await self._acts.seat(context.session.user_id)
            try:
                clan = await self._with_tag(first)
            except NotFound:
                if seat is None:
                    raise
            else:
                own = seat is not None and seat.clan_id == clan.id and seat.role == Role.OWNER
                return clan.id, value, not own
        return (await self._seat(context)).clan_id, line, False

    async def _edit(self, context: CommandContext, clan_id: int, *, as_staff: bool, **changes: Any) -> None:
        if as_staff:
            await self._staff.edit(actor_of(context), clan_id, **changes)
        else:
            await self._acts.edit(context.session.user_id, clan_id, **changes)

    # --- parts

    async def _seat(self, context: CommandContext) -> ClanSeat:
        return await self._acts.own(context.session.user_id)

    async def _with_tag(self, tag: str) -> Clan:
        if clan_tag_fault(tag) is not None:
            raise NotFound("clan")
        return await self._directory.with_tag(tag)

    def _shown(self, clan_id: int, tag: str, name: str) -> str:
        return f"[{chat_text(tag)}] {chat_link(self._link(f'clans/{clan_id}'), name)}"

    def commands(self) -> list[BotCommand]:
        """Return the declarations of the `!clan` commands."""
        tag, name = Argument("tag"), Argument("name", ArgumentKind.TEXT)
        page = Argument("page", ArgumentKind.NUMBER, optional=True, least=1, most=400)
        reset = Argument("reset", ArgumentKind.CHOICE, optional=True, choices=("reset",))
        who, which = Argument("user|code"), Argument("code|tag")
        status = Argument("status", choices=tuple(FORMS))
        second = Argument("of_clan", optional=True)
        rows: tuple[tuple[str, tuple[str, ...], Any, tuple[Argument, ...], str, str], ...] = (
            ("help", ("h",), self.help, (), "", "Lists the `!clan` commands."),
            ("create", ("c",), self.create, (tag, name), "", "Founds a clan."),
            ("info", ("i",), self.info, (TAG,), "", "Shows your clan or another."),
            ("list", ("l",), self.listed, (page,), "", "Lists clans by pp."),
            ("join", ("j",), lambda context, **given: self.join(context, given[which.key]), (which,), "",
             "Joins a clan: with its code, by invitation, or as its status says."),
            ("leave", (), self.leave, (), "", "Leaves your clan."),
            ("invite", ("inv",), lambda context, **given: self.invite(context, given[who.key], given["reset"]),
             (who, reset), "", "Invites a player, or shows the code with which players can join; `reset` replaces it. "
             "For officers."),
            ("requests", (), self.requests, (), "", "Lists the players who want to join. For officers."),
            ("accept", (), self.accept, (ANY_USER,), "", "Accepts a request. For officers."),
            ("deny", (), self.deny, (ANY_USER,), "", "Denies a request. For officers."),
            ("kick", ("k",), self.kick, (USER,), "", "Removes a member. For officers."),
            ("promote", (), self.promote, (USER,), "", "Makes a member an officer. For the owner."),
            ("demote", (), self.demote, (USER,), "", "Makes an officer a member. For the owner."),
            ("transfer", (), self.transfer, (USER,), "", "Makes a member the owner. For the owner."),
            ("rename", (), self.rename, (name,), "clan_edit",
             "Renames your clan. For the owner; administrators write the tag of a clan first."),
            ("tag", (), self.tag, (tag, Argument("new_tag", optional=True)), "clan_edit",
             "Changes the tag. For the owner; administrators write the present tag first."),
            ("status", (), self.status, (status, second), "clan_edit",
             "Sets how players join: `closed`, `open`, `invite` or `request`. For the owner; administrators write the "
             "tag of a clan first."),
        )  # fmt: skip
        rows += (
            ("description", ("desc",), self.description, (Argument("text", ArgumentKind.TEXT, optional=True),), "",
             "Changes the description on the clan's page, or removes it. For the owner."),
        )  # fmt: skip
        commands = [
            BotCommand(
                name=name_,
                aliases=aliases,
                handler=handler,
                arguments=arguments,
                audit=audit,
                help=about,
                hidden=True,
                group=GROUP,
                lines_max=PAGE + 1,
            )
            for name_, aliases, handler, arguments, audit, about in rows
        ]
        disband = BotCommand(
            name="disband",
            aliases=("delete", "d"),
            handler=self.disband,
            confirm=self.confirm_disband,
            arguments=(TAG,),
            audit="clan_disband",
            help="Disbands your clan. For the owner; administrators can name another clan.",
            hidden=True,
            group=GROUP,
        )
        return [*commands, disband]


def _titled(seat: ClanSeat) -> str:
    return f"[{chat_text(seat.tag)}] {chat_text(seat.name)}"


def _form(joining: int) -> str:
    return {
        JoinForm.CLOSED: "closed",
        JoinForm.OPEN: "open to everybody",
        JoinForm.INVITE: "by invitation or code",
        JoinForm.REQUEST: "by request",
    }[JoinForm(joining)]
