"""Beatmaps: difficulties and sets, their statuses, import, and upstream and mirrors for those not imported.

Owns the tables `sets`, `maps` and the .osu files in the files store.
"""

from kiai.beatmaps.comments import Comments
from kiai.beatmaps.favourites import Favourites
from kiai.beatmaps.importing import Importer, ImportReport, SkippedFile
from kiai.beatmaps.model import MAP_STATUS, Beatmap, MapStatus, osu_key
from kiai.beatmaps.ratings import Ratings
from kiai.beatmaps.service import Beatmaps

__all__ = [
    "MAP_STATUS",
    "Beatmap",
    "Beatmaps",
    "Comments",
    "Favourites",
    "ImportReport",
    "Importer",
    "MapStatus",
    "Ratings",
    "SkippedFile",
    "osu_key",
]
