"""Generated maps: equal seeds give equal bytes, and the parser and the calculator accept the maps."""

import pytest
import rosu_pp_py as rosu

from kiai.demo.composing import CATCH, MANIA, OSU, TAIKO, ComposedMap, compose_map, maps_of
from kiai.osu.beatmap_file import file_name, parse_beatmap

MODES = {OSU: rosu.GameMode.Osu, TAIKO: rosu.GameMode.Taiko, CATCH: rosu.GameMode.Catch, MANIA: rosu.GameMode.Mania}


@pytest.fixture(scope="module")
def maps() -> list[ComposedMap]:
    return [generated for seed in (1, 2) for generated in maps_of(seed, 40)]


def test_equal_seeds_give_equal_bytes() -> None:
    first = [compose_map(7, index) for index in range(8)]
    again = [compose_map(7, index) for index in range(8)]
    other = [compose_map(8, index) for index in range(8)]

    assert first == again
    assert all(a.osu != b.osu for a, b in zip(first, other, strict=True))


def test_first_five_sets_have_every_mode() -> None:
    assert {generated.mode for generated in maps_of(1, 20)} == set(MODES)


def test_file_has_the_metadata_of_its_map(maps: list[ComposedMap]) -> None:
    for generated in maps:
        file = parse_beatmap(generated.osu)

        assert (file.format_version, file.mode, file.objects) == (14, generated.mode, generated.objects)
        assert (file.beatmap_id, file.beatmap_set_id) == (generated.id, generated.set_id)
        assert file_name(file.artist, file.title, file.creator, file.version) == generated.name


def test_map_has_60_to_180_seconds_and_100_to_700_objects(maps: list[ComposedMap]) -> None:
    for generated in maps:
        file = parse_beatmap(generated.osu)

        assert 60 <= file.total_length_s <= 180, generated.name
        assert 100 <= file.objects <= 700, generated.name


def test_difficulties_of_a_set_have_the_same_song(maps: list[ComposedMap]) -> None:
    for start in range(0, len(maps), 4):
        files = [parse_beatmap(generated.osu) for generated in maps[start : start + 4]]

        assert (
            len(
                {
                    (generated.beatmap_set_id, generated.artist, generated.title, generated.creator, generated.bpm)
                    for generated in files
                }
            )
            == 1
        )
        assert len({generated.version for generated in files}) == 4


def test_calculator_accepts_map_in_its_mode(maps: list[ComposedMap]) -> None:
    for generated in maps:
        beatmap = rosu.Beatmap(bytes=generated.osu)

        assert not beatmap.is_suspicious(), generated.name
        assert beatmap.mode == MODES[generated.mode]
        assert beatmap.n_objects == generated.objects


def test_stars_increase_with_difficulty(maps: list[ComposedMap]) -> None:
    for start in range(0, len(maps), 4):
        stars = [
            rosu.Difficulty().calculate(rosu.Beatmap(bytes=generated.osu)).stars
            for generated in maps[start : start + 4]
        ]

        assert stars == sorted(stars)
        assert 0.5 < stars[0] < stars[3] < 8.0


def test_number_of_judgements_equals_that_of_the_calculator(maps: list[ComposedMap]) -> None:
    for generated in maps:
        found = rosu.Difficulty(lazer=False).calculate(rosu.Beatmap(bytes=generated.osu))

        match generated.mode:
            case 1:
                assert generated.judged == found.max_combo
            case 2:
                assert (found.n_droplets, found.n_tiny_droplets) == (0, generated.tiny_droplets)
                assert generated.judged == found.max_combo + generated.tiny_droplets
            case _:
                assert generated.judged == generated.objects


def test_objects_are_within_the_playfield(maps: list[ComposedMap]) -> None:
    for generated in maps:
        lines = generated.osu.decode("ascii").partition("[HitObjects]\r\n")[2].splitlines()
        places = [line.split(",", 2)[:2] for line in lines]

        assert all(0 <= int(x) <= 512 and 0 <= int(y) <= 384 for x, y in places), generated.name


def test_objects_are_in_order_of_time(maps: list[ComposedMap]) -> None:
    for generated in maps:
        lines = generated.osu.decode("ascii").partition("[HitObjects]\r\n")[2].splitlines()
        times = [int(line.split(",", 3)[2]) for line in lines]

        assert times == sorted(times)
        if generated.mode != MANIA:
            assert len(set(times)) == len(times)
