"""The colours of the markup. A colour becomes the nearest of a few classes, which are readable in both themes."""

import colorsys
import re
from typing import Final

_HEX: Final = re.compile(r"#(?:[0-9A-Fa-f]{3}|[0-9A-Fa-f]{6})", re.ASCII)
NAMES: Final[dict[str, str]] = {
    "aqua": "#00ffff",
    "black": "#000000",
    "blue": "#0000ff",
    "fuchsia": "#ff00ff",
    "gray": "#808080",
    "green": "#008000",
    "lime": "#00ff00",
    "maroon": "#800000",
    "navy": "#000080",
    "olive": "#808000",
    "orange": "#ffa500",
    "purple": "#800080",
    "red": "#ff0000",
    "silver": "#c0c0c0",
    "teal": "#008080",
    "white": "#ffffff",
    "yellow": "#ffff00",
}
"""The basic colours of CSS."""
CLASSES: Final[dict[str, float]] = {
    "red": 0,
    "orange": 30,
    "yellow": 55,
    "lime": 85,
    "green": 130,
    "teal": 170,
    "cyan": 190,
    "blue": 220,
    "violet": 260,
    "purple": 290,
    "pink": 325,
}
"""The hue of each class in degrees. A colour with little saturation gets the class `grey`."""
GREY: Final = "grey"
GREY_BELOW: Final = 0.15  # saturation


def colour_class(colour: str) -> str | None:
    """Return the class nearest to `#rgb`, `#rrggbb` or a basic colour name; None for any other text."""
    text = colour.strip()
    text = NAMES.get(text.lower(), text)
    if not _HEX.fullmatch(text):
        return None
    digits = text[1:] if len(text) == 7 else "".join(digit * 2 for digit in text[1:])
    red, green, blue = (int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4))
    hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
    if saturation < GREY_BELOW or not 0.04 < lightness < 0.97:
        return GREY
    degrees = hue * 360
    return min(CLASSES, key=lambda name: min(abs(CLASSES[name] - degrees), 360 - abs(CLASSES[name] - degrees)))
