"""Names as IRC clients see them: hosts, nicks, links and channels."""

from typing import Final

import msgspec

from kiai.osu.links import with_link_base
from kiai.osu.numbers import whole_number
from kiai.realtime.port import BOT_ID
from kiai.server_settings import Settings

BOT_NICK: Final = "BanchoBot"
"""The bot's nick, whatever its name in the game is: tools expect this one."""
ROOM: Final = "#mp_"
OFFICIAL_LINKS: Final = "https://osu.ppy.sh/"
OFFICIAL_HOST: Final = "ppy.sh"


class IrcNames(msgspec.Struct, frozen=True):
    """Host names and links. `host` is the part after `cho@`; links end in a slash."""

    host: str
    links: str
    own_links: str
    bot_name: str

    @property
    def server(self) -> str:
        """The name of the server."""
        return f"cho.{self.host}"

    def mask(self, nick: str) -> str:
        """Return the prefix of a user's lines, without the colon."""
        return f"{nick}!cho@{self.host}"

    def nick(self, user_id: int, name: str) -> str:
        """Return the nick of a player or of the bot."""
        return BOT_NICK if user_id == BOT_ID else nick_of(name)

    def text(self, user_id: int, text: str) -> str:
        """Return a line as IRC clients see it: in lines of the bot, links may lead to the official server."""
        return with_link_base(text, self.own_links, self.links) if user_id == BOT_ID else text


def names_of(settings: Settings) -> IrcNames:
    """Return the names that the settings choose."""
    own = f"https://osu.{settings.domain}/"
    if settings.irc_links == "own":
        return IrcNames(settings.domain, own, own, settings.bot_name)
    return IrcNames(OFFICIAL_HOST, OFFICIAL_LINKS, own, settings.bot_name)


def nick_of(name: str) -> str:
    """Return the nick of a player: a blank is `_`."""
    return name.replace(" ", "_")


def room_of(channel: str) -> int | None:
    """Return the history id in `#mp_<id>`, or None for another channel."""
    return whole_number(channel[len(ROOM) :], least=1) if channel.lower().startswith(ROOM) else None
