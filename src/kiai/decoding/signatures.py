"""Signatures at the start and end of picture files."""

from typing import Final

PNG: Final = b"\x89PNG\r\n\x1a\n"
PNG_END: Final = b"IEND\xaeB`\x82"
JPEG: Final = b"\xff\xd8\xff"
JPEG_END: Final = b"\xff\xd9"
_KINDS: Final = {PNG: "PNG", JPEG: "JPEG", b"GIF87a": "GIF", b"GIF89a": "GIF"}


def picture_kind(picture: bytes) -> str | None:
    """Return the format of a picture by its name in Pillow: PNG, JPEG, GIF, WEBP, or None for others."""
    # WEBP is a RIFF file; bytes 4 to 8 are its size.
    if picture[:4] == b"RIFF" and picture[8:12] == b"WEBP":
        return "WEBP"
    return next((kind for signature, kind in _KINDS.items() if picture.startswith(signature)), None)
