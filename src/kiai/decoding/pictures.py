"""Pictures: each is decoded and encoded again, so that what is served is a picture and nothing else.

The size that a header states is judged before pixels are decoded. Raises Invalid for what is not taken.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from PIL import Image, ImageOps, UnidentifiedImageError

from kiai.errors import Invalid

AVATAR_SIDE: Final = 256
AVATAR_SIDE_MAX: Final = 4096
AVATAR_PIXELS_MAX: Final = 16_777_216

SCREENSHOT_WIDTH_MAX: Final = 7_680
SCREENSHOT_HEIGHT_MAX: Final = 4_320
SCREENSHOT_PIXELS_MAX: Final = 34_000_000
SCREENSHOT_QUALITY: Final = 92

BACKGROUND_PIXELS_MAX: Final = 34_000_000
BACKGROUND_KINDS: Final = ("JPEG", "PNG", "GIF", "BMP")
THUMBNAIL_QUALITY: Final = 88

JPEG_SCANS_MAX: Final = 64
"""Encoders write about ten. Each one costs a pass over all pixels, even if it is a few bytes long."""
_START_OF_SCAN: Final = b"\xff\xda"


def avatar(picture: bytes, kind: str) -> bytes:
    """The picture upright, square, at most 256 pixels a side, without metadata, as PNG. `kind` is Pillow's name."""
    with _reading("avatar"):
        _judge_scans("avatar", picture, kind)
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(picture), formats=(kind,)) as image:
            width, height = image.size
            if max(width, height) > AVATAR_SIDE_MAX or width * height > AVATAR_PIXELS_MAX or min(width, height) < 1:
                raise Invalid("avatar", f"at most {AVATAR_SIDE_MAX} x {AVATAR_SIDE_MAX} pixels", f"{width} x {height}")
            image.seek(0)
            upright = ImageOps.exif_transpose(image).convert("RGBA")
        side = min(AVATAR_SIDE, *upright.size)
        square = ImageOps.fit(upright, (side, side), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        square.save(out, "PNG")
        return out.getvalue()


def screenshot(picture: bytes, kind: str) -> bytes:
    """The picture without metadata, in its own kind: `png` or `jpeg`."""
    with _reading("screenshot"):
        _judge_scans("screenshot", picture, kind)
        warnings.simplefilter("ignore")  # about damaged metadata, which is dropped, and sizes, which are checked
        with Image.open(io.BytesIO(picture), formats=(kind.upper(),)) as image:
            width, height = image.size
            if not (
                0 < width <= SCREENSHOT_WIDTH_MAX
                and 0 < height <= SCREENSHOT_HEIGHT_MAX
                and width * height <= SCREENSHOT_PIXELS_MAX
            ):
                most = f"at most {SCREENSHOT_WIDTH_MAX} x {SCREENSHOT_HEIGHT_MAX} pixels"
                raise Invalid("screenshot", most, f"{width} x {height}")
            wanted = "RGBA" if kind == "png" and image.has_transparency_data else "RGB"
            plain = image if image.mode == wanted else image.convert(wanted)  # a copy costs as much again
            plain.load()
            plain.info.clear()
            out = io.BytesIO()
            if kind == "png":
                plain.save(out, "PNG")
            else:
                plain.save(out, "JPEG", quality=SCREENSHOT_QUALITY)
            return out.getvalue()


def thumbnail(picture: bytes, size: tuple[int, int]) -> bytes:
    """A background cut and scaled to `size`, width and height in pixels, as JPEG."""
    with _reading("background"):
        _judge_scans("background", picture, "JPEG" if picture.startswith(b"\xff\xd8") else "")
        with Image.open(io.BytesIO(picture), formats=BACKGROUND_KINDS) as image:
            if image.width * image.height > BACKGROUND_PIXELS_MAX:
                raise Invalid(
                    "background", f"at most {BACKGROUND_PIXELS_MAX} pixels", f"{image.width} x {image.height}"
                )
            image.draft("RGB", (size[0] * 2, size[1] * 2))
            fitted = ImageOps.fit(image.convert("RGB"), size, Image.Resampling.LANCZOS)
        out = io.BytesIO()
        fitted.save(out, "JPEG", quality=THUMBNAIL_QUALITY)
        return out.getvalue()


def _judge_scans(field: str, picture: bytes, kind: str) -> None:
    # Inside a scan, FF is followed by 00 or a restart marker: these two bytes begin a scan, or stand in metadata.
    if kind.upper() == "JPEG" and (scans := picture.count(_START_OF_SCAN)) > JPEG_SCANS_MAX:
        raise Invalid(field, f"a JPEG of at most {JPEG_SCANS_MAX} scans", scans)


@contextmanager
def _reading(field: str) -> Iterator[None]:
    """Whatever Pillow raises for a damaged picture becomes Invalid."""
    try:
        with warnings.catch_warnings():
            yield
    except (
        UnidentifiedImageError,
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        MemoryError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise Invalid(field, "a whole picture", "a damaged one") from error
