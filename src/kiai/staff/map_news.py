"""News about requests and statuses of maps: lines in #announce and #staff, and answers to requests.

    commit --outbox rows--> MapNews --lines--> #announce, #staff, the players who requested the set

At most one line in two seconds goes to #announce: the latest status, and the number of the others.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from kiai.accounts import Accounts
from kiai.beatmaps import Beatmap, Beatmaps, MapStatus
from kiai.beatmaps.model import full_title
from kiai.beatmaps.ranking import ANSWERS, RequestsAnswer
from kiai.chat.service import Chat
from kiai.errors import NotFound
from kiai.osu.texts import chat_link, chat_name
from kiai.staff.map_statuses import NEWS, News
from kiai.staff.player_lines import PlayerLines
from kiai.storage.outbox import Outbox

ANNOUNCE: Final = "#announce"
STAFF: Final = "#staff"
SAY_EVERY_S: Final = 2.0
WAITING_MAX: Final = 1_000
"""Statuses that wait for the next line. One is announced and the others are counted; the oldest are dropped first."""


class MapNews:
    """Receives the news from the outbox. `link` turns a path into the URL that players see.

    `announces`: whether statuses go to #announce.
    """

    def __init__(
        self,
        beatmaps: Beatmaps,
        accounts: Accounts,
        chat: Chat,
        lines: PlayerLines,
        link: Callable[[str], str],
        outbox: Outbox,
        *,
        announces: bool,
    ) -> None:
        self._beatmaps = beatmaps
        self._accounts = accounts
        self._chat = chat
        self._lines = lines
        self._link = link
        self._announces = announces
        self._waiting: list[News] = []
        outbox.subscribe(NEWS, self.deliver)
        outbox.subscribe(ANSWERS, self.answer)

    async def deliver(self, payloads: Sequence[str]) -> None:
        """Post lines for staff, and collect those for #announce. The outbox calls this, possibly twice."""
        for payload in payloads:
            news = msgspec.json.decode(payload, type=News)
            if news.changed:
                await self._write_to_staff(news)
            elif self._announces:
                self._waiting = [*self._waiting, news][-WAITING_MAX:]

    async def answer(self, payloads: Sequence[str]) -> None:
        """Send the answers to requests, as mail to players who are offline. The outbox calls this, possibly twice."""
        for payload in payloads:
            found = msgspec.json.decode(payload, type=RequestsAnswer)
            for user_id in found.user_ids:
                await self._lines.send(user_id, found.text, as_mail=True)

    async def say(self) -> None:
        """Announce the latest status, and the number of the others. A job calls this every `SAY_EVERY_S` seconds."""
        # Swap before the first await: news delivered in the meantime belongs to the next line.
        waiting, self._waiting = self._waiting, []
        for news in reversed(waiting):
            beatmap = await self._map(news)
            if beatmap is not None and beatmap.status == news.status:  # else it has changed again
                more = f" (and {len(waiting) - 1} more)" if len(waiting) > 1 else ""
                await self._post(ANNOUNCE, await self._line(news, beatmap) + more)
                return

    async def _line(self, news: News, beatmap: Beatmap) -> str:
        title = full_title(beatmap) if news.maps == 1 else f"{beatmap.artist} - {beatmap.title}"
        maps = "" if news.maps == 1 else f" ({news.maps} maps)"
        status = MapStatus(news.status).name.lower()
        by = (await self._accounts.names_of([news.actor_id])).get(news.actor_id)  # None for hidden staff
        actor = f", by {chat_name(by)}" if by else ""
        return f"{chat_link(self._link(f'b/{beatmap.id}'), title)}{maps} is now {status}{actor}"

    async def _write_to_staff(self, news: News) -> None:
        beatmap = await self._map(news)
        if beatmap is not None:
            text = "has changed upstream. The map is pending until a nominator sets its status again."
            title = chat_link(self._link(f"b/{beatmap.id}"), full_title(beatmap))
            await self._post(STAFF, f"{title} {text}")

    async def _map(self, news: News) -> Beatmap | None:
        try:
            return await self._beatmaps.find(id=news.map_id)
        except NotFound:
            return None

    async def _post(self, channel: str, text: str) -> None:
        try:
            await self._chat.post(channel, text)
        except NotFound:  # the operator has removed the channel
            return
