"""The drawings of mods, grades and modes: each has its symbol in the sprite and its class in the style sheet."""

import re
from typing import Any

import pytest

from kiai.faces.site.assets import Assets
from kiai.faces.site.signs import STAR_STEP_MAX, avatar_path, initial, mod_signs, mode_links, star_step, variant_links
from kiai.osu.grades import GRADES
from kiai.osu.mods import Mods, parse_mods

ASSETS = Assets()


def content(name: str) -> str:
    found = ASSETS.find(ASSETS.path(name))
    assert found is not None
    return found.content.decode()


def symbols(name: str) -> set[str]:
    return set(re.findall(r'<symbol id="([^"]+)"', content(name)))


def test_every_mod_and_grade_has_a_drawing() -> None:
    wanted = {f"mod-{sign.code}" for mod in Mods for sign in mod_signs(int(mod))} | {"mod-NM"}
    wanted |= {f"grade-{grade}" for grade in GRADES}

    assert wanted - symbols("signs.svg") == set()


def test_the_sprite_of_drawings_is_small() -> None:
    assert len(content("signs.svg")) <= 25 * 1024


def test_every_icon_that_a_template_or_script_names_is_in_the_sprite() -> None:
    from importlib import resources

    folder = resources.files("kiai.faces.site").joinpath("templates")
    files = [entry for place in (folder, folder.joinpath("components")) for entry in place.iterdir() if entry.is_file()]
    named = {name for file in files for name in re.findall(r'\bicon\("([a-z0-9-]+)"', file.read_text("utf-8"))}

    assert named - symbols("icons.svg") == set()


@pytest.mark.parametrize(
    ("mods", "codes"), [("HDDT", ["HD", "DT"]), ("NC", ["NC"]), ("PF", ["PF"]), ("NM", []), ("4K", ["4K"])]
)
def test_mods_are_those_that_texts_list(mods: str, codes: list[str]) -> None:
    assert [sign.code for sign in mod_signs(parse_mods(mods))] == codes


def test_mods_have_their_full_names() -> None:
    assert [sign.name for sign in mod_signs(parse_mods("HDNCAP"))] == ["Hidden", "Nightcore", "Autopilot"]


@pytest.mark.parametrize(("stars", "step"), [(0, 0), (5.3, 21), (8, 32), (300, 32), (-1, 0)])
def test_stars_have_the_colour_of_the_nearest_quarter(stars: float, step: int) -> None:
    assert star_step(stars) == step


def test_every_step_of_stars_has_a_colour() -> None:
    found = set(re.findall(r"\.st(\d+)\{", content("site.css")))

    assert found == {str(step) for step in range(STAR_STEP_MAX + 1)}


@pytest.mark.parametrize(
    ("mode", "modes", "variants"),
    [
        (0, [0, 1, 2, 3], [0, 4, 8]),
        (5, [4, 5, 6, 3], [1, 5, None]),
        (3, [0, 1, 2, 3], [3, None, None]),
        (8, [8, 1, 2, 3], [0, 4, 8]),
    ],
)
def test_links_keep_the_variant_where_it_exists(mode: int, modes: list[int], variants: list[Any]) -> None:
    assert [link.mode for link in mode_links(mode)] == modes
    assert [link.mode for link in variant_links(mode)] == variants
    assert sum(link.current for link in mode_links(mode)) == 1
    assert [link.mode for link in variant_links(mode) if link.current] == [mode]


@pytest.mark.parametrize(("name", "letter"), [("ada", "A"), ("[ _x]", "X"), ("__", "0"), ("7up", "7"), ("ß é", "0")])
def test_the_initial_is_a_letter_or_digit_of_the_name(name: str, letter: str) -> None:
    assert initial(name) == letter
    assert avatar_path(3, name) == f"/pictures/avatars/3-{letter}"
