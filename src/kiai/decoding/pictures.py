"""Conversion of uploaded pictures.

Each picture is decoded and encoded again, so that no other data of the upload is served. The size in the header is
checked before pixels are decoded. All functions raise Invalid for pictures that are damaged or too large.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from kiai.errors import Invalid

AVATAR_SIDE: Final = 256
COVER_SIZE: Final = (1920, 640)
COVER_QUALITY: Final = 82
COVER_GROUND: Final = (32, 32, 36)
"""Behind the transparent parts of a cover."""
ORIENTATION: Final = 0x0112
"""The EXIF tag of the orientation. Values from `ON_ITS_SIDE` on swap width and height."""
ON_ITS_SIDE: Final = 5
UPLOAD_SIDE_MAX: Final = 4096
UPLOAD_PIXELS_MAX: Final = 16_777_216

SCREENSHOT_WIDTH_MAX: Final = 7_680
SCREENSHOT_HEIGHT_MAX: Final = 4_320
SCREENSHOT_PIXELS_MAX: Final = 34_000_000
SCREENSHOT_QUALITY: Final = 92

BACKGROUND_PIXELS_MAX: Final = 34_000_000
BACKGROUND_KINDS: Final = ("JPEG", "PNG", "GIF", "BMP")
THUMBNAIL_QUALITY: Final = 88

_UPLOAD_MOST: Final = f"at most {UPLOAD_SIDE_MAX} x {UPLOAD_SIDE_MAX} pixels"
_SCREENSHOT_MOST: Final = f"at most {SCREENSHOT_WIDTH_MAX} x {SCREENSHOT_HEIGHT_MAX} pixels"
_BACKGROUND_MOST: Final = f"at most {BACKGROUND_PIXELS_MAX} pixels"

JPEG_SCANS_MAX: Final = 64
"""Encoders write about ten. Each scan costs a pass over all pixels, even when it has only a few bytes."""
SCANNED_PIXELS_MAX: Final = 16_777_216
"""Limit for a JPEG in several scans: the decoder stores the coefficients of the whole picture, 3 to 6 bytes a pixel."""
_START_OF_SCAN: Final = b"\xff\xda"


def avatar(picture: bytes, kind: str) -> bytes:
    """Return the picture as a PNG: upright, square, at most 256 pixels a side, without metadata.

    `kind` is the format by its name in Pillow.
    """
    with _reading("avatar", _UPLOAD_MOST), _upload("avatar", picture, kind) as image:
        side = min(AVATAR_SIDE, *image.size)
        # PERF: A JPEG decoder can scale by powers of two while it decodes. Twice the final size preserves quality.
        image.draft("RGB", (side * 2, side * 2))
        # Rotate after resizing: the square is the same, and a rotation copies all pixels.
        square = ImageOps.fit(_resizable(image, "RGBA"), (side, side), Image.Resampling.LANCZOS)
        upright = ImageOps.exif_transpose(square).convert("RGBA")
    return _encode(upright, "PNG")


def cover(picture: bytes, kind: str) -> bytes:
    """Return the middle of the picture as a WebP of 1920 x 640 pixels: upright, without metadata or transparency."""
    with _reading("cover", _UPLOAD_MOST), _upload("cover", picture, kind) as image:
        width, height = COVER_SIZE
        if image.getexif().get(ORIENTATION, 1) >= ON_ITS_SIDE:
            width, height = height, width
        image.draft("RGB", (width * 2, height * 2))  # PERF: see `avatar`, also for the order of the next two lines
        fitted = ImageOps.exif_transpose(ImageOps.fit(_resizable(image, "RGBA"), (width, height)))
        if fitted.mode == "RGBA":
            opaque = Image.new("RGB", fitted.size, COVER_GROUND)
            opaque.paste(fitted, mask=fitted.getchannel("A"))
            fitted = opaque
        plain = fitted.convert("RGB")
        plain.info.clear()  # `save` would write some of these fields as metadata
    return _encode(plain, "WEBP", quality=COVER_QUALITY, method=4)


@contextmanager
def _upload(field: str, picture: bytes, kind: str) -> Iterator[Image.Image]:
    """Open the first frame of an uploaded picture, after checks of its size. Raises Invalid."""
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    with Image.open(io.BytesIO(picture), formats=(kind,)) as image:
        width, height = image.size
        if max(width, height) > UPLOAD_SIDE_MAX or width * height > UPLOAD_PIXELS_MAX or min(width, height) < 1:
            raise Invalid(field, _UPLOAD_MOST, f"{width} x {height}")
        _check_scans(field, picture, image)
        image.seek(0)
        yield image


def screenshot(picture: bytes, kind: str) -> bytes:
    """Return the picture in the same format, `png` or `jpeg`, without metadata."""
    with _reading("screenshot", _SCREENSHOT_MOST):
        warnings.simplefilter("ignore")  # about damaged metadata, which is dropped, and sizes, which are checked
        with Image.open(io.BytesIO(picture), formats=(kind.upper(),)) as image:
            width, height = image.size
            if not (
                0 < width <= SCREENSHOT_WIDTH_MAX
                and 0 < height <= SCREENSHOT_HEIGHT_MAX
                and width * height <= SCREENSHOT_PIXELS_MAX
            ):
                raise Invalid("screenshot", _SCREENSHOT_MOST, f"{width} x {height}")
            _check_scans("screenshot", picture, image)
            mode = "RGBA" if kind == "png" and image.has_transparency_data else "RGB"
            plain = image if image.mode == mode else image.convert(mode)  # PERF: a conversion copies the picture
            plain.load()
            plain.info.clear()  # `save` would write some of these fields as metadata
            return _encode(plain, "PNG") if kind == "png" else _encode(plain, "JPEG", quality=SCREENSHOT_QUALITY)


def thumbnail(picture: bytes, size: tuple[int, int]) -> bytes:
    """Return a background as a JPEG, cropped and scaled to `size`: width and height in pixels."""
    with _reading("background", _BACKGROUND_MOST):
        with Image.open(io.BytesIO(picture), formats=BACKGROUND_KINDS) as image:
            if image.width * image.height > BACKGROUND_PIXELS_MAX:
                raise Invalid("background", _BACKGROUND_MOST, f"{image.width} x {image.height}")
            _check_scans("background", picture, image)
            # PERF: see `avatar`.
            image.draft("RGB", (size[0] * 2, size[1] * 2))
            fitted = ImageOps.fit(_resizable(image, "RGB"), size, Image.Resampling.LANCZOS).convert("RGB")
        return _encode(fitted, "JPEG", quality=THUMBNAIL_QUALITY)


def _encode(image: Image.Image, kind: str, **options: int) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def _check_scans(field: str, picture: bytes, image: Image.Image) -> None:
    """Reject a JPEG that takes much longer or more memory to decode than its size suggests."""
    if not isinstance(image, JpegImageFile):
        return
    # The data of a scan has only 00 or a restart marker after FF. So these two bytes begin a scan, or are in metadata.
    scans = picture.count(_START_OF_SCAN)
    if scans > JPEG_SCANS_MAX:
        raise Invalid(field, f"a JPEG of at most {JPEG_SCANS_MAX} scans", scans)
    has_several = "progressive" in image.info or scans > 2  # the second may belong to the thumbnail in the metadata
    if has_several and image.width * image.height > SCANNED_PIXELS_MAX:
        allowed = f"a JPEG of at most {SCANNED_PIXELS_MAX} pixels, or a baseline one"
        raise Invalid(field, allowed, f"a progressive one of {image.width} x {image.height}")


def _resizable(image: Image.Image, mode: str) -> Image.Image:
    """Return the picture in a mode that can be resized: unchanged if possible, else converted to `mode`."""
    # PERF: A conversion copies the picture, up to 140 MB.
    plain = image.mode in ("L", "RGB", "RGBA") and not (image.mode != "RGBA" and image.has_transparency_data)
    return image if plain else image.convert(mode)


@contextmanager
def _reading(field: str, most: str) -> Iterator[None]:
    """Raise Invalid for all exceptions that Pillow raises for a damaged picture, or one of more pixels than `most`."""
    try:
        with warnings.catch_warnings():
            yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # From 90 million pixels Pillow raises it before the size can be read.
        raise Invalid(field, most, "a larger picture") from error
    except (
        UnidentifiedImageError,
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        MemoryError,
    ) as error:
        raise Invalid(field, "a whole picture", "a damaged one") from error
