"""`!maplink`: where to download the map that a player plays, watches or has named with `/np`."""

from collections.abc import Callable, Sequence

from kiai.beatmaps import Beatmap, Beatmaps
from kiai.beatmaps.mirrors import Mirrors
from kiai.chat.bot import BotCommand, CommandContext
from kiai.errors import NotFound
from kiai.faces.bot.now_playing import NowPlaying
from kiai.multiplayer.match import Match
from kiai.osu.texts import chat_link
from kiai.realtime.port import Realtime, Session


class MapLinks:
    """The handler of `!maplink`. `link` makes a link to a page of this server."""

    def __init__(
        self,
        now_playing: NowPlaying,
        beatmaps: Beatmaps,
        mirrors: Mirrors,
        realtime: Realtime,
        link: Callable[[str], str],
    ) -> None:
        self._now_playing = now_playing
        self._beatmaps = beatmaps
        self._mirrors = mirrors
        self._realtime = realtime
        self._link = link

    async def maplink(self, context: CommandContext) -> Sequence[str]:
        """`!maplink`."""
        beatmap = await self._map(context.session)
        url = self._mirrors.download_url(beatmap.set_id, video=False) or self._link(f"beatmapsets/{beatmap.set_id}")
        return (chat_link(url, f"{beatmap.artist} - {beatmap.title}"),)

    async def _map(self, session: Session) -> Beatmap:
        """Return the map of the player's match, else of the watched player, else of the last `/np`.

        Raises BadArgument without any of them.
        """
        for map_id in (await self._map_of_match(session), await self._map_of_host(session)):
            if map_id > 0:
                try:
                    return await self._beatmaps.find(id=map_id)
                except NotFound:  # a map that only the clients have
                    continue
        return (await self._now_playing.last_map(session.user_id)).beatmap

    async def _map_of_match(self, session: Session) -> int:
        match = await self._realtime.match(session.match_id, Match) if session.match_id else None
        return 0 if match is None else match.map_id

    async def _map_of_host(self, session: Session) -> int:
        host = (await self._realtime.sessions_among([session.spectating])).get(session.spectating)
        return 0 if host is None else host.status.map_id

    def commands(self) -> list[BotCommand]:
        """Return the declaration of `!maplink`."""
        return [
            BotCommand(
                name="maplink",
                aliases=("mirror", "mapdl", "bloodcat", "beatconnect", "chimu", "q"),
                handler=self.maplink,
                help="Links a download of the map of your match, of the player you watch, or of your last /np.",
            )
        ]
