"""Commands about sessions: the build of a client, a login again, and which ranks the client shows."""

from collections.abc import Sequence

from kiai.accounts import User
from kiai.chat.bot import Argument, ArgumentKind, BotCommand, CommandContext
from kiai.faces.bot.acting import actor_of
from kiai.osu.texts import chat_name, chat_text
from kiai.presence import Presence
from kiai.staff.clients import Clients
from kiai.staff.kicks import Kicks


class SessionCommands:
    """Handlers of the commands. They concern the author; staff can use the first two on other players."""

    def __init__(self, presence: Presence, kicks: Kicks, clients: Clients) -> None:
        self._presence = presence
        self._kicks = kicks
        self._clients = clients

    async def client(self, context: CommandContext, user: User | None) -> Sequence[str]:
        """`!client`."""
        if user is None or user.id == context.session.user_id:
            return (f"Your client is {chat_text(context.session.client)}.",)
        builds = await self._clients.builds_of(actor_of(context), user)
        if not builds:
            return (f"{chat_name(user.name)} is not online.",)
        return (f"{chat_name(user.name)} has {', '.join(map(chat_text, builds))}.",)

    async def reconnect(self, context: CommandContext, user: User | None) -> Sequence[str]:
        """`!reconnect`."""
        if user is None or user.id == context.session.user_id:
            await self._presence.end_sessions_of(context.session.user_id)
            return ()
        await self._kicks.reconnect(actor_of(context), user.id)
        return (f"The client of {chat_name(user.name)} logs in again.",)

    async def ranking(self, context: CommandContext, by: str) -> Sequence[str]:
        """`!ranking`."""
        await self._presence.show_ranks(context.session, by_score=by == "score")
        measure = "ranked score" if by == "score" else "pp"
        return (f"Your client shows ranks by {measure} now, until you log out.",)

    def commands(self) -> list[BotCommand]:
        """Return the declarations of these commands."""
        user = Argument("user", ArgumentKind.USER, optional=True)
        return [
            BotCommand(
                name="client",
                aliases=("version",),
                handler=self.client,
                help="Shows the version of your client. Moderators can name another player.",
                arguments=(user,),
                hidden=True,
            ),
            BotCommand(
                name="reconnect",
                aliases=("rc",),
                handler=self.reconnect,
                help="Makes your client log in again. Administrators can name another player.",
                arguments=(user,),
                audit="kick",
                hidden=True,
            ),
            BotCommand(
                name="ranking",
                handler=self.ranking,
                help="Lets your client show the ranks of players by pp or by ranked score, until you log out.",
                arguments=(Argument("by", ArgumentKind.CHOICE, choices=("pp", "score")),),
                hidden=True,
            ),
        ]
