"""Version 2: endpoints about scores and their replays."""

from typing import Annotated

import msgspec
from msgspec import Meta

from kiai.accounts import Accounts
from kiai.accounts.model import ID_MAX
from kiai.beatmaps.model import settings_of
from kiai.faces.api.errors import BadRequest
from kiai.faces.api.operation import BinaryReply, Caller, Operation
from kiai.faces.api.params import NoParameters
from kiai.faces.api.replies import utc
from kiai.faces.api.v1.scores import OCTETS
from kiai.faces.api.v2.paging import (
    SCORE_IN_PATH,
    Include,
    LongCursor,
    NoMeta,
    PageMeta,
    PageNumber,
    PageSize,
    PageSlice,
    Success,
    get,
    number_in_path,
    offset_of,
    wants,
)
from kiai.faces.api.v2.schemas import MapPresenter, ScoreData
from kiai.faces.rate_limit import RateLimit
from kiai.osu.map_settings import with_mods
from kiai.osu.modes import vanilla
from kiai.osu.replay_analysis import ReplayAnalysis
from kiai.osu.texts import attachment
from kiai.scores.details import PLACE_MAX, ScoreReader
from kiai.scores.lookup import ScoreLookup
from kiai.scores.performance import CannotCalculate
from kiai.scores.pp_tables import ACCURACIES, PpTables
from kiai.scores.replay_analyses import CannotAnalyse, ReplayAnalyses
from kiai.scores.replays import Replays


class ScoresQuery(msgspec.Struct, frozen=True):
    """The parameters of /scores."""

    map_md5: (
        Annotated[
            str,
            Meta(
                pattern="^[0-9a-fA-F]{32}$",
                description="Only scores on the map with this .osu file.",
                extra={"allowed": "an md5 of 32 hexadecimal digits"},
            ),
        ]
        | None
    ) = None
    mods: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=2**31 - 1,
                description="Only scores with exactly these mods, as bits.",
            ),
        ]
        | None
    ) = None
    status: Annotated[int, Meta(ge=0, le=2, description="0 failed, 1 passed, 2 the best of its player.")] | None = None
    mode: Annotated[int, Meta(ge=0, le=8, description="Only scores in this mode: 0 to 6 or 8.")] | None = None
    user_id: Annotated[int, Meta(ge=1, le=ID_MAX, description="Only scores of this player.")] | None = None
    include: Include | None = None
    page: PageNumber = 1
    page_size: PageSize = 50
    cursor: LongCursor | None = None


class ScoreQuery(msgspec.Struct, frozen=True):
    """The parameters of /scores/{id}."""

    include: (
        Annotated[Include, Meta(description="Has no effect: a single score contains both `player` and `beatmap`.")]
        | None
    ) = None


class ScoresPage(msgspec.Struct, frozen=True):
    """The response of /scores, newest first."""

    status: Success
    data: list[ScoreData]
    meta: PageMeta


Place = Annotated[int, Meta(ge=1, le=PLACE_MAX + 1)]


class ScoreDetailData(ScoreData, frozen=True, kw_only=True):
    """A score with its places now. A place is null if the score is not on that board; 1001 means "more than 1,000".

    `place` is the place on the board of the map, `place_with_mods` the place among scores with the same mods.
    `best_until` is the time in UTC at which a better play of the same player replaced the score; null if it is the
    player's best or never was. `replay_views` is null without a replay.
    """

    place: Place | None
    place_with_mods: Place | None
    best_until: str | None
    replay_views: int | None


class ScorePage(msgspec.Struct, frozen=True):
    """The response of /scores/{id}. The score contains its `beatmap` and `player`."""

    status: Success
    data: ScoreDetailData
    meta: NoMeta


class ModdedSettings(msgspec.Struct, frozen=True):
    """The settings of a map with mods. AR and OD include the speed; `length` is in seconds."""

    cs: float
    ar: float
    od: float
    hp: float
    bpm: float
    length: float


class ScoreDifficulty(msgspec.Struct, frozen=True):
    """The difficulty of a map with mods. Values that the mode does not have are null."""

    stars: float
    max_combo: int
    aim: float | None
    speed: float | None
    flashlight: float | None
    slider_factor: float | None
    speed_note_count: float | None
    stamina: float | None
    color: float | None
    rhythm: float | None
    peak: float | None


class PpAt(msgspec.Struct, frozen=True):
    """The pp of a play without a miss, with the accuracy `acc` in percent."""

    acc: float
    pp: float


class PerformanceData(msgspec.Struct, frozen=True):
    """The pp of a score, and that of plays with the same mods.

    `if_fc` is the same play with its misses made hits, at the maximum combo. `calculator` is the name and version of
    the library.
    """

    pp: float
    if_fc: PpAt
    at: list[PpAt]
    difficulty: ScoreDifficulty
    settings: ModdedSettings
    calculator: str


class PerformancePage(msgspec.Struct, frozen=True):
    """The response of /scores/{id}/performance."""

    status: Success
    data: PerformanceData
    meta: NoMeta


class AnalysisPage(msgspec.Struct, frozen=True):
    """The response of /scores/{id}/analysis."""

    status: Success
    data: ReplayAnalysis
    meta: NoMeta


class ScoresV2:
    """The endpoints about scores. The first line of a handler's docstring is the summary in the OpenAPI document."""

    def __init__(
        self,
        accounts: Accounts,
        lookup: ScoreLookup,
        reader: ScoreReader,
        pp_tables: PpTables,
        analyses: ReplayAnalyses,
        replays: Replays,
        replay_limit: RateLimit,
        pp_limit: RateLimit,
    ) -> None:
        self._accounts = accounts
        self._lookup = lookup
        self._reader = reader
        self._pp_tables = pp_tables
        self._analyses = analyses
        self._replays = replays
        self._replay_limit = replay_limit
        self._pp_limit = pp_limit

    async def scores(self, caller: Caller, query: ScoresQuery) -> ScoresPage:
        """Scores, newest first."""
        filters = {name: getattr(query, name) for name in ("mods", "status", "mode", "user_id")}
        filters["map_md5"] = query.map_md5.lower() if query.map_md5 else None
        paged = {"before": query.cursor} if query.cursor is not None else {"offset": offset_of(query)}
        found, total = await self._lookup.page(filters, limit=query.page_size + 1, **paged)
        page = PageSlice(found, query.page_size)
        # PERF: replays and players of the whole page in one statement each, and players only on request.
        with_replays = await self._lookup.with_replays([row.score.id for row in page.rows])
        user_ids = {row.score.user_id for row in page.rows} if wants(query.include, "player") else set()
        players = await self._accounts.players_among(user_ids) if user_ids else {}
        maps = MapPresenter(caller.scope)
        data = [
            maps.score(
                row.score,
                row.beatmap,
                has_replay=row.score.id in with_replays,
                with_map=wants(query.include, "beatmap"),
                player=players.get(row.score.user_id),
            )
            for row in page.rows
        ]
        cursor = page.rows[-1].score.id if page.has_more else None
        return ScoresPage("success", data, PageMeta(total, query.page, query.page_size, cursor))

    async def score(self, caller: Caller, query: ScoreQuery, id: str) -> ScorePage:  # noqa: A002
        """One score with its map and its player."""
        found = await self._reader.find(_score_in_path(id), caller.viewer)
        places = await self._reader.places(found)
        data = MapPresenter(caller.scope).score(
            found.score,
            found.beatmap,
            has_replay=found.replay is not None,
            with_map=True,
            player=found.player,
        )
        detail = ScoreDetailData(
            *msgspec.structs.astuple(data),
            place=places.overall,
            place_with_mods=places.with_mods,
            best_until=None if places.best_until_ms is None else utc(places.best_until_ms),
            replay_views=None if found.replay is None else found.replay.views,
        )
        return ScorePage("success", detail, NoMeta())

    async def performance(self, caller: Caller, query: NoParameters, id: str) -> PerformancePage:  # noqa: A002
        """The pp of a score if it were a full combo, and for several accuracies, with its difficulty."""
        found = await self._reader.find(_score_in_path(id), caller.viewer)
        try:
            table = await self._pp_tables.of(found)
        except CannotCalculate as error:
            raise BadRequest(f"The pp of this map cannot be computed: {error}.") from error
        settings = with_mods(settings_of(found.beatmap), vanilla(found.score.mode), found.score.mods)
        data = PerformanceData(
            pp=found.score.pp,
            if_fc=PpAt(table.if_fc_accuracy, table.if_fc),
            at=[PpAt(acc, pp) for acc, pp in zip(ACCURACIES, table.at, strict=True)],
            difficulty=msgspec.convert(table, ScoreDifficulty, from_attributes=True),
            settings=ModdedSettings(*(round(value, 3) for value in settings)),
            calculator=self._pp_tables.calculator,
        )
        return PerformancePage("success", data, NoMeta())

    async def analysis(self, caller: Caller, query: NoParameters, id: str) -> AnalysisPage:  # noqa: A002
        """Errors of hits, key presses, combo, misses and life, from the replay of a score."""
        found = await self._reader.find(_score_in_path(id), caller.viewer)
        analysed = await self._analyses.of(found, caller=caller.bucket)
        if isinstance(analysed, CannotAnalyse):
            raise BadRequest(f"The replay of this score cannot be analysed: {analysed.why}.")
        return AnalysisPage("success", analysed, NoMeta())

    async def replay(self, caller: Caller, query: NoParameters, id: str) -> BinaryReply:  # noqa: A002
        """The replay of a score, as a complete .osr file. Supports range requests."""
        replay = await self._replays.osr(_score_in_path(id), caller.viewer)
        return BinaryReply(replay.data, OCTETS, (("Content-Disposition", attachment(replay.name)),))

    def operations(self) -> list[Operation]:
        """Return the operations of this class."""
        score = {"id": SCORE_IN_PATH}
        return [
            get("/scores", self.scores, ScoresPage, tag="scores", query=ScoresQuery),
            get("/scores/{id}", self.score, ScorePage, tag="scores", query=ScoreQuery, in_path=score),
            get(
                "/scores/{id}/performance",
                self.performance,
                PerformancePage,
                tag="scores",
                in_path=score,
                limit=self._pp_limit,
            ),
            get(
                "/scores/{id}/analysis", self.analysis, AnalysisPage, tag="scores", in_path=score, limit=self._pp_limit
            ),
            get("/scores/{id}/replay", self.replay, BinaryReply, tag="scores", in_path=score, limit=self._replay_limit),
        ]


def _score_in_path(text: str) -> int:
    return number_in_path("id", text, least=0, most=2**63 - 1)  # score ids have 64 bits
