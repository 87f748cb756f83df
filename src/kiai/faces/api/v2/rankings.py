"""Version 2: endpoints about rankings of players, countries and clans, and about top plays."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from kiai.clans.service import ClanLine, Clans
from kiai.clock import Clock
from kiai.faces.api.operation import Caller, Operation
from kiai.faces.api.v1.common import total_of
from kiai.faces.api.v1.players import LeaderboardLine
from kiai.faces.api.v2.paging import (
    MODE_IN_PATH,
    LongCursor,
    ModeNumber,
    PageMeta,
    PageNumber,
    PageSize,
    PageSlice,
    Success,
    get,
    mode_in_path,
)
from kiai.faces.api.v2.players import Country
from kiai.faces.api.v2.schemas import MapPresenter, ScoreData
from kiai.osu.mods import board_key
from kiai.scores.countries import ACTIVE_MS
from kiai.scores.lookup import ScoreLookup
from kiai.scores.rankings import Rankings
from kiai.scores.ranks import Ranks
from kiai.scores.showcase import Showcase


class RankingQuery(msgspec.Struct, frozen=True):
    """The parameters of /leaderboards/{mode}."""

    sort: Annotated[
        Literal["pp", "tscore", "rscore", "acc", "plays", "playtime"],
        Meta(description="The value to sort by, highest first."),
    ] = "pp"
    country: Country | None = None
    filter: (
        Annotated[Literal["active"], Meta(description="active: only players who played the mode in the last 90 days.")]
        | None
    ) = None
    page: PageNumber = 1
    page_size: PageSize = 50


class RankedData(LeaderboardLine, frozen=True):
    """A player in a ranking. `rank` is the place in this list, from 1.

    `rank_yesterday` is the rank by pp at the start of yesterday (UTC), worldwide or, with `country`, of the country;
    null without one.
    """

    rank: int
    rank_yesterday: int | None


class RankingPage(msgspec.Struct, frozen=True):
    """The response of /leaderboards/{mode}: players with a value above 0."""

    status: Success
    data: list[RankedData]
    meta: PageMeta


class ClansBoardQuery(msgspec.Struct, frozen=True):
    """The parameters of /leaderboards/clans."""

    mode: ModeNumber = 0
    page: PageNumber = 1
    page_size: PageSize = 50


class CountriesQuery(msgspec.Struct, frozen=True):
    """The parameters of /leaderboards/countries."""

    mode: ModeNumber = 0


class CountryData(msgspec.Struct, frozen=True):
    """The sums over the ranked players of a country. `active` of them played in the last 90 days."""

    rank: int
    country: str
    players: int
    active: int
    plays: int
    rscore: int
    pp: int
    average_pp: int


class CountriesPage(msgspec.Struct, frozen=True):
    """The response of /leaderboards/countries: all countries with ranked players, by the sum of pp."""

    status: Success
    data: list[CountryData]
    meta: PageMeta


class RankedClan(msgspec.Struct, frozen=True):
    """A clan in the ranking. `pp` is the sum over its ranked members, divided by their number plus one."""

    rank: int
    id: int
    name: str
    tag: str
    members: int
    pp: int
    rscore: int
    tscore: int
    plays: int
    acc: float


class ClansBoardPage(msgspec.Struct, frozen=True):
    """The response of /leaderboards/clans: clans with ranked members, by pp."""

    status: Success
    data: list[RankedClan]
    meta: PageMeta


class TopPlaysQuery(msgspec.Struct, frozen=True):
    """The parameters of /top-plays."""

    mode: ModeNumber = 0
    mods: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=2**31 - 1,
                description="Only plays with exactly these mods, as bits. NC counts as DT, PF as SD.",
            ),
        ]
        | None
    ) = None
    country: Country | None = None
    unique: Annotated[bool, Meta(description="true: each map once, with its best play.")] = False
    page_size: PageSize = 50
    cursor: LongCursor | None = None


class TopPlaysMeta(msgspec.Struct, frozen=True):
    """The position in the list. `cursor` is null at the end."""

    page_size: int
    cursor: int | None


class TopPlaysPage(msgspec.Struct, frozen=True):
    """The response of /top-plays. Each score contains its `beatmap` and its `player`."""

    status: Success
    data: list[ScoreData]
    meta: TopPlaysMeta


class RankingsV2:
    """The endpoints about rankings. The first line of a handler's docstring is the summary in the OpenAPI document."""

    def __init__(
        self,
        rankings: Rankings,
        ranks: Ranks,
        showcase: Showcase,
        clans: Clans,
        lookup: ScoreLookup,
        clock: Clock,
    ) -> None:
        self._rankings = rankings
        self._ranks = ranks
        self._showcase = showcase
        self._clans = clans
        self._lookup = lookup
        self._clock = clock

    async def leaderboard(self, caller: Caller, query: RankingQuery, mode: str) -> RankingPage:
        """Players by pp or another value."""
        number = mode_in_path(mode)
        country = query.country.lower() if query.country else None
        since_ms = self._clock.now_ms() - ACTIVE_MS if query.filter == "active" else None
        size, offset = query.page_size, (query.page - 1) * query.page_size
        rows = await self._rankings.page(
            number, query.sort, country=country, active_since_ms=since_ms, limit=size, offset=offset
        )
        found = rows.read()
        if query.sort == "pp" and since_ms is None:  # PERF: shared state knows this number; the other ones need a COUNT
            total = await self._ranks.count(number, country)
        else:
            count = lambda: self._rankings.count(number, query.sort, country, since_ms)  # noqa: E731
            total = await total_of(len(found), size, offset, count)
        before = await self._showcase.history.yesterday([line.player_id for line in found], number)
        data = []
        for at, line in enumerate(found, offset + 1):
            rank = before.get(line.player_id)
            yesterday = None if rank is None else rank.rank if country is None else rank.country_rank
            data.append(RankedData(*(*msgspec.structs.astuple(line), at, yesterday or None)))
        return RankingPage("success", data, PageMeta(total, query.page, size))

    async def countries(self, caller: Caller, query: CountriesQuery) -> CountriesPage:
        """Countries by the pp of their players."""
        found = await self._showcase.countries.board(mode_in_path(str(query.mode)))
        data = [
            CountryData(at, c.country, c.players, c.active, c.plays, c.rscore, c.pp, c.average_pp)
            for at, c in enumerate(found, 1)
        ]
        return CountriesPage("success", data, PageMeta(len(data), 1, max(1, len(data))))

    async def clans_board(self, caller: Caller, query: ClansBoardQuery) -> ClansBoardPage:
        """Clans by the pp of their members."""
        offset = (query.page - 1) * query.page_size
        mode = mode_in_path(str(query.mode))
        found, total = await self._clans.board(mode, limit=query.page_size, offset=offset)
        data = [_ranked_clan(at, clan) for at, clan in enumerate(found, offset + 1)]
        return ClansBoardPage("success", data, PageMeta(total, query.page, query.page_size))

    async def top_plays(self, caller: Caller, query: TopPlaysQuery) -> TopPlaysPage:
        """The best plays of all players, by pp."""
        found = await self._showcase.top_plays.page(
            mode_in_path(str(query.mode)),
            mods_key=None if query.mods is None else board_key(query.mods),
            country=query.country.lower() if query.country else None,
            unique=query.unique,
            limit=query.page_size + 1,
            cursor=query.cursor or 0,
        )
        page = PageSlice(found, query.page_size)
        with_replays = await self._lookup.with_replays([row.score.id for row in page.rows])
        maps = MapPresenter(caller.scope)
        data = [
            maps.score(
                row.score,
                row.beatmap,
                has_replay=row.score.id in with_replays,
                with_map=True,
                player=row.player,
            )
            for row in page.rows
        ]
        return TopPlaysPage(
            "success", data, TopPlaysMeta(query.page_size, page.rows[-1].score.id if page.has_more else None)
        )

    def operations(self) -> list[Operation]:
        """Return the operations of this class."""
        in_mode = {"mode": MODE_IN_PATH}
        ranking = "rankings"
        return [
            get("/leaderboards/countries", self.countries, CountriesPage, tag=ranking, query=CountriesQuery),
            get("/leaderboards/clans", self.clans_board, ClansBoardPage, tag=ranking, query=ClansBoardQuery),
            get(
                "/leaderboards/{mode}", self.leaderboard, RankingPage, tag=ranking, query=RankingQuery, in_path=in_mode
            ),
            get("/top-plays", self.top_plays, TopPlaysPage, tag=ranking, query=TopPlaysQuery),
        ]


def _ranked_clan(rank: int, clan: ClanLine) -> RankedClan:
    return RankedClan(rank, *[getattr(clan, name) for name in RankedClan.__struct_fields__[1:]])
