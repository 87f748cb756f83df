"""The drawings of mods, grades, modes and variants, as one SVG sprite: `static/signs.svg`. Run by `scripts/web`.

All are drawn with strokes of one width on a grid of 24 units. Letters are paths, so that they need no font. A drawing
takes its colour from the text around it.

Tabs of modes and large grades refer to a symbol of the sprite. Tables repeat mods and grades hundreds of times, so
these are elements without content: the sprite as a picture also has them in a column, and `static/css/71-signs.css`
gives each class its row in the column, which masks the element's background.
"""

from collections.abc import Iterable, Mapping
from typing import Final

# Each letter fills a box of 6 x 10 units.
LETTERS: Final[Mapping[str, str]] = {
    "A": "M0 10 3 0l3 10M1 6.7h4",
    "B": "M0 0v10h3.2a2.65 2.65 0 0 0 0-5.3H0M0 0h2.9a2.35 2.35 0 0 1 0 4.7",
    "C": "M5.8 1.9C5.3.7 4.4 0 3.2 0 1.3 0 0 1.9 0 5s1.3 5 3.2 5c1.2 0 2.1-.7 2.6-1.9",
    "D": "M0 0v10h2c2.6 0 4-1.8 4-5s-1.4-5-4-5z",
    "E": "M5.4 0H0v10h5.4M0 5h4.4",
    "F": "M5.4 0H0v10M0 5h4.4",
    "H": "M0 0v10M6 0v10M0 5h6",
    "I": "M3 0v10M1.2 0h3.6M1.2 10h3.6",
    "K": "M0 0v10M5.8 0 0 6M2.2 3.8 6 10",
    "L": "M0 0v10h5.4",
    "M": "M0 10V0l3 5.2L6 0v10",
    "N": "M0 10V0l6 10V0",
    "O": "M3 0c1.9 0 3 1.9 3 5s-1.1 5-3 5-3-1.9-3-5 1.1-5 3-5z",
    "P": "M0 10V0h3.1a2.9 2.9 0 0 1 0 5.8H0",
    "R": "M0 10V0h3.1a2.8 2.8 0 0 1 0 5.6H0M3.2 5.6 6 10",
    "S": "M5.7 1.7C5.1.6 4.2 0 3 0 1.3 0 .2 1 .2 2.5.2 4 1.2 4.5 3 5s2.9 1 2.9 2.5S4.7 10 3 10C1.7 10 .6 9.4 0 8.3",
    "T": "M0 0h6M3 0v10",
    "U": "M0 0v6.5C0 8.8 1 10 3 10s3-1.2 3-3.5V0",
    "V": "m0 0 3 10L6 0",
    "X": "m0 0 6 10M6 0 0 10",
    "Z": "M0 0h6L0 10h6",
    "1": "M1 1.9 3.4 0v10",
    "2": "M.2 2.5C.3.9 1.4 0 3 0c1.7 0 2.8 1 2.8 2.6 0 1.4-.8 2.3-2.2 3.7L0 10h6",
    "3": (
        "M.3 1.5C.9.5 1.8 0 3 0c1.6 0 2.6.9 2.6 2.3 0 1.5-1.1 2.4-2.6 2.4H2.3"
        "M3 4.7c1.8 0 3 1.1 3 2.6S4.8 10 3 10C1.7 10 .6 9.4 0 8.4"
    ),
    "4": "M4.4 10V0L0 6.9h6",
    "5": "M5.4 0H.9L.4 4.7c.6-.6 1.5-1 2.5-1C4.8 3.7 6 5 6 6.8S4.8 10 2.9 10C1.6 10 .6 9.4 0 8.4",
    "6": "M5.3 1.3C4.8.5 4.1 0 3.2 0 1.2 0 0 2 0 5.6M3 10c-1.8 0-3-1.3-3-3.1s1.2-3.1 3-3.1 3 1.3 3 3.1S4.8 10 3 10z",
    "7": "M0 0h6L2.2 10",
    "8": (
        "M3 4.7C1.5 4.7.5 3.7.5 2.4S1.5 0 3 0s2.5 1.1 2.5 2.4S4.5 4.7 3 4.7z"
        "M3 4.7c-1.8 0-3 1.1-3 2.6S1.2 10 3 10s3-1.2 3-2.7-1.2-2.6-3-2.6z"
    ),
    "9": "M.7 8.7c.5.8 1.2 1.3 2.1 1.3C4.8 10 6 8 6 4.4M3 0c1.8 0 3 1.3 3 3.1S4.8 6.2 3 6.2 0 4.9 0 3.1 1.2 0 3 0z",
}

KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "easier": ("EZ", "NF", "HT", "SO"),
    "harder": ("HR", "SD", "PF", "DT", "NC", "HD", "FI", "FL"),
    "changing": ("TD", "TP", "V2", "RN", "MR", "CO", *(f"{keys}K" for keys in range(1, 10))),
    "automatic": ("RX", "AP", "AU", "CN"),
    "none": ("NM",),
}
"""The mods by what they do to a play. The shape around the letters says it as well as the colour."""

SHAPES: Final[Mapping[str, str]] = {
    "easier": "M12 2h10a10 10 0 0 1 0 20H12a10 10 0 0 1 0-20z",
    "harder": "M8 2h18l6.5 10L26 22H8L1.5 12z",
    "changing": "M7 2h24l-4 20H3z",
    "automatic": "M8 2h18l6 6v8l-6 6H8l-6-6V8z",
    "none": "M6 2h22a4 4 0 0 1 4 4v12a4 4 0 0 1-4 4H6a4 4 0 0 1-4-4V6a4 4 0 0 1 4-4z",
}

GRADES: Final[Mapping[str, str]] = {
    "XH": "SS+", "X": "SS", "SH": "S+", "S": "S", "A": "A", "B": "B", "C": "C", "D": "D", "F": "F", "N": "-",
}  # fmt: skip
"""The text in the picture of a grade. A plus marks the silver grades, so that they differ in more than colour."""

MODES: Final[Mapping[str, str]] = {
    "osu": '<circle cx="12" cy="12" r="9.5"/><circle cx="12" cy="12" r="4" fill="currentColor"/>',
    "taiko": (
        '<circle cx="12" cy="12" r="9.5"/><path d="M12 2.5v19"/><path d="M12 7a5 5 0 0 0 0 10z" fill="currentColor"/>'
    ),
    "catch": (
        '<circle cx="12" cy="7.5" r="4" fill="currentColor"/>'
        '<path d="M12 3.5c0-1.2.9-2 2.2-2M3 14.5h18M5 14.5l2 7h10l2-7"/>'
    ),
    "mania": '<path d="M3 2v20M9 2v20M15 2v20M21 2v20" stroke-width="1.5"/><path d="M3.5 14.5h5M9.5 6h5M15.5 18h5" '
    'stroke-width="4" stroke-linecap="butt"/>',
}

VARIANTS: Final[Mapping[str, str]] = {
    "vanilla": '<circle cx="12" cy="12" r="3.5"/>',
    "relax": '<path d="M2 9c3-4.5 7-4.5 10 0s7 4.5 10 0M2 16c3-4.5 7-4.5 10 0s7 4.5 10 0"/>',
    "autopilot": (
        '<circle cx="12" cy="12" r="7"/><circle cx="12" cy="12" r="1.5"/>'
        '<path d="M12 1.5V8M12 16v6.5M1.5 12H8M16 12h6.5"/>'
    ),
}

STAR: Final = '<path d="m12 2.5 2.9 6.1 6.6.9-4.8 4.6 1.2 6.6L12 17.5l-5.9 3.2 1.2-6.6-4.8-4.6 6.6-.9z" fill="#000"/>'
REPLAY: Final = '<path d="M12 3.5v11M7 10l5 5 5-5M4 20.5h16"/>'
"""The download of a replay: an arrow to a tray."""
ROW: Final = 24
"""Height of a row of the column, in units."""
COLUMN: Final = 34
"""Width of the column: that of its widest drawing."""


def sprite() -> str:
    """Return the sprite: the symbols, and the column of those that masks use."""
    rows = _rows()
    height = ROW * len(rows)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{COLUMN}" height="{height}" viewBox="0 0 {COLUMN} {height}"'
        ' fill="none" stroke="#000" stroke-width="2" stroke-linecap="round" stroke-linejoin="round">'
    )
    column = [
        f'<use href="#{name}" y="{ROW * row}" width="{width}" height="{ROW}"/>'
        for row, (name, width, _) in enumerate(rows)
    ]
    return "\n".join((head, *_symbols(), *column, "</svg>\n"))


def style_sheet() -> str:
    """Return the style sheet with the row of each class, and the colour of each mod."""
    rows = "".join(f".{class_}{{--row:{row}}}" for row, (_, _, class_) in enumerate(_rows()))
    colours = "\n".join(
        f"{','.join(f'.m-{mod}' for mod in mods)}{{color:var(--{kind})}}"
        for kind, mods in KINDS.items()
        if kind != "none"
    )
    head = "/* Written by scripts/web: the rows of signs.svg, and the colours of mods by what they do. */"
    return f"{head}\n{rows}\n{colours}\n"


def _rows() -> list[tuple[str, int, str]]:
    """Return the drawings of the column: symbol, width and class."""
    mods = [(f"mod-{mod}", 34, f"m-{mod}") for of_kind in KINDS.values() for mod in of_kind]
    grades = [(f"grade-{grade}", 28, f"g-{grade}") for grade in GRADES]
    modes = [(f"mode-{mode}", 24, f"mode-{mode}") for mode in MODES]
    return [*mods, *grades, *modes, ("star", 24, "stars"), ("replay", 24, "replay")]


def _symbols() -> Iterable[str]:
    for kind, mods in KINDS.items():
        for mod in mods:
            shape = f'<path d="{SHAPES[kind]}" fill="currentColor" fill-opacity=".14"/>'
            yield _symbol(f"mod-{mod}", 34, shape + _letters(mod, left=9.5, top=7, scale=1, gap=3))
    for grade, text in GRADES.items():
        yield _symbol(f"grade-{grade}", 28, _grade(text))
    for name, drawing in {**MODES, **VARIANTS}.items():
        yield _symbol(f"mode-{name}" if name in MODES else f"variant-{name}", 24, drawing)
    yield _symbol("star", 24, STAR)
    yield _symbol("replay", 24, REPLAY)
    beams = '<path d="M12 21 4.5 6.5M12 21V3M12 21l7.5-14.5" stroke-width="2.6"/><circle cx="12" cy="21" r="1.5"/>'
    yield _symbol("logo", 24, beams)


def _grade(text: str) -> str:
    if text == "-":
        return '<path d="M9 12h10" stroke-width="3"/>'
    letters = text.rstrip("+")
    scale = 1.6 if len(letters) == 1 else 1.4
    gap = 2.4
    width = (6 * scale + gap) * len(letters) - gap
    left = (28 - width) / 2 - (1.2 if "+" in text else 0)
    drawn = _letters(letters, left=left, top=12 - 5 * scale, scale=scale, gap=gap, stroke=3.2)
    if "+" in text:
        drawn += f'<path d="M{left + width + 1.8:.4g} 5.2h4.8m-2.4-2.4v4.8" stroke-width="1.8"/>'
    return drawn


def _letters(text: str, *, left: float, top: float, scale: float, gap: float, stroke: float = 2) -> str:
    drawn = []
    for index, letter in enumerate(text):
        x = left + index * (6 * scale + gap)
        move = f"translate({x:.4g} {top:.4g})" + (f" scale({scale:.4g})" if scale != 1 else "")
        drawn.append(f'<path transform="{move}" stroke-width="{stroke / scale:.3g}" d="{LETTERS[letter]}"/>')
    return "".join(drawn)


def _symbol(name: str, width: int, drawing: str) -> str:
    return f'<symbol id="{name}" viewBox="0 0 {width} 24">{drawing}</symbol>'
