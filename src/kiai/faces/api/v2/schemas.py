"""Version 2: the JSON objects of players, statistics, maps and scores.

They differ from version 1: a missing rank is null, `perfect` is a boolean, maps have pictures, and a score tells
whether its replay is stored.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from kiai.accounts.model import Player
from kiai.beatmaps.model import OWN_ID_FIRST, Beatmap, MapSummary
from kiai.beatmaps.set_search import CatalogueSet
from kiai.faces.api.replies import Grade, MapReply, map_reply, utc
from kiai.faces.api.urls import Scope, pictures
from kiai.faces.api.v1.players import PlayedMapReply
from kiai.osu.weights import level
from kiai.realtime.port import Rank
from kiai.scores.model import PlayedMap, Score, Stats
from kiai.scores.peaks import Peak

UNRANKED: Final = Rank(rank=0, country_rank=0)
Origin = Annotated[
    Literal["osu!", "private"], Meta(description="The origin of the map's ids: osu! or only this server.")
]


class Covers(msgspec.Struct, frozen=True):
    """Pictures of a set: 900x250, 400x140, 150x150 and 1920x360 pixels. Without a background they have one colour."""

    cover: str
    card: str
    list: str
    slimcover: str


class ProfileData(msgspec.Struct, frozen=True):
    """The statistics in one mode. `playtime` is in seconds, `acc` in percent. Ranks are null for an unranked player.

    `rscore_rank` is the rank by ranked score. `peak_rank` is the best rank that the player ever had, and `peak_rank_at`
    the time of it in unix seconds.
    """

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
    rank: int | None
    country_rank: int | None
    rscore_rank: int | None
    peak_rank: int | None
    peak_rank_at: int | None
    level: int
    level_progress: float


class PlayerCard(msgspec.Struct, frozen=True):
    """The player who set a score. The clan fields are null for players without a clan."""

    id: int
    name: str
    country: str
    clan_id: int | None
    clan_name: str | None
    clan_tag: str | None


class MapCard(MapReply, frozen=True):
    """The map of a score. `total_length` is in seconds, `diff` in stars, `last_update` in UTC."""

    server: Origin
    covers: Covers


class MapData(MapCard, frozen=True):
    """A map. `filename` is the name of its .osu file. `frozen` is true if staff has set its status."""

    filename: str
    frozen: bool


class SetData(msgspec.Struct, frozen=True):
    """A set. `ranked_at` is null without a leaderboard, `archive_size` (bytes) without a stored archive.

    `plays` is the sum of its maps, `rating` the average from 1 to 10 (0 without votes). Maps are sorted by mode and
    stars.
    """

    id: int
    artist: str
    title: str
    artist_unicode: str
    title_unicode: str
    creator: str
    source: str
    tags: str
    last_update: str
    ranked_at: str | None
    has_video: bool
    has_storyboard: bool
    archive_size: int | None
    favourites: int
    plays: int
    rating: float
    covers: Covers
    maps: list[MapData]


class PlayedMapData(PlayedMapReply, frozen=True):
    """A map with the number of times that the player played it."""

    server: Origin
    covers: Covers


class ScoreData(msgspec.Struct, frozen=True):
    """A score. `acc` is in percent, `play_time` in UTC, `time_elapsed` in ms. `covers` are the pictures of its map."""

    id: int
    userid: int
    map_id: int
    map_md5: str
    score: int
    pp: float
    acc: float
    max_combo: int
    mods: int
    n300: int
    n100: int
    n50: int
    nmiss: int
    ngeki: int
    nkatu: int
    grade: Grade
    status: Annotated[int, Meta(ge=0, le=2)]
    mode: int
    play_time: str
    time_elapsed: int
    perfect: bool
    has_replay: bool
    covers: Covers
    # Absent instead of null unless `include` requests them.
    beatmap: MapCard | UnsetType = UNSET
    player: PlayerCard | UnsetType = UNSET


def profile_data(s: Stats, rank: Rank, by_score: Rank, peak: Peak | None) -> ProfileData:
    """Return the JSON object of a player's statistics in one mode."""
    reached, progress = level(s.tscore)
    return ProfileData(
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
        rank.rank or None,
        rank.country_rank or None,
        by_score.rank or None,
        peak.rank if peak else None,
        peak.at_ms // 1000 if peak else None,
        reached,
        round(progress, 4),
    )


def blank_profile(user_id: int, mode: int) -> ProfileData:
    """Return the statistics for a mode that the player has never played."""
    return ProfileData(user_id, mode, 0, 0, 0, 0, 0, 0.0, 0, 0, 0, 0, 0, 0, 0, 0, None, None, None, None, None, 1, 0.0)


def player_card(player: Player) -> PlayerCard:
    """Return the JSON object of the player of a score."""
    return PlayerCard(player.id, player.name, player.country, player.clan_id, player.clan_name, player.clan_tag)


class MapPresenter:
    """Encodes maps and scores. The addresses of pictures have the host of the request."""

    def __init__(self, scope: Scope) -> None:
        self._base = f"{pictures(scope)}/covers"

    def covers(self, set_id: int) -> Covers:
        """Return the addresses of the pictures of a set."""
        return Covers(*(f"{self._base}/{set_id}/{kind}.jpg" for kind in Covers.__struct_fields__))

    def _common(self, m: MapSummary | Beatmap) -> tuple[Any, ...]:
        """Return the fields of `MapCard` in the order of their declaration."""
        # PERF: positional, because a list calls this up to 100 times.
        return (*msgspec.structs.astuple(map_reply(m)), _server(m.id), self.covers(m.set_id))

    def card(self, m: MapSummary | Beatmap) -> MapCard:
        """Return the JSON object of a map within a score."""
        return MapCard(*self._common(m))

    def full(self, m: Beatmap) -> MapData:
        """Return the JSON object of a map."""
        return MapData(*(*self._common(m), m.filename, bool(m.frozen)))

    def of_set(self, one: CatalogueSet) -> SetData:
        """Return the JSON object of a set."""
        found = one.figures
        return SetData(
            found.id,
            found.artist,
            found.title,
            found.artist_unicode or found.artist,
            found.title_unicode or found.title,
            found.creator,
            found.source,
            found.tags,
            utc(found.last_update_ms),
            utc(found.ranked_at_ms) if found.ranked_at_ms else None,
            bool(found.has_video),
            bool(found.has_storyboard),
            found.osz_size,
            found.favourites,
            sum(beatmap.plays for beatmap in one.maps),
            round(found.rating, 3),
            self.covers(found.id),
            [self.full(beatmap) for beatmap in one.maps],
        )

    def played(self, m: PlayedMap) -> PlayedMapData:
        """Return the JSON object of a map with its number of plays."""
        return PlayedMapData(*(*msgspec.structs.astuple(m), _server(m.id), self.covers(m.set_id)))

    def score(
        self,
        s: Score,
        beatmap: MapSummary | Beatmap,
        *,
        has_replay: bool,
        with_map: bool = False,
        player: Player | None = None,
    ) -> ScoreData:
        """Return the JSON object of a score, with its map if `with_map`, and with `player` if given."""
        return ScoreData(
            s.id,
            s.user_id,
            beatmap.id,
            beatmap.md5,
            s.score,
            s.pp,
            s.acc,
            s.max_combo,
            s.mods,
            s.n300,
            s.n100,
            s.n50,
            s.nmiss,
            s.ngeki,
            s.nkatu,
            s.grade,  # type: ignore[arg-type]
            s.status,
            s.mode,
            utc(s.play_time_ms),
            s.time_elapsed,
            bool(s.perfect),
            has_replay,
            self.covers(beatmap.set_id),
            self.card(beatmap) if with_map else UNSET,
            UNSET if player is None else player_card(player),
        )


def _server(map_id: int) -> Origin:
    # From this id on, the server itself assigns ids. Official ids are far below.
    return "private" if map_id >= OWN_ID_FIRST else "osu!"
