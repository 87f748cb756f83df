"""The shapes of the API's answers: one Struct a JSON object. What is documented is held by tests key for key."""

from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from kiai.beatmaps.model import Beatmap, MapSummary
from kiai.scores.model import BoardScore, MappedScore, Score

Number = int | float  # in shortest form: 4 stays 4, 9.6 stays 9.6
Flag = Annotated[int, Meta(ge=0, le=1)]
Success = Literal["success"]
Grade = Literal["XH", "X", "SH", "S", "A", "B", "C", "D", "F", "N"]


class Reply(msgspec.Struct, frozen=True):
    """Every successful answer of v1 starts with its status."""

    status: Success


class Failure(msgspec.Struct, frozen=True):
    """Every error: an English sentence that names what is wrong and what is allowed."""

    status: str


class MapReply(msgspec.Struct, frozen=True):
    """A map. `total_length` in s, `diff` in stars, `last_update` UTC."""

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
    """A player's score with its map. `acc` in percent, `play_time` UTC, `time_elapsed` in ms."""

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
    """A score on a map's board with its player; the clan's fields are null without a clan."""

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
    """One score by its id."""

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
    """A time as the API writes it: `YYYY-MM-DDTHH:MM:SS`, UTC, no zone suffix."""
    return datetime.fromtimestamp(ms // 1000, UTC).replace(tzinfo=None).isoformat()


def shortest(value: float) -> Number:
    """A number without a needless `.0`."""
    return int(value) if value % 1 == 0 else value


def map_reply(m: MapSummary | Beatmap) -> MapReply:
    """A map as the API shows it."""
    # PERF: positional, because this runs 25 times for one list; keywords cost a third more.
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
    """A player's score as the API shows it."""
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
    """A line of a map's board as the API shows it."""
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
    """One score as the API shows it."""
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
