"""`assets.DOMAIN`: pictures of medals (docs/spec/web.md#pictures-of-medals).

The server draws them: a ring in the colour of the mode around a label of a few letters.
"""

import asyncio
import functools
import io
import re
from collections.abc import Sequence
from typing import Final

from kiai.errors import NotFound
from kiai.faces.client.gateway import ClientRequest, ClientResponse, Endpoint
from kiai.faces.rate_limit import RateLimit

SIZE: Final = 100  # pixels
SCALE: Final = 4  # Pillow does not smooth edges, so the picture is drawn this much larger and scaled down
REQUESTS: Final = RateLimit("medal-pictures", 20, 1.0, 200)
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


class MedalPictureEndpoints:
    """The handler of medal pictures. `files` are the file names of all medals, without suffix."""

    def __init__(self, files: Sequence[str]) -> None:
        self._files = frozenset(files)
        self._drawn = functools.lru_cache(maxsize=2 * len(self._files))(draw_medal)

    async def picture(self, request: ClientRequest) -> ClientResponse:
        """Return a PNG of 100 x 100 pixels, or 200 x 200 for `@2x`. Raises NotFound for an unknown medal."""
        match = _NAME.fullmatch(request.path["name"])
        # Checked before drawing: the cache holds all medals, so each picture is drawn once.
        if match is None or match[1] not in self._files:
            raise NotFound("picture")
        data = await asyncio.to_thread(self._drawn, match[1], 2 * SIZE if match[2] else SIZE)
        return ClientResponse(data, content_type="image/png", headers=HEADERS)

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this module."""
        paths = ("/medals/client/{name}", "/images/achievements/{name}")
        return [Endpoint("GET", path, self.picture, rate_limit=REQUESTS) for path in paths]


def draw_medal(file: str, size: int) -> bytes:
    """Return the picture of a medal as a PNG of `size` x `size` pixels. `file` is its file name without suffix."""
    from PIL import Image, ImageDraw, ImageFont  # PERF: here, because Pillow takes 4 MB

    family, _, rest = file.partition("-")
    colour = COLOURS.get(family, COLOURS["all"])
    side = size * SCALE
    picture = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    edge = side // 25
    draw.ellipse((edge, edge, side - edge, side - edge), fill=(*colour, 255))
    draw.ellipse((3 * edge, 3 * edge, side - 3 * edge, side - 3 * edge), fill=(34, 32, 44, 255))
    if "-fc-" in file or "combo" in file:  # a second ring marks medals for full combos
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
    """Return the label: "7" for `skill-pass-7`, "2000" for `combo-2000`, "30K" for `hits-30000`, "HI" for `hidden`."""
    last = words.rpartition("-")[2]
    if last.isdigit():
        number = int(last)
        for unit, letter in ((1_000_000, "M"), (1_000, "K")):
            if number >= 10 * unit or (number >= unit and number % unit == 0 and unit > 1_000):
                return f"{number // unit}{letter}"
        return last
    return last[:2].upper()
