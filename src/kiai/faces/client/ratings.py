"""`osu-rate.php`: may the player rate a map, and the vote (docs/spec/web.md#votes)."""

import re
from typing import Final

from kiai.accounts.visibility import is_public
from kiai.beatmaps import Beatmaps
from kiai.beatmaps.model import MapStatus
from kiai.beatmaps.ratings import RATING_MAX, RATING_MIN, Ratings
from kiai.errors import NotFound
from kiai.faces.client.door import Answer, Ask, Haste, Page
from kiai.osu.names import safe_name

RATING: Final = Haste("rate", 30, 60.0)
_MD5: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_UNKNOWN: Final = Answer(b"no exist")


class Rating:
    """The handler."""

    def __init__(self, beatmaps: Beatmaps, ratings: Ratings) -> None:
        self._beatmaps = beatmaps
        self._ratings = ratings

    async def rate(self, ask: Ask) -> Answer:
        """Without `v` whether the player may vote, with `v` the vote; the average once there is one."""
        md5 = ask.query.get("c", "")
        if not _MD5.fullmatch(md5):
            return _UNKNOWN
        try:
            beatmap = await self._beatmaps.find(md5=md5)
        except NotFound:
            return _UNKNOWN
        if beatmap.status < MapStatus.RANKED:
            return Answer(b"not ranked")
        if safe_name(beatmap.creator) == ask.player.safe_name:
            return Answer(b"owner")
        average = beatmap.rating
        if "v" in ask.query:
            rating = ask.whole("v")
            if not RATING_MIN <= rating <= RATING_MAX:
                return Answer(b"no")
            average = await self._ratings.vote(ask.player.id, beatmap, rating, counted=is_public(ask.player.priv))
        elif not await self._ratings.voted(ask.player.id, beatmap.key):
            return Answer(b"ok")
        return Answer(f"alreadyvoted\n{average:.2f}".encode())

    def pages(self) -> list[Page]:
        """What this module serves. The game reads nothing but the body, so a wrong password is told there."""
        return [
            Page(
                "GET",
                "/web/osu-rate.php",
                self.rate,
                credentials=("u", "p"),
                online=True,
                refusal=Answer(b"auth fail"),
                haste=RATING,
            )
        ]
