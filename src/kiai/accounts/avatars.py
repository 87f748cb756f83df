"""Avatars: every picture is decoded and encoded again, so that what is served is a picture and nothing else."""

import hashlib
from typing import Final

from kiai.accounts.service import Accounts
from kiai.clock import Clock
from kiai.decoding.decoder import Decoder
from kiai.errors import KiaiError
from kiai.files.port import Files
from kiai.files.retiring import Retired
from kiai.ids import Ids

KEY_BYTES: Final = 6  # random ones
KINDS: Final = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
}


class NotAPicture(KiaiError):
    """The bytes are not of a kind of picture that is taken."""


class Avatars:
    """Stores and finds pictures."""

    def __init__(self, accounts: Accounts, files: Files, decoder: Decoder, clock: Clock, ids: Ids) -> None:
        self._accounts = accounts
        self._files = files
        self._decoder = decoder
        self._ids = ids
        self._retired = Retired(files, clock)

    async def change(self, user_id: int, picture: bytes) -> None:
        """Makes `picture` the account's avatar: PNG, JPEG, GIF (first frame) or WebP, at most 4096 pixels a side.

        Raises NotAPicture for other kinds, Invalid for a damaged or too large one or one that takes too long to decode,
        and Unavailable; nothing is changed then.
        """
        kind = _kind(picture)
        if kind is None:
            raise NotAPicture("The picture must be a PNG, JPEG, GIF or WebP file")
        encoded = await self._decoder.avatar(picture, kind, caller=f"user:{user_id}")
        # No key is used twice: the file of one that was used before may be about to be deleted.
        content = f"avatars/{user_id}-{hashlib.sha256(encoded).hexdigest()[:16]}"
        key = f"{content}-{self._ids.token(KEY_BYTES).encode().hex()}.png"
        before = (await self._accounts.user(id=user_id)).avatar
        if before is not None and before.startswith(content) and await self._files.size(before) == len(encoded):
            return
        await self._files.put(key, encoded)
        if before is not None:
            await self._retired.add(before)
        replaced = await self._accounts.set_avatar(user_id, key)
        if replaced is not None and replaced != before:  # by another change, at the same time
            await self._retired.add(replaced)

    async def sweep(self) -> int:
        """Deletes pictures that were replaced so long ago that no back-up needs them; how many. A job's work."""
        return await self._retired.sweep(self._accounts.has_avatar)

    async def find(self, user_id: int) -> bytes | None:
        """The picture of a visible account as PNG, None when it has none."""
        key = await self._accounts.avatar_of(user_id)
        return None if key is None else await self._files.get(key)


def _kind(picture: bytes) -> str | None:
    if picture[:4] == b"RIFF" and picture[8:12] == b"WEBP":
        return "WEBP"
    return next((kind for magic, kind in KINDS.items() if picture.startswith(magic)), None)
