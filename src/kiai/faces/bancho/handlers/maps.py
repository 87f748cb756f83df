"""What the server knows of the maps in a client's folder: packet 68 (docs/spec/protocol.md#beatmap-info)."""

from collections.abc import Mapping
from typing import Final

from kiai.beatmaps import Beatmap, Beatmaps, MapStatus
from kiai.errors import NotFound
from kiai.faces.bancho import packets
from kiai.faces.bancho.packets import BeatmapInfo, BeatmapInfoRequest, Client
from kiai.faces.bancho.turn import Handlers, Turn
from kiai.realtime.port import Realtime
from kiai.scores.leaderboards import Leaderboards

MAPS_AT_ONCE: Final = 100  # each costs two indexed reads on the loop; a client asks again for the rest
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
"""Our statuses in the client's numbers."""


class MapHandlers:
    """The handler of beatmap info."""

    def __init__(self, beatmaps: Beatmaps, leaderboards: Leaderboards, realtime: Realtime) -> None:
        self._beatmaps = beatmaps
        self._leaderboards = leaderboards
        self._realtime = realtime

    async def beatmap_info(self, turn: Turn, asked: BeatmapInfoRequest) -> None:
        """68 BEATMAP_INFO_REQUEST. Unknown maps are left out."""
        allowed = await self._realtime.take(f"map-info:{turn.session.user_id}", limit=PER_SECOND, period_s=1.0)
        if not allowed.granted:
            return
        known: list[BeatmapInfo] = []
        for index, filename in enumerate(asked.filenames[:MAPS_AT_ONCE]):
            if (found := await self._beatmaps.named(filename)) is not None:
                known.append(await self._info(turn, index, found))
        for map_id in asked.ids[:MAPS_AT_ONCE]:
            try:
                known.append(await self._info(turn, -1, await self._beatmaps.find(id=map_id)))
            except NotFound:
                continue
        turn.say(packets.beatmap_info_reply(known))

    async def _info(self, turn: Turn, index: int, beatmap: Beatmap) -> BeatmapInfo:
        best = await self._leaderboards.grades_on(turn.session.user_id, beatmap.key)
        osu, taiko, fruits, mania = (_GRADES.get(best.get(mode, ""), NO_GRADE) for mode in range(4))
        return BeatmapInfo(
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
        """What this page handles."""
        return {Client.BEATMAP_INFO_REQUEST: self.beatmap_info}
