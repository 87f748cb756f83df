"""`osu-comment.php`: comments that scroll through a replay (docs/spec/web.md#comments)."""

import re
from typing import Final

from kiai.accounts.visibility import is_public
from kiai.beatmaps import Beatmaps
from kiai.beatmaps.comments import MAP, REPLAY, SONG, TIME_MAX_MS, Comment, Comments, clean
from kiai.clock import Clock
from kiai.errors import Invalid, NotAuthenticated, NotFound
from kiai.faces.client.door import Answer, Ask, Door, Haste, Page
from kiai.osu.names import safe_name
from kiai.osu.privileges import DONATOR, NOMINATOR, effective, may
from kiai.osu.texts import field
from kiai.realtime.port import Realtime
from kiai.realtime.reading import may_be_playing
from kiai.scores.leaderboards import Leaderboards

COMMENTING: Final = Haste("comment", 1, 5.0)
A_DAY: Final = Haste("comments-a-day", 300, 86_400.0)
ID_MAX: Final = 2_147_483_647

_WHOLE: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_COLOUR: Final = re.compile(r"[0-9A-Fa-f]{6}", re.ASCII)


class ReplayComments:
    """The handler."""

    def __init__(
        self,
        door: Door,
        comments: Comments,
        beatmaps: Beatmaps,
        leaderboards: Leaderboards,
        realtime: Realtime,
        clock: Clock,
    ) -> None:
        self._door = door
        self._comments = comments
        self._beatmaps = beatmaps
        self._leaderboards = leaderboards
        self._realtime = realtime
        self._clock = clock

    async def comment(self, ask: Ask) -> Answer:
        """Lists comments or stores one, as `a` says."""
        action = ask.form.text("a")
        if action == "get":
            return await self._listed(ask)
        if action == "post":
            return await self._add(ask)
        raise Invalid("a", "get or post", action)

    async def _listed(self, ask: Ask) -> Answer:
        map_id, set_id, score_id = (_id(ask, name) for name in ("b", "s", "r"))
        player_id = 0
        if score_id:
            try:
                player_id = (await self._leaderboards.score(score_id, ask.viewer)).score.user_id
            except NotFound:
                score_id = 0
        creator = await self._creator(map_id, set_id)
        found = await self._comments.on(
            map_id if map_id <= ID_MAX else 0, set_id if set_id <= ID_MAX else 0, score_id, ask.viewer
        )
        return Answer("\n".join(_line(one, player_id, creator) for one in found).encode())

    async def _creator(self, map_id: int, set_id: int) -> str:
        """The safe name of who made the map; of an unknown one, of who made the set."""
        if 0 < map_id <= ID_MAX:
            try:
                return safe_name((await self._beatmaps.find(id=map_id)).creator)
            except NotFound:
                pass
        if 0 < set_id <= ID_MAX and (maps := await self._beatmaps.of_set(set_id)):
            return safe_name(maps[0].creator)
        return ""

    async def _add(self, ask: Ask) -> Answer:
        player = ask.player
        if not await may_be_playing(self._realtime, player.id):
            raise NotAuthenticated
        target = (ask.form.text("target") or "").lower()
        text = clean(ask.form.text("comment") or "")
        started = ask.form.text("starttime") or ""
        if not _WHOLE.fullmatch(started) or abs(int(started)) > TIME_MAX_MS:
            raise Invalid("starttime", "a time in ms", started)
        field = {MAP: "b", SONG: "s", REPLAY: "r"}.get(target)
        if field is None:
            raise Invalid("target", "map, song or replay", target)
        await self._door.take(COMMENTING, f"user:{player.id}")
        await self._door.take(A_DAY, f"user:{player.id}")
        if not is_public(player.priv) or player.silenced_until_ms > self._clock.now_ms():
            return Answer()
        target_id = _id(ask, field)
        if target == REPLAY:
            await self._leaderboards.score(target_id, ask.viewer)  # raises NotFound
        colour = (ask.form.text("f") or "").upper()
        if not _COLOUR.fullmatch(colour) or not may(player.priv, "comments.bypass_colour"):
            colour = ""
        await self._comments.add(player.id, target, target_id, time_ms=int(started), text=text, colour=colour)
        return Answer()

    def pages(self) -> list[Page]:
        """What this module serves."""
        return [Page("POST", "/web/osu-comment.php", self.comment, credentials=("u", "p"))]


def _id(ask: Ask, name: str) -> int:
    """An id of the form; 0 for one that is missing or none."""
    text = ask.form.text(name) or ""
    return max(0, int(text)) if _WHOLE.fullmatch(text) else 0


def _line(comment: Comment, player_id: int, creator: str) -> str:
    priv = effective(comment.priv)
    kind = ""
    if comment.user_id == player_id:
        kind = "player"
    elif comment.safe_name == creator:
        kind = "creator"
    elif priv & NOMINATOR:
        kind = "bat"
    elif priv & DONATOR:
        kind = "subscriber"
    if comment.colour:
        kind = f"{kind}|{comment.colour}"
    return f"{comment.time_ms}\t{comment.target}\t{kind}\t{field(comment.text)}"
