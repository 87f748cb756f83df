"""Endpoints about maps: details, scores, and pp of a hypothetical play."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from kiai.beatmaps import Beatmap, Beatmaps
from kiai.errors import Invalid, Refused
from kiai.faces.api.copies import Versioned
from kiai.faces.api.errors import BadRequest
from kiai.faces.api.operation import Caller, Operation
from kiai.faces.api.replies import BoardScoreReply, MapReply, Reply, board_reply, map_reply
from kiai.faces.api.v1.common import (
    Limit100,
    MapId,
    MapMd5,
    MapQuery,
    ModeText,
    ModsText,
    Offset,
    mode_and_mods,
    next_offset,
    one_map,
    total_of,
)
from kiai.faces.rate_limit import RateLimit
from kiai.osu.accuracy import HitCounts, accuracy
from kiai.osu.modes import vanilla
from kiai.osu.mods import parse_mods
from kiai.scores import calculator
from kiai.scores.boards import Boards
from kiai.scores.what_if import COUNT_MAX, JUDGEMENTS, WhatIf, WhatIfs
from kiai.storage.port import version_of

ACCURACIES = (100.0, 99.0, 98.0, 95.0)
_DEFAULT = ", ".join(f"{accuracy:g}" for accuracy in ACCURACIES)


class MapInfoReply(Reply, frozen=True):
    """The response of get_map_info."""

    map: MapReply


class MapScoresQuery(msgspec.Struct, frozen=True):
    """The parameters of get_map_scores."""

    scope: Annotated[
        Literal["best", "recent"],
        Meta(description="best: by score (by pp in relax and autopilot). recent: newest first."),
    ]
    id: MapId | None = None
    md5: MapMd5 | None = None
    mode: ModeText = "0"
    mods: ModsText | None = None
    limit: Limit100 = 50
    offset: Offset = 0


class MapScoresReply(Reply, frozen=True):
    """The response of get_map_scores. `total` is the length of the list, counted up to 10,000."""

    scores: list[BoardScoreReply]
    total: int


Count = Annotated[
    int, Meta(ge=0, le=COUNT_MAX, description="Number of these judgements. With any count, the response is one object.")
]


class CalculateQuery(msgspec.Struct, frozen=True):
    """The parameters of calculate_pp.

    Hit counts give one object. Accuracies (by default 100, 99, 98 and 95 percent) give a list.
    """

    id: MapId | None = None
    md5: MapMd5 | None = None
    mode: Annotated[ModeText | None, Meta(description="The mode of the play. Default: the map's mode.")] = None
    mods: Annotated[
        str,
        Meta(
            max_length=64,
            description="A number, or letters such as HDDT.",
            extra={"allowed": "a number, or mods in letters such as HDDT"},
        ),
    ] = "0"
    combo: (
        Annotated[int, Meta(ge=0, le=COUNT_MAX, description="The combo of the play. Default: the map's maximum.")]
        | None
    ) = None
    acc: Annotated[
        list[Annotated[float, Meta(ge=0, le=100)]],
        Meta(
            max_length=20,
            description=f"Accuracy in percent. Repeat it for several results. Default: {_DEFAULT}.",
        ),
    ] = []
    misses: Annotated[Count, Meta(description="Number of misses.")] | None = None
    nmiss: Annotated[Count, Meta(description="The same as misses.")] | None = None
    n300: Count | None = None
    n100: Count | None = None
    n50: Count | None = None
    ngeki: Count | None = None
    nkatu: Count | None = None


class PerformanceFigures(msgspec.Struct, frozen=True):
    """The pp and its parts. A part is null if the mode does not have it."""

    pp: float
    pp_acc: float | None
    pp_aim: float | None
    pp_speed: float | None
    pp_flashlight: float | None
    effective_miss_count: float | None
    pp_difficulty: float | None


class DifficultyFigures(msgspec.Struct, frozen=True):
    """The star rating and its parts. A part is null if the mode does not have it."""

    stars: float
    aim: float | None
    speed: float | None
    flashlight: float | None
    slider_factor: float | None
    speed_note_count: float | None
    stamina: float | None
    color: float | None
    rhythm: float | None
    peak: float | None


class Calculated(msgspec.Struct, frozen=True):
    """The result for one play. `accuracy` is in percent."""

    performance: PerformanceFigures
    difficulty: DifficultyFigures
    accuracy: float


class MapsV1:
    """The endpoints about maps."""

    def __init__(
        self,
        beatmaps: Beatmaps,
        boards: Boards,
        what_ifs: WhatIfs,
        pp_limit: RateLimit,
    ) -> None:
        self._beatmaps = beatmaps
        self._boards = boards
        self._what_ifs = what_ifs
        self._pp_limit = pp_limit

    async def get_map_info(self, caller: Caller, query: MapQuery) -> MapInfoReply | Versioned:
        """Return a map by its id or md5. A map that is not stored is fetched from the upstream."""
        id_, md5 = one_map(query.id, query.md5)
        found = await self._beatmaps.stored(id=id_, md5=md5)
        if not found:
            return MapInfoReply("success", map_reply(await self._beatmaps.find_or_fetch(id=id_, md5=md5)))

        async def make() -> MapInfoReply:
            return MapInfoReply("success", map_reply(found.read()[0]))

        return Versioned(version_of(found), make)

    async def get_map_scores(self, caller: Caller, query: MapScoresQuery) -> Versioned:
        """Return the board of a map, or its newest scores."""
        id_, md5 = one_map(query.id, query.md5)
        mode, mods = mode_and_mods(query.mode, query.mods)
        # Without a fetch from upstream: a map that is not stored has no scores.
        beatmap = await self._beatmaps.find(id=id_, md5=md5)
        boards, best = self._boards, query.scope == "best"
        read, count = (boards.best_on, boards.best_count_on) if best else (boards.recent_on, boards.recent_count_on)

        async def make() -> MapScoresReply:
            found = await read(beatmap.key, mode, mods=mods, limit=query.limit, offset=query.offset)
            total = await total_of(len(found), query.limit, query.offset, lambda: count(beatmap, mode, mods=mods))
            return MapScoresReply("success", [board_reply(line, beatmap.md5) for line in found], total)

        # Before the board: a score that is stored in between leaves an old stamp on a newer board, which is only read
        # once more. The other order would keep an old board under the new stamp.
        return Versioned(version_of(beatmap.key, await boards.stamp(beatmap)), make)

    async def calculate_pp(self, caller: Caller, query: CalculateQuery) -> list[Calculated] | Calculated:
        """Compute the pp of plays on a map, for hit counts or for accuracies.

        Raises Invalid or BadRequest for a play that is impossible on the map.
        """
        id_, md5 = one_map(query.id, query.md5)
        mods = _mods(query.mods)
        counts = {n: value for n in JUDGEMENTS if (value := getattr(query, n)) is not None}
        counted = bool(counts)
        if counted and query.acc:
            raise BadRequest("Give either acc or hit counts, not both.")
        if query.misses is not None and query.nmiss is not None:
            raise BadRequest("Give either misses or nmiss, not both.")
        misses = query.misses if query.misses is not None else query.nmiss  # both names are documented
        beatmap = await self._beatmaps.find_or_fetch(id=id_, md5=md5)
        mode = _mode(query.mode, beatmap)
        wanted = WhatIf(
            mode,
            mods,
            query.combo,
            misses or 0,
            accuracies=query.acc or ACCURACIES,
            counts=counts if counted else None,
        )
        try:
            results = await self._what_ifs.calculate(beatmap, wanted, caller=caller.bucket)
        except Refused as error:
            raise BadRequest(error.reason) from error
        calculated = [_calculated(result, mode, mods) for result in results]
        return calculated[0] if counted else calculated

    def operations(self) -> list[Operation]:
        """Return the operations of this class."""
        return [
            Operation(
                path="/get_map_info",
                method="GET",
                summary="A map by its id or md5.",
                query=MapQuery,
                reply=MapInfoReply,
                handler=self.get_map_info,
                tag="maps",
                cached=True,
                from_rows=True,
            ),
            Operation(
                path="/get_map_scores",
                method="GET",
                summary="The players' best scores on a map: by rank, or latest first.",
                query=MapScoresQuery,
                reply=MapScoresReply,
                handler=self.get_map_scores,
                tag="maps",
                cached=True,
                from_rows=True,
                following=next_offset("scores"),
            ),
            Operation(
                path="/calculate_pp",
                method="GET",
                summary="The pp of plays on a map, by hit counts or accuracy.",
                query=CalculateQuery,
                reply=list[Calculated] | Calculated,
                handler=self.calculate_pp,
                tag="maps",
                permission="",  # a key, because a computation takes a worker process up to seconds
                limit=self._pp_limit,
            ),
        ]


def _mods(text: str) -> int:
    try:
        return parse_mods(text)
    except ValueError as error:
        raise Invalid("mods", "a number, or mods in letters such as HDDT", text) from error


def _mode(text: str | None, beatmap: Beatmap) -> int:
    if text is None:
        return beatmap.mode
    mode, _ = mode_and_mods(text, None)
    if beatmap.mode not in (0, vanilla(mode)):
        raise Invalid("mode", f"{beatmap.mode}, the mode of the map (only osu! maps have converts)", text)
    return vanilla(mode)  # the calculator takes relax and autopilot as mods


def _calculated(result: calculator.CalculatorResult, mode: int, mods: int) -> Calculated:
    # The accuracy of the counts that the calculator chose. It can differ from the requested one in small maps.
    counts = HitCounts(result.n300, result.n100, result.n50, result.ngeki, result.nkatu, result.nmiss)
    return Calculated(
        PerformanceFigures(
            result.pp,
            result.pp_acc,
            result.pp_aim,
            result.pp_speed,
            result.pp_flashlight,
            result.effective_miss_count,
            result.pp_difficulty,
        ),
        DifficultyFigures(
            result.stars,
            result.aim,
            result.speed,
            result.flashlight,
            result.slider_factor,
            result.speed_note_count,
            result.stamina,
            result.color,
            result.rhythm,
            result.peak,
        ),
        accuracy(counts, mode, mods),
    )
