"""`osu-comment.php`: comments on maps, sets and replays, which the game shows during play.

See docs/spec/web.md#comments.
"""

import re
from typing import Final

from kiai.accounts.visibility import is_public
from kiai.beatmaps import Beatmaps
from kiai.beatmaps.comments import MAP, REPLAY, SONG, TIME_MAX_MS, Comment, Comments, clean
from kiai.clock import Clock
from kiai.errors import Invalid, NotAuthenticated, NotFound
from kiai.faces.client.gateway import ClientGateway, ClientRequest, ClientResponse, Endpoint
from kiai.faces.rate_limit import RateLimit
from kiai.osu.names import safe_name
from kiai.osu.privileges import DONATOR, NOMINATOR, effective, may
from kiai.osu.texts import field
from kiai.realtime.port import Realtime
from kiai.realtime.while_unavailable import may_be_playing
from kiai.scores.lookup import ScoreLookup

COMMENTING: Final = RateLimit("comment", 1, 5.0)
A_DAY: Final = RateLimit("comments-a-day", 300, 86_400.0)
ID_MAX: Final = 2_147_483_647

_WHOLE: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_COLOUR: Final = re.compile(r"[0-9A-Fa-f]{6}", re.ASCII)


class CommentEndpoints:
    """The handler."""

    def __init__(
        self,
        gateway: ClientGateway,
        comments: Comments,
        beatmaps: Beatmaps,
        lookup: ScoreLookup,
        realtime: Realtime,
        clock: Clock,
        *,
        verifies_email: bool,
    ) -> None:
        self._gateway = gateway
        self._comments = comments
        self._beatmaps = beatmaps
        self._lookup = lookup
        self._realtime = realtime
        self._clock = clock
        self._verifies_email = verifies_email

    async def comment(self, request: ClientRequest) -> ClientResponse:
        """List comments (`a=get`) or store one (`a=post`). Raises Invalid for any other `a`."""
        action = request.form.text("a")
        if action == "get":
            return await self._list(request)
        if action == "post":
            return await self._add(request)
        raise Invalid("a", "get or post", action)

    async def _list(self, request: ClientRequest) -> ClientResponse:
        map_id, set_id, score_id = (_id(request, name) for name in ("b", "s", "r"))
        player_id = 0
        if score_id:
            # A hidden score is not found either: its comments must not show that it exists.
            try:
                player_id = (await self._lookup.find(score_id, request.viewer)).score.user_id
            except NotFound:
                score_id = 0
        creator = await self._creator(map_id, set_id)
        found = await self._comments.on(
            map_id if map_id <= ID_MAX else 0, set_id if set_id <= ID_MAX else 0, score_id, request.viewer
        )
        return ClientResponse("\n".join(_line(comment, player_id, creator) for comment in found).encode())

    async def _creator(self, map_id: int, set_id: int) -> str:
        """Return the safe name of the map's creator, or of the set's creator if the map is unknown; "" for neither."""
        if 0 < map_id <= ID_MAX:
            try:
                return safe_name((await self._beatmaps.find(id=map_id)).creator)
            except NotFound:
                pass
        if 0 < set_id <= ID_MAX and (maps := await self._beatmaps.of_set(set_id)):
            return safe_name(maps[0].creator)
        return ""

    async def _add(self, request: ClientRequest) -> ClientResponse:
        player = request.player
        if not await may_be_playing(self._realtime, player.id):
            raise NotAuthenticated
        target = (request.form.text("target") or "").lower()
        text = clean(request.form.text("comment") or "")
        started = request.form.text("starttime") or ""
        if not _WHOLE.fullmatch(started) or abs(int(started)) > TIME_MAX_MS:
            raise Invalid("starttime", "a time in ms", started)
        field = {MAP: "b", SONG: "s", REPLAY: "r"}.get(target)
        if field is None:
            raise Invalid("target", "map, song or replay", target)
        # After the checks of the form, so that an invalid comment does not delay the corrected one.
        await self._gateway.check_rate_limit(COMMENTING, f"user:{player.id}")
        await self._gateway.check_rate_limit(A_DAY, f"user:{player.id}")
        # The same answer as for a stored comment (docs/spec/web.md#comments).
        if (
            not is_public(player.priv)
            or player.silenced_until_ms > self._clock.now_ms()
            or (self._verifies_email and player.email_verified_at_ms is None)
        ):
            return ClientResponse()
        target_id = _id(request, field)
        if target == REPLAY:
            await self._lookup.find(target_id, request.viewer)  # raises NotFound
        colour = (request.form.text("f") or "").upper()
        if not _COLOUR.fullmatch(colour) or not may(player.priv, "comments.bypass_colour"):
            colour = ""
        await self._comments.add(player.id, target, target_id, time_ms=int(started), text=text, colour=colour)
        return ClientResponse()

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this module."""
        return [Endpoint("POST", "/web/osu-comment.php", self.comment, credentials=("u", "p"))]


def _id(request: ClientRequest, name: str) -> int:
    """Return an id from the form, or 0 if it is missing or not a positive number."""
    text = request.form.text(name) or ""
    return max(0, int(text)) if _WHOLE.fullmatch(text) else 0


def _line(comment: Comment, player_id: int, creator: str) -> str:
    # The client shows one kind, so the first that applies wins.
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
