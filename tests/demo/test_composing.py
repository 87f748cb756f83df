"""Composed maps are maps: the same seed gives the same bytes, the game's rules and the calculator accept them."""

import pytest
import rosu_pp_py as rosu

from kiai.demo.composing import CATCH, MANIA, OSU, TAIKO, ComposedMap, compose_map, maps_of
from kiai.osu.beatmap_file import file_name, parse_beatmap

MODES = {OSU: rosu.GameMode.Osu, TAIKO: rosu.GameMode.Taiko, CATCH: rosu.GameMode.Catch, MANIA: rosu.GameMode.Mania}


@pytest.fixture(scope="module")
def composed() -> list[ComposedMap]:
    return [one for seed in (1, 2) for one in maps_of(seed, 40)]


def test_the_same_seed_composes_the_same_bytes() -> None:
    first = [compose_map(7, index) for index in range(8)]
    again = [compose_map(7, index) for index in range(8)]
    other = [compose_map(8, index) for index in range(8)]

    assert first == again
    assert all(one.osu != another.osu for one, another in zip(first, other, strict=True))


def test_the_smallest_five_sets_hold_every_mode() -> None:
    assert {one.mode for one in maps_of(1, 20)} == set(MODES)


def test_every_map_says_what_it_is(composed: list[ComposedMap]) -> None:
    for one in composed:
        file = parse_beatmap(one.osu)

        assert (file.format_version, file.mode, file.objects) == (14, one.mode, one.objects)
        assert (file.beatmap_id, file.beatmap_set_id) == (one.id, one.set_id)
        assert file_name(file.artist, file.title, file.creator, file.version) == one.name


def test_every_map_is_one_to_three_minutes_of_100_to_700_objects(composed: list[ComposedMap]) -> None:
    for one in composed:
        file = parse_beatmap(one.osu)

        assert 60 <= file.total_length_s <= 180, one.name
        assert 100 <= file.objects <= 700, one.name


def test_difficulties_of_a_set_share_their_song(composed: list[ComposedMap]) -> None:
    for start in range(0, len(composed), 4):
        files = [parse_beatmap(one.osu) for one in composed[start : start + 4]]

        assert len({(one.beatmap_set_id, one.artist, one.title, one.creator, one.bpm) for one in files}) == 1
        assert len({one.version for one in files}) == 4


def test_the_calculator_accepts_every_map_in_its_mode(composed: list[ComposedMap]) -> None:
    for one in composed:
        beatmap = rosu.Beatmap(bytes=one.osu)

        assert not beatmap.is_suspicious(), one.name
        assert beatmap.mode == MODES[one.mode]
        assert beatmap.n_objects == one.objects


def test_stars_rise_from_difficulty_to_difficulty(composed: list[ComposedMap]) -> None:
    for start in range(0, len(composed), 4):
        stars = [rosu.Difficulty().calculate(rosu.Beatmap(bytes=one.osu)).stars for one in composed[start : start + 4]]

        assert stars == sorted(stars)
        assert 0.5 < stars[0] < stars[3] < 8.0


def test_judgements_are_counted_as_the_calculator_counts_them(composed: list[ComposedMap]) -> None:
    for one in composed:
        found = rosu.Difficulty(lazer=False).calculate(rosu.Beatmap(bytes=one.osu))

        match one.mode:
            case 1:
                assert one.judged == found.max_combo
            case 2:
                assert (found.n_droplets, found.n_tiny_droplets) == (0, one.tiny_droplets)
                assert one.judged == found.max_combo + one.tiny_droplets
            case _:
                assert one.judged == one.objects


def test_every_slider_and_circle_of_osu_lies_on_the_playfield(composed: list[ComposedMap]) -> None:
    for one in composed:
        lines = one.osu.decode("ascii").partition("[HitObjects]\r\n")[2].splitlines()
        places = [line.split(",", 2)[:2] for line in lines]

        assert all(0 <= int(x) <= 512 and 0 <= int(y) <= 384 for x, y in places), one.name


def test_times_of_objects_never_go_back(composed: list[ComposedMap]) -> None:
    for one in composed:
        lines = one.osu.decode("ascii").partition("[HitObjects]\r\n")[2].splitlines()
        times = [int(line.split(",", 3)[2]) for line in lines]

        assert times == sorted(times)
        if one.mode != MANIA:
            assert len(set(times)) == len(times)
