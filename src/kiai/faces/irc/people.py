"""Commands about players and the server: WHO, WHOIS, ISON, USERHOST, LUSERS, VERSION and TIME."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

from kiai.accounts import Accounts, User, Viewer
from kiai.chat.channels import Channels
from kiai.clock import Clock
from kiai.errors import NotFound
from kiai.faces.irc.channels import ChannelCommands
from kiai.faces.irc.connection import Connection
from kiai.faces.irc.names import BOT_NICK, nick_of
from kiai.osu.names import safe_name
from kiai.osu.privileges import effective
from kiai.realtime.port import BOT_ID, Realtime, Session

NICKS_MAX: Final = 10
"""Nicks in one ISON or USERHOST; further ones are ignored."""
NAME_MAX: Final = 64


class PeopleCommands:
    """The commands. `online_count`: the number of players online that the website and the API show, too."""

    def __init__(
        self,
        channels: ChannelCommands,
        rows: Channels,
        accounts: Accounts,
        realtime: Realtime,
        clock: Clock,
        *,
        bot_name: str,
        version: str,
        online_count: Callable[[], Awaitable[int]],
    ) -> None:
        self._channels = channels
        self._rows = rows
        self._accounts = accounts
        self._realtime = realtime
        self._clock = clock
        self._bot_names = {safe_name(BOT_NICK), safe_name(bot_name)}
        self._version = version
        self._online_count = online_count

    async def who(self, connection: Connection, params: tuple[str, ...]) -> None:
        """WHO."""
        target = params[0] if params else "*"
        if target.startswith("#"):
            await self._channels.who(connection, target)
            return
        names = connection.names
        found = await self._online(connection, target)
        if found is not None:
            user_id, name, sessions = found
            away = "G" if any(session.away for session in sessions) else "H"
            shown = names.nick(user_id, name)
            connection.reply("352", "*", "cho", names.host, names.server, shown, away, text=f"0 {name}")
        connection.reply("315", target[:NAME_MAX], text="End of /WHO list.")

    async def whois(self, connection: Connection, params: tuple[str, ...]) -> None:
        """WHOIS. Tools read the player's id from the link in 311."""
        nick = params[-1].split(",")[0][:NAME_MAX]
        found = await self._online(connection, nick)
        if found is None:
            connection.reply("401", nick or "*", text="No such nick")
        else:
            user_id, name, sessions = found
            names = connection.names
            nick = names.nick(user_id, name)
            link = f"{names.links}u/{user_id}"
            connection.reply("311", nick, link, "*", text=link)
            if channels := self._channels.channels_of(connection, sessions):
                await connection.words("319", nick, words=channels)
            connection.reply("312", nick, names.server, text="osu! server")
            if away := next((session.away for session in sessions if session.away), ""):
                connection.reply("301", nick, text=away)
        connection.reply("318", nick or "*", text="End of /WHOIS list.")

    async def ison(self, connection: Connection, params: tuple[str, ...]) -> None:
        """ISON."""
        online = [nick for nick in _nicks(params) if await self._online(connection, nick) is not None]
        await connection.words("303", words=online)

    async def userhost(self, connection: Connection, params: tuple[str, ...]) -> None:
        """USERHOST."""
        words = []
        for nick in _nicks(params):
            found = await self._online(connection, nick)
            if found is not None:
                user_id, name, sessions = found
                away = "-" if any(session.away for session in sessions) else "+"
                shown = connection.names.nick(user_id, name)
                words.append(f"{shown}={away}cho@{connection.names.host}")
        await connection.words("302", words=words)

    async def lusers(self, connection: Connection, params: tuple[str, ...]) -> None:
        """LUSERS."""
        del params
        users = await self._online_count()
        channels = len(self._rows.readable(connection.known.priv))
        connection.reply("251", text=f"There are {users} users and 0 invisible on 1 servers")
        connection.reply("252", "0", text="operator(s) online")
        connection.reply("254", str(channels), text="channels formed")
        connection.reply("255", text=f"I have {users} clients and 0 servers")

    async def version(self, connection: Connection, params: tuple[str, ...]) -> None:
        """VERSION."""
        del params
        connection.reply("351", f"kiai-{self._version}", connection.names.server, text="osu! server")

    async def time(self, connection: Connection, params: tuple[str, ...]) -> None:
        """TIME."""
        del params
        now = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
        connection.reply("391", connection.names.server, text=now.strftime("%a %b %d %Y %H:%M:%S UTC"))

    async def _online(self, connection: Connection, nick: str) -> tuple[int, str, list[Session]] | None:
        """Return id, name and sessions of a player who is visibly online, or of the bot, which has none."""
        if safe_name(nick) in self._bot_names:
            return BOT_ID, BOT_NICK, []
        user = await self._user(connection.known, nick)
        if user is None or nick_of(user.name).lower() != nick_of(nick).lower():  # a former name is no nick
            return None
        sessions = [session for session in await self._realtime.sessions_of(user.id) if not session.hidden]
        return (user.id, user.name, sessions) if sessions else None

    async def _user(self, asker: Session, nick: str) -> User | None:
        if not 0 < len(nick) <= NAME_MAX or not nick.isprintable():
            return None
        try:
            return await self._accounts.user(Viewer(asker.user_id, effective(asker.priv)), name=nick)
        except NotFound:
            return None


def _nicks(params: tuple[str, ...]) -> list[str]:
    return [nick for param in params for nick in param.split(" ") if nick][:NICKS_MAX]
