"""Lists of maps: what words, filters and orders find, on both databases."""

import re
from pathlib import Path

import pytest
from tests.beatmaps.conftest import World
from tests.builders import a_map

from kiai.beatmaps import Beatmap
from kiai.beatmaps.listing import CANDIDATES_MAX, Listing, MapLists
from kiai.beatmaps.words import words_of
from kiai.errors import Invalid


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("!!! ~ _", []),
        ("One two  ONE", ["one", "two"]),
        ("a_b-c/d.e", ["a", "b", "c", "d", "e"]),
        ("Don't", ["don", "t"]),
        ("ＦＵＬＬ ｗｉｄｔｈ", ["full", "width"]),
        ("STRASSE straße", ["strasse"]),
        ("ぼくらの 世界", ["ぼくらの", "世界"]),
        ("Ünïcödé", ["ünïcödé"]),
        ("x" * 40, ["x" * 32]),
        ("180 BPM", ["180", "bpm"]),
    ],
)
def test_words_are_runs_of_letters_and_digits_without_case(text: str, words: list[str]) -> None:
    assert words_of(text) == words
