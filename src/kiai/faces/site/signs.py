"""Functions for the macros: the drawings of mods, grades and modes, and the paths of pictures."""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec
from markupsafe import Markup, escape

from kiai.beatmaps.model import MapStatus
from kiai.osu.modes import vanilla, variant_mode
from kiai.osu.mods import bit_of, mod_names, mods_text
from kiai.osu.privileges import DONATOR, NOMINATOR, STAFF

SIGNS_MAX: Final = 4_096
"""Drawings in each cache."""
STAR_STEP_MAX: Final = 32
"""The colours of stars have steps of a quarter, up to eight stars."""
GAME_MODES: Final = (("osu", "osu!"), ("taiko", "taiko"), ("catch", "catch"), ("mania", "mania"))
VARIANTS: Final = (("vn", "vanilla", "Vanilla"), ("rx", "relax", "Relax"), ("ap", "autopilot", "Autopilot"))

_UNQUOTED: Final = re.compile(r"[A-Za-z0-9_./:-]+")
_STATUS_CLASSES: Final[Mapping[int, str]] = {
    MapStatus.RANKED: "ranked",
    MapStatus.APPROVED: "ranked",
    MapStatus.QUALIFIED: "qualified",
    MapStatus.LOVED: "loved",
    MapStatus.PENDING: "pending",
}


class ModSign(msgspec.Struct, frozen=True):
    """A mod as pages show it: its letters and its name."""

    code: str
    name: str


class ModeLink(msgspec.Struct, frozen=True):
    """A choice of a mode or variant. `mode` is None for a pair that does not exist."""

    key: str
    name: str
    mode: int | None
    current: bool


@lru_cache(SIGNS_MAX)
def mod_signs(mods: int) -> tuple[ModSign, ...]:
    """Return the mods of a set in the order in which texts list them."""
    text = mods_text(mods)
    codes = [text[at : at + 2] for at in range(0, len(text), 2)] if mods else []
    return tuple(ModSign(code, _name(code)) for code in codes)


def _name(code: str) -> str:
    return "Autopilot" if code == "AP" else mod_names(bit_of(code) or 0)[-1]


def star_step(stars: float) -> int:
    """Return the number of the colour of a star rating: quarters of a star, 0 to 32."""
    return max(0, min(STAR_STEP_MAX, round(stars * 4)))


def mode_links(mode: int) -> list[ModeLink]:
    """Return the four modes of the game, each in the variant of `mode` if it has that variant."""
    variant = _variant(mode)
    return [
        ModeLink(key, name, _first(variant_mode(number, variant), number), number == vanilla(mode))
        for number, (key, name) in enumerate(GAME_MODES)
    ]


def variant_links(mode: int) -> list[ModeLink]:
    """Return the three variants of the mode of the game that `mode` is based on."""
    number, current = vanilla(mode), _variant(mode)
    return [ModeLink(key, name, variant_mode(number, word), word == current) for word, key, name in VARIANTS]


def mode_key(mode: int) -> str:
    """Return the name of a mode's drawing and class, e.g. `taiko`."""
    return GAME_MODES[vanilla(mode)][0]


def mode_name(mode: int) -> str:
    """Return a mode's name, e.g. `osu!` or `Relax taiko`."""
    name = GAME_MODES[vanilla(mode)][1]
    return name if mode < 4 else f"{'Autopilot' if mode == 8 else 'Relax'} {name}"


def roles(priv: int) -> list[str]:
    """Return the roles of an account that pages mark: `staff`, `nominator`, `supporter`."""
    bits = (("staff", STAFF), ("nominator", NOMINATOR), ("supporter", DONATOR))
    return [role for role, bit in bits if priv & bit]


def status_class(status: int) -> str:
    """Return the class of a map's status."""
    return _STATUS_CLASSES.get(status, "none")


def avatar_path(user_id: int, name: str) -> str:
    """Return the path of a player's avatar. It has the initial that is drawn where there is no picture."""
    return f"/pictures/avatars/{user_id}-{initial(name)}"


def initial(name: str) -> str:
    """Return the first letter or digit of a name, in upper case."""
    return next((letter.upper() for letter in name if letter.isascii() and letter.isalnum()), "0")


def cover_path(set_id: int, kind: str) -> str:
    """Return the path of a set's cover. `kind` is one of `kiai.beatmaps.pictures.COVERS`."""
    return f"/pictures/sets/{set_id}/{kind}"


def profile_cover_path(user_id: int, name: str) -> str:
    """Return the path of the picture behind the head of a player's profile."""
    return f"/pictures/players/{user_id}-{initial(name)}"


def attribute(name: str, value: object) -> str:
    """Return an attribute, without quotes where HTML needs none: tables have thousands of them."""
    text = str(escape(value))
    return f"{name}={text}" if _UNQUOTED.fullmatch(text) else f'{name}="{text}"'


def masked(classes: str, label: str) -> Markup:
    """Return a drawing whose class has a row in `71-signs.css`. Screen readers read its title."""
    return Markup(f"<i {attribute('class', classes)} role=img {attribute('title', label)}></i>")  # noqa: S704  # escaped


@lru_cache(SIGNS_MAX)
def mod_drawings(mods: int) -> Markup:
    """Return the drawings of a set of mods; nothing for none."""
    return Markup("").join(masked(f"m-{mod.code}", mod.name) for mod in mod_signs(mods))


def sign_functions(path: Callable[[str], str]) -> dict[str, Any]:
    """Return the functions of this module for templates. `path` returns the path of a static file."""

    # PERF: a page repeats few drawings; building one takes 40 us.
    @lru_cache(SIGNS_MAX)
    def sign(name: str, classes: str, label: str = "") -> Markup:
        """Return a drawing of `signs.svg`, whose size its classes give.

        Without a label it is decoration, which screen readers skip. They read a label from the title.
        """
        spoken = Markup('role="img"><title>{}</title>').format(label) if label else Markup('aria-hidden="true">')
        return Markup('<svg class="{}" {}<use href="{}#{}"/></svg>').format(classes, spoken, path("signs.svg"), name)

    @lru_cache(SIGNS_MAX)
    def mod_icons(mods: int) -> Markup:
        """Return the drawings of a set of mods in a box; nothing for none."""
        return Markup('<span class="mods">{}</span>').format(mod_drawings(mods)) if mods else Markup("")

    return {
        "sign": sign,
        "mod_icons": mod_icons,
        "mod_drawings": mod_drawings,
        "star_step": star_step,
        "mode_links": mode_links,
        "variant_links": variant_links,
        "mode_key": mode_key,
        "mode_name": mode_name,
        "roles": roles,
        "status_class": status_class,
        "avatar_path": avatar_path,
        "cover_path": cover_path,
        "profile_cover_path": profile_cover_path,
    }


def _variant(mode: int) -> str:
    return "vn" if mode < 4 else "rx" if mode < 8 else "ap"


def _first(mode: int | None, otherwise: int) -> int:
    return otherwise if mode is None else mode
