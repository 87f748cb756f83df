"""The bounds of points and combos hold for honest plays and not for invented ones."""

from kiai.osu.accuracy import HitCounts
from kiai.osu.mods import DT, HD, HR
from kiai.osu.score_bounds import difficulty_multiplier, fewest_points, longest_combo, most_points


def most(counts: HitCounts, mode: int, mods: int = 0, *, combo: int, objects: int, length_s: float = 0) -> float:
    multiplier = difficulty_multiplier(hp=6, cs=4, od=8, objects=objects, drain_s=200)
    return most_points(counts, mode, mods, multiplier=multiplier, objects=objects, map_combo=combo, length_s=length_s)


def test_difficulty_multiplier_is_that_of_the_game() -> None:
    assert difficulty_multiplier(hp=5, cs=4, od=7, objects=500, drain_s=120) == 4
    assert difficulty_multiplier(hp=10, cs=10, od=10, objects=10_000, drain_s=60) == 6


def test_full_combo_of_circles_is_just_below_the_bound() -> None:
    multiplier = difficulty_multiplier(hp=6, cs=4, od=8, objects=100, drain_s=200)
    exact = sum(300 + 300 * max(combo - 1, 0) * multiplier / 25 for combo in range(100))

    bound = most(HitCounts(100, 0, 0, 0, 0, 0), 0, combo=100, objects=100)

    assert exact <= bound <= exact * 1.2


def test_plays_of_famous_maps_are_below_the_bound() -> None:
    assert most(HitCounts(1982, 1, 0, 250, 1, 0), 0, combo=2385, objects=1983, length_s=250) > 118_076_658
    assert most(HitCounts(1358, 62, 83, 236, 2, 0), 2, HD | HR, combo=1420, objects=1420, length_s=240) > 68_199_197
    assert most(HitCounts(2445, 27, 0, 4, 0, 0), 1, HD | DT, combo=2472, objects=2472, length_s=240) > 3_390_314
    assert most(HitCounts(711, 2, 0, 2578, 28, 0), 3, combo=3508, objects=3319) > 987_307


def test_misses_and_bad_hits_lower_the_bound() -> None:
    full = most(HitCounts(100, 0, 0, 0, 0, 0), 0, combo=100, objects=100)

    assert most(HitCounts(50, 50, 0, 0, 0, 0), 0, combo=100, objects=100) < full
    assert most(HitCounts(50, 0, 0, 0, 0, 50), 0, combo=100, objects=100) < full


def test_hits_are_worth_something_without_a_combo() -> None:
    assert fewest_points(HitCounts(10, 2, 1, 0, 0, 3), 0) == 3_250
    assert fewest_points(HitCounts(10, 2, 1, 0, 0, 3), 3) == 0


def test_each_miss_shortens_the_longest_combo() -> None:
    assert longest_combo(HitCounts(95, 0, 0, 0, 0, 5), 0, 150) == 145
    assert longest_combo(HitCounts(95, 0, 0, 0, 0, 5), 3, 150) is None
    assert longest_combo(HitCounts(95, 0, 0, 0, 0, 5), 0, 0) is None
