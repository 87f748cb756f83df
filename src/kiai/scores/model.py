"""Plays and scores as values."""

from typing import Final

import msgspec

from kiai.beatmaps import Beatmap
from kiai.beatmaps.model import MapSummary
from kiai.osu.accuracy import Counts
from kiai.osu.replay_file import FIRST_LAZER_VERSION

PP_MODES_FROM: Final = 4  # relax and autopilot boards sort by pp, vanilla ones by score


class StoredReplay(msgspec.Struct, frozen=True):
    """What is kept about a replay beside its frames; `md5` names the file in the store."""

    md5: bytes
    sha256: bytes
    size: int
    life_bar: str = ""
    target_accuracy: float | None = None


class Play(msgspec.Struct, frozen=True):
    """A finished play, checked and computed, ready to be recorded. Times in ms, accuracy in percent."""

    user_id: int
    beatmap: Beatmap
    mode: int
    mods: int
    counts: Counts
    score: int
    max_combo: int
    acc: float
    pp: float
    grade: str
    passed: bool
    perfect: bool
    play_time_ms: int
    time_elapsed: int
    checksum: bytes
    calculator: int
    client_version: int = 0
    client_flags: int = 0
    replay: StoredReplay | None = None
    stars: float = 0.0


class Best(msgspec.Struct, frozen=True):
    """A standing best score, as far as a new play is compared with it."""

    id: int
    score: int
    pp: float
    grade: str
    max_combo: int = 0
    acc: float = 0.0


class MapFigures(msgspec.Struct, frozen=True):
    """A score as the game's ranking panel shows it."""

    score: int
    max_combo: int
    acc: float
    pp: float


class ProfileFigures(msgspec.Struct, frozen=True):
    """A profile as the game's ranking panel shows it."""

    rscore: int
    tscore: int
    max_combo: int
    acc: float
    pp: int


class Chart(msgspec.Struct, frozen=True):
    """What a pass changed, for the game's ranking panel (docs/spec/submission.md#ranking-panel). Ranks are 0 for none.

    `standing` is the player's best on the map before. The ranks after are None until they are known.
    """

    map_id: int
    set_id: int
    plays: int
    passes: int
    updated_ms: int
    has_board: bool
    user_id: int
    mode: int
    visible: bool
    score_id: int
    standing: MapFigures | None
    this: MapFigures
    before: ProfileFigures
    after: ProfileFigures
    medals: list[int]
    map_rank_before: int
    rank_before: int
    map_rank_after: int | None = None
    rank_after: int | None = None


class RanksBefore(msgspec.Struct, frozen=True):
    """Where a player stood before a play: on the map's board and among all. 0 for nowhere."""

    on_map: int = 0
    overall: int = 0


NOWHERE: Final = RanksBefore()


class Recorded(msgspec.Struct, frozen=True):
    """What recording a play did."""

    score_id: int
    is_best_pp: bool
    is_best_score: bool
    is_first_place: bool
    chart: Chart | None = None


class Score(msgspec.Struct, frozen=True):
    """A stored score as lists show it. `status` is a number of docs/spec/game-rules.md#status-of-a-score."""

    id: int
    user_id: int
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
    grade: str
    status: int
    mode: int
    play_time_ms: int
    time_elapsed: int
    perfect: int


class MappedScore(msgspec.Struct, frozen=True):
    """A score with the map it was played on."""

    score: Score
    beatmap: MapSummary


class BoardScore(msgspec.Struct, frozen=True):
    """A score with its player, as a map's board shows it."""

    score: Score
    player_name: str
    clan_id: int | None
    clan_name: str | None
    clan_tag: str | None


class PlayedMap(msgspec.Struct, frozen=True):
    """One line of a player's most played maps."""

    md5: str
    id: int
    set_id: int
    status: int
    artist: str
    title: str
    version: str
    creator: str
    plays: int


class Stats(msgspec.Struct, frozen=True):
    """A player's profile in one mode. `playtime` in s, `acc` in percent."""

    user_id: int
    mode: int
    tscore: int
    rscore: int
    pp: int
    plays: int
    bests: int
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


class Ranked(msgspec.Struct, frozen=True):
    """One line of a ranking list."""

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


def stable_score(score: int, client_version: int) -> int | None:
    """The total score as stable counts it, from which pp estimates slider breaks; None for a play of lazer."""
    return score if client_version < FIRST_LAZER_VERSION else None


def replay_key(md5: bytes) -> str:
    """Where a replay's frames lie in the files store."""
    name = md5.hex()
    return f"replays/{name[:2]}/{name}"
