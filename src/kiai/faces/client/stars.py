"""`POST /difficulty-rating`: how hard a map is with mods (docs/spec/web.md#star-ratings)."""

from typing import Any, Final

import msgspec

from kiai.beatmaps import Beatmaps
from kiai.errors import NotFound, Refused
from kiai.faces.client.door import Answer, Ask, Haste, Page
from kiai.osu.mods import parse_mods
from kiai.scores.performance import CannotCalculate, Difficulties

BODY_MAX: Final = 4 * 1024
ASKED: Final = Haste("difficulty-rating", 60, 60.0)
MODS_MAX: Final = 32


class _Mod(msgspec.Struct):
    acronym: str


class _Wanted(msgspec.Struct):
    beatmap_id: int
    ruleset_id: int = 0
    mods: list[_Mod] = []


_read: Final = msgspec.json.Decoder(_Wanted).decode


class Stars:
    """The handler. It asks nobody for maps that are not here."""

    def __init__(self, beatmaps: Beatmaps, difficulties: Difficulties) -> None:
        self._beatmaps = beatmaps
        self._difficulties = difficulties

    async def rating(self, ask: Ask) -> Answer:
        """The stars as a number in text; 404 for a map that is unknown or cannot be rated."""
        wanted = _wanted(ask.body)
        if not 0 < wanted.beatmap_id < 2**31 or not 0 <= wanted.ruleset_id <= 3 or len(wanted.mods) > MODS_MAX:
            raise NotFound("map")
        mods = 0
        for mod in wanted.mods:
            try:
                mods |= parse_mods(mod.acronym)
            except ValueError:  # mods that only other clients have change nothing here
                continue
        beatmap = await self._beatmaps.find(id=wanted.beatmap_id)
        if beatmap.mode not in (0, wanted.ruleset_id):
            raise NotFound("map")
        try:
            found = await self._difficulties.of(beatmap.key, beatmap.md5, wanted.ruleset_id, mods)
        except CannotCalculate as error:
            raise NotFound("map") from error
        return Answer(f"{found.stars:.4f}".encode())

    def pages(self) -> list[Page]:
        """What this module serves."""
        return [Page("POST", "/difficulty-rating", self.rating, haste=ASKED, body_max=BODY_MAX, raw=True)]


def _wanted(body: bytes) -> Any:
    try:
        return _read(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("the body is not the JSON that is wanted") from error
