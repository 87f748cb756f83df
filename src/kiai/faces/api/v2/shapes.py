"""Version 2: how players, profiles, maps and scores look, and what becomes of the domain's values.

Beside what version 1 shows: null for no rank, `perfect` as a boolean, pictures of maps, whether a replay is stored.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from kiai.accounts.model import Player
from kiai.beatmaps.model import OWN_ID_FIRST, Beatmap, MapSummary
from kiai.faces.api.addresses import Scope, pictures
from kiai.faces.api.replies import Grade, MapReply, map_reply, utc
from kiai.faces.api.v1.players import PlayedMapReply
from kiai.osu.weights import level
from kiai.realtime.port import Rank
from kiai.scores.model import PlayedMap, Score, Stats

UNRANKED: Final = Rank(rank=0, country_rank=0)
Origin = Annotated[
    Literal["osu!", "private"], Meta(description="Where the map's ids come from: osu!, or this server alone.")
]


class Covers(msgspec.Struct, frozen=True):
    """Pictures of a map's set: 900x250, 400x140, 150x150 and 1920x360 pixels; plain ones where it has no background."""

    cover: str
    card: str
    list: str
    slimcover: str


class ProfileData(msgspec.Struct, frozen=True):
    """A profile in one mode; `playtime` in s, `acc` in percent, ranks null when unranked."""

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
    level: int
    level_progress: float


class PlayerCard(msgspec.Struct, frozen=True):
    """Who set a score; the clan's fields are null without a clan."""

    id: int
    name: str
    country: str
    clan_id: int | None
    clan_name: str | None
    clan_tag: str | None


class MapCard(MapReply, frozen=True):
    """A map as lists of scores bring it along. `total_length` in s, `diff` in stars, `last_update` UTC."""

    server: Origin
    covers: Covers


class MapData(MapCard, frozen=True):
    """A map with its file name and whether its status is set by hand."""

    filename: str
    frozen: bool


class PlayedMapData(PlayedMapReply, frozen=True):
    """A map and how often the player played it."""

    server: Origin
    covers: Covers


class ScoreData(msgspec.Struct, frozen=True):
    """A score. `acc` in percent, `play_time` UTC, `time_elapsed` in ms; `covers` are those of its map."""

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
    beatmap: MapCard | UnsetType = UNSET
    player: PlayerCard | UnsetType = UNSET


def profile_data(s: Stats, rank: Rank) -> ProfileData:
    """A profile as version 2 shows it."""
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
        reached,
        round(progress, 4),
    )


def blank_profile(user_id: int, mode: int) -> ProfileData:
    """The profile of a mode that was never played."""
    return ProfileData(user_id, mode, 0, 0, 0, 0, 0, 0.0, 0, 0, 0, 0, 0, 0, 0, 0, None, None, 1, 0.0)


def player_card(player: Player) -> PlayerCard:
    """A player as scores show it."""
    return PlayerCard(player.id, player.name, player.country, player.clan_id, player.clan_name, player.clan_tag)


class Maps:
    """Shows maps with addresses of pictures that the client of this request can reach."""

    def __init__(self, scope: Scope) -> None:
        self._base = f"{pictures(scope)}/covers"

    def covers(self, set_id: int) -> Covers:
        """The addresses of a set's pictures."""
        return Covers(*(f"{self._base}/{set_id}/{kind}.jpg" for kind in Covers.__struct_fields__))

    def _common(self, m: MapSummary | Beatmap) -> tuple[Any, ...]:
        """The fields of `MapCard`, in its order."""
        return (*msgspec.structs.astuple(map_reply(m)), _server(m.id), self.covers(m.set_id))

    def card(self, m: MapSummary | Beatmap) -> MapCard:
        """A map beside a score."""
        return MapCard(*self._common(m))

    def whole(self, m: Beatmap) -> MapData:
        """A map by itself."""
        return MapData(*(*self._common(m), m.filename, bool(m.frozen)))

    def played(self, m: PlayedMap) -> PlayedMapData:
        """A map that somebody played."""
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
        """A score, with its map and its player where they are wanted."""
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
    return "private" if map_id >= OWN_ID_FIRST else "osu!"
