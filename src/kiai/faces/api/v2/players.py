"""Version 2: players and rankings."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from kiai.accounts import Accounts, Player, User
from kiai.accounts.model import FIRST_PLAYER_ID, ID_MAX
from kiai.errors import Invalid, NotFound
from kiai.faces.api.operation import OWN, Caller, Operation
from kiai.faces.api.v1.common import total_of
from kiai.faces.api.v1.players import LeaderboardLine, PlayerInfo, info_reply
from kiai.faces.api.v2.pages import (
    COUNTED_MAX,
    MODE_IN_PATH,
    Cursor,
    Ids,
    Include,
    ModeNumber,
    NoMeta,
    Nothing,
    Paged,
    PageMeta,
    PageNumber,
    PageSize,
    SizedQuery,
    Success,
    get,
    ids_in,
    mode_in_path,
    number_in_path,
    offset_of,
    wants,
)
from kiai.faces.api.v2.shapes import (
    UNRANKED,
    Maps,
    PlayedMapData,
    ProfileData,
    ScoreData,
    blank_profile,
    profile_data,
)
from kiai.osu.modes import MODES
from kiai.osu.names import NAME_PATTERN
from kiai.realtime.port import Realtime
from kiai.scores.history import History
from kiai.scores.leaderboards import ANY_MODS, Leaderboards
from kiai.scores.model import MappedScore
from kiai.scores.ranks import Ranks
from kiai.storage.port import Value

_Id = Annotated[int, Meta(ge=0, le=ID_MAX)]
_Country = Annotated[
    str,
    Meta(
        pattern="^[A-Za-z]{2}$",
        description="Only players of this country: two letters of ISO 3166-1.",
        extra={"allowed": "a country of two letters"},
    ),
]
Scope = Literal["best", "recent", "firsts"]
NAME_WORDS: Final = "a name of 2 to 15 characters out of A-Z a-z 0-9 _ [ ] - and space"
SCOPES: Final = ("best", "recent", "firsts")
PLAYER_IN_PATH: Final[dict[str, Any]] = {
    "type": "string",
    "pattern": rf"^[0-9]{{1,10}}$|{NAME_PATTERN}",
    "description": "The player's id or name, in upper or lower case, with spaces or underscores.",
    "x-allowed": f"a whole number from {FIRST_PLAYER_ID} to {ID_MAX}, or {NAME_WORDS}",
}
_NAME: Final = re.compile(NAME_PATTERN)


Key = Annotated[
    Literal["id", "username"],
    Meta(description="What the path holds. When left out, digits alone are an id, all else is a name."),
]


class KeyQuery(msgspec.Struct, frozen=True):
    """A player by id or name."""

    key: Key | None = None


class PlayersQuery(msgspec.Struct, frozen=True):
    """/players."""

    priv: (
        Annotated[_Id, Meta(description="Only players with exactly these privileges, the sum of their bits.")] | None
    ) = None
    country: _Country | None = None
    clan_id: Annotated[_Id, Meta(description="Only members of this clan; 0: only players without one.")] | None = None
    clan_priv: Annotated[int, Meta(ge=0, le=3, description="0 no clan, 1 member, 2 officer, 3 owner.")] | None = None
    preferred_mode: Annotated[int, Meta(ge=0, le=8, description="Only players whose main mode this is.")] | None = None
    play_style: (
        Annotated[int, Meta(ge=0, le=15, description="Bits: 1 mouse, 2 tablet, 4 keyboard, 8 touch.")] | None
    ) = None
    ids: Ids | None = None
    online: Annotated[bool, Meta(description="true: only players who are online.")] = False
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
    """What a player who is online does now; `login_time` in unix s."""

    login_time: int
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
    data: list[ProfileData]
    meta: PageMeta


class StatPage(msgspec.Struct, frozen=True):
    """/players/{id}/stats/{mode}."""

    status: Success
    data: ProfileData
    meta: NoMeta


class SearchQuery(SizedQuery, frozen=True, kw_only=True):
    """/players/search."""

    q: Annotated[str, Meta(min_length=2, max_length=32, description="Part of a name.")]


class ScopeQuery(KeyQuery, frozen=True):
    """/players/{id}/scores/{scope}."""

    mode: ModeNumber = 0
    include: Include | None = None
    page: PageNumber = 1
    page_size: PageSize = 50


class PlayerScoresQuery(SizedQuery, frozen=True):
    """/players/{id}/scores."""

    scope: Annotated[
        Scope,
        Meta(description="best: by pp, on ranked and approved maps; recent: newest first; firsts: first places."),
    ] = "best"
    mode: ModeNumber = 0
    include: Include | None = None
    key: Key | None = None


class ScoresOfPlayerPage(msgspec.Struct, frozen=True):
    """/players/{id}/scores: each with its `beatmap`."""

    status: Success
    data: list[ScoreData]
    meta: PageMeta


class MostPlayedQuery(SizedQuery, frozen=True):
    """/players/{id}/most_played."""

    mode: ModeNumber = 0
    key: Key | None = None


class MostPlayedPage(msgspec.Struct, frozen=True):
    """/players/{id}/most_played."""

    status: Success
    data: list[PlayedMapData]
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
    """Rank and pp at the start of a day (UTC); ranks null when unranked."""

    day: str
    rank: int | None
    country_rank: int | None
    pp: int


class HistoryPage(msgspec.Struct, frozen=True):
    """/players/{id}/history/{mode}: the last 90 days, oldest first."""

    status: Success
    data: list[DayData]
    meta: PageMeta


class RankingQuery(msgspec.Struct, frozen=True):
    """/leaderboards/{mode}."""

    sort: Annotated[
        Literal["pp", "tscore", "rscore", "acc", "plays", "playtime"],
        Meta(description="The figure that decides, highest first."),
    ] = "pp"
    country: _Country | None = None
    page: PageNumber = 1
    page_size: PageSize = 50


class RankedData(LeaderboardLine, frozen=True):
    """A player in a ranking; `rank` is the place in this list, from 1."""

    rank: int


class RankingPage(msgspec.Struct, frozen=True):
    """/leaderboards/{mode}: only players with a value above 0."""

    status: Success
    data: list[RankedData]
    meta: PageMeta


class ServerStats(msgspec.Struct, frozen=True):
    """Players online and registered, without the bot."""

    online_players: int
    total_players: int


class ServerStatsPage(msgspec.Struct, frozen=True):
    """/server/stats."""

    status: Success
    data: ServerStats
    meta: NoMeta


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

    async def _user(self, caller: Caller, id_: str, key: str | None) -> User:
        number, name = _who(id_, key)
        return await self._accounts.user(caller.viewer, id=number, name=name)

    async def server_stats(self, caller: Caller, query: Nothing) -> ServerStatsPage:
        """How many players are online and registered."""
        online = await self._realtime.online_count()
        return ServerStatsPage("success", ServerStats(online, await self._accounts.total()), NoMeta())

    async def me(self, caller: Caller, query: Nothing) -> PlayerPage:
        """The key holder's own account."""
        user = await self._accounts.user(caller.viewer, id=caller.viewer.user_id)
        return PlayerPage("success", info_reply(user), NoMeta())

    async def players(self, caller: Caller, query: PlayersQuery) -> PlayersPage:
        """Players by id."""
        filters: dict[str, Value] = {
            name: getattr(query, name) for name in ("priv", "clan_id", "clan_priv", "preferred_mode", "play_style")
        }
        filters["country"] = query.country.lower() if query.country else None
        size, offset = query.page_size, offset_of(query)
        if query.ids is not None or query.online:
            found, total = await self._among(query, filters, 0 if query.cursor is not None else offset)
        else:
            paged = {"after": query.cursor} if query.cursor is not None else {"offset": offset}
            found, total = await self._accounts.listed(filters, limit=size + 1, **paged)
        page = Paged(found, size)
        cursor = page.rows[-1].id if page.has_more else None
        data = [info_reply(one) for one in page.rows]
        return PlayersPage("success", data, PageMeta(total, query.page, size, cursor))

    async def _among(self, query: PlayersQuery, filters: Mapping[str, Value], offset: int) -> tuple[list[User], int]:
        """The page that begins at `offset`, or behind the cursor, and one entry more, of players named or online."""
        if query.ids is None:
            ids = sorted(await self._realtime.online_ids())[:COUNTED_MAX]
        elif query.online:
            ids = sorted(await self._realtime.online_among(ids_in(query.ids)))
        else:
            ids = ids_in(query.ids)
        after = query.cursor or 0
        last = offset + query.page_size + 1
        if query.ids is None and all(value is None for value in filters.values()):
            # Who is online is visible: the page can be cut before anybody is read.
            page = [one for one in ids if one > after][offset:last]
            return await self._accounts.listed_among(page, filters), len(ids)
        found = await self._accounts.listed_among(ids, filters)
        return [one for one in found if one.id > after][offset:last], len(found)

    async def search(self, caller: Caller, query: SearchQuery) -> PlayersPage:
        """Players whose name holds the text, by id."""
        found, total = await self._accounts.search_users(query.q, limit=query.size, offset=query.offset)
        data = [info_reply(one) for one in found]
        return PlayersPage("success", data, PageMeta(total, query.page, query.size))

    async def player(self, caller: Caller, query: KeyQuery, id: str) -> PlayerPage:  # noqa: A002
        """One player."""
        return PlayerPage("success", info_reply(await self._user(caller, id, query.key)), NoMeta())

    async def status(self, caller: Caller, query: KeyQuery, id: str) -> StatusPage:  # noqa: A002
        """What a player does now; 404 for one who is offline."""
        user = await self._user(caller, id, query.key)
        sessions = await self._realtime.sessions_of(user.id)
        if not sessions:
            raise NotFound("status")
        session = next((one for one in sessions if not one.tournament), sessions[0])
        status = session.status
        data = StatusData(
            session.login_time_ms // 1000,
            status.action,
            status.info_text,
            4 if status.mode is None else status.mode,
            status.mods,
            status.map_id,
        )
        return StatusPage("success", data, NoMeta())

    async def stats(self, caller: Caller, query: KeyQuery, id: str) -> StatsPage:  # noqa: A002
        """A player's profiles in all modes."""
        user = await self._user(caller, id, query.key)
        ranks = await self._ranks.of(user.id)
        played = {one.mode: one for one in await self._leaderboards.stats_of(user.id)}
        data = [
            profile_data(played[mode], ranks.get(mode, UNRANKED)) if mode in played else blank_profile(user.id, mode)
            for mode in MODES
        ]
        return StatsPage("success", data, PageMeta(len(data), 1, len(data)))

    async def stats_in(self, caller: Caller, query: KeyQuery, id: str, mode: str) -> StatPage:  # noqa: A002
        """A player's profile in one mode."""
        number = mode_in_path(mode)
        user = await self._user(caller, id, query.key)
        found = await self._leaderboards.stats_in(user.id, number)
        if found is None:
            return StatPage("success", blank_profile(user.id, number), NoMeta())
        return StatPage("success", profile_data(found, await self._ranks.of_mode(user.id, number)), NoMeta())

    async def scores(self, caller: Caller, query: PlayerScoresQuery, id: str) -> ScoresOfPlayerPage:  # noqa: A002
        """A player's scores with their maps: best, recent, or first places."""
        found, total, player = await self._scores(caller, query, id, query.scope, query.size)
        data = await self._with_maps(caller, found, player if wants(query.include, "player") else None)
        return ScoresOfPlayerPage("success", data, PageMeta(total, query.page, query.size))

    async def scores_in(self, caller: Caller, query: ScopeQuery, id: str, scope: str) -> ScoresOfPlayerPage:  # noqa: A002
        """A player's scores: best, recent, or firsts."""
        if scope not in SCOPES:
            raise Invalid("scope", f"one of {', '.join(SCOPES)}", scope)
        found, total, player = await self._scores(caller, query, id, scope, query.page_size)
        data = await self._with_maps(caller, found, player if wants(query.include, "player") else None)
        return ScoresOfPlayerPage("success", data, PageMeta(total, query.page, query.page_size))

    async def _scores(
        self, caller: Caller, query: PlayerScoresQuery | ScopeQuery, id_: str, scope: str, limit: int
    ) -> tuple[list[MappedScore], int, Player]:
        mode = mode_in_path(str(query.mode))
        number, name = _who(id_, query.key)
        player = await self._accounts.player(caller.viewer, id=number, name=name)
        offset, boards = (query.page - 1) * limit, self._leaderboards
        if scope == "best":
            found = await boards.best_of(player.id, mode, limit=limit, offset=offset)
            total = await boards.best_count(player.id, mode, mods=ANY_MODS, include_loved=False)
        elif scope == "recent":
            found = await boards.recent_of(player.id, mode, limit=limit, offset=offset)
            total = await boards.recent_count(player.id, mode, mods=ANY_MODS, include_failed=True)
        else:
            found, total = await boards.firsts_of(player.id, mode, limit=limit, offset=offset)
        return found, total, player

    async def _with_maps(self, caller: Caller, found: list[MappedScore], player: Player | None) -> list[ScoreData]:
        with_replays = await self._leaderboards.with_replays([one.score.id for one in found])
        maps = Maps(caller.scope)
        return [
            maps.score(one.score, one.beatmap, has_replay=one.score.id in with_replays, with_map=True, player=player)
            for one in found
        ]

    async def most_played(self, caller: Caller, query: MostPlayedQuery, id: str) -> MostPlayedPage:  # noqa: A002
        """A player's maps by number of plays."""
        mode = mode_in_path(str(query.mode))
        user = await self._user(caller, id, query.key)
        found = await self._leaderboards.most_played(user.id, mode, limit=query.size, offset=query.offset)
        count = lambda: self._leaderboards.most_played_count(user.id, mode)  # noqa: E731
        total = await total_of(len(found), query.size, query.offset, count)
        maps = Maps(caller.scope)
        data = [maps.played(one) for one in found]
        return MostPlayedPage("success", data, PageMeta(total, query.page, query.size))

    async def medals(self, caller: Caller, query: KeyQuery, id: str) -> MedalsPage:  # noqa: A002
        """A player's medals, in the order they were unlocked."""
        user = await self._user(caller, id, query.key)
        found = await self._history.medals(user.id)
        data = [MedalData(medal, at_ms // 1000, score_id) for medal, at_ms, score_id in found]
        return MedalsPage("success", data, PageMeta(len(data), 1, max(1, len(data))))

    async def history(self, caller: Caller, query: KeyQuery, id: str, mode: str) -> HistoryPage:  # noqa: A002
        """A player's rank and pp day by day."""
        number = mode_in_path(mode)
        user = await self._user(caller, id, query.key)
        data = [
            DayData(one.date, one.rank or None, one.country_rank or None, one.pp)
            for one in await self._history.days(user.id, number)
        ]
        return HistoryPage("success", data, PageMeta(len(data), 1, max(1, len(data))))

    async def leaderboard(self, caller: Caller, query: RankingQuery, mode: str) -> RankingPage:
        """Players by pp or another measure."""
        number = mode_in_path(mode)
        country = query.country.lower() if query.country else None
        size, offset = query.page_size, (query.page - 1) * query.page_size
        found = await self._leaderboards.ranking(number, query.sort, country=country, limit=size, offset=offset)
        if query.sort == "pp":
            total = await self._ranks.count(number, country)
        else:
            count = lambda: self._leaderboards.ranking_count(number, query.sort, country)  # noqa: E731
            total = await total_of(len(found), size, offset, count)
        data = [RankedData(*(*msgspec.structs.astuple(one), offset + at)) for at, one in enumerate(found, 1)]
        return RankingPage("success", data, PageMeta(total, query.page, size))

    def operations(self) -> list[Operation]:
        """What this page serves."""
        player, scope = (
            {"id": PLAYER_IN_PATH},
            {
                "type": "string",
                "enum": list(SCOPES),
                "description": "By pp, newest first, or the first places on maps.",
            },
        )
        in_mode = {"mode": MODE_IN_PATH}

        def of_player(
            path: str, handler: Any, reply: Any, query: type[msgspec.Struct] = KeyQuery, **more: Any
        ) -> Operation:
            return get(f"/players/{{id}}{path}", handler, reply, tag="players", query=query, in_path=player | more)

        return [
            get("/server/stats", self.server_stats, ServerStatsPage, tag="server"),
            get("/me", self.me, PlayerPage, tag="players", permission=OWN),
            get("/players", self.players, PlayersPage, tag="players", query=PlayersQuery),
            get("/players/search", self.search, PlayersPage, tag="players", query=SearchQuery),
            of_player("", self.player, PlayerPage),
            of_player("/status", self.status, StatusPage),
            of_player("/stats", self.stats, StatsPage),
            of_player("/stats/{mode}", self.stats_in, StatPage, mode=MODE_IN_PATH),
            of_player("/scores", self.scores, ScoresOfPlayerPage, PlayerScoresQuery),
            of_player("/scores/{scope}", self.scores_in, ScoresOfPlayerPage, ScopeQuery, scope=scope),
            of_player("/most_played", self.most_played, MostPlayedPage, MostPlayedQuery),
            of_player("/medals", self.medals, MedalsPage),
            of_player("/history/{mode}", self.history, HistoryPage, mode=MODE_IN_PATH),
            get(
                "/leaderboards/{mode}",
                self.leaderboard,
                RankingPage,
                tag="rankings",
                query=RankingQuery,
                in_path=in_mode,
            ),
        ]


def _who(text: str, key: str | None) -> tuple[int | None, str | None]:
    """The id or the name that a path holds. Raises Invalid."""
    if key == "id" or (key is None and text.isascii() and text.isdigit()):
        return number_in_path("id", text, least=FIRST_PLAYER_ID), None
    if _NAME.fullmatch(text) is None:
        raise Invalid("id", f"a player's id, or {NAME_WORDS}", text)
    return None, text
