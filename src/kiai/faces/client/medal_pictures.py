"""`assets.DOMAIN`: pictures of medals (docs/spec/web.md#pictures-of-medals).

They are drawn: a ring in the colour of the mode, and what the medal is for in a few letters.
"""

import asyncio
import functools
import io
import re
from collections.abc import Sequence
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from kiai.errors import NotFound
from kiai.faces.client.door import Answer, Ask, Haste, Page

SIZE: Final = 100
SCALE: Final = 4  # drawn so much larger, then made smaller: round things get smooth
ASKED: Final = Haste("medal-pictures", 20, 1.0, 200)
HEADERS: Final = (
    ("Cache-Control", "public, max-age=604800"),
    ("Content-Security-Policy", "sandbox; default-src 'none'"),
)
COLOURS: Final = {
    "osu": (255, 102, 170),
    "taiko": (235, 90, 60),
    "fruits": (90, 190, 110),
    "mania": (130, 110, 230),
    "all": (80, 150, 220),
}
_NAME: Final = re.compile(r"([a-z0-9-]{1,64})(@2x)?\.png", re.ASCII)


class MedalPictures:
    """The handler. `files` are the names of all medals."""

    def __init__(self, files: Sequence[str]) -> None:
        self._files = frozenset(files)
        self._drawn = functools.lru_cache(maxsize=2 * len(self._files))(draw_medal)

    async def picture(self, ask: Ask) -> Answer:
        """A PNG of 100 pixels, or of 200 for `@2x`."""
        named = _NAME.fullmatch(ask.path["name"])
        if named is None or named[1] not in self._files:
            raise NotFound("picture")
        data = await asyncio.to_thread(self._drawn, named[1], 2 * SIZE if named[2] else SIZE)
        return Answer(data, content_type="image/png", headers=HEADERS)

    def pages(self) -> list[Page]:
        """What this module serves."""
        paths = ("/medals/client/{name}", "/images/achievements/{name}")
        return [Page("GET", path, self.picture, haste=ASKED) for path in paths]


def draw_medal(file: str, size: int) -> bytes:
    """The picture of a medal by its file name, `size` pixels square, as a PNG."""
    family, _, rest = file.partition("-")
    colour = COLOURS.get(family, COLOURS["all"])
    side = size * SCALE
    picture = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    edge = side // 25
    draw.ellipse((edge, edge, side - edge, side - edge), fill=(*colour, 255))
    draw.ellipse((3 * edge, 3 * edge, side - 3 * edge, side - 3 * edge), fill=(34, 32, 44, 255))
    if "-fc-" in file or "combo" in file:  # a second ring: nothing was missed
        draw.ellipse(
            (4 * edge, 4 * edge, side - 4 * edge, side - 4 * edge), outline=(*colour, 255), width=max(1, edge // 2)
        )
    label = _label(rest)
    font = ImageFont.load_default(side * (0.34 if len(label) < 3 else 0.9 / len(label)))
    draw.text((side / 2, side / 2), label, font=font, anchor="mm", fill=(255, 255, 255, 255))
    out = io.BytesIO()
    picture.resize((size, size), Image.Resampling.LANCZOS).save(out, "PNG")
    return out.getvalue()


def _label(words: str) -> str:
    """`skill-pass-7` is 7, `combo-2000` 2000, `hits-30000` 30K, `intro-hidden` HI."""
    last = words.rpartition("-")[2]
    if last.isdigit():
        number = int(last)
        for unit, letter in ((1_000_000, "M"), (1_000, "K")):
            if number >= 10 * unit or (number >= unit and number % unit == 0 and unit > 1_000):
                return f"{number // unit}{letter}"
        return last
    return last[:2].upper()
