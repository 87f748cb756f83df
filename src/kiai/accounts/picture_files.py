"""The files of pictures that players upload: avatars, covers, icons of clans.

Each picture is decoded and encoded again, so that no other data of the upload is served.
"""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Final

from kiai.clock import Clock
from kiai.decoding.signatures import picture_kind
from kiai.errors import KiaiError
from kiai.files.port import Files
from kiai.files.retiring import RetiredFiles
from kiai.ids import Ids

KEY_BYTES: Final = 6  # random bytes at the end of a key
UPLOAD_MAX: Final = 4 * 1024**2

Encode = Callable[[bytes, str, str], Awaitable[bytes]]
"""Decode a picture and encode it again: the data, its format, and the caller in the queue of pictures."""


class NotAPicture(KiaiError):
    """The data is not a picture of a supported format."""


class PictureFiles:
    """Stores the files of one kind of picture, with keys such as `folder/OWNER-HASH-RANDOM.suffix`."""

    def __init__(self, folder: str, suffix: str, encode: Encode, files: Files, clock: Clock, ids: Ids) -> None:
        self._folder = folder
        self._suffix = suffix
        self._encode = encode
        self._files = files
        self._ids = ids
        self._retired = RetiredFiles(files, clock)

    async def store(self, owner_id: int, picture: bytes, before: str | None, *, caller_id: int) -> str:
        """Store a picture: PNG, JPEG, GIF (first frame) or WebP, at most 4096 pixels a side. Return its key.

        That is `before`, the present key of the owner, if it is the same picture. `caller_id` is the account that
        waits in the queue of pictures. Raises NotAPicture for other formats, Invalid for a picture that is damaged, too
        large or too slow to decode, and Unavailable.
        """
        kind = picture_kind(picture)
        if kind is None:
            raise NotAPicture("The picture must be a PNG, JPEG, GIF or WebP file")
        encoded = await self._encode(picture, kind, f"user:{caller_id}")
        # Each key is used once: the file of a retired key may be deleted at any moment. The hash in the key shows
        # whether the owner already has this picture.
        content = f"{self._folder}/{owner_id}-{hashlib.sha256(encoded).hexdigest()[:16]}"
        if before is not None and before.startswith(content) and await self._files.size(before) == len(encoded):
            return before
        key = f"{content}-{self._ids.token(KEY_BYTES).encode().hex()}.{self._suffix}"
        await self._files.put(key, encoded)
        return key

    async def retire(self, key: str) -> None:
        """Let the sweep delete a file later, unless a row refers to it then."""
        await self._retired.add(key)

    async def read(self, key: str | None) -> bytes | None:
        """Return a picture, None without a key or file."""
        return None if key is None else await self._files.get(key)
