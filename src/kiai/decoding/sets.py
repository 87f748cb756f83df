"""What websites and the game show of a set, made from its archive: its background, made small, and some of its music.

Archives are hostile: an entry is read up to a bound, a picture's size is looked at before it is unpacked, and music is
cut without being decoded.
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
DIFFICULTIES_MAX: Final = 64  # looked at for one that names a picture or music
PREVIEW_MS: Final = 10_000
NOTHING: Final = b""  # of an archive that does not have it


def background(archive: bytes, set_id: int, size: tuple[int, int]) -> bytes:
    """The set's background as a JPEG of this size, or `NOTHING`."""
    try:
        found = _first(Archive(archive), set_id, lambda file: file.background, PICTURE_MAX)
        return NOTHING if found is None else thumbnail(found[1], size)
    except (BadArchive, BadEntry, Invalid, OSError, ValueError, MemoryError):
        return NOTHING


def preview(archive: bytes, set_id: int) -> bytes:
    """Ten seconds of the set's music as MP3, or `NOTHING`."""
    try:
        music = _first(Archive(archive), set_id, lambda file: file.audio_filename, MUSIC_MAX)
    except (BadArchive, BadEntry, OSError, ValueError, MemoryError):
        return NOTHING
    if music is None:
        return NOTHING
    return cut_mp3(music[1], float(music[0].preview_time_ms), PREVIEW_MS) or NOTHING


def _first(
    archive: Archive, set_id: int, named: Callable[[BeatmapFile], str | None], most: int
) -> tuple[BeatmapFile, bytes] | None:
    """The first difficulty that names a file which is there, and that file.

    Difficulties of a set mostly share background and music. Those of this set come first: an archive may hold several.
    """
    other = None
    for folder, file in islice(_difficulties(archive), DIFFICULTIES_MAX):
        name = named(file)
        entry = archive.find(folder + name) if name else None
        if entry is not None and file.beatmap_set_id == set_id:
            return file, archive.read(entry, most)
        if entry is not None and other is None:
            other = file, entry
    return (other[0], archive.read(other[1], most)) if other else None


def _difficulties(archive: Archive) -> Iterator[tuple[str, BeatmapFile]]:
    """Each one that can be read, with the folder it lies in."""
    for entry in archive.with_ending(".osu"):
        try:
            yield entry.folder, parse_beatmap(archive.read(entry, OSU_MAX))
        except (BadEntry, BadBeatmap):
            continue
