"""The eight modes: four as the game has them, then relax for three of them and autopilot for one.

7 would be relax mania and 9-11 autopilot outside osu!: they do not exist, so nothing here ever gives them out.

See docs/spec/game-rules.md#modes.
"""

from collections.abc import Mapping
from typing import Final

from kiai.osu.mods import AP, RX

MODES: Final[tuple[int, ...]] = (0, 1, 2, 3, 4, 5, 6, 8)

# Upper and lower case are spelt out because JSON Schema patterns have no case-insensitive flag.
MODE_PATTERN: Final[str] = (
    "^(?:[0-8]"
    "|[Vv][Nn]!(?:[Ss][Tt][Dd]|[Tt][Aa][Ii][Kk][Oo]|[Cc][Aa][Tt][Cc][Hh]|[Mm][Aa][Nn][Ii][Aa])"
    "|[Rr][Xx]!(?:[Ss][Tt][Dd]|[Tt][Aa][Ii][Kk][Oo]|[Cc][Aa][Tt][Cc][Hh])"
    "|[Aa][Pp]![Ss][Tt][Dd])$"
)
"""Exactly what `parse_mode` accepts, for `re.fullmatch` and JSON Schema."""

_TEXTS: Final[Mapping[int, str]] = {
    0: "vn!std",
    1: "vn!taiko",
    2: "vn!catch",
    3: "vn!mania",
    4: "rx!std",
    5: "rx!taiko",
    6: "rx!catch",
    8: "ap!std",
}

# 7 was once the public API's number for autopilot, and still means it as an input.
_BY_TEXT: Final[Mapping[str, int]] = (
    {text: mode for mode, text in _TEXTS.items()} | {str(mode): mode for mode in _TEXTS} | {"7": 8}
)

_BY_VARIANT: Final[Mapping[tuple[int, str], int]] = {
    (mode % 4, text.partition("!")[0]): mode for mode, text in _TEXTS.items()
}


def vanilla(mode: int) -> int:
    """The game's own mode, 0-3, below a mode."""
    return mode % 4


def mode_of(vanilla_mode: int, mods: int) -> int:
    """The mode in which a play counts: relax in mania and autopilot outside osu! change nothing.

    See docs/spec/game-rules.md#modes.
    """
    if mods & RX and vanilla_mode != 3:
        return vanilla_mode + 4
    if mods & AP and vanilla_mode == 0:
        return 8
    return vanilla_mode


def parse_mode(text: str) -> int | None:
    """The mode that a text names: a digit 0-8 (7 means 8) or a form such as `rx!std`; None if it names none."""
    return _BY_TEXT.get(text.lower()) if text.isascii() else None


def mode_text(mode: int) -> str:
    """The text form of one of `MODES`, such as `vn!taiko`."""
    return _TEXTS[mode]


def variant_mode(vanilla_mode: int, variant: str) -> int | None:
    """The mode of a pair such as (2, "rx"); `variant` is `vn`, `rx` or `ap`. None if there is no such mode."""
    return _BY_VARIANT.get((vanilla_mode, variant))
