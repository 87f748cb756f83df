"""`osu-getbeatmapinfo.php`: the status and the player's grades for the maps in the song list.

See docs/spec/web.md#status-and-grades-of-many-maps.
"""

from typing import Any, Final

import msgspec

from kiai.beatmaps.info import ASKED_MAX, OSU_API_STATUS, MapInfo, MapInfos
from kiai.errors import Invalid
from kiai.faces.client.gateway import ClientRequest, ClientResponse, Endpoint
from kiai.faces.rate_limit import RateLimit
from kiai.scores.grades import Grades

REQUESTS: Final = RateLimit("beatmapinfo", 2, 1.0)
BODY_MAX: Final = 256 * 1024  # 100 file names of 255 characters, with JSON escapes
BY_ID: Final = -1  # the position in the line of a map that was requested by id


class _RequestedMaps(msgspec.Struct, frozen=True):
    """The body. Elements of a wrong type are skipped, so the fields accept any type."""

    names: list[Any] | None = msgspec.field(default=None, name="Filenames")
    ids: list[Any] | None = msgspec.field(default=None, name="Ids")


_DECODER: Final = msgspec.json.Decoder(_RequestedMaps)


class BeatmapInfoEndpoints:
    """The handler."""

    def __init__(self, infos: MapInfos, grades: Grades) -> None:
        self._infos = infos
        self._grades = grades

    async def info(self, request: ClientRequest) -> ClientResponse:
        """Return one line for each known map. The answer is empty when more than 100 maps are requested.

        Raises Invalid for a body that is not such JSON.
        """
        try:
            requested = _DECODER.decode(request.body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise Invalid("the body", "JSON of file names and ids", "something else") from error
        names, ids = requested.names or [], requested.ids or []
        if len(names) + len(ids) > ASKED_MAX:
            return ClientResponse()
        # `type(...) is int` also skips booleans, which are instances of int.
        by_name, by_id = await self._infos.find(
            [name for name in names if type(name) is str], [map_id for map_id in ids if type(map_id) is int]
        )
        found = [(index, by_name[name]) for index, name in enumerate(names) if type(name) is str and name in by_name]
        found += [(BY_ID, by_id[map_id]) for map_id in ids if type(map_id) is int and map_id in by_id]
        keys = {beatmap.key for _, beatmap in found}
        grades = await self._grades.on(request.player.id, sorted(keys))
        return ClientResponse("\n".join(_line(index, beatmap, grades) for index, beatmap in found).encode())

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this module."""
        return [
            Endpoint(
                "POST",
                "/web/osu-getbeatmapinfo.php",
                self.info,
                credentials=("u", "h"),
                rate_limit=REQUESTS,
                body_max=BODY_MAX,
                raw_body=True,
            )
        ]


def _line(index: int, beatmap: MapInfo, grades: dict[tuple[int, int], str]) -> str:
    letters = "|".join(grades.get((beatmap.key, mode), "N") for mode in range(4))
    return f"{index}|{beatmap.id}|{beatmap.set_id}|{beatmap.md5}|{OSU_API_STATUS.get(beatmap.status, 0)}|{letters}"
