"""Maps: what they are, who played them best, what a play would be worth."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from kiai.beatmaps import Beatmap, Beatmaps
from kiai.errors import Invalid
from kiai.faces.api.errors import BadRequest
from kiai.faces.api.operation import Caller, Limit, Operation
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
from kiai.osu.accuracy import Counts, accuracy
from kiai.osu.modes import vanilla
from kiai.osu.mods import parse_mods
from kiai.scores import calculator
from kiai.scores.leaderboards import Leaderboards
from kiai.scores.performance import CannotCalculate, Difficulties, Performance

ACCURACIES = (100.0, 99.0, 98.0, 95.0)
_DEFAULT = ", ".join(f"{accuracy:g}" for accuracy in ACCURACIES)
COUNT_MAX = 65_535


class MapInfoReply(Reply, frozen=True):
    """get_map_info."""

    map: MapReply


class MapScoresQuery(msgspec.Struct, frozen=True):
    """get_map_scores."""

    scope: Annotated[
        Literal["best", "recent"],
        Meta(description="By score (by pp in relax and autopilot), or newest first."),
    ]
    id: MapId | None = None
    md5: MapMd5 | None = None
    mode: ModeText = "0"
    mods: ModsText | None = None
    limit: Limit100 = 50
    offset: Offset = 0


class MapScoresReply(Reply, frozen=True):
    """get_map_scores; `total` is how many there are to page through, counted up to 10,000."""

    scores: list[BoardScoreReply]
    total: int


Count = Annotated[int, Meta(ge=0, le=COUNT_MAX, description="How many of this judgement. With any count, one answer.")]


class CalculateQuery(msgspec.Struct, frozen=True):
    """calculate_pp. Give hit counts for one answer, or accuracies (default 100, 99, 98 and 95) for a list."""

    id: MapId | None = None
    md5: MapMd5 | None = None
    mode: Annotated[ModeText | None, Meta(description="The mode to calculate in; by default the map's own.")] = None
    mods: Annotated[
        str,
        Meta(
            max_length=64,
            description="A number, or letters such as HDDT.",
            extra={"allowed": "a number, or mods in letters such as HDDT"},
        ),
    ] = "0"
    combo: (
        Annotated[int, Meta(ge=0, le=COUNT_MAX, description="The combo reached; by default the map's maximum.")] | None
    ) = None
    acc: Annotated[
        list[Annotated[float, Meta(ge=0, le=100)]],
        Meta(
            max_length=20,
            description=f"Accuracy in percent. Give it several times for several answers; by default {_DEFAULT}.",
        ),
    ] = []
    misses: Annotated[Count, Meta(description="How many misses.")] | None = None
    nmiss: Annotated[Count, Meta(description="The same as misses.")] | None = None
    n300: Count | None = None
    n100: Count | None = None
    n50: Count | None = None
    ngeki: Count | None = None
    nkatu: Count | None = None


class PerformanceFigures(msgspec.Struct, frozen=True):
    """Parts of the pp; null where the mode has no such part."""

    pp: float
    pp_acc: float | None
    pp_aim: float | None
    pp_speed: float | None
    pp_flashlight: float | None
    effective_miss_count: float | None
    pp_difficulty: float | None


class DifficultyFigures(msgspec.Struct, frozen=True):
    """Parts of the star rating; null where the mode has no such part."""

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
    """What one play would be worth; `accuracy` in percent."""

    performance: PerformanceFigures
    difficulty: DifficultyFigures
    accuracy: float


class Maps:
    """The handlers of this page."""

    def __init__(
        self,
        beatmaps: Beatmaps,
        leaderboards: Leaderboards,
        performance: Performance,
        difficulties: Difficulties,
        pp_limit: Limit,
    ) -> None:
        self._beatmaps = beatmaps
        self._leaderboards = leaderboards
        self._performance = performance
        self._difficulties = difficulties
        self._pp_limit = pp_limit

    async def get_map_info(self, caller: Caller, query: MapQuery) -> MapInfoReply:
        """A map by its id or md5."""
        id_, md5 = one_map(query.id, query.md5)
        return MapInfoReply("success", map_reply(await self._beatmaps.find_or_fetch(id=id_, md5=md5)))

    async def get_map_scores(self, caller: Caller, query: MapScoresQuery) -> MapScoresReply:
        """The players' best scores on a map: by rank, or latest first."""
        id_, md5 = one_map(query.id, query.md5)
        mode, mods = mode_and_mods(query.mode, query.mods)
        beatmap = await self._beatmaps.find(id=id_, md5=md5)
        boards, best = self._leaderboards, query.scope == "best"
        read, count = (boards.board, boards.board_count) if best else (boards.recent_on, boards.recent_count_on)
        found = await read(beatmap.key, mode, mods=mods, limit=query.limit, offset=query.offset)
        total = await total_of(len(found), query.limit, query.offset, lambda: count(beatmap, mode, mods=mods))
        return MapScoresReply("success", [board_reply(one, beatmap.md5) for one in found], total)

    async def calculate_pp(self, caller: Caller, query: CalculateQuery) -> list[Calculated] | Calculated:
        """What plays on a map would be worth."""
        id_, md5 = one_map(query.id, query.md5)
        mods = _mods(query.mods)
        counts = {n: getattr(query, n) for n in ("n300", "n100", "n50", "ngeki", "nkatu")}
        counted = any(value is not None for value in counts.values())
        if counted and query.acc:
            raise BadRequest("Give either acc or hit counts, not both.")
        if query.misses is not None and query.nmiss is not None:
            raise BadRequest("Give either misses or nmiss, not both.")
        misses = query.misses if query.misses is not None else query.nmiss
        beatmap = await self._beatmaps.find_or_fetch(id=id_, md5=md5)
        mode = _mode(query.mode, beatmap)
        if counted:
            plays = [
                calculator.Play(
                    mods=mods, combo=query.combo, nmiss=misses or 0, **{n: v or 0 for n, v in counts.items()}
                )
            ]
        else:
            plays = [
                calculator.Play(mods=mods, combo=query.combo, nmiss=misses or 0, accuracy=acc)
                for acc in query.acc or ACCURACIES
            ]
        _check_possible(misses or 0, counts if counted else {}, mode, beatmap)
        try:
            if query.combo is not None:
                reachable = (await self._difficulties.of(beatmap.key, beatmap.md5, mode, mods)).max_combo
                if query.combo > reachable:
                    raise Invalid("combo", f"a whole number from 0 to {reachable}, the map's maximum", query.combo)
            results = await self._performance.plays(beatmap.md5, mode, plays, caller=caller.bucket)
        except CannotCalculate as error:
            raise BadRequest(f"The pp of this map cannot be computed: {error}.") from error
        found = [_calculated(one, mode, mods) for one in results]
        return found[0] if counted else found

    def operations(self) -> list[Operation]:
        """What this page serves."""
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
                following=next_offset("scores"),
            ),
            Operation(
                path="/calculate_pp",
                method="GET",
                summary="What plays on a map would be worth.",
                query=CalculateQuery,
                reply=list[Calculated] | Calculated,
                handler=self.calculate_pp,
                tag="maps",
                permission="",
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
        raise Invalid("mode", f"{beatmap.mode}, the map's own: only osu! maps convert", text)
    return vanilla(mode)


def _check_possible(misses: int, counts: dict[str, int | None], mode: int, beatmap: Beatmap) -> None:
    """Judgements can only be held against the objects of an osu! play; other modes judge parts of objects too."""
    if mode != 0:
        return
    if misses > beatmap.objects:
        raise Invalid("misses", f"a whole number from 0 to {beatmap.objects}, the map's objects", misses)
    judged = misses + sum(counts.get(name) or 0 for name in ("n300", "n100", "n50"))
    if judged > beatmap.objects:
        raise BadRequest(f"The hit counts add up to {judged}; the map has {beatmap.objects} objects.")


def _calculated(one: calculator.Result, mode: int, mods: int) -> Calculated:
    counts = Counts(one.n300, one.n100, one.n50, one.ngeki, one.nkatu, one.nmiss)
    return Calculated(
        PerformanceFigures(
            one.pp,
            one.pp_acc,
            one.pp_aim,
            one.pp_speed,
            one.pp_flashlight,
            one.effective_miss_count,
            one.pp_difficulty,
        ),
        DifficultyFigures(
            one.stars,
            one.aim,
            one.speed,
            one.flashlight,
            one.slider_factor,
            one.speed_note_count,
            one.stamina,
            one.color,
            one.rhythm,
            one.peak,
        ),
        accuracy(counts, mode, mods),
    )
