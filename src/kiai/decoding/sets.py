"""Thumbnails and music previews of sets, from their archives.

Archives are untrusted: entries have a maximum size, the size of a picture is checked before it is decoded, and music is
cut without decoding it.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from kiai.decoding.archives import OSU_MAX, Archive, BadArchive, BadEntry
from kiai.decoding.pictures import thumbnail
from kiai.errors import Invalid
from kiai.osu.beatmap_file import BadBeatmap, BeatmapFile, parse_beatmap
from kiai.osu.mp3 import cut_mp3

PICTURE_MAX: Final = 20 * 1024 * 1024
MUSIC_MAX: Final = 40 * 1024 * 1024
DIFFICULTIES_MAX: Final = 64  # of an archive are searched for the name of a picture or of music
PREVIEW_MS: Final = 10_000
NOTHING: Final = b""  # the result for an archive without the picture or music


def background(archive: bytes, set_id: int, size: tuple[int, int]) -> bytes:
    """Return the background of the set as a JPEG of `size` (width and height in pixels), or `NOTHING`."""
    try:
        found = _first(Archive(archive), set_id, lambda file: file.background, PICTURE_MAX)
        return NOTHING if found is None else thumbnail(found[1], size)
    except (BadArchive, BadEntry, Invalid, OSError, ValueError, MemoryError):
        return NOTHING


def preview(archive: bytes, set_id: int) -> bytes:
    """Return ten seconds of the set's music as MP3, from the preview point, or `NOTHING`."""
    try:
        music = _first(Archive(archive), set_id, lambda file: file.audio_filename, MUSIC_MAX)
    except (BadArchive, BadEntry, OSError, ValueError, MemoryError):
        return NOTHING
    if music is None:
        return NOTHING
    return cut_mp3(music[1], float(music[0].preview_time_ms), PREVIEW_MS) or NOTHING


def _first(
    archive: Archive, set_id: int, name_of: Callable[[BeatmapFile], str | None], size_max: int
) -> tuple[BeatmapFile, bytes] | None:
    """Return the first difficulty whose background or music (`name_of`) is in the archive, and the data of that file.

    Difficulties with this `set_id` have precedence: an archive may contain several sets, or have wrong ids.
    """
    other = None
    for folder, file in islice(_difficulties(archive), DIFFICULTIES_MAX):
        name = name_of(file)
        entry = archive.find(folder + name) if name else None
        if entry is not None and file.beatmap_set_id == set_id:
            return file, archive.read(entry, size_max)
        if entry is not None and other is None:
            other = file, entry
    return (other[0], archive.read(other[1], size_max)) if other else None


def _difficulties(archive: Archive) -> Iterator[tuple[str, BeatmapFile]]:
    """Yield the difficulties that can be read, each with its folder."""
    for entry in archive.with_ending(".osu"):
        try:
            yield entry.folder, parse_beatmap(archive.read(entry, OSU_MAX))
        except (BadEntry, BadBeatmap):
            continue
