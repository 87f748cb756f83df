"""Ranked status and grades of the maps in a client's folder: packet 68 (docs/spec/protocol.md#beatmap-info)."""

from collections.abc import Mapping
from typing import Final

from kiai.beatmaps import Beatmap, Beatmaps, MapStatus
from kiai.errors import NotFound
from kiai.faces.bancho import packets
from kiai.faces.bancho.packets import BeatmapInfoEntry, BeatmapInfoRequest, ClientPacket
from kiai.faces.bancho.poll_context import Handlers, PollContext
from kiai.realtime.port import Realtime
from kiai.scores.grades import Grades

MAPS_AT_ONCE: Final = 100  # each costs two indexed reads; a client repeats the request for the rest
PER_SECOND: Final = 2
NO_GRADE: Final = 9

_GRADES: Final[Mapping[str, int]] = {"XH": 0, "SH": 1, "X": 2, "S": 3, "A": 4, "B": 5, "C": 6, "D": 7, "F": 8}
_STATUSES: Final[Mapping[int, int]] = {
    MapStatus.NOT_SUBMITTED: -1,
    MapStatus.PENDING: 0,
    MapStatus.UPDATE_AVAILABLE: 0,
    MapStatus.RANKED: 1,
    MapStatus.APPROVED: 2,
    MapStatus.QUALIFIED: 3,
    MapStatus.LOVED: 4,
}
"""The client's number of each ranked status."""


class MapHandlers:
    """The handler of BEATMAP_INFO_REQUEST."""

    def __init__(self, beatmaps: Beatmaps, grades: Grades, realtime: Realtime) -> None:
        self._beatmaps = beatmaps
        self._grades = grades
        self._realtime = realtime

    async def beatmap_info(self, context: PollContext, request: BeatmapInfoRequest) -> None:
        """68 BEATMAP_INFO_REQUEST. Unknown maps are omitted."""
        allowed = await self._realtime.consume(f"map-info:{context.session.user_id}", limit=PER_SECOND, period_s=1.0)
        if not allowed.granted:
            return
        entries: list[BeatmapInfoEntry] = []
        for index, filename in enumerate(request.filenames[:MAPS_AT_ONCE]):
            if (beatmap := await self._beatmaps.named(filename)) is not None:
                entries.append(await self._info(context, index, beatmap))
        for map_id in request.ids[:MAPS_AT_ONCE]:
            try:
                entries.append(await self._info(context, -1, await self._beatmaps.find(id=map_id)))
            except NotFound:
                continue
        context.reply(packets.beatmap_info_reply(entries))

    async def _info(self, context: PollContext, index: int, beatmap: Beatmap) -> BeatmapInfoEntry:
        best = await self._grades.on_map(context.session.user_id, beatmap.key)
        # By mode number. The packet has another order: fruits (catch) before taiko.
        osu, taiko, fruits, mania = (_GRADES.get(best.get(mode, ""), NO_GRADE) for mode in range(4))
        return BeatmapInfoEntry(
            index=index,
            map_id=beatmap.id,
            set_id=beatmap.set_id,
            status=_STATUSES[beatmap.status],
            osu=osu,
            fruits=fruits,
            taiko=taiko,
            mania=mania,
            md5=beatmap.md5,
        )

    def table(self) -> Handlers:
        """Return the handlers by packet."""
        return {ClientPacket.BEATMAP_INFO_REQUEST: self.beatmap_info}
