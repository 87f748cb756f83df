"""Pictures for sets and players that have none: SVG files with two colours that follow from an id or a checksum.

The colours are computed in OKLCH, so that all hues look equally bright. Each picture has dark and light colours and
follows the theme of the page.
"""

import hashlib
import math
from typing import Final

DARK_LIGHTNESS: Final = 0.35
LIGHT_LIGHTNESS: Final = 0.8
CHROMA: Final = 0.09
BAND_ANGLE: Final = 14  # degrees
RINGS_MAX: Final = 12
BPM_RANGE: Final = (60.0, 300.0)


def cover(seed: str, size: tuple[int, int], *, bpm: float, rings: int) -> str:
    """Return the cover of a set. `seed` chooses colours and positions, `bpm` the distance of the bands in beats.

    `rings` is the number of difficulties; more than `RINGS_MAX` are not drawn.
    """
    width, height = size
    digest = hashlib.sha256(seed.encode()).digest()
    unit = max(height, width / 3)
    # A faster song has narrower bands.
    gap = unit * 22 / min(max(bpm, BPM_RANGE[0]), BPM_RANGE[1])
    lean = math.tan(math.radians(BAND_ANGLE)) * height
    bands = "".join(
        f"M{at * gap - lean:.0f} {height}l{lean:.0f} {-height}h{gap / 2:.0f}l{-lean:.0f} {height}z"
        for at in range(math.ceil((width + 2 * lean) / gap) + 1)
    )
    x, y = width * (0.55 + digest[2] / 700), height * (0.25 + digest[3] / 512)
    step = unit / 11
    circles = "".join(
        f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{step * (ring + 1):.0f}"/>'
        for ring in range(min(max(rings, 1), RINGS_MAX))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'preserveAspectRatio="xMidYMid slice">{_colours(digest)}'
        f'<rect width="{width}" height="{height}" fill="url(#g)"/>'
        f'<path d="{bands}" class="b" opacity=".16"/>'
        f'<g fill="none" class="r" stroke-width="{unit / 110:.1f}" opacity=".34">{circles}</g></svg>'
    )


def avatar(user_id: int, initial: str) -> str:
    """Return the picture of a player: the initial of the name, one letter or digit, on the colours of the id."""
    digest = hashlib.sha256(f"player:{user_id}".encode()).digest()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 128 128" width="128" height="128">{_colours(digest)}'
        '<rect width="128" height="128" fill="url(#g)"/>'
        f'<path d="M-8 128 24 0h30L22 128zM64 128 96 0h30L94 128z" class="b" opacity=".14"/>'
        '<text x="64" y="87" text-anchor="middle" font-family="Sora, Figtree, Arial, sans-serif" font-weight="700" '
        f'font-size="66" class="t">{initial}</text></svg>'
    )


def _colours(digest: bytes) -> str:
    """Return the gradient `g` and the classes of a picture: `b` bands, `r` rings, `t` text."""
    first = digest[0] * 360 / 256
    second = first + 40 + digest[1] * 40 / 255
    dark = [oklch(DARK_LIGHTNESS, CHROMA, hue) for hue in (first, second)]
    light = [oklch(LIGHT_LIGHTNESS, CHROMA, hue) for hue in (first, second)]
    return (
        "<style>"
        f".x{{stop-color:{dark[0]}}}.y{{stop-color:{dark[1]}}}.b{{fill:#fff}}.r{{stroke:#fff}}.t{{fill:#f3f1ea}}"
        f"@media(prefers-color-scheme:light){{.x{{stop-color:{light[0]}}}.y{{stop-color:{light[1]}}}.t{{fill:#1b1b26}}}}"
        '</style><linearGradient id="g" x2="1" y2="1"><stop class="x"/><stop class="y" offset="1"/></linearGradient>'
    )


def oklch(lightness: float, chroma: float, hue: float) -> str:
    """Return a colour of OKLCH as `#rrggbb`. `hue` is in degrees. Colours that screens cannot show are clipped."""
    a, b = chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    return "#" + "".join(f"{round(255 * _gamma(min(max(value, 0.0), 1.0))):02x}" for value in linear)


def _gamma(value: float) -> float:
    return 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055
