"""Commands of staff.

They call the services that the admin pages and the command line use. The services check permissions and ranks.
"""

from collections.abc import Sequence
from typing import Final

from kiai.accounts import User
from kiai.chat.bot import Argument, ArgumentKind, BotCommand, CommandContext
from kiai.chat.model import is_instance
from kiai.errors import Refused
from kiai.faces.bot.acting import actor_of
from kiai.osu.texts import chat_name, chat_text
from kiai.staff import Staff
from kiai.staff.announcements import Announcements
from kiai.staff.channel_desk import ChannelDesk
from kiai.staff.service import check_roles

USER: Final = Argument("user", ArgumentKind.USER)
ROLES: Final = Argument("roles", ArgumentKind.TEXT, check=check_roles)
REASON: Final = Argument("reason", ArgumentKind.REASON)


class ModerationCommands:
    """Handlers of the commands of staff."""

    def __init__(self, staff: Staff, announcements: Announcements, channel_desk: ChannelDesk) -> None:
        self._staff = staff
        self._announcements = announcements
        self._channel_desk = channel_desk

    async def add_privilege(self, context: CommandContext, user: User, roles: str) -> Sequence[str]:
        """`!addpriv`."""
        account = await self._staff.grant(actor_of(context), user.name, roles.split())
        return (f"{chat_name(account.name)} has {_roles(roles)} now.",)

    async def remove_privilege(self, context: CommandContext, user: User, roles: str) -> Sequence[str]:
        """`!rmpriv`."""
        account = await self._staff.revoke(actor_of(context), user.name, roles.split())
        return (f"{chat_name(account.name)} no longer has {_roles(roles)}.",)

    async def add_nominator(self, context: CommandContext, user: User) -> Sequence[str]:
        """`!addbn`."""
        return await self.add_privilege(context, user, "nominator")

    async def remove_nominator(self, context: CommandContext, user: User) -> Sequence[str]:
        """`!removebn`."""
        return await self.remove_privilege(context, user, "nominator")

    async def whitelist(self, context: CommandContext, user: User, reason: str) -> Sequence[str]:
        """`!whitelist`."""
        await self._staff.whitelist(actor_of(context), user.id, reason, on=True)
        return (f"{chat_name(user.name)} is whitelisted: {chat_text(reason)}",)

    async def unwhitelist(self, context: CommandContext, user: User, reason: str) -> Sequence[str]:
        """`!unwhitelist`."""
        await self._staff.whitelist(actor_of(context), user.id, reason, on=False)
        return (f"{chat_name(user.name)} is not whitelisted any more.",)

    async def alert(self, context: CommandContext, text: str) -> Sequence[str]:
        """`!alert`."""
        await self._announcements.alert_all(actor_of(context), text)
        return ("Sent a notification to all online players.",)

    async def alert_user(self, context: CommandContext, user: User, text: str) -> Sequence[str]:
        """`!alertuser`."""
        await self._announcements.alert(actor_of(context), user, text)
        return (f"Sent a notification to {chat_name(user.name)}.",)

    async def announce(self, context: CommandContext, text: str) -> Sequence[str]:
        """`!announce`."""
        await self._announcements.post(actor_of(context), text)
        return ("Posted in #announce.",)

    async def moderated(self, context: CommandContext, on: str | None) -> Sequence[str]:
        """`!moderated`."""
        if not context.channel or is_instance(context.channel):
            raise Refused("only public channels can be moderated")
        wanted = None if on is None else on == "on"
        channel = await self._channel_desk.set_moderated(actor_of(context), context.channel, wanted)
        if channel.moderated:
            return ("Only staff can write in this channel now.",)
        return ("Everyone can write in this channel again.",)

    def commands(self) -> list[BotCommand]:
        """Return the declarations of the commands of staff."""
        text = Argument("text", ArgumentKind.TEXT)
        on_off = Argument("on", ArgumentKind.CHOICE, optional=True, choices=("on", "off"))
        rows = (
            ("addpriv", ("ap",), self.add_privilege, "users.privileges", (USER, ROLES), "privileges",
             "Gives a player roles."),
            ("rmpriv", ("rp",), self.remove_privilege, "users.privileges", (USER, ROLES), "privileges",
             "Takes roles from a player."),
            ("addbn", (), self.add_nominator, "users.privileges", (USER,), "privileges", "Makes a player a nominator."),
            ("removebn", (), self.remove_nominator, "users.privileges", (USER,), "privileges",
             "Takes the role of a nominator from a player."),
            ("whitelist", (), self.whitelist, "users.whitelist", (USER, REASON), "privileges",
             "Exempts a player from automatic actions against cheating."),
            ("unwhitelist", (), self.unwhitelist, "users.whitelist", (USER, REASON), "privileges",
             "Ends that exemption."),
            ("alert", ("alertall", "broadcast"), self.alert, "alerts.send", (text,), "alert_all",
             "Shows a notification to everybody online."),
            ("alertuser", ("alertu",), self.alert_user, "alerts.send", (USER, text), "alert_user",
             "Shows a notification to a player."),
            ("announce", (), self.announce, "announce.post", (text,), "announce", "Posts a line in #announce."),
        )  # fmt: skip
        # All hidden except `!moderated`, which concerns everyone in the channel.
        commands = [
            BotCommand(
                name=name,
                aliases=aliases,
                handler=handler,
                permission=permission,
                arguments=arguments,
                audit=action,
                help=about,
                hidden=True,
            )
            for name, aliases, handler, permission, arguments, action, about in rows
        ]
        moderated = BotCommand(
            name="moderated",
            handler=self.moderated,
            permission="chat.moderate",
            arguments=(on_off,),
            audit="channel_moderated",
            help="Allows only staff to write in this channel, or everybody again.",
        )
        return [*commands, moderated]


def _roles(roles: str) -> str:
    return "the role " + ", ".join(map(chat_text, roles.split()))
