"""Thumbnails and previews of sets whose archives are stored (docs/spec/web.md#thumbnails-and-previews).

The first request makes them from the archive, in a process that can be killed (`decoding`), and puts them into the
files store. If an archive has no picture or music, or takes too long to decode, an empty file is stored, so that it is
not decoded again.
"""

import io
from collections.abc import Awaitable, Callable
from typing import Final

from kiai.beatmaps import queries
from kiai.beatmaps.importing import archive_key
from kiai.decoding.archives import ARCHIVE_MAX
from kiai.decoding.decoder import Decoder
from kiai.errors import Unavailable
from kiai.files.port import Files
from kiai.in_flight import InFlight
from kiai.logs import Outage
from kiai.storage.port import Database

SMALL: Final = (80, 60)
LARGE: Final = (160, 120)
COVERS: Final = {"cover": (900, 250), "card": (400, 140), "list": (150, 150), "slimcover": (1920, 360)}
"""Sizes of the pictures that websites show, in pixels, by name."""
Load = Callable[[], Awaitable[bytes]]
Make = Callable[[Load], Awaitable[bytes]]


class _Gone(Exception):
    """The archive is missing in the store, or larger than `ARCHIVE_MAX`."""


class MapPictures:
    """Makes, stores and returns pictures and previews of sets.

    `caller` shares the decoders fairly with other callers. All methods that return a file raise Unavailable.
    """

    def __init__(self, database: Database, files: Files, decoder: Decoder) -> None:
        self._database = database
        self._files = files
        self._decoder = decoder
        self._making: InFlight[str, bytes | None] = InFlight()
        self._not_stored = Outage("pictures", "not stored", "stored again")

    async def thumbnail(self, set_id: int, *, large: bool, caller: str) -> bytes | None:
        """Return a JPEG of 80x60 or, if `large`, 160x120 pixels. None without an archive or background."""
        size = LARGE if large else SMALL
        key = f"thumbs/{set_id}{'l' if large else ''}.jpg"
        return await self._stored(set_id, key, lambda load: self._decoder.background(load, set_id, size, caller=caller))

    async def cover(self, set_id: int, kind: str, *, caller: str) -> bytes | None:
        """Return a JPEG of one of the `COVERS`. None without an archive or background."""
        size = COVERS[kind]
        key = f"covers/{set_id}-{kind}.jpg"
        return await self._stored(set_id, key, lambda load: self._decoder.background(load, set_id, size, caller=caller))

    async def knows(self, set_id: int) -> bool:
        """Return whether the set exists, with or without an archive."""
        return await self._database.one(queries.SET_EXISTS, id=set_id) is not None

    async def preview(self, set_id: int, *, caller: str) -> bytes | None:
        """Return ten seconds of MP3. None without an archive, or if the music has another format."""
        key = f"previews/{set_id}.mp3"
        return await self._stored(set_id, key, lambda load: self._decoder.preview(load, set_id, caller=caller))

    async def _stored(self, set_id: int, key: str, make: Make) -> bytes | None:
        size = await self._database.one(queries.ARCHIVE_SIZE, set_id=set_id)
        if not size:
            return None
        # The size of the archive is part of the key. A new archive nearly always has another size and so new pictures.
        key = f"{key.rpartition('.')[0]}-{size}.{key.rpartition('.')[2]}"
        picture = await self._files.get(key)
        if picture is None:
            picture = await self._making.run(key, lambda: self._made(set_id, key, make))
        return picture or None

    async def _made(self, set_id: int, key: str, make: Make) -> bytes | None:
        async def load() -> bytes:
            archive = await self._files.get(archive_key(set_id))
            if archive is None or len(archive) > ARCHIVE_MAX:
                raise _Gone
            return archive

        try:
            made = await make(load)
        except _Gone:
            return None
        try:
            await self._files.put(key, made)
            self._not_stored.worked()
        except Unavailable as error:  # the next request makes it again
            self._not_stored.failed(error, key=key)
        return made


def plain_cover(kind: str) -> bytes:
    """Return the cover of a set without a picture: a dark gradient, the same for all sets."""
    from PIL import Image, ImageOps  # PERF: here, because Pillow takes 4 MB and few servers draw such a picture

    width, height = COVERS[kind]
    slope = Image.linear_gradient("L").resize((width, height))
    out = io.BytesIO()
    ImageOps.colorize(slope, (58, 51, 77), (28, 25, 38)).save(out, "JPEG", quality=88)
    return out.getvalue()
