"""Version 2: players and rankings."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from kiai.accounts import Accounts, User
from kiai.accounts.model import ID_MAX
from kiai.errors import Invalid, NotFound
from kiai.faces.api.operation import Caller, Operation
from kiai.faces.api.replies import ScoreReply, score_reply
from kiai.faces.api.v1.players import (
    LeaderboardLine,
    PlayerInfo,
    PlayerStats,
    blank,
    info_reply,
    stats_reply,
)
from kiai.faces.api.v2.pages import (
    MODE_IN_PATH,
    PLAYER_IN_PATH,
    Cursor,
    NoMeta,
    Nothing,
    PageMeta,
    PageNumber,
    PageSize,
    Success,
    get,
    mode_in_path,
    number_in_path,
)
from kiai.osu.modes import MODES
from kiai.realtime.port import Rank, Realtime
from kiai.scores.history import History
from kiai.scores.leaderboards import ANY_MODS, Leaderboards
from kiai.scores.ranks import Ranks

_NO_RANK = Rank(rank=0, country_rank=0)
_Id = Annotated[int, Meta(ge=0, le=ID_MAX)]


class PlayersQuery(msgspec.Struct, frozen=True):
    """/players."""

    priv: _Id | None = None
    country: Annotated[str, Meta(pattern="^[A-Za-z]{2}$", extra={"allowed": "a country of two letters"})] | None = None
    clan_id: _Id | None = None
    clan_priv: Annotated[int, Meta(ge=0, le=3)] | None = None
    preferred_mode: Annotated[int, Meta(ge=0, le=8)] | None = None
    play_style: Annotated[int, Meta(ge=0, le=15)] | None = None
    page: PageNumber = 1
    page_size: PageSize = 50
    cursor: Cursor | None = None


class PlayersPage(msgspec.Struct, frozen=True):
    """/players."""

    status: Success
    data: list[PlayerInfo]
    meta: PageMeta


class PlayerPage(msgspec.Struct, frozen=True):
    """/players/{id}."""

    status: Success
    data: PlayerInfo
    meta: NoMeta


class StatusData(msgspec.Struct, frozen=True):
    """What a player who is online does now."""

    login_time: float
    action: int
    info_text: str
    mode: int
    mods: int
    beatmap_id: int


class StatusPage(msgspec.Struct, frozen=True):
    """/players/{id}/status."""

    status: Success
    data: StatusData
    meta: NoMeta


class StatsPage(msgspec.Struct, frozen=True):
    """/players/{id}/stats: all eight modes."""

    status: Success
    data: list[PlayerStats]
    meta: PageMeta


class StatPage(msgspec.Struct, frozen=True):
    """/players/{id}/stats/{mode}."""

    status: Success
    data: PlayerStats
    meta: NoMeta


class PlayerScoresQuery(msgspec.Struct, frozen=True):
    """/players/{id}/scores/{scope}."""

    mode: Annotated[int, Meta(ge=0, le=8, description="0 to 6 or 8.")] = 0
    page: PageNumber = 1
    page_size: PageSize = 50


class ScoresOfPlayerPage(msgspec.Struct, frozen=True):
    """/players/{id}/scores/{scope}."""

    status: Success
    data: list[ScoreReply]
    meta: PageMeta


class MedalData(msgspec.Struct, frozen=True):
    """A medal the player has; unix s."""

    id: int
    unlocked_at: int
    score_id: int | None


class MedalsPage(msgspec.Struct, frozen=True):
    """/players/{id}/medals."""

    status: Success
    data: list[MedalData]
    meta: PageMeta


class DayData(msgspec.Struct, frozen=True):
    """Rank and pp at the start of a day (UTC)."""

    day: str
    rank: int
    country_rank: int
    pp: int


class HistoryPage(msgspec.Struct, frozen=True):
    """/players/{id}/history/{mode}: the last 90 days, oldest first."""

    status: Success
    data: list[DayData]
    meta: PageMeta


class RankingQuery(msgspec.Struct, frozen=True):
    """/leaderboards/{mode}."""

    sort: Literal["pp", "tscore", "rscore", "acc", "plays", "playtime"] = "pp"
    country: Annotated[str, Meta(pattern="^[A-Za-z]{2}$", extra={"allowed": "a country of two letters"})] | None = None
    page: PageNumber = 1
    page_size: PageSize = 50


class RankingPage(msgspec.Struct, frozen=True):
    """/leaderboards/{mode}; `total` is the number of ranked players."""

    status: Success
    data: list[LeaderboardLine]
    meta: PageMeta


class PlayersV2:
    """The handlers of this page."""

    def __init__(
        self, accounts: Accounts, leaderboards: Leaderboards, ranks: Ranks, history: History, realtime: Realtime
    ) -> None:
        self._accounts = accounts
        self._leaderboards = leaderboards
        self._history = history
        self._ranks = ranks
        self._realtime = realtime

    async def _user(self, caller: Caller, id_: str) -> User:
        return await self._accounts.user(caller.viewer, id=number_in_path("id", id_, least=3))

    async def players(self, caller: Caller, query: PlayersQuery) -> PlayersPage:
        """Players by id."""
        filters = {
            name: getattr(query, name) for name in ("priv", "clan_id", "clan_priv", "preferred_mode", "play_style")
        }
        filters["country"] = query.country.lower() if query.country else None
        paged = {"after": query.cursor} if query.cursor is not None else {"offset": (query.page - 1) * query.page_size}
        found, total = await self._accounts.listed(filters, limit=query.page_size, **paged)
        cursor = found[-1].id if len(found) == query.page_size else None
        return PlayersPage(
            "success", [info_reply(one) for one in found], PageMeta(total, query.page, query.page_size, cursor)
        )

    async def player(self, caller: Caller, query: Nothing, id: str) -> PlayerPage:  # noqa: A002
        """One player."""
        return PlayerPage("success", info_reply(await self._user(caller, id)), NoMeta())

    async def status(self, caller: Caller, query: Nothing, id: str) -> StatusPage:  # noqa: A002
        """What a player does now; 404 for one who is offline."""
        user = await self._user(caller, id)
        sessions = await self._realtime.sessions_of(user.id)
        if not sessions:
            raise NotFound("status")
        session = next((one for one in sessions if not one.tournament), sessions[0])
        status = session.status
        data = StatusData(
            session.login_time_ms / 1000,
            status.action,
            status.info_text,
            4 if status.mode is None else status.mode,
            status.mods,
            status.map_id,
        )
        return StatusPage("success", data, NoMeta())

    async def stats(self, caller: Caller, query: Nothing, id: str) -> StatsPage:  # noqa: A002
        """A player's profiles in all modes."""
        user = await self._user(caller, id)
        ranks = await self._ranks.of(user.id)
        played = {one.mode: one for one in await self._leaderboards.stats_of(user.id)}
        data = [
            stats_reply(played[mode], ranks.get(mode, _NO_RANK)) if mode in played else blank(user.id, mode)
            for mode in MODES
        ]
        return StatsPage("success", data, PageMeta(len(data), 1, len(data)))

    async def stats_in(self, caller: Caller, query: Nothing, id: str, mode: str) -> StatPage:  # noqa: A002
        """A player's profile in one mode."""
        number = mode_in_path(mode)
        user = await self._user(caller, id)
        found = await self._leaderboards.stats_in(user.id, number)
        if found is None:
            return StatPage("success", blank(user.id, number), NoMeta())
        return StatPage("success", stats_reply(found, await self._ranks.of_mode(user.id, number)), NoMeta())

    async def scores(self, caller: Caller, query: PlayerScoresQuery, id: str, scope: str) -> ScoresOfPlayerPage:  # noqa: A002
        """A player's scores: best, recent, or firsts."""
        if scope not in ("best", "recent", "firsts"):
            raise Invalid("scope", "one of best, recent, firsts", scope)
        mode = mode_in_path(str(query.mode))
        user = await self._user(caller, id)
        limit, offset = query.page_size, (query.page - 1) * query.page_size
        boards = self._leaderboards
        if scope == "best":
            found = await boards.best_of(user.id, mode, limit=limit, offset=offset)
            total = await boards.best_count(user.id, mode, mods=ANY_MODS, include_loved=False)
        elif scope == "recent":
            found = await boards.recent_of(user.id, mode, limit=limit, offset=offset)
            total = await boards.recent_count(user.id, mode, mods=ANY_MODS, include_failed=True)
        else:
            found, total = await boards.firsts_of(user.id, mode, limit=limit, offset=offset)
        return ScoresOfPlayerPage(
            "success", [score_reply(one) for one in found], PageMeta(total, query.page, query.page_size)
        )

    async def medals(self, caller: Caller, query: Nothing, id: str) -> MedalsPage:  # noqa: A002
        """A player's medals, in the order they were unlocked."""
        user = await self._user(caller, id)
        found = await self._history.medals(user.id)
        data = [MedalData(medal, at_ms // 1000, score_id) for medal, at_ms, score_id in found]
        return MedalsPage("success", data, PageMeta(len(data), 1, max(1, len(data))))

    async def history(self, caller: Caller, query: Nothing, id: str, mode: str) -> HistoryPage:  # noqa: A002
        """A player's rank and pp day by day."""
        number = mode_in_path(mode)
        user = await self._user(caller, id)
        data = [
            DayData(one.date, one.rank, one.country_rank, one.pp) for one in await self._history.days(user.id, number)
        ]
        return HistoryPage("success", data, PageMeta(len(data), 1, max(1, len(data))))

    async def leaderboard(self, caller: Caller, query: RankingQuery, mode: str) -> RankingPage:
        """Players by pp or another measure."""
        number = mode_in_path(mode)
        country = query.country.lower() if query.country else None
        found = await self._leaderboards.ranking(
            number,
            query.sort,
            country=country,
            limit=query.page_size,
            offset=(query.page - 1) * query.page_size,
        )
        total = await self._ranks.count(number, country)
        return RankingPage(
            "success",
            msgspec.convert(found, list[LeaderboardLine], from_attributes=True),
            PageMeta(total, query.page, query.page_size),
        )

    def operations(self) -> list[Operation]:
        """What this page serves."""
        player = {"id": PLAYER_IN_PATH}
        return [
            get("/players", self.players, PlayersPage, tag="players", query=PlayersQuery),
            get("/players/{id}", self.player, PlayerPage, tag="players", in_path=player),
            get("/players/{id}/status", self.status, StatusPage, tag="players", in_path=player),
            get("/players/{id}/stats", self.stats, StatsPage, tag="players", in_path=player),
            get(
                "/players/{id}/stats/{mode}",
                self.stats_in,
                StatPage,
                tag="players",
                in_path={"mode": MODE_IN_PATH, **player},
            ),
            get(
                "/players/{id}/scores/{scope}",
                self.scores,
                ScoresOfPlayerPage,
                tag="players",
                query=PlayerScoresQuery,
                in_path={"scope": {"type": "string", "enum": ["best", "recent", "firsts"]}, **player},
            ),
            get("/players/{id}/medals", self.medals, MedalsPage, tag="players", in_path=player),
            get(
                "/players/{id}/history/{mode}",
                self.history,
                HistoryPage,
                tag="players",
                in_path={"mode": MODE_IN_PATH, **player},
            ),
            get(
                "/leaderboards/{mode}",
                self.leaderboard,
                RankingPage,
                tag="rankings",
                query=RankingQuery,
                in_path={"mode": MODE_IN_PATH},
            ),
        ]
