"""Version 2: scores and their replays."""

from typing import Annotated

import msgspec
from msgspec import Meta

from kiai.accounts import Accounts
from kiai.accounts.model import ID_MAX
from kiai.beatmaps import Beatmaps
from kiai.faces.api.operation import Caller, Limit, Operation, Raw
from kiai.faces.api.v1.scores import OCTETS
from kiai.faces.api.v2.pages import (
    SCORE_IN_PATH,
    Include,
    LongCursor,
    NoMeta,
    Nothing,
    Paged,
    PageMeta,
    PageNumber,
    PageSize,
    Success,
    get,
    number_in_path,
    offset_of,
    wants,
)
from kiai.faces.api.v2.shapes import Maps, ScoreData
from kiai.osu.texts import attachment
from kiai.scores.leaderboards import Leaderboards
from kiai.scores.listing import ScoreLists
from kiai.scores.replays import Replays


class ScoresQuery(msgspec.Struct, frozen=True):
    """/scores."""

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
    """/scores/{id}."""

    include: (
        Annotated[Include, Meta(description="Needless: a single score has both its `player` and `beatmap`.")] | None
    ) = None


class ScoresPage(msgspec.Struct, frozen=True):
    """/scores: newest first."""

    status: Success
    data: list[ScoreData]
    meta: PageMeta


class ScorePage(msgspec.Struct, frozen=True):
    """/scores/{id}: with its `beatmap` and `player`."""

    status: Success
    data: ScoreData
    meta: NoMeta


class ScoresV2:
    """The handlers of this page."""

    def __init__(
        self,
        accounts: Accounts,
        beatmaps: Beatmaps,
        leaderboards: Leaderboards,
        lists: ScoreLists,
        replays: Replays,
        replay_limit: Limit,
    ) -> None:
        self._accounts = accounts
        self._beatmaps = beatmaps
        self._leaderboards = leaderboards
        self._lists = lists
        self._replays = replays
        self._replay_limit = replay_limit

    async def scores(self, caller: Caller, query: ScoresQuery) -> ScoresPage:
        """Scores, newest first."""
        filters = {name: getattr(query, name) for name in ("mods", "status", "mode", "user_id")}
        filters["map_md5"] = query.map_md5.lower() if query.map_md5 else None
        paged = {"before": query.cursor} if query.cursor is not None else {"offset": offset_of(query)}
        found, total = await self._lists.page(filters, limit=query.page_size + 1, **paged)
        page = Paged(found, query.page_size)
        with_replays = await self._leaderboards.with_replays([one.score.id for one in page.rows])
        wanted = {one.score.user_id for one in page.rows} if wants(query.include, "player") else set()
        players = await self._accounts.players_among(wanted) if wanted else {}
        maps = Maps(caller.scope)
        data = [
            maps.score(
                one.score,
                one.beatmap,
                has_replay=one.score.id in with_replays,
                with_map=wants(query.include, "beatmap"),
                player=players.get(one.score.user_id),
            )
            for one in page.rows
        ]
        cursor = page.rows[-1].score.id if page.has_more else None
        return ScoresPage("success", data, PageMeta(total, query.page, query.page_size, cursor))

    async def score(self, caller: Caller, query: ScoreQuery, id: str) -> ScorePage:  # noqa: A002
        """One score with its map and its player."""
        found = await self._leaderboards.score(_score_in_path(id), caller.viewer)
        data = Maps(caller.scope).score(
            found.score,
            await self._beatmaps.find(md5=found.map_md5),
            has_replay=bool(await self._leaderboards.with_replays([found.score.id])),
            with_map=True,
            player=await self._accounts.player(caller.viewer, id=found.score.user_id),
        )
        return ScorePage("success", data, NoMeta())

    async def replay(self, caller: Caller, query: Nothing, id: str) -> Raw:  # noqa: A002
        """The replay of a score, as a complete .osr file. Range requests are honoured."""
        replay = await self._replays.osr(_score_in_path(id), caller.viewer)
        return Raw(replay.data, OCTETS, (("Content-Disposition", attachment(replay.name)),))

    def operations(self) -> list[Operation]:
        """What this page serves."""
        score = {"id": SCORE_IN_PATH}
        return [
            get("/scores", self.scores, ScoresPage, tag="scores", query=ScoresQuery),
            get("/scores/{id}", self.score, ScorePage, tag="scores", query=ScoreQuery, in_path=score),
            get("/scores/{id}/replay", self.replay, Raw, tag="scores", in_path=score, limit=self._replay_limit),
        ]


def _score_in_path(text: str) -> int:
    return number_in_path("id", text, least=0, most=2**63 - 1)
