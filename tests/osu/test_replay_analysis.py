"""Hit errors, keys, combo and misses from replays whose truth is known (docs/spec/replays.md#hits-in-a-replay)."""

import math
import statistics

import pytest
from tests.osu.playing import a_chart, a_mania_stream, a_stream, circles, encoded, played
from tests.patience import core_seconds

from kiai.osu import stacking
from kiai.osu.beatmap_file import parse_objects
from kiai.osu.mods import DT, HR, RX, Mods
from kiai.osu.replay_analysis import HitErrors, LifePoint, ReplayAnalysis, analyse
from kiai.osu.replay_file import BadReplay
from kiai.osu.replay_presses import read_presses
from kiai.osu.stacking import path_end, stacked_positions

APART = [f"{60 + 60 * (n % 6)},{60 + 50 * (n % 5)},{1000 + 500 * n},1,0,0:0:0:0:" for n in range(20)]
OFFSETS = [
    -12.0,
    5.0,
    0.0,
    9.5,
    -3.0,
    21.0,
    -7.5,
    2.0,
    14.0,
    -1.0,
    4.0,
    6.0,
    -9.0,
    11.0,
    3.0,
    -2.0,
    8.0,
    1.0,
    -4.0,
    7.0,
]


def of_osu(osu: bytes, frames: bytes, *, mods: int = 0) -> ReplayAnalysis:
    return analyse(osu, frames, mode=0, mods=mods, life_bar="")


def errors_of(found: ReplayAnalysis) -> HitErrors:
    assert found.errors is not None, found.undetected
    return found.errors


def test_errors_of_a_replay_are_those_with_which_it_was_made() -> None:
    chart = a_chart(APART)

    found = errors_of(of_osu(chart, played(chart, OFFSETS)))

    assert (found.hits, found.misses) == (20, 0)
    assert found.mean == pytest.approx(statistics.fmean(OFFSETS), abs=0.01)
    assert found.unstable_rate == pytest.approx(10 * statistics.pstdev(OFFSETS), abs=0.01)
    assert found.early_mean == pytest.approx(statistics.fmean(o for o in OFFSETS if o < 0), abs=0.01)
    assert found.late_mean == pytest.approx(statistics.fmean(o for o in OFFSETS if o > 0), abs=0.01)
    assert sum(found.histogram) == 20


def test_unstable_rate_is_in_real_time_and_as_played_in_time_of_the_map() -> None:
    chart = a_chart(APART)

    found = errors_of(of_osu(chart, played(chart, OFFSETS, mods=DT), mods=DT))

    assert found.unstable_rate_as_played == pytest.approx(10 * statistics.pstdev(OFFSETS), abs=0.01)
    assert found.unstable_rate == pytest.approx(10 * statistics.pstdev(OFFSETS) / 1.5, abs=0.01)


def test_histogram_has_its_middle_at_zero() -> None:
    chart = a_chart(APART)

    found = errors_of(of_osu(chart, played(chart, [0.0] * 19 + [80.0])))

    middle = len(found.histogram) // 2
    at_80 = int((80 - found.first_bin_ms) / found.bin_ms)
    assert found.histogram[middle] == 19
    assert found.histogram[at_80] == 1
    assert found.first_bin_ms == -150  # OD 5
    assert found.best_window_ms == 50


def test_hard_rock_flips_the_playfield() -> None:
    chart = a_chart(APART)
    upright = played(chart, [0.0] * 20)
    flipped = played(chart, [0.0] * 20, mods=HR)

    assert errors_of(of_osu(chart, flipped, mods=HR)).hits == 20
    assert errors_of(of_osu(chart, upright, mods=HR)).hits < 20


def test_left_out_object_is_a_miss_and_breaks_the_combo() -> None:
    chart = a_chart(APART)

    found = of_osu(chart, played(chart, [0.0] * 7 + [None] + [0.0] * 12))

    assert (errors_of(found).hits, errors_of(found).misses) == (19, 1)
    assert found.miss_times == [1000 + 500 * 7 + 150]
    assert max(moment.combo for moment in found.timeline) == 12
    assert found.timeline[-1].misses == 1


def test_click_beside_the_object_does_not_hit_it() -> None:
    chart = a_chart(circles(1))

    found = errors_of(of_osu(chart, a_stream([(1000, 256 + 60, 192, 1), (1020, 256, 192, 2)], end_ms=3000)))

    assert (found.hits, found.mean) == (1, 20)


@pytest.mark.parametrize(
    ("error", "hits", "misses"),
    [(-149, 1, 0), (149, 1, 0), (-160, 0, 1), (-399, 0, 1), (-401, 0, 1)],
)
def test_click_far_ahead_misses_the_object_and_one_still_further_does_nothing(
    error: float, hits: int, misses: int
) -> None:
    chart = a_chart(circles(1))
    again = [] if error != -401 else [(1000.0, 256.0, 192.0, 2)]

    found = errors_of(of_osu(chart, a_stream([(1000 + error, 256, 192, 1), *again], end_ms=3000)))

    assert (found.hits, found.misses) == ((1, 0) if again else (hits, misses))


def test_an_object_cannot_be_hit_before_the_one_in_front_of_it_is_decided() -> None:
    chart = a_chart(["100,100,1000,1,0", "300,300,1100,1,0"])

    # The first click is on the second circle, whose turn comes only when the first one is decided.
    found = errors_of(of_osu(chart, a_stream([(1050, 300, 300, 1), (1160, 300, 300, 2)], end_ms=3000)))

    assert (found.hits, found.misses) == (1, 1)
    assert found.mean == 60


def test_slider_counts_by_its_head_and_adds_ticks_turns_and_end_to_the_combo() -> None:
    # 280 pixels last two beats; a tick each half beat: three ticks in the first slide, three in the second.
    chart = a_chart(["100,100,1000,2,0,L|380:100,2,280", "256,192,4000,1,0"])

    found = of_osu(chart, played(chart, [4.0, -2.0]))

    assert errors_of(found).hits == 2
    assert errors_of(found).mean == 1
    assert found.timeline[-1].combo == 1 + 2 * (3 + 1) + 1


def test_spinner_is_undetected() -> None:
    chart = a_chart(["256,192,1000,12,0,2000", *[line.replace(",1000,", ",3000,") for line in circles(1)]])

    found = errors_of(of_osu(chart, a_stream([(3000, 256, 192, 1)], end_ms=4000)))

    assert (found.hits, found.misses) == (1, 0)


def test_objects_after_the_end_of_a_failed_play_are_not_misses() -> None:
    chart = a_chart(APART)

    found = of_osu(chart, a_stream([(1000, 60, 60, 1)], end_ms=2700))

    assert (errors_of(found).hits, errors_of(found).misses) == (1, 3)
    assert found.end_ms == 2700
    assert found.map_end_ms == 1000 + 500 * 19


def test_keys_are_counted_apart_from_the_mouse_buttons() -> None:
    taps = [(1000, 0, 0, 5), (1100, 0, 0, 10), (1200, 0, 0, 1), (1300, 0, 0, 2), (1400, 0, 0, 5), (1500, 0, 0, 16)]

    found = of_osu(a_chart(circles(1)), a_stream([(float(at), x, y, keys) for at, x, y, keys in taps]))

    assert {count.key: count.presses for count in found.keys} == {"K1": 2, "K2": 1, "M1": 1, "M2": 1}


def test_held_key_is_one_press() -> None:
    frames = encoded(["0|0|0|0", "10|0|0|5", "10|0|0|5", "10|0|0|15", "10|0|0|10", "10|0|0|0"])

    assert [press.keys for press in read_presses(frames, 0).presses] == [4, 8]


@pytest.mark.parametrize(
    ("mode", "mods", "map_mode", "reason"),
    [
        (0, RX, 0, "relax"),
        (2, 0, 2, "catch"),
        (1, 0, 0, "converted"),
        (3, 0, 0, "converted"),
        (3, int(Mods.RN), 3, "random"),
    ],
)
def test_modes_in_which_hits_cannot_be_told_give_the_reason_and_the_keys(
    mode: int, mods: int, map_mode: int, reason: str
) -> None:
    found = analyse(a_chart(circles(3), mode=map_mode), a_stream([(1000, 1, 0, 1)]), mode=mode, mods=mods, life_bar="")

    assert (found.errors, found.undetected, found.timeline) == (None, reason, [])
    assert found.keys[1 if mode == 1 else 0 if mode != 0 else 2].presses == 1


def test_replay_on_a_file_that_is_not_a_map_has_keys_only() -> None:
    found = of_osu(b"no map", a_stream([(1000, 1, 0, 1)]))

    assert (found.undetected, found.map_end_ms) == ("unreadable map", None)


# --- taiko


def of_taiko(osu: bytes, *taps: tuple[float, int], mods: int = 0) -> HitErrors:
    frames = a_stream([(at, 0, 0, keys) for at, keys in taps], hold_ms=5, end_ms=9000)
    return errors_of(analyse(osu, frames, mode=1, mods=mods, life_bar=""))


def test_taiko_note_needs_the_key_of_its_colour() -> None:
    chart = a_chart([*circles(1), "256,192,2000,1,8"], mode=1)

    assert of_taiko(chart, (1005, 1), (2007, 8)).mean == 6
    wrong = of_taiko(chart, (1005, 2), (2007, 8))
    assert (wrong.hits, wrong.misses) == (1, 1)


def test_second_key_of_a_big_note_does_not_count_for_the_next_note() -> None:
    chart = a_chart(["256,192,1000,1,4", "256,192,1060,1,0"], mode=1)

    found = of_taiko(chart, (1000, 1), (1012, 4), (1065, 1))

    assert (found.hits, found.misses, found.mean) == (2, 0, 2.5)


def test_drum_rolls_of_taiko_are_left_out() -> None:
    chart = a_chart([*circles(1), "256,192,2000,2,0,L|300:192,1,140"], mode=1)

    assert of_taiko(chart, (1000, 1), (2100, 1), (2200, 4)).hits == 1


# --- mania


def of_mania(osu: bytes, *taps: tuple[float, int], mods: int = 0) -> ReplayAnalysis:
    return analyse(osu, a_mania_stream(taps, end_ms=9000), mode=3, mods=mods, life_bar="")


KEYS_4 = ["64,192,1000,1,0", "192,192,1000,1,0", "320,192,1500,128,0,2000:0:0:0:0:", "448,192,2500,1,0"]


def test_mania_notes_are_judged_by_column() -> None:
    chart = a_chart(KEYS_4, mode=3, cs=4)

    found = of_mania(chart, (998, 0b0011), (1506, 0b0100), (2510, 0b1000))

    assert (errors_of(found).hits, errors_of(found).misses) == (4, 0)
    assert errors_of(found).mean == pytest.approx((-2 - 2 + 6 + 10) / 4)
    assert [count.presses for count in found.keys] == [1, 1, 1, 1]


def test_key_of_another_column_does_not_hit() -> None:
    found = errors_of(of_mania(a_chart(KEYS_4, mode=3, cs=4), (1000, 0b0011), (1500, 0b1000)))

    assert (found.hits, found.misses) == (2, 2)


def test_mirror_swaps_the_columns() -> None:
    chart = a_chart(KEYS_4[2:3], mode=3, cs=4)

    assert errors_of(of_mania(chart, (1500, 0b0010), mods=int(Mods.MR))).hits == 1


# --- places of objects


def test_objects_at_one_place_are_stacked() -> None:
    places = stacked_positions(parse_objects(a_chart(circles(3, apart_ms=200))), 0)

    step = 6.4 * (1 - 0.7 * (4 - 5) / 5) / 2
    assert places == [
        (pytest.approx(256 - 2 * step), pytest.approx(192 - 2 * step)),
        (pytest.approx(256 - step), pytest.approx(192 - step)),
        (256, 192),
    ]


def test_objects_far_apart_in_time_are_not_stacked() -> None:
    assert stacked_positions(parse_objects(a_chart(circles(3, apart_ms=2000))), 0) == [(256, 192)] * 3


def test_circles_on_the_end_of_a_slider_go_below_it() -> None:
    chart = parse_objects(a_chart(["100,100,1000,2,0,L|240:100,1,140", "240,100,1600,1,0"]))

    places = stacked_positions(chart, 0)

    step = 6.4 * (1 - 0.7 * (4 - 5) / 5) / 2
    assert places == [(100, 100), (pytest.approx(240 + step), pytest.approx(100 + step))]


def test_old_files_are_stacked_from_the_first_object() -> None:
    places = stacked_positions(parse_objects(a_chart(circles(2, apart_ms=200), version=5)), 0)

    assert places[0][0] < places[1][0] == 256


@pytest.mark.parametrize(
    ("path", "end"),
    [
        ("L|200:100,1,80", (180, 100)),
        ("L|200:100,2,80", (100, 100)),
        ("L|200:100,1,150", (250, 100)),
        ("L|200:100,1", (200, 100)),
        ("B|200:100|200:100|200:200,1,150", (200, 150)),
        ("P|150:150|200:100,1,157.0796", (200, 100)),
        ("P|150:100|200:100,1,100", (200, 100)),
        ("B|150:200|200:100,1", (200, 100)),
        ("C|150:100|200:100,1,75", (175, 100)),
        ("L|100:100,1,50", (100, 100)),
    ],
)
def test_end_of_a_slider(path: str, end: tuple[float, float]) -> None:
    [slider] = parse_objects(a_chart([f"100,100,1000,2,0,{path}"])).objects

    assert path_end(slider) == pytest.approx(end, abs=0.5)


# --- life and hostile input


def test_life_bar_is_thinned_and_bad_points_are_left_out() -> None:
    chart, frames = a_chart(circles(1)), a_stream([(1000, 256, 192, 1)])

    few = analyse(chart, frames, mode=0, mods=0, life_bar="0|1,500|0.75,x|1,700|2,900|nan,1000|0.5,")
    many = analyse(chart, frames, mode=0, mods=0, life_bar=",".join(f"{n}|0.5" for n in range(50_000)))

    assert few.life == [LifePoint(0, 1.0), LifePoint(500, 0.75), LifePoint(1000, 0.5)]
    assert len(many.life) <= 120


def crowd(count: int) -> list[str]:
    """Circles at one time and at many places: each could belong to a stack with each other one."""
    return [f"{n * 7 % 512},{n * 13 % 384},1000,1,0" for n in range(count)]


def curves(count: int, points: int) -> list[str]:
    """Sliders with many control points, each followed by a circle, so that its end counts."""
    path = "|".join(f"{n * 37 % 512}:{n * 91 % 384}" for n in range(points))
    return [
        line
        for n in range(count)
        for line in (f"100,100,{1000 + 10 * n},2,0,B|{path},1,100", f"300,300,{1005 + 10 * n},1,0")
    ]


@pytest.mark.parametrize("version", [5, 14])
@pytest.mark.parametrize("lines", [crowd(50_000), curves(600, 1_900)], ids=["crowd", "curves"])
def test_stacks_of_a_hostile_map_take_a_bounded_time(lines: list[str], version: int) -> None:
    chart = parse_objects(a_chart(lines, version=version))

    assert core_seconds(lambda: stacked_positions(chart, 0), enough=3) < 3


def test_long_real_map_is_stacked_completely() -> None:
    """Two hours with 50,000 objects, in pairs at one place."""
    objects = [f"{n // 2 * 97 % 512},{n // 2 * 61 % 384},{1000 + 144 * n},1,0" for n in range(50_000)]

    places = stacked_positions(parse_objects(a_chart(objects)), 0)

    assert places[0][0] < 0
    assert places[49_998][0] < places[49_999][0]


def test_curve_is_that_of_the_definition() -> None:
    points = [(float(n * 37 % 512), float(n * 91 % 384)) for n in range(12)]

    curve = stacking._bezier(points)

    for step in (0, 1, 25, 49, 50):
        weights = [math.comb(11, k) * (step / 50) ** k * (1 - step / 50) ** (11 - k) for k in range(12)]
        expected = [sum(w * point[axis] for w, point in zip(weights, points, strict=True)) for axis in (0, 1)]
        assert curve[step] == pytest.approx(expected)


def test_lists_of_a_long_replay_are_bounded() -> None:
    chart = a_chart(circles(5_000, apart_ms=100))

    found = of_osu(chart, a_stream([], end_ms=600_000))

    assert errors_of(found).misses == 5_000
    assert len(found.timeline) <= 500
    assert len(found.miss_times) == 300


def test_too_many_presses_are_refused() -> None:
    frames = encoded(["1|0|0|1,1|0|0|0"] * 200_001)

    with pytest.raises(BadReplay, match="key presses"):
        of_osu(a_chart(circles(1)), frames)


def test_numbers_without_meaning_do_not_fail() -> None:
    frames = encoded(["0|1e999|-1e999|1", "1|1e-999|0|0", "999|1e999|0|9999999999", "1|0|0|-5"])

    for mode in range(4):
        found = analyse(a_chart(circles(1), mode=mode), frames, mode=mode, mods=0, life_bar="")
        assert math.isfinite(found.end_ms)
