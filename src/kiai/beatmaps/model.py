"""Values of this subject: beatmaps, and the numbers of their statuses."""

from enum import IntEnum
from typing import Final

import msgspec

from kiai.osu.map_settings import MapSettings

OWN_ID_FIRST: Final = 1_000_000_000  # the first id for maps and sets without an official id


MAP_STATUS: Final = "map_status"
"""The kind of the task that updates first places and totals after a change of status; its subject is a map key."""


class MapStatus(IntEnum):
    """Status numbers of this server's API, database and leaderboards (docs/spec/beatmaps.md#status-numbers)."""

    NOT_SUBMITTED = -1
    PENDING = 0
    UPDATE_AVAILABLE = 1
    RANKED = 2
    APPROVED = 3
    QUALIFIED = 4
    LOVED = 5


STATUS_BY_WORD: Final = {
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

PP_STATUSES: Final = (MapStatus.RANKED, MapStatus.APPROVED)
"""The statuses whose best scores count for a profile's pp. `kiai.scores.rules` applies them."""
BOARD_STATUSES: Final = (*PP_STATUSES, MapStatus.QUALIFIED, MapStatus.LOVED)
"""The statuses whose maps have boards. `kiai.scores.rules` applies them."""

# By the official API's field `approved`. Unknown numbers are pending.
OSU_API: Final = {
    -2: MapStatus.PENDING,
    -1: MapStatus.PENDING,
    0: MapStatus.PENDING,
    1: MapStatus.RANKED,
    2: MapStatus.APPROVED,
    3: MapStatus.QUALIFIED,
    4: MapStatus.LOVED,
}


class Beatmap(msgspec.Struct, frozen=True):
    """A revision of a difficulty. Lengths in s, `diff` in stars, times in unix ms.

    `key` identifies the revision, `id` the difficulty. `current` is 1 for the latest revision. `frozen` is 1 if staff
    set the status. `board_version` changes with the boards of the map.
    """

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
        """The average of the votes, from 1 to 10; 0 without votes."""
        return self.rating_sum / self.rating_count if self.rating_count else 0.0


def full_title(beatmap: "Beatmap | MapSummary") -> str:
    """Return `artist - title [version]`, not escaped: `osu/texts.py` escapes it for each place where it is shown."""
    return f"{beatmap.artist} - {beatmap.title} [{beatmap.version}]"


def settings_of(beatmap: "Beatmap | MapSummary") -> MapSettings:
    """Return the settings of a map without mods."""
    return MapSettings(beatmap.cs, beatmap.ar, beatmap.od, beatmap.hp, beatmap.bpm, float(beatmap.total_length))


def osu_key(md5: str) -> str:
    """Return the key of a revision's .osu file in the files store."""
    return f"osu/{md5}.osu"


class MapSummary(msgspec.Struct, frozen=True):
    """A map as lists show it, with the fields of the public API's map object."""

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
