"""Draws the picture of a score that other sites show for a link: a PNG of 1200 x 630 pixels.

The fonts are part of the package; `fonts/SOURCES.txt` says where they are from. Sora and Figtree have the letters of
European languages that use Latin script. Two others have the usual characters of Japanese, Chinese and Korean.
The game gives every map a title in Latin letters, which the picture shows, but difficulties and the name of the server
can have any characters. A character that these fonts lack is drawn with one of the usual fonts of the system, and as
"?" without one.
"""

import colorsys
import io
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

from kiai.decoding.jobs import CardJob

SIZE: Final = (1200, 630)
TEXT_MAX: Final = 200
"""Characters of a text that are drawn; none of them fits more."""
_MARGIN: Final = 64
_LEFT: Final = 372  # of the texts next to the grade

_CANVAS: Final = (15, 16, 25)
_TEXT: Final = (243, 241, 234)
_MUTED: Final = (179, 180, 199)
_ACCENT: Final = (255, 179, 63)
_LINE: Final = (117, 120, 153)
_GRADES: Final = {
    "XH": (230, 236, 245),
    "X": (255, 212, 94),
    "SH": (207, 218, 234),
    "S": (255, 194, 75),
    "A": (127, 224, 138),
    "B": (124, 192, 255),
    "C": (217, 162, 255),
    "D": (255, 154, 148),
}
_OTHER_GRADE: Final = (160, 162, 184)
_SCRIM: Final = 0.8  # of the canvas over the cover: texts keep their contrast on every picture

_FONTS: Final = Path(__file__).parent / "fonts"
_TITLE: Final = _FONTS / "sora-700.ttf"
_PLAIN: Final = _FONTS / "figtree-600.ttf"
_OF_EAST_ASIA: Final = (_FONTS / "hangul.ttf", _FONTS / "han.ttf")
_OF_SYSTEM: Final = (
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf",
    "/System/Library/Fonts/Hiragino Sans GB.ttc",
    "C:/Windows/Fonts/msgothic.ttc",
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
)
_MISSING: Final = "?"
_NO_GLYPH: Final = "\U0010fffd"

Colour = tuple[int, int, int]


def draw(job: CardJob, cover: bytes) -> bytes:
    """Return the picture as a PNG. A cover that cannot be read counts as none."""
    image = _background(cover, job.hue)
    pen = ImageDraw.Draw(image)
    _draw_grade(pen, job.grade)
    width = SIZE[0] - _LEFT - _MARGIN
    _draw_text(pen, (_LEFT, 118), _line(job.title), _TITLE, 54, _TEXT, width, smallest=34)
    _draw_text(pen, (_LEFT, 170), _line(f"{job.artist}  \u00b7  [{job.difficulty}]"), _PLAIN, 30, _MUTED, width, 22)
    end = _draw_text(pen, (_LEFT, 248), _line(job.player), _PLAIN, 40, _TEXT, width - 160, smallest=26)
    _draw_text(pen, (end + 20, 248), job.stars, _PLAIN, 30, _MUTED, 160, smallest=22)
    _draw_text(pen, (_LEFT, 378), job.pp, _TITLE, 84, _ACCENT, 380, smallest=44)
    for place, (label, value) in enumerate((("ACCURACY", job.accuracy), ("COMBO", job.combo))):
        left = 790 + 184 * place
        _draw_text(pen, (left, 322), label, _PLAIN, 20, _MUTED, 162, smallest=16)
        _draw_text(pen, (left, 374), value, _TITLE, 38, _TEXT, 162, smallest=20)
    _draw_mods(pen, job.mods)
    pen.line((_MARGIN, 536, SIZE[0] - _MARGIN, 536), fill=_LINE, width=2)
    _draw_text(pen, (_MARGIN, 588), _line(job.server), _TITLE, 30, _TEXT, 700, smallest=20)
    _draw_text(pen, (SIZE[0] - _MARGIN, 588), job.date, _PLAIN, 26, _MUTED, 340, smallest=18, right=True)
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=7)
    return out.getvalue()


def _line(text: str) -> str:
    """Return a text without characters that are not drawn, such as line breaks, and of a bounded length."""
    return "".join(char for char in text[:TEXT_MAX] if char.isprintable())


def _background(cover: bytes, hue: int) -> Image.Image:
    canvas = Image.new("RGB", SIZE, _CANVAS)
    picture = _picture_of(cover)
    if picture is None:
        slope = Image.linear_gradient("L").rotate(90 if hue % 2 else 180).resize(SIZE)
        picture = ImageOps.colorize(slope, _shade(hue, 0.62), _shade(hue + 60, 0.30))
        return Image.blend(picture, canvas, 0.45)
    return Image.blend(picture.filter(ImageFilter.GaussianBlur(4)), canvas, _SCRIM)


def _picture_of(cover: bytes) -> Image.Image | None:
    if not cover:
        return None
    try:
        with Image.open(io.BytesIO(cover), formats=("JPEG",)) as found:
            return ImageOps.fit(found.convert("RGB"), SIZE, Image.Resampling.BICUBIC)
    except (OSError, ValueError, SyntaxError):
        return None


def _shade(hue: int, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 360 / 360, 0.6, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def _draw_grade(pen: ImageDraw.ImageDraw, grade: str) -> None:
    colour = _GRADES.get(grade, _OTHER_GRADE)
    pen.rounded_rectangle((_MARGIN, 86, _MARGIN + 248, 334), radius=28, outline=colour, width=5)
    letters = {"XH": "SS", "X": "SS", "SH": "S", "N": "-"}.get(grade, grade)
    font = _font(_TITLE, 116 if len(letters) > 1 else 168)
    pen.text((_MARGIN + 124, 210), letters, font=font, fill=colour, anchor="mm")
    if grade in ("XH", "SH"):  # silver is said in words, not only by a colour
        pen.text((_MARGIN + 124, 312), "SILVER", font=_font(_PLAIN, 20), fill=colour, anchor="mm")


def _draw_mods(pen: ImageDraw.ImageDraw, mods: Sequence[str]) -> None:
    left = _LEFT
    for code in mods[:9]:
        pen.rounded_rectangle((left, 440, left + 76, 486), radius=12, outline=_LINE, width=3)
        pen.text((left + 38, 463), code, font=_font(_TITLE, 24), fill=_TEXT, anchor="mm")
        left += 88


def _draw_text(
    pen: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    path: Path,
    size: int,
    colour: Colour,
    width: int,
    smallest: int,
    *,
    right: bool = False,
) -> int:
    """Draw a text whose base line begins at `at`, or ends there if `right`. Return where it ends, in pixels.

    A text that is wider than `width` gets a smaller font, and then an ellipsis.
    """
    while size > smallest and _width(text, path, size) > width:
        size -= 2
    if _width(text, path, size) > width:
        while text and _width(text + "\u2026", path, size) > width:
            text = text[:-1]
        text = text.rstrip() + "\u2026"
    left = at[0] - (_width(text, path, size) if right else 0)
    for part, font in _parts(text, path, size):
        pen.text((left, at[1]), part, font=font, fill=colour, anchor="ls")
        left += font.getlength(part)
    return round(left)


def _width(text: str, path: Path, size: int) -> float:
    return sum(font.getlength(part) for part, font in _parts(text, path, size))


def _parts(text: str, path: Path, size: int) -> list[tuple[str, ImageFont.FreeTypeFont]]:
    """Return the text in parts, each with the first font that has all of its characters."""
    parts: list[tuple[str, ImageFont.FreeTypeFont]] = []
    for char in text:
        own = _font(path, size)
        font = next((one for one in (own, *_other_fonts(size)) if _has(one, char)), None)
        if font is None:
            char, font = _MISSING, own
        if parts and parts[-1][1] is font:
            parts[-1] = (parts[-1][0] + char, font)
        else:
            parts.append((char, font))
    return parts


@cache
def _font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


@cache
def _other_fonts(size: int) -> tuple[ImageFont.FreeTypeFont, ...]:
    return tuple(_font(Path(path), size) for path in (*_OF_EAST_ASIA, *_OF_SYSTEM) if Path(path).is_file())


@cache
def _no_glyph(font: ImageFont.FreeTypeFont) -> bytes:
    return bytes(font.getmask(_NO_GLYPH))


@lru_cache(maxsize=4_096)
def _has(font: ImageFont.FreeTypeFont, char: str) -> bool:
    # Pillow does not tell which characters a font has; it draws the others as the same box.
    return char == " " or bytes(font.getmask(char)) != _no_glyph(font)
