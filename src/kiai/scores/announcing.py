"""First places in #announce, as an action (`/me`) of the player who took one from another player.

A first place on an empty board and one that its holder improves are not announced. At most one line is sent in two
seconds: it announces the latest first place and the number of the others.

See docs/spec/game-rules.md#first-places-in-chat.
"""

from collections.abc import Callable, Sequence
from typing import Final

from kiai.accounts import Accounts
from kiai.beatmaps import Beatmaps
from kiai.beatmaps.model import full_title
from kiai.chat.service import Chat
from kiai.osu.modes import mode_text
from kiai.osu.mods import mods_text
from kiai.osu.texts import chat_link
from kiai.scores.lookup import FoundScore, ScoreLookup
from kiai.scores.rules import gives_pp
from kiai.storage.outbox import Outbox

CHANNEL: Final = "#announce"
SAY_EVERY_S: Final = 2.0
WAITING_MAX: Final = 1_000  # of them, one is announced and the others are counted; the oldest are dropped first


class FirstPlaceLines:
    """Collects first places and announces them. `link` turns a path into the URL that players see."""

    def __init__(
        self,
        lookup: ScoreLookup,
        beatmaps: Beatmaps,
        accounts: Accounts,
        chat: Chat,
        link: Callable[[str], str],
        outbox: Outbox,
    ) -> None:
        self._lookup = lookup
        self._beatmaps = beatmaps
        self._accounts = accounts
        self._chat = chat
        self._link = link
        self._waiting: list[str] = []
        outbox.subscribe("first_place", self._on_first_places)

    async def _on_first_places(self, payloads: Sequence[str]) -> None:
        self._waiting = [*self._waiting, *payloads][-WAITING_MAX:]

    async def say(self) -> None:
        """Announce the latest first place whose score is still public, and the number of the others.

        A job calls this every `SAY_EVERY_S` seconds.
        """
        # Swap before the first await: first places delivered in the meantime belong to the next line.
        waiting, self._waiting = self._waiting, []
        taken = [(score_id, previous) for score_id, previous in map(_parsed, waiting) if previous]
        # Without those whose player or score was hidden after the commit, or whose holder improved the score.
        found = await self._lookup.public([score_id for score_id, _ in taken])
        public = [
            (found[score_id], previous)
            for score_id, previous in taken
            if score_id in found and previous != found[score_id].score.user_id
        ]
        if not public:
            return
        latest, previous = public[-1]
        more = f" (and {len(public) - 1} more)" if len(public) > 1 else ""
        text = await self._text(latest, previous)
        await self._chat.act(CHANNEL, latest.score.user_id, latest.player_name, text + more)

    async def _text(self, found: FoundScore, previous: int) -> str:
        score = found.score
        beatmap = await self._beatmaps.find(md5=found.map_md5)
        title = chat_link(self._link(f"b/{beatmap.id}"), full_title(beatmap))
        mods = f" +{mods_text(score.mods)}" if score.mods else ""
        mode = f" ({mode_text(score.mode)})" if score.mode else ""
        worth = f"{score.pp:,.2f}pp" if gives_pp(beatmap.status) else f"{score.score:,} points"
        text = f"achieved #1 on {title}{mods}{mode} with {score.acc:.2f}% for {worth}"
        # `names_of` leaves out hidden players, who must not be named in public.
        if (former := await self._accounts.names_of([previous])).get(previous):
            text += f", taken from {chat_link(self._link(f'u/{previous}'), former[previous])}"
        return text


def _parsed(payload: str) -> tuple[int, int]:
    """Return the score that took the first place, and the player who had it, 0 for an empty board."""
    score_id, previous = payload.split()
    return int(score_id), int(previous)
