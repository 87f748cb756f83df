"""Values of this subject: plays before they are recorded, and scores as lists and panels show them."""

from typing import Final, NamedTuple

import msgspec

from kiai.beatmaps import Beatmap
from kiai.beatmaps.model import MapSummary
from kiai.osu.accuracy import HitCounts
from kiai.osu.replay_file import FIRST_LAZER_VERSION


class StoredReplay(msgspec.Struct, frozen=True):
    """The row of a stored replay. The frames are in the files store, under `replay_key(md5)`.

    `md5` and `sha256` are of the frames; `size` is in bytes. Only imported replays have `life_bar` and
    `target_accuracy`.
    """

    md5: bytes
    sha256: bytes
    size: int
    life_bar: str = ""
    target_accuracy: float | None = None


class Play(msgspec.Struct, frozen=True):
    """A finished play that has been checked and computed and can be recorded.

    `acc` is in percent, `time_elapsed` in ms, `play_time_ms` in unix ms. `checksum` has 16 bytes and identifies the
    play: it is stored once. `calculator` identifies the version that computed `pp`; 0 means that pp is not computed.
    """

    user_id: int
    beatmap: Beatmap
    mode: int
    mods: int
    counts: HitCounts
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


class WeightedBest(NamedTuple):
    """The figures of a best that count in a player's totals, and its id."""

    pp: float
    acc: float
    id: int


class Best(msgspec.Struct, frozen=True):
    """A player's present best score, with the fields that a new play is compared with.

    `overwritten`: its player chose a later pass over it, so that any new pass is better.
    """

    id: int
    score: int
    pp: float
    grade: str
    max_combo: int = 0
    acc: float = 0.0
    overwritten: int = 0


class BestCandidate(msgspec.Struct, frozen=True):
    """A visible pass, with the fields that decide which passes of a player on a map and mode are the bests.

    The last three are the flags that it has at present.
    """

    id: int
    user_id: int
    mode: int
    map_key: int
    mods_key: int
    score: int
    pp: float
    overwritten: int
    best_pp: int
    best_score: int
    best_mods: int


class HidableScore(msgspec.Struct, frozen=True):
    """A stored play, with the fields that stats and counters lose when it is hidden.

    `hidden` is the sum of its marks (`statements/hiding.py`), `time_elapsed` is in ms, `play_time_ms` in unix ms.
    """

    id: int
    user_id: int
    map_key: int
    mode: int
    passed: int
    hidden: int
    score: int
    n300: int
    n100: int
    n50: int
    nmiss: int
    ngeki: int
    nkatu: int
    play_time_ms: int
    time_elapsed: int


class MapFigures(msgspec.Struct, frozen=True):
    """A score on the game's ranking panel. `acc` is in percent."""

    score: int
    max_combo: int
    acc: float
    pp: float


class ProfileFigures(msgspec.Struct, frozen=True):
    """A profile on the game's ranking panel. `acc` is in percent."""

    rscore: int
    tscore: int
    max_combo: int
    acc: float
    pp: int


class Chart(msgspec.Struct, frozen=True):
    """The content of the game's ranking panel after a pass (docs/spec/submission.md#ranking-panel).

    `standing` is the player's previous best on the map. A rank of 0 means no rank. The ranks after the play are None
    until they are known, which is after the commit.
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
    """A player's places before a play: on the board of the map, and in the global ranking. 0 means no place.

    `pp_on_map` is at most the pp of the player's best by pp on the map; 0 if it is not known.
    """

    on_map: int = 0
    overall: int = 0
    pp_on_map: float = 0.0


NO_RANKS: Final = RanksBefore()


class Recorded(msgspec.Struct, frozen=True):
    """The result of recording a play. `chart` is None for a failed play.

    `map_rank` is the place on the board of the map after the play, None if it was not read.
    """

    score_id: int
    is_best_pp: bool
    is_best_score: bool
    is_first_place: bool
    chart: Chart | None = None
    map_rank: int | None = None


class Score(msgspec.Struct, frozen=True):
    """A stored score as lists show it.

    `acc` is in percent, `time_elapsed` in ms, `play_time_ms` in unix ms; `status` is one of
    docs/spec/game-rules.md#status-of-a-score.
    """

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
    """A score with its player and clan, as the API shows it on a board."""

    score: Score
    player_name: str
    country: str
    clan_id: int | None
    clan_name: str | None
    clan_tag: str | None


class PlayedMap(msgspec.Struct, frozen=True):
    """A line of a player's most played maps."""

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
    """A player's profile in one mode. `playtime` in s, `acc` in percent, `last_play_ms` in unix ms."""

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
    last_play_ms: int = 0


class Ranked(msgspec.Struct, frozen=True):
    """A line of a ranking. `playtime` in s, `acc` in percent."""

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
    """Return the total score of a stable play, from which pp estimates slider breaks. None for a play of lazer."""
    return score if client_version < FIRST_LAZER_VERSION else None


def replay_key(md5: bytes) -> str:
    """Return the key of a replay's frames in the files store."""
    name = md5.hex()
    # 256 folders: a single folder with millions of files is slow to list.
    return f"replays/{name[:2]}/{name}"
