"""Generated covers and avatars: what follows from a set or a player, and that the letter on them can be read."""

import re
from xml.etree import ElementTree

import pytest

from kiai.faces.site.generated_pictures import RINGS_MAX, avatar, cover, oklch

SIZE = (900, 250)


def drawing(picture: str) -> ElementTree.Element:
    return ElementTree.fromstring(picture)


def luminance(colour: str) -> float:
    def linear(part: int) -> float:
        value = part / 255
        return value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(int(colour[at : at + 2], 16)) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_picture_follows_from_the_seed_alone() -> None:
    assert cover("a" * 32, SIZE, bpm=180, rings=4) == cover("a" * 32, SIZE, bpm=180, rings=4)
    assert cover("a" * 32, SIZE, bpm=180, rings=4) != cover("b" * 32, SIZE, bpm=180, rings=4)
    assert avatar(3, "A") != avatar(4, "A")


@pytest.mark.parametrize(("maps", "rings"), [(1, 1), (5, 5), (0, 1), (RINGS_MAX + 20, RINGS_MAX)])
def test_each_difficulty_is_a_ring_up_to_a_bound(maps: int, rings: int) -> None:
    assert cover("seed", SIZE, bpm=180, rings=maps).count("<circle") == rings


def test_a_faster_song_has_more_bands() -> None:
    slow, fast = (cover("seed", SIZE, bpm=bpm, rings=1).count("M") for bpm in (90, 240))

    assert slow < fast


@pytest.mark.parametrize("bpm", [0.0, -5.0, 1e9])
def test_a_tempo_that_no_song_has_is_drawn_as_the_nearest(bpm: float) -> None:
    picture = cover("seed", SIZE, bpm=bpm, rings=3)

    assert drawing(picture).attrib["viewBox"] == "0 0 900 250"
    assert len(picture) < 20_000


def test_the_initial_can_be_read_on_the_colours_of_every_player() -> None:
    for user_id in range(3, 300):
        picture = avatar(user_id, "A")
        dark, light = picture.split("@media")
        for theme in (dark, light):
            text = re.search(r"\.t\{fill:(#\w{6})", theme)
            assert text is not None
            for background in re.findall(r"stop-color:(#\w{6})", theme):
                assert contrast(text[1], background) >= 4.5, (user_id, background)


@pytest.mark.parametrize(
    ("lightness", "chroma", "hue", "expected"),
    [(1, 0, 0, "#ffffff"), (0, 0, 0, "#000000"), (0.628, 0.2577, 29.23, "#ff0000"), (0.452, 0.3132, 264.05, "#0000ff")],
)
def test_colours_of_oklch_are_those_of_screens(lightness: float, chroma: float, hue: float, expected: str) -> None:
    got = oklch(lightness, chroma, hue)

    assert all(abs(int(got[at : at + 2], 16) - int(expected[at : at + 2], 16)) <= 2 for at in (1, 3, 5)), got
