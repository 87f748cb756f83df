"""Thumbnails and previews of the sets whose archives are here (docs/spec/web.md#thumbnails-and-previews).

They are made when first asked for and kept in the files store. Archives are hostile: an entry is read up to a bound, a
picture's size is looked at before it is unpacked, and music is cut without being decoded.
"""

import asyncio
import io
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from PIL import Image, ImageOps, UnidentifiedImageError

from kiai.beatmaps import queries
from kiai.beatmaps.archives import ARCHIVE_MAX, OSU_MAX, Archive, BadArchive, BadEntry
from kiai.beatmaps.importing import archive_key
from kiai.errors import Unavailable
from kiai.files.port import Files
from kiai.logs import Outage
from kiai.osu.beatmap_file import BadBeatmap, BeatmapFile, parse_beatmap
from kiai.osu.mp3 import cut_mp3
from kiai.storage.port import Database

SMALL: Final = (80, 60)
LARGE: Final = (160, 120)
COVERS: Final = {"cover": (900, 250), "card": (400, 140), "list": (150, 150), "slimcover": (1920, 360)}
"""The pictures of a set that websites show, by their names, in pixels."""
PICTURE_MAX: Final = 20 * 1024 * 1024
PIXELS_MAX: Final = 34_000_000
MUSIC_MAX: Final = 40 * 1024 * 1024
DIFFICULTIES_MAX: Final = 64  # looked at for one that names a picture or music
PREVIEW_MS: Final = 10_000
AT_ONCE: Final = 2
NOTHING: Final = b""  # kept in place of what an archive does not give

Make = Callable[[Archive], bytes]


class MapPictures:
    """Makes them and hands them out."""

    def __init__(self, database: Database, files: Files) -> None:
        self._database = database
        self._files = files
        self._places = asyncio.Semaphore(AT_ONCE)
        self._not_kept = Outage("pictures", "not kept", "kept again")

    async def thumbnail(self, set_id: int, *, large: bool) -> bytes | None:
        """A JPEG of 80x60, or of 160x120; None for a set whose archive is not here or has no background."""
        size = LARGE if large else SMALL
        key = f"thumbs/{set_id}{'l' if large else ''}.jpg"
        return await self._kept(set_id, key, lambda archive: _thumbnail(archive, set_id, size))

    async def cover(self, set_id: int, kind: str) -> bytes | None:
        """A JPEG of one of the `COVERS`; None for a set whose archive is not here or has no background."""
        size = COVERS[kind]
        return await self._kept(
            set_id, f"covers/{set_id}-{kind}.jpg", lambda archive: _thumbnail(archive, set_id, size)
        )

    async def knows(self, set_id: int) -> bool:
        """Whether there is such a set, with an archive or not."""
        return await self._database.one(queries.SET_EXISTS, id=set_id) is not None

    async def preview(self, set_id: int) -> bytes | None:
        """Ten seconds of MP3; None for a set whose archive is not here or whose music is no MP3."""
        return await self._kept(set_id, f"previews/{set_id}.mp3", lambda archive: _preview(archive, set_id))

    async def _kept(self, set_id: int, key: str, make: Make) -> bytes | None:
        size = await self._database.one(queries.ARCHIVE_SIZE, set_id=set_id)
        if not size:
            return None
        # An archive that is imported again has another size nearly always; the old pictures go with their key.
        key = f"{key.rpartition('.')[0]}-{size}.{key.rpartition('.')[2]}"
        kept = await self._files.get(key)
        if kept is None:
            async with self._places:
                archive = await self._files.get(archive_key(set_id))
                if archive is None or len(archive) > ARCHIVE_MAX:
                    return None
                kept = await asyncio.to_thread(_made, archive, make)
            try:
                await self._files.put(key, kept)
                self._not_kept.worked()
            except Unavailable as error:  # it can be made again
                self._not_kept.failed(error, key=key)
        return kept or None


def _made(data: bytes, make: Make) -> bytes:
    try:
        return make(Archive(data))
    except (BadArchive, BadEntry, OSError, ValueError):
        return NOTHING


def plain_cover(kind: str) -> bytes:
    """The cover of a set that has no picture: the same dark slope for all."""
    width, height = COVERS[kind]
    slope = Image.linear_gradient("L").resize((width, height))
    out = io.BytesIO()
    ImageOps.colorize(slope, (58, 51, 77), (28, 25, 38)).save(out, "JPEG", quality=88)
    return out.getvalue()


def _thumbnail(archive: Archive, set_id: int, size: tuple[int, int]) -> bytes:
    data = _first(archive, set_id, lambda file: file.background, PICTURE_MAX)
    if data is None:
        return NOTHING
    try:
        with Image.open(io.BytesIO(data[1]), formats=("JPEG", "PNG", "GIF", "BMP")) as picture:
            if picture.width * picture.height > PIXELS_MAX:
                return NOTHING
            picture.draft("RGB", (size[0] * 2, size[1] * 2))
            fitted = ImageOps.fit(picture.convert("RGB"), size, Image.Resampling.LANCZOS)
    except (UnidentifiedImageError, Image.DecompressionBombError, SyntaxError):
        return NOTHING
    out = io.BytesIO()
    fitted.save(out, "JPEG", quality=88)
    return out.getvalue()


def _preview(archive: Archive, set_id: int) -> bytes:
    music = _first(archive, set_id, lambda file: file.audio_filename, MUSIC_MAX)
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
