"""Players: who they are, what they did, what they do now."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from kiai.accounts import Accounts, Player, User
from kiai.accounts.model import BOT_ID
from kiai.beatmaps import Beatmaps
from kiai.errors import NotFound
from kiai.faces.api.operation import Caller, Operation
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
from kiai.realtime.port import Rank, Realtime, Session, Status
from kiai.scores.leaderboards import Leaderboards
from kiai.scores.model import Stats
from kiai.scores.ranks import Ranks

UNKNOWN_MODE = 4  # the status of a client whose mode cannot be told


class Nothing(msgspec.Struct, frozen=True):
    """An endpoint without parameters."""


class Counts(msgspec.Struct, frozen=True):
    """Players online and registered."""

    online: int
    total: int


class PlayerCountReply(Reply, frozen=True):
    """get_player_count."""

    counts: Counts


class InfoQuery(msgspec.Struct, frozen=True):
    """get_player_info."""

    scope: Annotated[
        Literal["info", "stats", "all"], Meta(description="The account, the figures in each mode, or both.")
    ]
    id: PlayerId | None = None
    name: PlayerName | None = None


class PlayerInfo(msgspec.Struct, frozen=True):
    """An account as everybody may see it; times in unix s, `clan_id` 0 without a clan."""

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
    """A profile in one mode; `playtime` in s, `acc` in percent, ranks 0 when unranked."""

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


class InfoOfPlayer(msgspec.Struct, frozen=True, omit_defaults=True):
    """`info` and `stats`, as far as the scope asks for them."""

    info: PlayerInfo | None = None
    stats: StatsByMode | None = None


class PlayerInfoReply(Reply, frozen=True):
    """get_player_info."""

    player: InfoOfPlayer


class Activity(msgspec.Struct, frozen=True):
    """What a player does now. `mods` are the client's own, never those of somebody watched."""

    action: int
    info_text: str
    mode: int
    mods: int
    beatmap: MapReply | None


class PlayerStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """Online with a status, or offline with the time last seen (unix s)."""

    online: bool
    last_seen: int | None = None
    login_time: float | None = None
    status: Activity | None = None


class PlayerStatusReply(Reply, frozen=True):
    """get_player_status."""

    player_status: PlayerStatus


class ScoresQuery(msgspec.Struct, frozen=True):
    """get_player_scores."""

    scope: Annotated[
        Literal["best", "recent"], Meta(description="By pp on ranked and approved maps, or newest first on any map.")
    ]
    id: PlayerId | None = None
    name: PlayerName | None = None
    mode: ModeText = "0"
    mods: ModsText | None = None
    limit: Limit100 = 25
    offset: Offset = 0
    include_loved: Annotated[bool, Meta(description="With scope best: scores on loved maps as well.")] = False
    include_failed: Annotated[bool, Meta(description="With scope recent: failed plays as well.")] = True


class ClanOfPlayer(msgspec.Struct, frozen=True):
    """The clan a player belongs to."""

    id: int
    name: str
    tag: str


class PlayerOfScores(msgspec.Struct, frozen=True):
    """Whose scores these are."""

    id: int
    name: str
    clan: ClanOfPlayer | None


class PlayerScoresReply(Reply, frozen=True):
    """get_player_scores; `total` is how many there are to page through (counted up to 10,000 with a filter)."""

    scores: list[ScoreReply]
    player: PlayerOfScores
    total: int


class MostPlayedQuery(msgspec.Struct, frozen=True):
    """get_player_most_played."""

    id: PlayerId | None = None
    name: PlayerName | None = None
    mode: ModeText = "0"
    mods: ModsText | None = None
    limit: Limit100 = 25
    offset: Offset = 0


class PlayedMapReply(msgspec.Struct, frozen=True):
    """A map and how often the player played it."""

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
    """get_player_most_played; `total` is how many there are to page through, counted up to 10,000."""

    maps: list[PlayedMapReply]
    total: int


class SearchQuery(msgspec.Struct, frozen=True):
    """search_players."""

    q: Annotated[str, Meta(min_length=2, max_length=32, description="Part of a name.")]


class FoundPlayer(msgspec.Struct, frozen=True):
    """A player whose name matches."""

    id: int
    name: str


class SearchReply(Reply, frozen=True):
    """search_players: at most 50, by id."""

    results: int
    result: list[FoundPlayer]


Country = Annotated[
    str,
    Meta(
        pattern="^[A-Za-z]{2}$", description="Two letters of ISO 3166-1.", extra={"allowed": "a country of two letters"}
    ),
]


class LeaderboardQuery(msgspec.Struct, frozen=True):
    """get_leaderboard."""

    mode: ModeText = "0"
    mods: ModsText | None = None
    sort: Annotated[
        Literal["pp", "tscore", "rscore", "acc", "plays", "playtime"],
        Meta(description="The figure that decides, highest first."),
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
    """get_leaderboard: only players with a value above 0; `total` is how many, counted up to 10,000."""

    leaderboard: list[LeaderboardLine]
    total: int


class OnlineQuery(msgspec.Struct, frozen=True):
    """online."""

    limit: Annotated[int, Meta(ge=1, le=1_000, description="How many players at most.")] = 1_000
    offset: Offset = 0


class OnlineReply(Reply, frozen=True):
    """online: players by id, and the bot; `total` is the number of players online."""

    players: list[FoundPlayer]
    bots: list[FoundPlayer]
    total: int


_NO_RANK = Rank(rank=0, country_rank=0)


class Players:
    """The handlers of this page."""

    def __init__(
        self,
        accounts: Accounts,
        leaderboards: Leaderboards,
        ranks: Ranks,
        beatmaps: Beatmaps,
        realtime: Realtime,
        bot_name: str,
    ) -> None:
        self._accounts = accounts
        self._leaderboards = leaderboards
        self._beatmaps = beatmaps
        self._ranks = ranks
        self._realtime = realtime
        self._bots = [FoundPlayer(BOT_ID, bot_name)]

    async def online(self, caller: Caller, query: OnlineQuery) -> OnlineReply:
        """Who is online."""
        ids = sorted(await self._realtime.online_ids())
        page = ids[query.offset : query.offset + query.limit]
        found = await self._accounts.listed_among(page, {})
        return OnlineReply("success", [FoundPlayer(one.id, one.name) for one in found], self._bots, len(ids))

    async def get_player_count(self, caller: Caller, query: Nothing) -> PlayerCountReply:
        """Players online and registered; the bot is none."""
        online = await self._realtime.online_count()
        return PlayerCountReply("success", Counts(online=online, total=await self._accounts.total()))

    async def get_player_info(self, caller: Caller, query: InfoQuery) -> PlayerInfoReply:
        """Who a player is, and the profile in every mode."""
        who = one_player(query.id, query.name)
        user = await self._accounts.user(caller.viewer, id=who.id, name=who.name)
        info = None if query.scope == "stats" else info_reply(user)
        stats = None if query.scope == "info" else await self._stats(user.id)
        return PlayerInfoReply("success", InfoOfPlayer(info, stats))

    async def _stats(self, user_id: int) -> dict[str, PlayerStats]:
        ranks = await self._ranks.of(user_id)
        played = {one.mode: one for one in await self._leaderboards.stats_of(user_id)}
        return {
            str(mode): stats_reply(played[mode], ranks.get(mode, _NO_RANK)) if mode in played else blank(user_id, mode)
            for mode in MODES
        }

    async def get_player_status(self, caller: Caller, query: PlayerQuery) -> PlayerStatusReply:
        """What a player does now, or when they were last seen."""
        who = one_player(query.id, query.name)
        user = await self._accounts.user(caller.viewer, id=who.id, name=who.name)
        sessions = await self._realtime.sessions_of(user.id)
        if not sessions:
            return PlayerStatusReply("success", PlayerStatus(online=False, last_seen=user.active_at_ms // 1000))
        playing = next((one for one in sessions if not one.tournament), sessions[0])
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
        """The map that the status names: by md5, or else by id (a client may play a revision that is not here)."""
        try:
            if status.map_md5:
                return map_reply(await self._beatmaps.find(md5=status.map_md5))
        except NotFound:
            pass
        try:
            return map_reply(await self._beatmaps.find(id=status.map_id)) if status.map_id else None
        except NotFound:
            return None

    async def get_player_scores(self, caller: Caller, query: ScoresQuery) -> PlayerScoresReply:
        """A player's best or recent scores in one mode."""
        who = one_player(query.id, query.name)
        mode, mods = mode_and_mods(query.mode, query.mods)
        player = await self._accounts.player(caller.viewer, id=who.id, name=who.name)
        boards, limit, offset = self._leaderboards, query.limit, query.offset
        if query.scope == "best":
            found = await boards.best_of(
                player.id, mode, mods=mods, include_loved=query.include_loved, limit=limit, offset=offset
            )
            total = await boards.best_count(player.id, mode, mods=mods, include_loved=query.include_loved)
        else:
            found = await boards.recent_of(
                player.id, mode, mods=mods, include_failed=query.include_failed, limit=limit, offset=offset
            )
            total = await boards.recent_count(player.id, mode, mods=mods, include_failed=query.include_failed)
        return PlayerScoresReply(
            "success",
            [score_reply(one) for one in found],
            PlayerOfScores(player.id, player.name, clan_of(player)),
            total,
        )

    async def get_player_most_played(self, caller: Caller, query: MostPlayedQuery) -> MostPlayedReply:
        """A player's maps by number of plays."""
        who = one_player(query.id, query.name)
        mode, _ = mode_and_mods(query.mode, query.mods)
        player = await self._accounts.player(caller.viewer, id=who.id, name=who.name)
        found = await self._leaderboards.most_played(player.id, mode, limit=query.limit, offset=query.offset)
        count = lambda: self._leaderboards.most_played_count(player.id, mode)  # noqa: E731
        total = await total_of(len(found), query.limit, query.offset, count)
        return MostPlayedReply("success", msgspec.convert(found, list[PlayedMapReply], from_attributes=True), total)

    async def search_players(self, caller: Caller, query: SearchQuery) -> SearchReply:
        """Players whose name holds the text."""
        found = await self._accounts.search(query.q)
        return SearchReply("success", len(found), [FoundPlayer(*one) for one in found])

    async def get_leaderboard(self, caller: Caller, query: LeaderboardQuery) -> LeaderboardReply:
        """Players by pp or another measure, in all countries or one."""
        mode, _ = mode_and_mods(query.mode, query.mods)
        country = query.country.lower() if query.country else None
        found = await self._leaderboards.ranking(
            mode, query.sort, country=country, limit=query.limit, offset=query.offset
        )
        total = await total_of(len(found), query.limit, query.offset, lambda: self._ranked(mode, query.sort, country))
        return LeaderboardReply("success", msgspec.convert(found, list[LeaderboardLine], from_attributes=True), total)

    async def _ranked(self, mode: int, sort: str, country: str | None) -> int:
        if sort == "pp":
            return await self._ranks.count(mode, country)
        return await self._leaderboards.ranking_count(mode, sort, country)

    def operations(self) -> list[Operation]:
        """What this page serves."""
        return [
            _get("get_player_count", Nothing, PlayerCountReply, self.get_player_count),
            _get("get_player_info", InfoQuery, PlayerInfoReply, self.get_player_info),
            _get("get_player_status", PlayerQuery, PlayerStatusReply, self.get_player_status),
            _get("get_player_scores", ScoresQuery, PlayerScoresReply, self.get_player_scores, rows="scores"),
            _get("get_player_most_played", MostPlayedQuery, MostPlayedReply, self.get_player_most_played, rows="maps"),
            _get("search_players", SearchQuery, SearchReply, self.search_players),
            _get("get_leaderboard", LeaderboardQuery, LeaderboardReply, self.get_leaderboard, rows="leaderboard"),
            _get("online", OnlineQuery, OnlineReply, self.online, rows="players"),
        ]


def _get(
    name: str, query: type[msgspec.Struct], reply: type[msgspec.Struct], handler: object, *, rows: str | None = None
) -> Operation:
    """`rows` names the list in the reply that has further pages."""
    return Operation(
        path=f"/{name}",
        method="GET",
        summary=(handler.__doc__ or "").strip(),
        query=query,
        reply=reply,
        handler=handler,  # type: ignore[arg-type]
        tag="players",
        following=None if rows is None else next_offset(rows),
    )


def info_reply(user: User) -> PlayerInfo:
    """An account as the API shows it."""
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
        latest_activity=user.active_at_ms // 1000,
        clan_priv=user.clan_priv,
        play_style=user.play_style,
        custom_badge_name=user.custom_badge_name,
        custom_badge_icon=user.custom_badge_icon,
        userpage_content=user.userpage_content,
    )


def stats_reply(s: Stats, rank: Rank) -> PlayerStats:
    """A profile as the API shows it."""
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
    """The profile of a mode that was never played."""
    return PlayerStats(user_id, mode, 0, 0, 0, 0, 0, 0.0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0.0)


def clan_of(player: Player) -> ClanOfPlayer | None:
    """The player's clan as lists show it."""
    if player.clan_id is None or player.clan_name is None or player.clan_tag is None:
        return None
    return ClanOfPlayer(player.clan_id, player.clan_name, player.clan_tag)
