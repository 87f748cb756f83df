import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kiai.osu.modes import MODE_PATTERN, MODES, mode_of, mode_text, parse_mode, vanilla, variant_mode

RELAX = 128
AUTOPILOT = 8192


@pytest.mark.parametrize(
    ("vanilla_mode", "mods", "mode"),
    [
        (0, 0, 0),
        (3, 64, 3),
        (0, RELAX, 4),
        (1, RELAX | 8, 5),
        (2, RELAX, 6),
        (3, RELAX, 3),
        (0, AUTOPILOT, 8),
        (1, AUTOPILOT, 1),
        (2, AUTOPILOT, 2),
        (3, AUTOPILOT, 3),
    ],
)
def test_relax_and_autopilot_select_their_mode_where_it_exists(vanilla_mode: int, mods: int, mode: int) -> None:
    assert mode_of(vanilla_mode, mods) == mode


@given(st.integers(0, 3), st.integers(0, 2**31 - 1))
def test_mode_of_any_play_exists(vanilla_mode: int, mods: int) -> None:
    mode = mode_of(vanilla_mode, mods)

    assert mode in MODES
    assert vanilla(mode) == vanilla_mode


@pytest.mark.parametrize("mode", MODES)
def test_mode_is_parsed_from_each_of_its_forms(mode: int) -> None:
    variant = mode_text(mode).partition("!")[0]

    assert parse_mode(str(mode)) == mode
    assert parse_mode(mode_text(mode)) == mode
    assert parse_mode(mode_text(mode).upper()) == mode
    assert variant_mode(vanilla(mode), variant) == mode


def test_7_means_autopilot_as_input() -> None:
    assert parse_mode("7") == 8
    assert 7 not in MODES


@pytest.mark.parametrize(
    "text",
    ["", "9", "10", "00", "-1", " 0", "0\n", "٣", "rx!mania", "ap!taiko", "std", "vn!osu", "vn!tai\N{KELVIN SIGN}o"],
)
def test_other_texts_are_not_modes(text: str) -> None:
    assert parse_mode(text) is None


@pytest.mark.parametrize(
    ("vanilla_mode", "variant"), [(3, "rx"), (1, "ap"), (2, "ap"), (3, "ap"), (4, "vn"), (0, "xx")]
)
def test_variants_that_do_not_exist_return_none(vanilla_mode: int, variant: str) -> None:
    assert variant_mode(vanilla_mode, variant) is None


@settings(deadline=None)
@given(
    st.one_of(
        st.from_regex(MODE_PATTERN), st.text(alphabet="vnrxapVNstd!taikochm0123456789\n\N{KELVIN SIGN}", max_size=9)
    )
)
@example("vn!tai\N{KELVIN SIGN}o")
@example("0\n")
def test_pattern_matches_exactly_the_parsed_texts(text: str) -> None:
    assert (re.fullmatch(MODE_PATTERN, text) is not None) == (parse_mode(text) is not None)
