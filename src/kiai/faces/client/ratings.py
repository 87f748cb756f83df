"""`osu-rate.php`: votes on maps (docs/spec/web.md#votes)."""

import re
from typing import Final

from kiai.accounts.visibility import is_public
from kiai.beatmaps import Beatmaps
from kiai.beatmaps.ratings import RATING_MAX, RATING_MIN, Ratings, why_no_vote
from kiai.errors import NotFound
from kiai.faces.client.gateway import ClientRequest, ClientResponse, Endpoint
from kiai.faces.rate_limit import RateLimit

RATING: Final = RateLimit("rate", 30, 60.0)
_MD5: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_UNKNOWN: Final = ClientResponse(b"no exist")


class RatingEndpoints:
    """The handler of votes."""

    def __init__(self, beatmaps: Beatmaps, ratings: Ratings) -> None:
        self._beatmaps = beatmaps
        self._ratings = ratings

    async def rate(self, request: ClientRequest) -> ClientResponse:
        """Store the vote `v`, or without `v` say whether the player may vote.

        The answer is one of the words in docs/spec/web.md#votes, and the average if the player has voted.
        """
        md5 = request.query.get("c", "")
        if not _MD5.fullmatch(md5):
            return _UNKNOWN
        try:
            beatmap = await self._beatmaps.find(md5=md5)
        except NotFound:
            return _UNKNOWN
        refused = why_no_vote(beatmap, request.player.safe_name)
        if refused is not None:
            return ClientResponse(refused.encode())
        average = beatmap.rating
        if "v" in request.query:
            rating = request.whole("v")
            if not RATING_MIN <= rating <= RATING_MAX:
                return ClientResponse(b"no")
            # Votes of hidden players are stored but not counted, so that the player notices no difference.
            average = await self._ratings.vote(
                request.player.id, beatmap, rating, counted=is_public(request.player.priv)
            )
        elif not await self._ratings.voted(request.player.id, beatmap.key):
            return ClientResponse(b"ok")
        return ClientResponse(f"alreadyvoted\n{average:.2f}".encode())

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoint. The game ignores its status, so a wrong password is reported in the body."""
        return [
            Endpoint(
                "GET",
                "/web/osu-rate.php",
                self.rate,
                credentials=("u", "p"),
                online=True,
                unauthorized=ClientResponse(b"auth fail"),
                rate_limit=RATING,
            )
        ]
