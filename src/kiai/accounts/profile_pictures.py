"""The pictures of profiles in the file store: avatars and covers.

Each picture is decoded and encoded again, so that no other data of the upload is served.
"""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Final

from kiai.accounts.changes import Record, no_record
from kiai.accounts.service import Accounts
from kiai.accounts.visibility import EVERYBODY, Viewer
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


class ProfilePictures:
    """Stores and finds one picture of each player. `picture` is the column, `avatar` or `cover`."""

    def __init__(
        self, picture: str, suffix: str, encode: Encode, accounts: Accounts, files: Files, clock: Clock, ids: Ids
    ) -> None:
        self._picture = picture
        self._suffix = suffix
        self._encode = encode
        self._accounts = accounts
        self._files = files
        self._ids = ids
        self._retired = RetiredFiles(files, clock)

    async def change(self, user_id: int, picture: bytes, record: Record = no_record) -> None:
        """Set the picture of an account: PNG, JPEG, GIF (first frame) or WebP, at most 4096 pixels a side.

        Raises NotAPicture for other formats, Invalid for a picture that is damaged, too large or too slow to decode,
        Refused for a silenced player, and Unavailable. Nothing changes then.
        """
        user = await self._accounts.user(Viewer(user_id=user_id), id=user_id)
        self._accounts.check_not_silenced(user, f"the {self._picture}")
        kind = picture_kind(picture)
        if kind is None:
            raise NotAPicture("The picture must be a PNG, JPEG, GIF or WebP file")
        encoded = await self._encode(picture, kind, f"user:{user_id}")
        # Each key is used once: the file of a retired key may be deleted at any moment. The hash in the key shows
        # whether the account already has this picture.
        content = f"{self._picture}s/{user_id}-{hashlib.sha256(encoded).hexdigest()[:16]}"
        key = f"{content}-{self._ids.token(KEY_BYTES).encode().hex()}.{self._suffix}"
        before: str | None = getattr(user, self._picture)
        if before is not None and before.startswith(content) and await self._files.size(before) == len(encoded):
            return
        await self._files.put(key, encoded)
        await self._replace(user_id, before, key, record)

    async def remove(self, user_id: int, record: Record = no_record) -> None:
        """Remove the picture of an account, if it has one. Everybody sees the default picture then."""
        user = await self._accounts.user(Viewer(user_id=user_id), id=user_id)
        before: str | None = getattr(user, self._picture)
        if before is not None:
            await self._replace(user_id, before, None, record)

    async def _replace(self, user_id: int, before: str | None, key: str | None, record: Record) -> None:
        # In this order, a failure at any step leaves no row without a file: first the new file, then the marker of the
        # old one, then the row. `sweep` does not delete a retired file that the row still refers to.
        if before is not None:
            await self._retired.add(before)
        replaced = await self._accounts.set_picture(user_id, self._picture, key, record)
        if replaced is not None and replaced != before:  # by another change, at the same time
            await self._retired.add(replaced)

    async def sweep(self) -> int:
        """Delete replaced pictures of both kinds that no backup needs any longer. Return their number.

        A job calls this.
        """
        return await self._retired.sweep(self._accounts.has_picture)

    async def find(self, user_id: int, viewer: Viewer = EVERYBODY) -> bytes | None:
        """Return the encoded picture of an account that `viewer` may see, or None."""
        key = await self._accounts.picture_of(user_id, self._picture, viewer)
        return None if key is None else await self._files.get(key)
