"""Commands about the server and about the match in whose channel they are written."""

from collections.abc import Awaitable, Callable, Sequence

from kiai.chat.bot import BotCommand, CommandContext, CommandScope
from kiai.chat.model import match_of
from kiai.clock import Clock
from kiai.errors import NotFound
from kiai.multiplayer.match import Match
from kiai.osu.texts import chat_link
from kiai.realtime.port import Realtime
from kiai.version import VERSION


class ServerCommands:
    """Handlers of `!server` and `!current`. `online_count`: the number that the website and the API show, too."""

    def __init__(
        self,
        realtime: Realtime,
        clock: Clock,
        title: str,
        link: Callable[[str], str],
        online_count: Callable[[], Awaitable[int]],
    ) -> None:
        self._realtime = realtime
        self._clock = clock
        self._title = title
        self._link = link
        self._online_count = online_count
        # Monotonic, so that setting the system clock does not change the uptime. Each worker has its own.
        self._started = clock.monotonic()

    async def server(self, context: CommandContext) -> Sequence[str]:
        """`!server`."""
        up_s = round(self._clock.monotonic() - self._started)
        days, hours, minutes = up_s // 86_400, up_s // 3_600 % 24, up_s // 60 % 60
        online = await self._online_count()
        return (f"{self._title}, kiai {VERSION}, up {days}d {hours}h {minutes}m, {online} players online.",)

    async def current(self, context: CommandContext) -> Sequence[str]:
        """`!current`."""
        match = await self._realtime.match(match_of(context.channel) or 0, Match)
        if match is None:
            raise NotFound("match")
        if match.map_id <= 0:
            return ("The host is choosing a map.",)
        return (chat_link(self._link(f"b/{match.map_id}"), match.map_name),)

    def commands(self) -> list[BotCommand]:
        """Return the declarations of `!server` and `!current`."""
        return [
            BotCommand(
                name="server",
                aliases=("status",),
                handler=self.server,
                help="Shows the server's name, version, uptime and number of online players.",
            ),
            BotCommand(
                name="current",
                aliases=("c",),
                handler=self.current,
                help="Shows the selected map.",
                scope=CommandScope.MATCH,
            ),
        ]
