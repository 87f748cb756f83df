import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiai.osu.accuracy import HitCounts
from kiai.osu.grades import GRADES, grade

HD = 8
FL = 1024
FI = 1048576
V2 = 1 << 29


def counts(n300: int = 0, n100: int = 0, n50: int = 0, geki: int = 0, katu: int = 0, miss: int = 0) -> HitCounts:
    return HitCounts(n300, n100, n50, geki, katu, miss)


@pytest.mark.parametrize(
    ("play", "letter"),
    [
        (counts(83, 14, 5, miss=6), "C"),
        (counts(100), "X"),
        (counts(91, 9), "S"),
        (counts(98, 1, 1), "S"),
        (counts(97, 1, 2), "A"),
        (counts(99, miss=1), "A"),
        (counts(90, 10), "A"),
        (counts(81, 18, miss=1), "B"),
        (counts(71, 29), "B"),
        (counts(71, 28, miss=1), "C"),
        (counts(61, 38, miss=1), "C"),
        (counts(59, 41), "D"),
        (counts(miss=1), "D"),
        (counts(), "D"),
    ],
)
@pytest.mark.parametrize("mode", [0, 1])
def test_osu_and_taiko_are_graded_by_the_share_of_300s(play: HitCounts, letter: str, mode: int) -> None:
    assert grade(play, mode, 0, passed=True) == letter


@pytest.mark.parametrize(
    ("play", "letter"),
    [(counts(90, 10), "A"), (counts(80, 20), "A"), (counts(70, 30), "C"), (counts(60, 40), "C")],
)
def test_boundaries_of_grades_use_single_precision(play: HitCounts, letter: str) -> None:
    # In single precision 0.8 and 0.6 are slightly larger than in double, 0.9 and 0.7 slightly smaller.
    assert grade(play, 0, 0, passed=True) == letter


@pytest.mark.parametrize(
    ("hit", "letter"),
    [
        (1000, "X"),
        (999, "S"),
        (981, "S"),
        (980, "A"),
        (941, "A"),
        (940, "B"),
        (901, "B"),
        (900, "C"),
        (851, "C"),
        (850, "D"),
    ],
)
def test_catch_is_graded_by_accuracy(hit: int, letter: str) -> None:
    assert grade(counts(hit, katu=1000 - hit), 2, 0, passed=True) == letter


@pytest.mark.parametrize(
    ("hit", "letter"),
    [
        (1000, "X"),
        (999, "S"),
        (951, "S"),
        (950, "A"),
        (901, "A"),
        (900, "B"),
        (801, "B"),
        (800, "C"),
        (701, "C"),
        (700, "D"),
    ],
)
def test_mania_is_graded_by_accuracy(hit: int, letter: str) -> None:
    assert grade(counts(geki=hit, miss=1000 - hit), 3, 0, passed=True) == letter


def test_mania_play_with_scorev2_needs_all_320s_for_x() -> None:
    assert grade(counts(n300=1, geki=99), 3, V2, passed=True) == "S"
    assert grade(counts(geki=100), 3, V2, passed=True) == "X"


@pytest.mark.parametrize("mods", [HD, FL, FI, HD | FL])
def test_hidden_flashlight_and_fadein_make_x_and_s_silver(mods: int) -> None:
    assert grade(counts(100), 0, mods, passed=True) == "XH"
    assert grade(counts(95, 5), 0, mods, passed=True) == "SH"
    assert grade(counts(85, 15), 0, mods, passed=True) == "A"


def test_failed_play_has_grade_f() -> None:
    assert grade(counts(100), 0, HD, passed=False) == "F"


NUMBERS = st.integers(0, 5_000)
COUNTS = st.builds(HitCounts, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS)


@given(COUNTS, st.integers(0, 3), st.integers(0, 2**31 - 1))
def test_additional_miss_never_improves_the_grade(play: HitCounts, mode: int, mods: int) -> None:
    worse = HitCounts(play.n300, play.n100, play.n50, play.ngeki, play.nkatu, play.nmiss + 1)

    before, after = grade(play, mode, mods, passed=True), grade(worse, mode, mods, passed=True)

    assert GRADES.index(after) <= GRADES.index(before)
