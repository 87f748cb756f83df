"""First places in #announce: an action of the player who took one from somebody.

Nobody is told of a first place on an empty board, nor of one that its holder improves. Bursts become one line: at most
one every two seconds, which says how many more there were.

See docs/spec/game-rules.md#first-places-in-chat.
"""

from collections.abc import Callable, Sequence
from typing import Final

from kiai.accounts import Accounts
from kiai.beatmaps import Beatmaps
from kiai.beatmaps.model import full_title, gives_pp
from kiai.chat.service import Chat
from kiai.errors import NotFound
from kiai.osu.modes import mode_text
from kiai.osu.mods import mods_text
from kiai.osu.texts import chat_link
from kiai.scores.leaderboards import Leaderboards
from kiai.storage.outbox import Outbox

CHANNEL: Final = "#announce"
SAY_EVERY_S: Final = 2.0
WAITING_MAX: Final = 1_000


class FirstPlaceLines:
    """Collects first places and says them. `link` makes an address of a path, for players' eyes."""

    def __init__(
        self,
        leaderboards: Leaderboards,
        beatmaps: Beatmaps,
        accounts: Accounts,
        chat: Chat,
        link: Callable[[str], str],
        outbox: Outbox,
    ) -> None:
        self._leaderboards = leaderboards
        self._beatmaps = beatmaps
        self._accounts = accounts
        self._chat = chat
        self._link = link
        self._waiting: list[str] = []
        outbox.to("first_place", self._taken)

    async def _taken(self, told: Sequence[str]) -> None:
        self._waiting = [*self._waiting, *told][-WAITING_MAX:]

    async def say(self) -> None:
        """Says the latest first place that is still there, and how many others came with it. A job's work."""
        waiting, self._waiting = self._waiting, []
        lines = [line for line in [await self._line(text) for text in waiting] if line is not None]
        if not lines:
            return
        user_id, name, text = lines[-1]
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        await self._chat.act(CHANNEL, user_id, name, text + more)

    async def _line(self, told: str) -> tuple[int, str, str] | None:
        score_id, previous = map(int, told.split())
        try:
            found = await self._leaderboards.score(score_id)
            beatmap = await self._beatmaps.find(md5=found.map_md5)
        except NotFound:  # hidden meanwhile
            return None
        score = found.score
        if previous in (0, score.user_id):
            return None
        shown = chat_link(self._link(f"b/{beatmap.id}"), full_title(beatmap))
        mods = f" +{mods_text(score.mods)}" if score.mods else ""
        mode = f" ({mode_text(score.mode)})" if score.mode else ""
        worth = f"{score.pp:,.2f}pp" if gives_pp(beatmap.status) else f"{score.score:,} points"
        text = f"achieved #1 on {shown}{mods}{mode} with {score.acc:.2f}% for {worth}"
        if (former := await self._accounts.names_of([previous])).get(previous):
            text += f", taken from {chat_link(self._link(f'u/{previous}'), former[previous])}"
        return score.user_id, found.player_name, text
