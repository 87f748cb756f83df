"""Avatars: every picture is decoded and encoded again, so that what is served is a picture and nothing else."""

import asyncio
import hashlib
import io
import warnings
from typing import Final

from kiai.accounts.service import Accounts
from kiai.errors import Invalid, KiaiError
from kiai.files.port import Files

SIDE: Final = 256
SIDE_MAX: Final = 4096
PIXELS_MAX: Final = 16_777_216
KINDS: Final = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
}


class NotAPicture(KiaiError):
    """The bytes are not of a kind of picture that is taken."""


class Avatars:
    """Stores and finds pictures. One is decoded at a time: a 4096 x 4096 one costs 64 MB for a moment."""

    def __init__(self, accounts: Accounts, files: Files) -> None:
        self._accounts = accounts
        self._files = files
        self._decoding = asyncio.Lock()

    async def change(self, user_id: int, picture: bytes) -> None:
        """Makes `picture` the account's avatar: PNG, JPEG, GIF (first frame) or WebP, at most 4096 pixels a side.

        Raises NotAPicture for other kinds, Invalid for a damaged or too large one; nothing is changed then.
        """
        kind = _kind(picture)
        if kind is None:
            raise NotAPicture("The picture must be a PNG, JPEG, GIF or WebP file")
        async with self._decoding:
            encoded = await asyncio.to_thread(encode, picture, kind)
        key = f"avatars/{user_id}-{hashlib.sha256(encoded).hexdigest()[:16]}.png"
        user = await self._accounts.user(id=user_id)
        await self._files.put(key, encoded)
        await self._accounts.set_avatar(user_id, key)
        if user.avatar is not None and user.avatar != key:
            await self._files.delete(user.avatar)

    async def find(self, user_id: int) -> bytes | None:
        """The picture of a visible account as PNG, None when it has none."""
        key = await self._accounts.avatar_of(user_id)
        return None if key is None else await self._files.get(key)


def _kind(picture: bytes) -> str | None:
    if picture[:4] == b"RIFF" and picture[8:12] == b"WEBP":
        return "WEBP"
    return next((kind for magic, kind in KINDS.items() if picture.startswith(magic)), None)


def encode(picture: bytes, kind: str) -> bytes:
    """The picture upright, square, at most 256 pixels a side, without metadata, as PNG. Raises Invalid."""
    from PIL import Image, ImageOps, UnidentifiedImageError  # 3 MB that most servers need rarely

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(picture), formats=(kind,)) as image:
                if max(image.size) > SIDE_MAX or image.width * image.height > PIXELS_MAX or min(image.size) < 1:
                    raise Invalid(
                        "avatar", f"at most {SIDE_MAX} x {SIDE_MAX} pixels", f"{image.width} x {image.height}"
                    )
                image.seek(0)
                upright = ImageOps.exif_transpose(image).convert("RGBA")
        side = min(SIDE, *upright.size)
        square = ImageOps.fit(upright, (side, side), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        square.save(out, "PNG")
    except (
        UnidentifiedImageError,
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise Invalid("avatar", "a whole picture", "a damaged one") from error
    return out.getvalue()
