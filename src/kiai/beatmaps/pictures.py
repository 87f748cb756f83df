"""Thumbnails and previews of the sets whose archives are here (docs/spec/web.md#thumbnails-and-previews).

They are made from the archive when they are first asked for, by processes that can be killed (`decoding`), and kept in
the files store. What an archive does not have, or not in good time, is kept as well, as an empty file.
"""

import asyncio
import io
from collections.abc import Awaitable, Callable
from typing import Final

from PIL import Image, ImageOps

from kiai.beatmaps import queries
from kiai.beatmaps.importing import archive_key
from kiai.decoding.archives import ARCHIVE_MAX
from kiai.decoding.decoder import Decoder
from kiai.errors import Unavailable
from kiai.files.port import Files
from kiai.logs import Outage
from kiai.storage.port import Database

SMALL: Final = (80, 60)
LARGE: Final = (160, 120)
COVERS: Final = {"cover": (900, 250), "card": (400, 140), "list": (150, 150), "slimcover": (1920, 360)}
"""The pictures of a set that websites show, by their names, in pixels."""
Load = Callable[[], Awaitable[bytes]]
Make = Callable[[Load], Awaitable[bytes]]


class _Gone(Exception):
    """The archive is not in the store, or larger than an archive may be."""


class MapPictures:
    """Makes them and hands them out."""

    def __init__(self, database: Database, files: Files, decoder: Decoder) -> None:
        self._database = database
        self._files = files
        self._decoder = decoder
        self._making: dict[str, asyncio.Task[bytes | None]] = {}
        self._not_kept = Outage("pictures", "not kept", "kept again")

    async def thumbnail(self, set_id: int, *, large: bool, caller: str) -> bytes | None:
        """A JPEG of 80x60, or of 160x120; None for a set whose archive is not here or has no background.

        `caller` is whose turn it is where one has to be made. Raises Unavailable, as the others do.
        """
        size = LARGE if large else SMALL
        key = f"thumbs/{set_id}{'l' if large else ''}.jpg"
        return await self._kept(set_id, key, lambda load: self._decoder.background(load, set_id, size, caller=caller))

    async def cover(self, set_id: int, kind: str, *, caller: str) -> bytes | None:
        """A JPEG of one of the `COVERS`; None for a set whose archive is not here or has no background."""
        size = COVERS[kind]
        key = f"covers/{set_id}-{kind}.jpg"
        return await self._kept(set_id, key, lambda load: self._decoder.background(load, set_id, size, caller=caller))

    async def knows(self, set_id: int) -> bool:
        """Whether there is such a set, with an archive or not."""
        return await self._database.one(queries.SET_EXISTS, id=set_id) is not None

    async def preview(self, set_id: int, *, caller: str) -> bytes | None:
        """Ten seconds of MP3; None for a set whose archive is not here or whose music is no MP3."""
        key = f"previews/{set_id}.mp3"
        return await self._kept(set_id, key, lambda load: self._decoder.preview(load, set_id, caller=caller))

    async def _kept(self, set_id: int, key: str, make: Make) -> bytes | None:
        size = await self._database.one(queries.ARCHIVE_SIZE, set_id=set_id)
        if not size:
            return None
        # An archive that is imported again has another size nearly always; the old pictures go with their key.
        key = f"{key.rpartition('.')[0]}-{size}.{key.rpartition('.')[2]}"
        kept = await self._files.get(key)
        if kept is None:
            kept = await self._made_once(set_id, key, make)
        return kept or None

    async def _made_once(self, set_id: int, key: str, make: Make) -> bytes | None:
        """Those who ask while it is made wait for the same one."""
        making = self._making.get(key)
        if making is None:
            making = self._making[key] = asyncio.create_task(self._made(set_id, key, make))
            making.add_done_callback(lambda _: self._making.pop(key, None))
        return await asyncio.shield(making)

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
            self._not_kept.worked()
        except Unavailable as error:  # it can be made again
            self._not_kept.failed(error, key=key)
        return made


def plain_cover(kind: str) -> bytes:
    """The cover of a set that has no picture: the same dark slope for all."""
    width, height = COVERS[kind]
    slope = Image.linear_gradient("L").resize((width, height))
    out = io.BytesIO()
    ImageOps.colorize(slope, (58, 51, 77), (28, 25, 38)).save(out, "JPEG", quality=88)
    return out.getvalue()
