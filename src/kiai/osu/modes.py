"""The eight modes: the four of the game, relax for three of them and autopilot for one.

7 (relax mania) and 9-11 (autopilot outside osu!) do not exist; no function returns them.

See docs/spec/game-rules.md#modes.
"""

from collections.abc import Mapping
from typing import Final

from kiai.osu.mods import AP, RX

MODES: Final[tuple[int, ...]] = (0, 1, 2, 3, 4, 5, 6, 8)

# Both cases of each letter are listed because JSON Schema patterns have no case-insensitive flag.
MODE_PATTERN: Final[str] = (
    "^(?:[0-8]"
    "|[Vv][Nn]!(?:[Ss][Tt][Dd]|[Tt][Aa][Ii][Kk][Oo]|[Cc][Aa][Tt][Cc][Hh]|[Mm][Aa][Nn][Ii][Aa])"
    "|[Rr][Xx]!(?:[Ss][Tt][Dd]|[Tt][Aa][Ii][Kk][Oo]|[Cc][Aa][Tt][Cc][Hh])"
    "|[Aa][Pp]![Ss][Tt][Dd])$"
)
"""Matches exactly the texts that `parse_mode` accepts; for `re.fullmatch` and JSON Schema."""

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

# The public API once numbered autopilot 7 and still accepts it as input.
_BY_TEXT: Final[Mapping[str, int]] = (
    {text: mode for mode, text in _TEXTS.items()} | {str(mode): mode for mode in _TEXTS} | {"7": 8}
)

_BY_VARIANT: Final[Mapping[tuple[int, str], int]] = {
    (mode % 4, text.partition("!")[0]): mode for mode, text in _TEXTS.items()
}


def vanilla(mode: int) -> int:
    """Return the mode of the game, 0-3, that a mode is based on."""
    return mode % 4


def mode_of(vanilla_mode: int, mods: int) -> int:
    """Return the mode in which a play counts (docs/spec/game-rules.md#modes)."""
    # Relax in mania and autopilot outside osu! have no mode of their own; such plays count in the mode of the game.
    if mods & RX and vanilla_mode != 3:
        return vanilla_mode + 4
    if mods & AP and vanilla_mode == 0:
        return 8
    return vanilla_mode


def parse_mode(text: str) -> int | None:
    """Return the mode that a text names: a digit 0-8 (7 means 8) or a form such as `rx!std`. None for other texts."""
    # lower() maps some characters to ASCII, e.g. the Kelvin sign to `k`, so other scripts are excluded first.
    return _BY_TEXT.get(text.lower()) if text.isascii() else None


def mode_text(mode: int) -> str:
    """Return the text form of one of `MODES`, such as `vn!taiko`."""
    return _TEXTS[mode]


def variant_mode(vanilla_mode: int, variant: str) -> int | None:
    """Return the mode of a pair such as (2, "rx"), or None. `variant` is `vn`, `rx` or `ap`."""
    return _BY_VARIANT.get((vanilla_mode, variant))
