"""Version 2: endpoints about players and rankings."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from kiai.accounts import Accounts, Player, User
from kiai.accounts.model import FIRST_PLAYER_ID, ID_MAX, Privacy
from kiai.accounts.visibility import shows_online
from kiai.errors import Invalid, NotFound
from kiai.faces.api.operation import OWN, Caller, Operation
from kiai.faces.api.params import NoParameters
from kiai.faces.api.v1.common import total_of
from kiai.faces.api.v1.players import UNKNOWN_MODE, PlayerInfo, info_reply
from kiai.faces.api.v2.paging import (
    COUNTED_MAX,
    MODE_IN_PATH,
    Cursor,
    Ids,
    Include,
    ModeNumber,
    NoMeta,
    PageMeta,
    PageNumber,
    PageSize,
    PageSlice,
    SizedQuery,
    Success,
    get,
    ids_in,
    mode_in_path,
    number_in_path,
    offset_of,
    wants,
)
from kiai.faces.api.v2.schemas import (
    UNRANKED,
    MapPresenter,
    PlayedMapData,
    ProfileData,
    ScoreData,
    blank_profile,
    profile_data,
)
from kiai.osu.modes import MODES
from kiai.osu.names import NAME_PATTERN
from kiai.presence.online import PublicOnline
from kiai.realtime.port import Realtime, order_of_sessions
from kiai.scores.highlights import Highlights
from kiai.scores.listing_parts import ANY_MODS
from kiai.scores.lookup import ScoreLookup
from kiai.scores.model import MappedScore
from kiai.scores.profiles import Profiles
from kiai.scores.ranks import Ranks
from kiai.scores.showcase import Showcase
from kiai.storage.port import Value

_Id = Annotated[int, Meta(ge=0, le=ID_MAX)]
Country = Annotated[
    str,
    Meta(
        pattern="^[A-Za-z]{2}$",
        description="Only players of this country: two letters of ISO 3166-1.",
        extra={"allowed": "a country of two letters"},
    ),
]
Scope = Literal["best", "recent", "firsts", "pinned"]
NAME_WORDS: Final = "a name of 2 to 15 characters out of A-Z a-z 0-9 _ [ ] - and space"
SCOPES: Final = ("best", "recent", "firsts", "pinned")
PLAYER_IN_PATH: Final[dict[str, Any]] = {
    "type": "string",
    "pattern": rf"^[0-9]{{1,10}}$|{NAME_PATTERN}",
    "description": "The player's id or name, in upper or lower case, with spaces or underscores.",
    "x-allowed": f"a whole number from {FIRST_PLAYER_ID} to {ID_MAX}, or {NAME_WORDS}",
}
_NAME: Final = re.compile(NAME_PATTERN)


Key = Annotated[
    Literal["id", "username"],
    Meta(description="The meaning of the path. By default, digits are an id and everything else is a name."),
]


class KeyQuery(msgspec.Struct, frozen=True):
    """The parameter that tells whether the path contains an id or a name."""

    key: Key | None = None


class PlayersQuery(msgspec.Struct, frozen=True):
    """The parameters of /players."""

    priv: (
        Annotated[_Id, Meta(description="Only players with exactly these privileges, the sum of their bits.")] | None
    ) = None
    country: Country | None = None
    clan_id: Annotated[_Id, Meta(description="Only members of this clan; 0: only players without one.")] | None = None
    clan_priv: Annotated[int, Meta(ge=0, le=3, description="0 no clan, 1 member, 2 officer, 3 owner.")] | None = None
    preferred_mode: Annotated[int, Meta(ge=0, le=8, description="Only players with this main mode.")] | None = None
    play_style: (
        Annotated[int, Meta(ge=0, le=15, description="Bits: 1 mouse, 2 tablet, 4 keyboard, 8 touch.")] | None
    ) = None
    ids: Ids | None = None
    online: Annotated[bool, Meta(description="true: only players who are online.")] = False
    page: PageNumber = 1
    page_size: PageSize = 50
    cursor: Cursor | None = None


class PlayersPage(msgspec.Struct, frozen=True):
    """The response of /players and /players/search, sorted by id."""

    status: Success
    data: list[PlayerInfo]
    meta: PageMeta


class PlayerPage(msgspec.Struct, frozen=True):
    """The response of /players/{id} and /me."""

    status: Success
    data: PlayerInfo
    meta: NoMeta


class SettingsData(msgspec.Struct, frozen=True):
    """The settings of an account. Times are in unix seconds, null for never.

    `country` is also given while the player hides it. `messages_from`: who may send private messages, by the settings
    of the website and of the game.
    """

    preferred_mode: int
    play_style: int
    country: str
    shows_country: bool
    shows_last_seen: bool
    shows_online: bool
    messages_from: Literal["everybody", "friends"]
    country_changed_at: int | None
    name_changed_at: int | None
    deletion_at: int | None


class SettingsPage(msgspec.Struct, frozen=True):
    """The response of /me/settings."""

    status: Success
    data: SettingsData
    meta: NoMeta


class StatusData(msgspec.Struct, frozen=True):
    """The status of a player who is online. `login_time` is in unix seconds."""

    login_time: int
    action: int
    info_text: str
    mode: int
    mods: int
    beatmap_id: int


class StatusPage(msgspec.Struct, frozen=True):
    """The response of /players/{id}/status."""

    status: Success
    data: StatusData
    meta: NoMeta


class StatsPage(msgspec.Struct, frozen=True):
    """The response of /players/{id}/stats: all eight modes."""

    status: Success
    data: list[ProfileData]
    meta: PageMeta


class StatPage(msgspec.Struct, frozen=True):
    """The response of /players/{id}/stats/{mode}."""

    status: Success
    data: ProfileData
    meta: NoMeta


class SearchQuery(SizedQuery, frozen=True, kw_only=True):
    """The parameters of /players/search."""

    q: Annotated[str, Meta(min_length=2, max_length=32, description="Part of a name.")]


class ScopeQuery(KeyQuery, frozen=True):
    """The parameters of /players/{id}/scores/{scope}."""

    mode: ModeNumber = 0
    include: Include | None = None
    page: PageNumber = 1
    page_size: PageSize = 50


class PlayerScoresQuery(SizedQuery, frozen=True):
    """The parameters of /players/{id}/scores."""

    scope: Annotated[
        Scope,
        Meta(
            description="best: by pp, on ranked and approved maps; recent: newest first; firsts: first places; "
            "pinned: chosen by the player."
        ),
    ] = "best"
    mode: ModeNumber = 0
    include: Include | None = None
    key: Key | None = None


class ScoresOfPlayerPage(msgspec.Struct, frozen=True):
    """The response of /players/{id}/scores. Each score contains its `beatmap`."""

    status: Success
    data: list[ScoreData]
    meta: PageMeta


class MostPlayedQuery(SizedQuery, frozen=True):
    """The parameters of /players/{id}/most_played."""

    mode: ModeNumber = 0
    key: Key | None = None


class MostPlayedPage(msgspec.Struct, frozen=True):
    """The response of /players/{id}/most_played."""

    status: Success
    data: list[PlayedMapData]
    meta: PageMeta


class MedalData(msgspec.Struct, frozen=True):
    """A medal of a player. `unlocked_at` is in unix seconds. `score_id` is the play that unlocked it, if known."""

    id: int
    unlocked_at: int
    score_id: int | None


class MedalsPage(msgspec.Struct, frozen=True):
    """The response of /players/{id}/medals."""

    status: Success
    data: list[MedalData]
    meta: PageMeta


class DayData(msgspec.Struct, frozen=True):
    """Rank and pp at the start of a day (UTC). Ranks are null for an unranked player."""

    day: str
    rank: int | None
    country_rank: int | None
    pp: int


class HistoryPage(msgspec.Struct, frozen=True):
    """The response of /players/{id}/history/{mode}: the last 90 days, oldest first."""

    status: Success
    data: list[DayData]
    meta: PageMeta


class ServerStats(msgspec.Struct, frozen=True):
    """The numbers of players online and registered, without the bot, of plays ever, and of maps with a leaderboard.

    A job updates the last two every 30 seconds and every hour.
    """

    online_players: int
    total_players: int
    total_plays: int
    maps_with_leaderboard: int


class ServerStatsPage(msgspec.Struct, frozen=True):
    """The response of /server/stats."""

    status: Success
    data: ServerStats
    meta: NoMeta


class PlayersV2:
    """The endpoints about players. The first line of a handler's docstring is the summary in the OpenAPI document."""

    def __init__(
        self,
        accounts: Accounts,
        profiles: Profiles,
        lookup: ScoreLookup,
        ranks: Ranks,
        showcase: Showcase,
        realtime: Realtime,
        online: PublicOnline,
        highlights: Highlights,
    ) -> None:
        self._highlights = highlights
        self._accounts = accounts
        self._profiles = profiles
        self._lookup = lookup
        self._history = showcase.history
        self._peaks = showcase.peaks
        self._pins = showcase.pins
        self._ranks = ranks
        self._realtime = realtime
        self._online = online

    async def _user(self, caller: Caller, id_: str, key: str | None) -> User:
        number, name = id_or_name(id_, key)
        return await self._accounts.user(caller.viewer, id=number, name=name)

    async def server_stats(self, caller: Caller, query: NoParameters) -> ServerStatsPage:
        """Numbers of players online and registered, of plays and of maps."""
        online = await self._online.count()
        figures = await self._highlights.figures()
        data = ServerStats(online, await self._accounts.total(), figures.plays, figures.boards)
        return ServerStatsPage("success", data, NoMeta())

    async def me(self, caller: Caller, query: NoParameters) -> PlayerPage:
        """The key's account."""
        # As the viewer, because a restricted player is visible to nobody else.
        user = await self._accounts.user(caller.viewer, id=caller.viewer.user_id)
        return PlayerPage("success", info_reply(user, caller.viewer), NoMeta())

    async def my_settings(self, caller: Caller, query: NoParameters) -> SettingsPage:
        """The settings of the key's account."""
        user = await self._accounts.user(caller.viewer, id=caller.viewer.user_id)
        return SettingsPage("success", settings_data(user), NoMeta())

    async def players(self, caller: Caller, query: PlayersQuery) -> PlayersPage:
        """Players by id."""
        filters: dict[str, Value] = {
            name: getattr(query, name) for name in ("priv", "clan_id", "clan_priv", "preferred_mode", "play_style")
        }
        filters["country"] = query.country.lower() if query.country else None  # accounts store lower case
        size, offset = query.page_size, offset_of(query)
        if query.ids is not None or query.online:
            found, total = await self._among(caller, query, filters, 0 if query.cursor is not None else offset)
        else:
            paged = {"after": query.cursor} if query.cursor is not None else {"offset": offset}
            found, total = await self._accounts.listed(filters, limit=size + 1, **paged)
        page = PageSlice(found, size)
        cursor = page.rows[-1].id if page.has_more else None
        data = [info_reply(user, caller.viewer) for user in page.rows]
        return PlayersPage("success", data, PageMeta(total, query.page, size, cursor))

    async def _among(
        self, caller: Caller, query: PlayersQuery, filters: Mapping[str, Value], offset: int
    ) -> tuple[list[User], int]:
        """Return a page of the players in `ids` or online, with one entry more than its size, and the total.

        The page begins at `offset` or, with a cursor, after it.
        """
        # Shared state knows who is online, and the database the filters, so these lists are cut here.
        if query.ids is None:
            ids = (await self._online.ids(caller.viewer))[:COUNTED_MAX]
        elif query.online:
            ids = sorted(await self._realtime.online_among(ids_in(query.ids)))
        else:
            ids = ids_in(query.ids)
        after = query.cursor or 0
        last = offset + query.page_size + 1
        if query.ids is None and all(value is None for value in filters.values()):
            # PERF: all players online are visible, so without filters the page is cut before the database is read.
            page = [user_id for user_id in ids if user_id > after][offset:last]
            return await self._accounts.listed_among(page, filters), len(ids)
        found = await self._accounts.listed_among(ids, filters)
        if query.online:
            found = [user for user in found if shows_online(caller.viewer, user)]
        return [user for user in found if user.id > after][offset:last], len(found)

    async def search(self, caller: Caller, query: SearchQuery) -> PlayersPage:
        """Players whose name contains a text, by id."""
        found, total = await self._accounts.search_users(query.q, limit=query.size, offset=query.offset)
        data = [info_reply(user, caller.viewer) for user in found]
        return PlayersPage("success", data, PageMeta(total, query.page, query.size))

    async def player(self, caller: Caller, query: KeyQuery, id: str) -> PlayerPage:  # noqa: A002
        """One player."""
        return PlayerPage("success", info_reply(await self._user(caller, id, query.key), caller.viewer), NoMeta())

    async def status(self, caller: Caller, query: KeyQuery, id: str) -> StatusPage:  # noqa: A002
        """The status of a player. 404 while the player is offline."""
        user = await self._user(caller, id, query.key)
        sessions = await self._realtime.sessions_of(user.id)
        if not sessions or not shows_online(caller.viewer, user):
            raise NotFound("status")
        # Tournament clients mostly watch, so a player's game client has the status of interest.
        session = min(sessions, key=order_of_sessions)
        status = session.status
        data = StatusData(
            session.login_time_ms // 1000,
            status.action,
            status.info_text,
            UNKNOWN_MODE if status.mode is None else status.mode,
            status.mods,
            status.map_id,
        )
        return StatusPage("success", data, NoMeta())

    async def stats(self, caller: Caller, query: KeyQuery, id: str) -> StatsPage:  # noqa: A002
        """A player's statistics in all modes."""
        user = await self._user(caller, id, query.key)
        by_pp, by_score = await self._ranks.in_both_lists(user.id)
        peaks = await self._peaks.all_of(user.id)
        played = {stats.mode: stats for stats in await self._profiles.stats_of(user.id)}
        data = [
            profile_data(played[mode], by_pp.get(mode, UNRANKED), by_score.get(mode, UNRANKED), peaks.get(mode))
            if mode in played
            else blank_profile(user.id, mode)
            for mode in MODES
        ]
        return StatsPage("success", data, PageMeta(len(data), 1, len(data)))

    async def stats_in(self, caller: Caller, query: KeyQuery, id: str, mode: str) -> StatPage:  # noqa: A002
        """A player's statistics in one mode."""
        number = mode_in_path(mode)
        user = await self._user(caller, id, query.key)
        found = await self._profiles.stats_in(user.id, number)
        if found is None:
            return StatPage("success", blank_profile(user.id, number), NoMeta())
        data = profile_data(
            found,
            await self._ranks.of_mode(user.id, number),
            await self._ranks.by_ranked_score(user.id, number),
            await self._peaks.of(user.id, number),
        )
        return StatPage("success", data, NoMeta())

    async def scores(self, caller: Caller, query: PlayerScoresQuery, id: str) -> ScoresOfPlayerPage:  # noqa: A002
        """A player's scores with their maps: best, recent, first places, or pinned."""
        found, total, player = await self._list_scores(caller, query, id, query.scope, query.size)
        data = await self._with_maps(caller, found, player if wants(query.include, "player") else None)
        return ScoresOfPlayerPage("success", data, PageMeta(total, query.page, query.size))

    async def scores_in(self, caller: Caller, query: ScopeQuery, id: str, scope: str) -> ScoresOfPlayerPage:  # noqa: A002
        """A player's scores: best, recent, firsts, or pinned."""
        if scope not in SCOPES:
            raise Invalid("scope", f"one of {', '.join(SCOPES)}", scope)
        found, total, player = await self._list_scores(caller, query, id, scope, query.page_size)
        data = await self._with_maps(caller, found, player if wants(query.include, "player") else None)
        return ScoresOfPlayerPage("success", data, PageMeta(total, query.page, query.page_size))

    async def _list_scores(
        self, caller: Caller, query: PlayerScoresQuery | ScopeQuery, id_: str, scope: str, limit: int
    ) -> tuple[list[MappedScore], int, Player]:
        mode = mode_in_path(str(query.mode))
        number, name = id_or_name(id_, query.key)
        player = await self._accounts.player(caller.viewer, id=number, name=name)
        offset, profiles = (query.page - 1) * limit, self._profiles
        if scope == "best":
            found = await profiles.best_of(player.id, mode, limit=limit, offset=offset)
            total = await profiles.best_count(player.id, mode, mods=ANY_MODS, include_loved=False)
        elif scope == "recent":
            found = await profiles.recent_of(player.id, mode, limit=limit, offset=offset)
            total = await profiles.recent_count(player.id, mode, mods=ANY_MODS, include_failed=True)
        elif scope == "pinned":
            pinned = await self._pins.of(player.id, mode)
            found, total = pinned[offset : offset + limit], len(pinned)
        else:
            found, total = await profiles.firsts_of(player.id, mode, limit=limit, offset=offset)
        return found, total, player

    async def _with_maps(self, caller: Caller, found: list[MappedScore], player: Player | None) -> list[ScoreData]:
        with_replays = await self._lookup.with_replays([row.score.id for row in found])
        maps = MapPresenter(caller.scope)
        return [
            maps.score(row.score, row.beatmap, has_replay=row.score.id in with_replays, with_map=True, player=player)
            for row in found
        ]

    async def most_played(self, caller: Caller, query: MostPlayedQuery, id: str) -> MostPlayedPage:  # noqa: A002
        """A player's maps by number of plays."""
        mode = mode_in_path(str(query.mode))
        user = await self._user(caller, id, query.key)
        found = await self._profiles.most_played(user.id, mode, limit=query.size, offset=query.offset)
        count = lambda: self._profiles.most_played_count(user.id, mode)  # noqa: E731
        total = await total_of(len(found), query.size, query.offset, count)
        maps = MapPresenter(caller.scope)
        data = [maps.played(row) for row in found]
        return MostPlayedPage("success", data, PageMeta(total, query.page, query.size))

    async def medals(self, caller: Caller, query: KeyQuery, id: str) -> MedalsPage:  # noqa: A002
        """A player's medals, in the order they were unlocked."""
        user = await self._user(caller, id, query.key)
        found = await self._history.medals(user.id)
        data = [MedalData(medal, at_ms // 1000, score_id) for medal, at_ms, score_id in found]
        return MedalsPage("success", data, PageMeta(len(data), 1, max(1, len(data))))

    async def history(self, caller: Caller, query: KeyQuery, id: str, mode: str) -> HistoryPage:  # noqa: A002
        """A player's rank and pp by day."""
        number = mode_in_path(mode)
        user = await self._user(caller, id, query.key)
        data = [
            DayData(day.date, day.rank or None, day.country_rank or None, day.pp)
            for day in await self._history.days(user.id, number)
        ]
        return HistoryPage("success", data, PageMeta(len(data), 1, max(1, len(data))))

    def operations(self) -> list[Operation]:
        """Return the operations of this class."""
        player, scope = (
            {"id": PLAYER_IN_PATH},
            {
                "type": "string",
                "enum": list(SCOPES),
                "description": "By pp, newest first, the first places on maps, or those that the player has pinned.",
            },
        )

        def of_player(
            path: str, handler: Any, reply: Any, query: type[msgspec.Struct] = KeyQuery, **more: Any
        ) -> Operation:
            return get(f"/players/{{id}}{path}", handler, reply, tag="players", query=query, in_path=player | more)

        return [
            get("/server/stats", self.server_stats, ServerStatsPage, tag="server"),
            get("/me", self.me, PlayerPage, tag="players", permission=OWN),
            get("/me/settings", self.my_settings, SettingsPage, tag="players", permission=OWN),
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
        ]


def id_or_name(text: str, key: str | None) -> tuple[int | None, str | None]:
    """Return (id, None) or (None, name) for the part of a path that names a player. Raises Invalid."""
    # Names that consist of digits are not allowed, so digits can only be an id.
    if key == "id" or (key is None and text.isascii() and text.isdigit()):
        return number_in_path("id", text, least=FIRST_PLAYER_ID), None
    if _NAME.fullmatch(text) is None:
        raise Invalid("id", f"a player's id, or {NAME_WORDS}", text)
    return None, text


def settings_data(user: User) -> SettingsData:
    """Return the JSON object of an account's settings."""
    friends_only = user.friends_only_dms or user.privacy & Privacy.FRIENDS_ONLY
    return SettingsData(
        preferred_mode=user.preferred_mode,
        play_style=user.play_style,
        country=user.own_country,
        shows_country=user.home_country is None,
        shows_last_seen=not user.privacy & Privacy.HIDE_LAST_SEEN,
        shows_online=not user.privacy & Privacy.HIDE_ONLINE,
        messages_from="friends" if friends_only else "everybody",
        country_changed_at=_seconds(user.country_changed_at_ms),
        name_changed_at=_seconds(user.renamed_at_ms or None),
        deletion_at=_seconds(user.deletes_at_ms),
    )


def _seconds(at_ms: int | None) -> int | None:
    return None if at_ms is None else at_ms // 1000
