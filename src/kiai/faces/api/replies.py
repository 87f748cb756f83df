"""The JSON objects of version 1, one Struct each. Tests compare them with the documented API key by key."""

from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from kiai.beatmaps.model import Beatmap, MapSummary
from kiai.scores.model import BoardScore, MappedScore, Score

Number = int | float  # see `shortest`: the documented API writes 4 and 9.6, not 4.0
Flag = Annotated[int, Meta(ge=0, le=1)]
Success = Literal["success"]
Grade = Literal["XH", "X", "SH", "S", "A", "B", "C", "D", "F", "N"]


class Reply(msgspec.Struct, frozen=True):
    """A successful response of version 1. `status` is its first key."""

    status: Success


class Failure(msgspec.Struct, frozen=True):
    """An error of version 1. `status` is a sentence that names the fault and the allowed values."""

    status: str


class MapReply(msgspec.Struct, frozen=True):
    """A map. `total_length` is in seconds, `diff` in stars, `last_update` in UTC."""

    md5: str
    id: int
    set_id: int
    artist: str
    title: str
    version: str
    creator: str
    last_update: str
    total_length: int
    max_combo: int
    status: Annotated[int, Meta(ge=-1, le=5)]
    plays: int
    passes: int
    mode: Annotated[int, Meta(ge=0, le=3)]
    bpm: Number
    cs: Number
    od: Number
    ar: Number
    hp: Number
    diff: Number


class ScoreReply(msgspec.Struct, frozen=True):
    """A player's score with its map. `acc` is in percent, `play_time` in UTC, `time_elapsed` in milliseconds."""

    id: int
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
    perfect: Flag
    beatmap: MapReply | None


class BoardScoreReply(msgspec.Struct, frozen=True):
    """A score on a map's board with its player. The clan fields are null for players without a clan."""

    id: int
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
    userid: int
    perfect: Flag
    player_name: str
    clan_id: int | None
    clan_name: str | None
    clan_tag: str | None


class ScoreInfoReply(msgspec.Struct, frozen=True):
    """One score. `acc` is in percent, `play_time` in UTC, `time_elapsed` in milliseconds."""

    id: int
    userid: int
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
    perfect: Flag


def utc(ms: int) -> str:
    """Format a time as `YYYY-MM-DDTHH:MM:SS` in UTC. `ms` are unix milliseconds; version 1 has no zone suffix."""
    return datetime.fromtimestamp(ms // 1000, UTC).replace(tzinfo=None).isoformat()


def shortest(value: float) -> Number:
    """Return a whole number as int, so that JSON has `4` instead of `4.0`."""
    return int(value) if value % 1 == 0 else value


def map_reply(m: MapSummary | Beatmap) -> MapReply:
    """Return the JSON object of a map."""
    # PERF: positional arguments, because a list calls this 25 times. Keywords take a third longer.
    return MapReply(
        m.md5,
        m.id,
        m.set_id,
        m.artist,
        m.title,
        m.version,
        m.creator,
        utc(m.last_update_ms),
        m.total_length,
        m.max_combo,
        m.status,
        m.plays,
        m.passes,
        m.mode,
        shortest(m.bpm),
        shortest(m.cs),
        shortest(m.od),
        shortest(m.ar),
        shortest(m.hp),
        shortest(m.diff),
    )


def score_reply(found: MappedScore) -> ScoreReply:
    """Return the JSON object of a player's score with its map."""
    s = found.score
    return ScoreReply(
        s.id,
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
        s.perfect,
        map_reply(found.beatmap),
    )


def board_reply(found: BoardScore, map_md5: str) -> BoardScoreReply:
    """Return the JSON object of a score on the board of the map with this md5."""
    s = found.score
    return BoardScoreReply(
        s.id,
        map_md5,
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
        s.user_id,
        s.perfect,
        found.player_name,
        found.clan_id,
        found.clan_name,
        found.clan_tag,
    )


def score_info_reply(s: Score, map_md5: str) -> ScoreInfoReply:
    """Return the JSON object of one score on the map with this md5."""
    return ScoreInfoReply(
        s.id,
        s.user_id,
        map_md5,
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
        s.perfect,
    )
