"""The table of commands after the login: number of parameters, price and handler."""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from kiai.faces.irc.channels import TARGETS_MAX as CHANNELS_MAX
from kiai.faces.irc.channels import ChannelCommands
from kiai.faces.irc.connection import HEAVY, Connection
from kiai.faces.irc.login import IrcLogin
from kiai.faces.irc.people import PeopleCommands
from kiai.faces.irc.talking import TARGETS_MAX as TEXTS_MAX
from kiai.faces.irc.talking import Talking

Params = tuple[str, ...]
Handler = Callable[[Connection, Params], Awaitable[None]]

SHOWN_MAX: Final = 32
CHEAP: Final = 1.0


class IrcCommand(msgspec.Struct, frozen=True):
    """A command: its handler, the parameters that it needs, and its price (`connection.COMMANDS_PER_S`).

    `targets`: the price is for each of the names in the first parameter, of which the command reads this many.
    """

    handler: Handler
    needs: int = 0
    price: float = CHEAP
    targets: int = 1

    def price_of(self, params: Params) -> float:
        """Return the price of the command with these parameters."""
        return self.price * min(self.targets, 1 + params[0].count(",")) if params else self.price


class Commands:
    """Dispatches the lines of a connection."""

    def __init__(self, login: IrcLogin, channels: ChannelCommands, talking: Talking, people: PeopleCommands) -> None:
        self._login = login
        self._channels = channels
        self._talking = talking
        self._table = {
            # Texts have a limit of their own, but not those of staff, and a refused text costs work, too.
            "PRIVMSG": IrcCommand(self._privmsg, 2, CHEAP, TEXTS_MAX),
            "NOTICE": IrcCommand(self._notice, 2, CHEAP, TEXTS_MAX),
            "PING": IrcCommand(_ping, 1),
            "PONG": IrcCommand(_nothing),
            "QUIT": IrcCommand(_quit),
            "CAP": IrcCommand(login.handle_capabilities),
            "PASS": IrcCommand(_registered),
            "USER": IrcCommand(_registered),
            "NICK": IrcCommand(_nick, 1),
            "JOIN": IrcCommand(channels.join, 1, HEAVY, CHANNELS_MAX),
            "PART": IrcCommand(channels.part, 1, CHEAP, CHANNELS_MAX),
            "NAMES": IrcCommand(channels.names, 0, HEAVY, CHANNELS_MAX),
            "LIST": IrcCommand(channels.list_all, 0, HEAVY),
            "TOPIC": IrcCommand(channels.topic, 1),
            "MODE": IrcCommand(self._mode, 1),
            "WHO": IrcCommand(people.who, 0, HEAVY),
            "WHOIS": IrcCommand(people.whois, 1, HEAVY / 2),
            "ISON": IrcCommand(people.ison, 1, HEAVY),
            "USERHOST": IrcCommand(people.userhost, 1, HEAVY),
            "AWAY": IrcCommand(talking.away, 0),
            "LUSERS": IrcCommand(people.lusers),
            "MOTD": IrcCommand(self._motd),
            "VERSION": IrcCommand(people.version),
            "TIME": IrcCommand(people.time),
            "KICK": IrcCommand(_not_operator, 2),
            "INVITE": IrcCommand(_not_inviting, 2),
            "OPER": IrcCommand(_oper, 2),
        }

    async def handle(self, connection: Connection, command: str, params: Params) -> float:
        """Handle one line and return its price."""
        if connection.session is None:
            await self._login.handle(connection, command, params)
            return CHEAP
        found = self._table.get(command)
        if found is None:
            connection.reply("421", command[:SHOWN_MAX], text="Unknown command")
            return CHEAP
        if len(params) < found.needs or (found.needs and not params[0]):
            connection.reply("461", command, text="Not enough parameters")
            return CHEAP
        await found.handler(connection, params)
        return found.price_of(params)

    async def _privmsg(self, connection: Connection, params: Params) -> None:
        await self._talking.send(connection, params, for_bot=True)

    async def _notice(self, connection: Connection, params: Params) -> None:
        await self._talking.send(connection, params, for_bot=False)

    async def _mode(self, connection: Connection, params: Params) -> None:
        if params[0].startswith("#"):
            await self._channels.mode(connection, params)
        elif params[0].lower() != connection.nick.lower():
            connection.reply("502", text="Cannot change mode for other users")
        elif len(params) > 1:
            connection.reply("501", text="Unknown MODE flag")
        else:
            connection.reply("221", "+")

    async def _motd(self, connection: Connection, params: Params) -> None:
        del params
        self._login.message_of_the_day(connection)


async def _nothing(connection: Connection, params: Params) -> None:
    del connection, params


async def _ping(connection: Connection, params: Params) -> None:
    server = connection.names.server
    connection.send(f":{server} PONG {server} :{params[0]}")


async def _quit(connection: Connection, params: Params) -> None:
    del params
    connection.close("Closing link")


async def _registered(connection: Connection, params: Params) -> None:
    del params
    connection.reply("462", text="You may not reregister")


async def _nick(connection: Connection, params: Params) -> None:
    if params[0].lower() != connection.nick.lower():
        connection.reply("484", text="Your nick is the name of your account")


async def _not_operator(connection: Connection, params: Params) -> None:
    connection.reply("482", params[0], text="You're not channel operator")


async def _not_inviting(connection: Connection, params: Params) -> None:
    connection.reply("482", params[1], text="You're not channel operator")


async def _oper(connection: Connection, params: Params) -> None:
    del params
    connection.reply("491", text="No O-lines for your host")
