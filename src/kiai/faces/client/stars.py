"""`POST /difficulty-rating`: the star rating of a map with mods (docs/spec/web.md#star-ratings)."""

from typing import Final

import msgspec

from kiai.beatmaps import Beatmaps
from kiai.errors import NotFound, Refused
from kiai.faces.client.gateway import ClientRequest, ClientResponse, Endpoint
from kiai.faces.rate_limit import RateLimit
from kiai.osu.mods import parse_mods
from kiai.scores.performance import CannotCalculate, Difficulties

BODY_MAX: Final = 4 * 1024
REQUESTS: Final = RateLimit("difficulty-rating", 60, 60.0)
MODS_MAX: Final = 32


class _Mod(msgspec.Struct):
    acronym: str


class _RatingRequest(msgspec.Struct):
    beatmap_id: int
    ruleset_id: int = 0
    mods: list[_Mod] = []


_DECODER: Final = msgspec.json.Decoder(_RatingRequest)


class StarEndpoints:
    """The handler of star ratings. It never requests unknown maps from upstream, because it has no credentials."""

    def __init__(self, beatmaps: Beatmaps, difficulties: Difficulties) -> None:
        self._beatmaps = beatmaps
        self._difficulties = difficulties

    async def rating(self, request: ClientRequest) -> ClientResponse:
        """Return the stars as text with 4 decimals.

        Raises NotFound for an unknown map, a map that cannot be rated and a mode that the map does not have, and
        Refused for a malformed body.
        """
        body = _decode(request.body)
        if not 0 < body.beatmap_id < 2**31 or not 0 <= body.ruleset_id <= 3 or len(body.mods) > MODS_MAX:
            raise NotFound("map")
        mods = 0
        for mod in body.mods:
            try:
                mods |= parse_mods(mod.acronym)
            except ValueError:  # a mod that only lazer has; it is ignored, as stable cannot play it
                continue
        beatmap = await self._beatmaps.find(id=body.beatmap_id)
        # Only maps of osu! can be converted to other modes.
        if beatmap.mode not in (0, body.ruleset_id):
            raise NotFound("map")
        try:
            found = await self._difficulties.of(beatmap.key, beatmap.md5, body.ruleset_id, mods)
        except CannotCalculate as error:
            raise NotFound("map") from error
        return ClientResponse(f"{found.stars:.4f}".encode())

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this module."""
        return [
            Endpoint("POST", "/difficulty-rating", self.rating, rate_limit=REQUESTS, body_max=BODY_MAX, raw_body=True)
        ]


def _decode(body: bytes) -> _RatingRequest:
    try:
        return _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("the body is not valid JSON for a star rating") from error
