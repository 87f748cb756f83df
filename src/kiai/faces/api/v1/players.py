"""Endpoints about players: accounts, statistics, status, scores and rankings."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from kiai.accounts import Accounts, Player, User, Viewer
from kiai.accounts.model import BOT_ID
from kiai.accounts.visibility import last_seen_ms, shows_online
from kiai.beatmaps import Beatmaps
from kiai.errors import NotFound
from kiai.faces.api.copies import Besides, Versioned
from kiai.faces.api.operation import Caller, Operation
from kiai.faces.api.params import NoParameters
from kiai.faces.api.replies import MapReply, Reply, ScoreReply, map_reply, score_reply
from kiai.faces.api.v1.common import (
    Limit100,
    ModeText,
    ModsText,
    Offset,
    PlayerId,
    PlayerName,
    PlayerQuery,
    mode_and_mods,
    next_offset,
    one_player,
    total_of,
)
from kiai.osu.modes import MODES
from kiai.osu.weights import level
from kiai.presence.online import PublicOnline
from kiai.realtime.port import Rank, Realtime, Session, Status, order_of_sessions
from kiai.scores.model import Stats
from kiai.scores.profiles import Profiles, subjects_of
from kiai.scores.rankings import Rankings
from kiai.scores.ranks import Ranks
from kiai.storage.port import RawRows, version_of

UNKNOWN_MODE = 4  # documented for clients that have not reported a mode


class Counts(msgspec.Struct, frozen=True):
    """The numbers of players online and registered."""

    online: int
    total: int


class PlayerCountReply(Reply, frozen=True):
    """The response of get_player_count."""

    counts: Counts


class InfoQuery(msgspec.Struct, frozen=True):
    """The parameters of get_player_info."""

    scope: Annotated[
        Literal["info", "stats", "all"],
        Meta(description="info: the account. stats: the statistics in each mode. all: both."),
    ]
    id: PlayerId | None = None
    name: PlayerName | None = None


class PlayerInfo(msgspec.Struct, frozen=True):
    """The public data of an account. Times are unix seconds. `clan_id` is 0 without a clan."""

    id: int
    name: str
    safe_name: str
    priv: int
    clan_id: int
    country: str
    silence_end: int
    donor_end: int
    preferred_mode: int
    creation_time: int
    latest_activity: int
    clan_priv: int
    play_style: int
    custom_badge_name: str | None
    custom_badge_icon: str | None
    userpage_content: str | None


class PlayerStats(msgspec.Struct, frozen=True):
    """The statistics in one mode. `playtime` is in seconds, `acc` in percent. Ranks are 0 for an unranked player."""

    id: int
    mode: int
    tscore: int
    rscore: int
    pp: int
    plays: int
    playtime: int
    acc: float
    max_combo: int
    total_hits: int
    replay_views: int
    xh_count: int
    x_count: int
    sh_count: int
    s_count: int
    a_count: int
    rank: int
    country_rank: int
    level: int
    level_progress: float


StatsByMode = Annotated[dict[str, PlayerStats], Meta(description="Keyed by mode: 0 1 2 3 4 5 6 8.")]


# `omit_defaults`: a part that `scope` does not request is absent, not null.
class InfoOfPlayer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The account and the statistics, or one of them, as `scope` requests."""

    info: PlayerInfo | None = None
    stats: StatsByMode | None = None


class PlayerInfoReply(Reply, frozen=True):
    """The response of get_player_info."""

    player: InfoOfPlayer


class Activity(msgspec.Struct, frozen=True):
    """The status of a player. `mods` are those of the player's client, also while it watches another player."""

    action: int
    info_text: str
    mode: int
    mods: int
    beatmap: MapReply | None


# `omit_defaults`: documented clients test for the presence of a key.
class PlayerStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """Either online with a status, or offline with the time when the player was last seen. Times are unix seconds."""

    online: bool
    last_seen: int | None = None
    login_time: float | None = None  # with milliseconds, as documented; all other times are whole seconds
    status: Activity | None = None


class PlayerStatusReply(Reply, frozen=True):
    """The response of get_player_status."""

    player_status: PlayerStatus


class ScoresQueryV1(msgspec.Struct, frozen=True):
    """The parameters of get_player_scores."""

    scope: Annotated[
        Literal["best", "recent"],
        Meta(description="best: by pp, on ranked and approved maps. recent: newest first, on all maps."),
    ]
    id: PlayerId | None = None
    name: PlayerName | None = None
    mode: ModeText = "0"
    mods: ModsText | None = None
    limit: Limit100 = 25
    offset: Offset = 0
    include_loved: Annotated[bool, Meta(description="With scope best: include scores on loved maps.")] = False
    include_failed: Annotated[bool, Meta(description="With scope recent: include failed plays.")] = True


class ClanOfPlayer(msgspec.Struct, frozen=True):
    """The clan of a player."""

    id: int
    name: str
    tag: str


class PlayerOfScores(msgspec.Struct, frozen=True):
    """The player who set the scores."""

    id: int
    name: str
    clan: ClanOfPlayer | None


class PlayerScoresReply(Reply, frozen=True):
    """The response of get_player_scores. `total` is the length of the list; with a filter it is at most 10,000."""

    scores: list[ScoreReply]
    player: PlayerOfScores
    total: int


class MostPlayedQueryV1(msgspec.Struct, frozen=True):
    """The parameters of get_player_most_played."""

    id: PlayerId | None = None
    name: PlayerName | None = None
    mode: ModeText = "0"
    mods: ModsText | None = None
    limit: Limit100 = 25
    offset: Offset = 0


class PlayedMapReply(msgspec.Struct, frozen=True):
    """A map with the number of times that the player played it."""

    md5: str
    id: int
    set_id: int
    status: int
    artist: str
    title: str
    version: str
    creator: str
    plays: int


class MostPlayedReply(Reply, frozen=True):
    """The response of get_player_most_played. `total` is the length of the list, counted up to 10,000."""

    maps: list[PlayedMapReply]
    total: int


class SearchQueryV1(msgspec.Struct, frozen=True):
    """The parameters of search_players."""

    q: Annotated[str, Meta(min_length=2, max_length=32, description="Part of a name.")]


class FoundPlayer(msgspec.Struct, frozen=True):
    """A player whose name matches."""

    id: int
    name: str


class SearchReply(Reply, frozen=True):
    """The response of search_players: at most 50 players, sorted by id."""

    results: int
    result: list[FoundPlayer]


Country = Annotated[
    str,
    Meta(
        pattern="^[A-Za-z]{2}$",
        description="A country: two letters of ISO 3166-1.",
        extra={"allowed": "a country of two letters"},
    ),
]


class LeaderboardQuery(msgspec.Struct, frozen=True):
    """The parameters of get_leaderboard."""

    mode: ModeText = "0"
    mods: ModsText | None = None
    sort: Annotated[
        Literal["pp", "tscore", "rscore", "acc", "plays", "playtime"],
        Meta(description="The value to sort by, highest first."),
    ] = "pp"
    limit: Limit100 = 50
    offset: Offset = 0
    country: Country | None = None


class LeaderboardLine(msgspec.Struct, frozen=True):
    """A player in a ranking."""

    player_id: int
    name: str
    country: str
    tscore: int
    rscore: int
    pp: int
    plays: int
    playtime: int
    acc: float
    max_combo: int
    xh_count: int
    x_count: int
    sh_count: int
    s_count: int
    a_count: int
    clan_id: int | None
    clan_name: str | None
    clan_tag: str | None


class LeaderboardReply(Reply, frozen=True):
    """The response of get_leaderboard: players with a value above 0. `total` is their number, up to 10,000."""

    leaderboard: list[LeaderboardLine]
    total: int


class OnlineQuery(msgspec.Struct, frozen=True):
    """The parameters of online."""

    limit: Annotated[int, Meta(ge=1, le=1_000, description="Maximum number of players.")] = 1_000
    offset: Offset = 0


class OnlineReply(Reply, frozen=True):
    """The response of online: players sorted by id, and the bot. `total` is the number of players online."""

    players: list[FoundPlayer]
    bots: list[FoundPlayer]
    total: int


_NO_RANK = Rank(rank=0, country_rank=0)


class PlayersV1:
    """The endpoints about players. The docstrings of the handlers are the summaries in the OpenAPI document."""

    def __init__(
        self,
        accounts: Accounts,
        profiles: Profiles,
        rankings: Rankings,
        ranks: Ranks,
        beatmaps: Beatmaps,
        realtime: Realtime,
        online: PublicOnline,
        bot_name: str,
    ) -> None:
        self._accounts = accounts
        self._profiles = profiles
        self._rankings = rankings
        self._beatmaps = beatmaps
        self._ranks = ranks
        self._realtime = realtime
        self._online = online
        self._bots = [FoundPlayer(BOT_ID, bot_name)]

    async def online(self, caller: Caller, query: OnlineQuery) -> OnlineReply:
        """The players online."""
        ids = await self._online.ids(caller.viewer)
        page = ids[query.offset : query.offset + query.limit]  # PERF: cut before the lookup of names
        found = await self._accounts.listed_among(page, {})
        shown = [FoundPlayer(user.id, user.name) for user in found if shows_online(caller.viewer, user)]
        return OnlineReply("success", shown, self._bots, len(ids))

    async def get_player_count(self, caller: Caller, query: NoParameters) -> Versioned:
        """Number of players online and registered, without the bot."""
        online, total = await self._online.count(), await self._accounts.total()

        async def make() -> PlayerCountReply:
            return PlayerCountReply("success", Counts(online=online, total=total))

        return Versioned(version_of(online, total), make)

    async def _online_now(self, query: NoParameters) -> Besides:
        return await self._online.count()

    async def get_player_info(self, caller: Caller, query: InfoQuery) -> Versioned:
        """A player's account, and the statistics in each mode."""
        who = one_player(query.id, query.name)
        user = await self._accounts.user(caller.viewer, id=who.id, name=who.name)
        if query.scope == "info":
            ranks, rows = dict[int, Rank](), RawRows([], Stats)
        else:
            ranks, rows = await self._ranks.of(user.id), await self._profiles.stats_rows(user.id)

        async def make() -> PlayerInfoReply:
            info = None if query.scope == "stats" else info_reply(user, caller.viewer)
            stats = None if query.scope == "info" else _stats(user.id, ranks, rows.read())
            return PlayerInfoReply("success", InfoOfPlayer(info, stats))

        return Versioned(version_of(user, last_seen_ms(caller.viewer, user), ranks, rows), make)

    async def _ranks_now(self, query: InfoQuery) -> Besides:
        # PERF: reading the ranks of a player took 20 us at 5,000 players.
        return 0 if query.scope == "info" else await self._ranks.version()

    async def _is_offline(self, query: PlayerQuery) -> Besides:
        return None if query.id is None or await self._realtime.sessions_of(query.id) else "offline"

    async def get_player_status(self, caller: Caller, query: PlayerQuery) -> PlayerStatusReply | Versioned:
        """The status of a player, or the time when the player was last seen."""
        who = one_player(query.id, query.name)
        user = await self._accounts.user(caller.viewer, id=who.id, name=who.name)
        sessions = await self._realtime.sessions_of(user.id)
        if not sessions or not shows_online(caller.viewer, user):
            seen_ms = last_seen_ms(caller.viewer, user)
            seen_s = None if seen_ms is None else seen_ms // 1000

            async def make() -> PlayerStatusReply:
                return PlayerStatusReply("success", PlayerStatus(online=False, last_seen=seen_s))

            return Versioned(version_of(seen_s), make)
        # The game's client has the status of interest: tournament clients mostly watch, and IRC has none.
        playing = min(sessions, key=order_of_sessions)
        return PlayerStatusReply("success", await self._status(playing))

    async def _status(self, session: Session) -> PlayerStatus:
        status = session.status
        return PlayerStatus(
            online=True,
            login_time=session.login_time_ms / 1000,
            status=Activity(
                action=status.action,
                info_text=status.info_text,
                mode=UNKNOWN_MODE if status.mode is None else status.mode,
                mods=status.mods,
                beatmap=await self._map_of(status),
            ),
        )

    async def _map_of(self, status: Status) -> MapReply | None:
        """Return the map of a status by md5, or else by id: a client can play a revision that is not stored."""
        try:
            if status.map_md5:
                return map_reply(await self._beatmaps.find(md5=status.map_md5))
        except NotFound:
            pass  # by id below
        try:
            return map_reply(await self._beatmaps.find(id=status.map_id)) if status.map_id else None
        except NotFound:
            return None

    async def get_player_scores(self, caller: Caller, query: ScoresQueryV1) -> Versioned:
        """A player's best or recent scores in one mode."""
        who = one_player(query.id, query.name)
        mode, mods = mode_and_mods(query.mode, query.mods)
        player = await self._accounts.player(caller.viewer, id=who.id, name=who.name)
        profiles, limit, offset = self._profiles, query.limit, query.offset
        if query.scope == "best":
            found = await profiles.best_rows(
                player.id, mode, mods=mods, include_loved=query.include_loved, limit=limit, offset=offset
            )
            total = await profiles.best_count(player.id, mode, mods=mods, include_loved=query.include_loved)
        else:
            found = await profiles.recent_rows(
                player.id, mode, mods=mods, include_failed=query.include_failed, limit=limit, offset=offset
            )
            total = await profiles.recent_count(player.id, mode, mods=mods, include_failed=query.include_failed)

        async def make() -> PlayerScoresReply:
            shown = [score_reply(row) for row in found.read()]
            whose = PlayerOfScores(player.id, player.name, clan_of(player))
            return PlayerScoresReply("success", shown, whose, total)

        return Versioned(version_of(found, player, total), make, lambda: subjects_of(player.id, found))

    async def get_player_most_played(self, caller: Caller, query: MostPlayedQueryV1) -> Versioned:
        """A player's maps by number of plays."""
        who = one_player(query.id, query.name)
        mode, _ = mode_and_mods(query.mode, query.mods)  # `mods` only selects the variant: plays are not split by mods
        player = await self._accounts.player(caller.viewer, id=who.id, name=who.name)
        found = await self._profiles.most_played_rows(player.id, mode, limit=query.limit, offset=query.offset)
        count = lambda: self._profiles.most_played_count(player.id, mode)  # noqa: E731
        total = await total_of(len(found), query.limit, query.offset, count)

        async def make() -> MostPlayedReply:
            played = msgspec.convert(found.read(), list[PlayedMapReply], from_attributes=True)
            return MostPlayedReply("success", played, total)

        return Versioned(version_of(found, total), make)

    async def search_players(self, caller: Caller, query: SearchQueryV1) -> SearchReply:
        """Players whose name contains a text."""
        found = await self._accounts.search(query.q)
        return SearchReply("success", len(found), [FoundPlayer(*row) for row in found])

    async def get_leaderboard(self, caller: Caller, query: LeaderboardQuery) -> Versioned:
        """Players by pp or another value, in all countries or one."""
        mode, _ = mode_and_mods(query.mode, query.mods)  # `mods` only selects the variant
        country = query.country.lower() if query.country else None
        found = await self._rankings.page(mode, query.sort, country=country, limit=query.limit, offset=query.offset)
        count = lambda: self._ranked_count(mode, query.sort, country)  # noqa: E731
        total = await total_of(len(found), query.limit, query.offset, count)

        async def make() -> LeaderboardReply:
            lines = msgspec.convert(found.read(), list[LeaderboardLine], from_attributes=True)
            return LeaderboardReply("success", lines, total)

        return Versioned(version_of(found, total), make)

    async def _ranked_now(self, query: LeaderboardQuery) -> Besides:
        if query.sort != "pp":  # this total is counted once a minute
            return None
        mode, _ = mode_and_mods(query.mode, query.mods)
        return await self._ranks.count(mode, query.country.lower() if query.country else None)

    async def _ranked_count(self, mode: int, sort: str, country: str | None) -> int:
        if sort == "pp":  # PERF: shared state knows this number; the other ones need a COUNT
            return await self._ranks.count(mode, country)
        return await self._rankings.count(mode, sort, country)

    def operations(self) -> list[Operation]:
        """Return the operations of this class."""
        return [
            _get(
                "get_player_count",
                NoParameters,
                PlayerCountReply,
                self.get_player_count,
                from_rows=True,
                besides=self._online_now,
            ),
            _get(
                "get_player_info",
                InfoQuery,
                PlayerInfoReply,
                self.get_player_info,
                from_rows=True,
                besides=self._ranks_now,
            ),
            _get(
                "get_player_status",
                PlayerQuery,
                PlayerStatusReply,
                self.get_player_status,
                from_rows=True,
                besides=self._is_offline,
            ),
            _get(
                "get_player_scores",
                ScoresQueryV1,
                PlayerScoresReply,
                self.get_player_scores,
                rows="scores",
                from_rows=True,
            ),
            _get(
                "get_player_most_played",
                MostPlayedQueryV1,
                MostPlayedReply,
                self.get_player_most_played,
                rows="maps",
                from_rows=True,
            ),
            _get("search_players", SearchQueryV1, SearchReply, self.search_players),
            _get(
                "get_leaderboard",
                LeaderboardQuery,
                LeaderboardReply,
                self.get_leaderboard,
                rows="leaderboard",
                from_rows=True,
                besides=self._ranked_now,
            ),
            _get("online", OnlineQuery, OnlineReply, self.online, rows="players"),  # not in the documented API
        ]


def _get(
    name: str,
    query: type[msgspec.Struct],
    reply: type[msgspec.Struct],
    handler: object,
    *,
    rows: str | None = None,
    from_rows: bool = False,
    besides: Callable[[Any], Coroutine[Any, Any, Besides]] | None = None,
) -> Operation:
    """Declare a GET operation. `rows` is the reply's field with the list, if the list has pages."""
    return Operation(
        path=f"/{name}",
        method="GET",
        summary=(handler.__doc__ or "").strip(),
        query=query,
        reply=reply,
        handler=handler,  # type: ignore[arg-type]
        tag="players",
        following=None if rows is None else next_offset(rows),
        from_rows=from_rows,
        besides=besides,
    )


def _stats(user_id: int, ranks: dict[int, Rank], rows: list[Stats]) -> dict[str, PlayerStats]:
    played = {stats.mode: stats for stats in rows}
    # All modes have an entry: clients index by mode without a check.
    return {
        str(mode): stats_reply(played[mode], ranks.get(mode, _NO_RANK)) if mode in played else blank(user_id, mode)
        for mode in MODES
    }


def info_reply(user: User, viewer: Viewer) -> PlayerInfo:
    """Return the JSON object of an account, as `viewer` may see it."""
    return PlayerInfo(
        id=user.id,
        name=user.name,
        safe_name=user.safe_name,
        priv=user.priv,
        clan_id=user.clan_id,
        country=user.country,
        silence_end=user.silenced_until_ms // 1000,
        donor_end=user.donor_until_ms // 1000,
        preferred_mode=user.preferred_mode,
        creation_time=user.created_at_ms // 1000,
        latest_activity=(last_seen_ms(viewer, user) or 0) // 1000,
        clan_priv=user.clan_priv,
        play_style=user.play_style,
        custom_badge_name=user.custom_badge_name,
        custom_badge_icon=user.custom_badge_icon,
        userpage_content=user.userpage_content,
    )


def stats_reply(s: Stats, rank: Rank) -> PlayerStats:
    """Return the JSON object of a player's statistics in one mode."""
    reached, progress = level(s.tscore)
    return PlayerStats(
        s.user_id,
        s.mode,
        s.tscore,
        s.rscore,
        s.pp,
        s.plays,
        s.playtime,
        s.acc,
        s.max_combo,
        s.total_hits,
        s.replay_views,
        s.xh_count,
        s.x_count,
        s.sh_count,
        s.s_count,
        s.a_count,
        rank.rank,
        rank.country_rank,
        reached,
        round(progress, 4),
    )


def blank(user_id: int, mode: int) -> PlayerStats:
    """Return the statistics for a mode that the player has never played."""
    return PlayerStats(user_id, mode, 0, 0, 0, 0, 0, 0.0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0.0)  # levels start at 1


def clan_of(player: Player) -> ClanOfPlayer | None:
    """Return the JSON object of the player's clan, or None without a clan."""
    if player.clan_id is None or player.clan_name is None or player.clan_tag is None:
        return None
    return ClanOfPlayer(player.clan_id, player.clan_name, player.clan_tag)
