"""Thumbnails and previews of the sets whose archives are here (web-endpoints 6.5).

They are made when first asked for and kept in the files store. Archives are hostile: an entry is read up to a bound, a
picture's size is looked at before it is unpacked, and music is cut without being decoded.
"""

import asyncio
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from typing import Final

from PIL import Image, ImageOps, UnidentifiedImageError

from kiai.beatmaps import queries
from kiai.beatmaps.importing import ARCHIVE_MAX, archive_key
from kiai.errors import Unavailable
from kiai.files.port import Files
from kiai.logs import get_logger
from kiai.osu.beatmap_file import BadBeatmap, BeatmapFile, parse_beatmap
from kiai.osu.mp3 import cut_mp3
from kiai.storage.port import Database

SMALL: Final = (80, 60)
LARGE: Final = (160, 120)
PICTURE_MAX: Final = 20 * 1024 * 1024
PIXELS_MAX: Final = 34_000_000
MUSIC_MAX: Final = 40 * 1024 * 1024
OSU_MAX: Final = 10 * 1024 * 1024
PREVIEW_MS: Final = 10_000
AT_ONCE: Final = 2
NOTHING: Final = b""  # kept in place of what an archive does not give

Make = Callable[[bytes], bytes]


class MapPictures:
    """Makes them and hands them out."""

    def __init__(self, database: Database, files: Files) -> None:
        self._database = database
        self._files = files
        self._places = asyncio.Semaphore(AT_ONCE)

    async def thumbnail(self, set_id: int, *, large: bool) -> bytes | None:
        """A JPEG of 80x60, or of 160x120; None for a set whose archive is not here or has no background."""
        size = LARGE if large else SMALL
        key = f"thumbs/{set_id}{'l' if large else ''}.jpg"
        return await self._kept(set_id, key, lambda archive: _thumbnail(archive, size))

    async def preview(self, set_id: int) -> bytes | None:
        """Ten seconds of MP3; None for a set whose archive is not here or whose music is no MP3."""
        return await self._kept(set_id, f"previews/{set_id}.mp3", _preview)

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
            except Unavailable as error:  # it can be made again
                get_logger("pictures").warning("not kept", key=key, why=str(error))
        return kept or None


def _made(archive: bytes, make: Make) -> bytes:
    try:
        return make(archive)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, EOFError, OSError, ValueError):
        return NOTHING


def _thumbnail(archive: bytes, size: tuple[int, int]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        background = _described(files).background
        data = _entry(files, background, PICTURE_MAX) if background else None
    if data is None:
        return NOTHING
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "GIF", "BMP")) as picture:
            if picture.width * picture.height > PIXELS_MAX:
                return NOTHING
            picture.draft("RGB", (size[0] * 2, size[1] * 2))
            fitted = ImageOps.fit(picture.convert("RGB"), size, Image.Resampling.LANCZOS)
    except (UnidentifiedImageError, Image.DecompressionBombError, SyntaxError):
        return NOTHING
    out = io.BytesIO()
    fitted.save(out, "JPEG", quality=88)
    return out.getvalue()


def _preview(archive: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        described = _described(files)
        music = _entry(files, described.audio_filename, MUSIC_MAX) if described.audio_filename else None
    if music is None:
        return NOTHING
    return cut_mp3(music, float(described.preview_time_ms), PREVIEW_MS) or NOTHING


def _described(files: zipfile.ZipFile) -> BeatmapFile:
    """The first difficulty that can be read: all of a set mostly share background and music."""
    for entry in files.infolist():
        if entry.filename.lower().endswith(".osu"):
            data = _entry(files, entry.filename, OSU_MAX)
            if data is None:
                continue
            try:
                return parse_beatmap(data)
            except BadBeatmap:
                continue
    raise ValueError("no difficulty")


def _entry(files: zipfile.ZipFile, name: str, most: int) -> bytes | None:
    """An entry by its name, as Windows compares names; None for none, and for one that is too large."""
    wanted = name.replace("\\", "/").lower()
    for entry in files.infolist():
        if entry.filename.replace("\\", "/").lower() == wanted and entry.file_size <= most and not entry.flag_bits & 1:
            with files.open(entry) as stream:
                data = stream.read(most + 1)
            return data if len(data) <= most else None
    return None
