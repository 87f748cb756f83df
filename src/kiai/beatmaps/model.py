"""A beatmap as a value, and the numberings of its status."""

from enum import IntEnum
from typing import Final

import msgspec

OWN_ID_FIRST: Final = 1_000_000_000  # ids of maps that have no official id start here


MAP_STATUS: Final = "map_status"
"""The kind of the task that follows a change of a map's status; its subject is the revision's key."""


class MapStatus(IntEnum):
    """Status numbers of this server's API, database and leaderboards (docs/spec/beatmaps.md#status-numbers)."""

    NOT_SUBMITTED = -1
    PENDING = 0
    UPDATE_AVAILABLE = 1
    RANKED = 2
    APPROVED = 3
    QUALIFIED = 4
    LOVED = 5


WORDS: Final = {
    "pending": MapStatus.PENDING,
    "unrank": MapStatus.PENDING,
    "graveyard": MapStatus.PENDING,
    "rank": MapStatus.RANKED,
    "ranked": MapStatus.RANKED,
    "approve": MapStatus.APPROVED,
    "approved": MapStatus.APPROVED,
    "qualify": MapStatus.QUALIFIED,
    "qualified": MapStatus.QUALIFIED,
    "love": MapStatus.LOVED,
    "loved": MapStatus.LOVED,
}

# What the official API calls `approved`; unknown numbers are pending.
OSU_API: Final = {
    -2: MapStatus.PENDING,
    -1: MapStatus.PENDING,
    0: MapStatus.PENDING,
    1: MapStatus.RANKED,
    2: MapStatus.APPROVED,
    3: MapStatus.QUALIFIED,
    4: MapStatus.LOVED,
}


def gives_pp(status: int) -> bool:
    """Whether best scores on the map count for totals."""
    return status in (MapStatus.RANKED, MapStatus.APPROVED)


def has_board(status: int) -> bool:
    """Whether the map shows a leaderboard."""
    return status in (MapStatus.RANKED, MapStatus.APPROVED, MapStatus.QUALIFIED, MapStatus.LOVED)


class Beatmap(msgspec.Struct, frozen=True):
    """One revision of one difficulty. Lengths in s, `diff` in stars, times in unix ms."""

    key: int
    id: int
    set_id: int
    md5: str
    current: int
    status: int
    frozen: int
    mode: int
    artist: str
    title: str
    version: str
    creator: str
    filename: str
    last_update_ms: int
    total_length: int
    hit_length: int
    max_combo: int
    objects: int
    bpm: float
    cs: float
    od: float
    ar: float
    hp: float
    diff: float
    plays: int
    passes: int
    rating_sum: int = 0
    rating_count: int = 0
    board_version: int = 0

    @property
    def rating(self) -> float:
        """The average of the players' votes from 1 to 10; 0 without votes."""
        return self.rating_sum / self.rating_count if self.rating_count else 0.0


def full_title(beatmap: "Beatmap | MapSummary") -> str:
    """`artist - title [version]`, as it is stored: `osu/texts.py` makes it safe for the place where it is shown."""
    return f"{beatmap.artist} - {beatmap.title} [{beatmap.version}]"


def osu_key(md5: str) -> str:
    """Where a revision's .osu file lies in the files store."""
    return f"osu/{md5}.osu"


class MapSummary(msgspec.Struct, frozen=True):
    """A map as lists show it: the fields of the public API's map object."""

    md5: str
    id: int
    set_id: int
    artist: str
    title: str
    version: str
    creator: str
    last_update_ms: int
    total_length: int
    max_combo: int
    status: int
    plays: int
    passes: int
    mode: int
    bpm: float
    cs: float
    od: float
    ar: float
    hp: float
    diff: float
