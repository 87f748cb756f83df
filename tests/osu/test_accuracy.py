import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiai.osu.accuracy import HitCounts, accuracy, judged, total_hits

V2 = 1 << 29
NUMBERS = st.integers(0, 65_535)
COUNTS = st.builds(HitCounts, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS)


def counts(n300: int = 0, n100: int = 0, n50: int = 0, geki: int = 0, katu: int = 0, miss: int = 0) -> HitCounts:
    return HitCounts(n300, n100, n50, geki, katu, miss)


@pytest.mark.parametrize(
    ("play", "mode", "mods", "percent"),
    [
        (counts(83, 14, 5, geki=23, katu=6, miss=6), 0, 0, 81.944),
        (counts(480, 20), 1, 0, 98.0),
        (counts(300, 40, 100, katu=4, miss=2), 2, 0, 98.655),
        (counts(200, 10, 2, geki=500, katu=60, miss=1), 3, 0, 96.205),
        (counts(1), 3, V2, 98.361),
        (counts(geki=1), 3, V2, 100.0),
        (counts(1), 3, 0, 100.0),
    ],
)
def test_accuracy_equals_that_of_the_game(play: HitCounts, mode: int, mods: int, percent: float) -> None:
    assert accuracy(play, mode, mods) == percent


@pytest.mark.parametrize("mode", range(4))
def test_accuracy_without_judgements_is_0(mode: int) -> None:
    assert accuracy(counts(), mode) == 0.0


@given(COUNTS, st.integers(0, 3), st.sampled_from([0, V2]))
def test_accuracy_is_a_percentage(play: HitCounts, mode: int, mods: int) -> None:
    assert 0.0 <= accuracy(play, mode, mods) <= 100.0


@pytest.mark.parametrize(("mode", "total"), [(0, 1 + 2 + 4 + 32), (1, 1 + 2 + 32), (2, 1 + 2 + 4 + 16 + 32), (3, 63)])
def test_each_mode_sums_its_own_judgements(mode: int, total: int) -> None:
    assert judged(HitCounts(1, 2, 4, 8, 16, 32), mode) == total


@pytest.mark.parametrize(("mode", "hits"), [(0, 7), (1, 31), (2, 7), (3, 31)])
def test_taiko_and_mania_hits_include_geki_and_katu(mode: int, hits: int) -> None:
    assert total_hits(HitCounts(1, 2, 4, 8, 16, 32), mode) == hits
