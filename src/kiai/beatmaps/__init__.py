"""Beatmaps: difficulties and sets, their statuses, import, and where they come from when not imported.

Owns the tables `sets`, `maps` and the .osu files in the files store.
"""

from kiai.beatmaps.importing import Importer, ImportReport, Skipped
from kiai.beatmaps.model import MAP_STATUS, Beatmap, MapStatus, osu_key
from kiai.beatmaps.service import Beatmaps

__all__ = ["MAP_STATUS", "Beatmap", "Beatmaps", "ImportReport", "Importer", "MapStatus", "Skipped", "osu_key"]
