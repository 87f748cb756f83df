import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiai.osu.weights import bonus_pp, level, needed_score, weighted_accuracy, weighted_pp

TOTALS = st.integers(0, 2**63 - 1)


def test_pp_and_accuracy_of_three_scores_match_the_documented_example() -> None:
    assert weighted_pp([100, 90, 80], count=3, bonus="legacy") == 258
    assert weighted_pp([100, 90, 80], count=3) == round(257.7 + 416.6667 * (1 - 0.995**3))
    assert weighted_accuracy([99, 98, 97]) == 98.034


def test_player_without_scores_has_no_pp_and_accuracy() -> None:
    assert weighted_pp([], count=0) == 0
    assert weighted_accuracy([]) == 0.0


@pytest.mark.parametrize(
    ("count", "kind", "pp"),
    [
        (0, "official", 0.0),
        (0, "legacy", 0.0),
        (1, "official", 2.083333),
        (1, "legacy", 0.25),
        (1000, "official", 413.894),
        (5000, "official", 413.894),
    ],
)
def test_bonus_pp_follows_its_formula(count: int, kind: str, pp: float) -> None:
    assert bonus_pp(count, kind) == pytest.approx(pp, abs=5e-4)


def test_unknown_kind_of_bonus_raises_value_error() -> None:
    with pytest.raises(ValueError, match="golden"):
        bonus_pp(1, "golden")


def test_scores_after_the_first_hundred_count() -> None:
    assert weighted_accuracy([100.0] * 20 + [0.0] * 100) < weighted_accuracy([100.0] * 20 + [0.0] * 60)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=300))
def test_weighted_accuracy_is_between_worst_and_best(accs: list[float]) -> None:
    assert min(accs) - 0.001 <= weighted_accuracy(accs) <= max(accs) + 0.001


@given(st.lists(st.floats(0, 2000), max_size=200), st.floats(0, 2000))
def test_additional_score_never_reduces_pp(pps: list[float], new: float) -> None:
    before = sorted(pps, reverse=True)
    after = sorted([*pps, new], reverse=True)

    assert weighted_pp(after, count=len(after)) >= weighted_pp(before, count=len(before))


@pytest.mark.parametrize(
    ("number", "score"),
    [
        (-5, 0),
        (1, 0),
        (2, 30_000),
        (3, 130_000),
        (10, 6_150_000),
        (50, 820_750_000),
        (99, 17_705_429_349),
        (100, 26_931_190_829),
        (101, 126_931_190_829),
        (200, 10_026_931_190_829),
    ],
)
def test_level_begins_at_the_score_of_the_game(number: int, score: int) -> None:
    assert needed_score(number) == score


@given(TOTALS)
def test_total_score_is_between_its_level_and_the_next(total: int) -> None:
    reached, progress = level(total)

    assert reached >= 1
    assert needed_score(reached) <= total < needed_score(reached + 1)
    assert 0.0 <= progress <= 1.0


@given(st.integers(1, 10_000))
def test_level_is_reached_exactly_at_its_score(number: int) -> None:
    assert level(needed_score(number)) == (number, 0.0)
    assert level(needed_score(number + 1) - 1)[0] == number


def test_negative_total_score_is_level_1() -> None:
    assert level(-1) == (1, 0.0)
