"""`osu-getbeatmapinfo.php`: status and own grades of the maps in a player's song list.

See docs/spec/web.md#status-and-grades-of-many-maps.
"""

from typing import Any, Final

import msgspec

from kiai.beatmaps.info import ASKED_MAX, OSU_API_STATUS, MapInfo, MapInfos
from kiai.errors import Invalid
from kiai.faces.client.door import Answer, Ask, Haste, Page
from kiai.scores.grades import Grades

ASKING: Final = Haste("beatmapinfo", 2, 1.0)
BODY_MAX: Final = 256 * 1024
BY_ID: Final = -1


class _Wanted(msgspec.Struct, frozen=True):
    """The body. Items of another type are skipped, so that one of them does not cost the rest."""

    names: list[Any] | None = msgspec.field(default=None, name="Filenames")
    ids: list[Any] | None = msgspec.field(default=None, name="Ids")


_DECODER: Final = msgspec.json.Decoder(_Wanted)


class BeatmapInfo:
    """The handler."""

    def __init__(self, infos: MapInfos, grades: Grades) -> None:
        self._infos = infos
        self._grades = grades

    async def info(self, ask: Ask) -> Answer:
        """A line for each map that is known; none when more than 100 are asked for."""
        try:
            wanted = _DECODER.decode(ask.body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise Invalid("the body", "JSON of file names and ids", "something else") from error
        names, ids = wanted.names or [], wanted.ids or []
        if len(names) + len(ids) > ASKED_MAX:
            return Answer()
        by_name, by_id = await self._infos.find(
            [name for name in names if type(name) is str], [one for one in ids if type(one) is int]
        )
        found = [(index, by_name[name]) for index, name in enumerate(names) if type(name) is str and name in by_name]
        found += [(BY_ID, by_id[one]) for one in ids if type(one) is int and one in by_id]
        keys = {one.key for _, one in found}
        grades = await self._grades.on(ask.player.id, sorted(keys))
        return Answer("\n".join(_line(index, one, grades) for index, one in found).encode())

    def pages(self) -> list[Page]:
        """What this module serves."""
        return [
            Page(
                "POST",
                "/web/osu-getbeatmapinfo.php",
                self.info,
                credentials=("u", "h"),
                haste=ASKING,
                body_max=BODY_MAX,
                raw=True,
            )
        ]


def _line(index: int, one: MapInfo, grades: dict[tuple[int, int], str]) -> str:
    letters = "|".join(grades.get((one.key, mode), "N") for mode in range(4))
    return f"{index}|{one.id}|{one.set_id}|{one.md5}|{OSU_API_STATUS.get(one.status, 0)}|{letters}"
