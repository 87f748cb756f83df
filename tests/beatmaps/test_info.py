import pytest
from tests.builders import World, a_map

from kiai.beatmaps.info import ASKED_MAX, MapInfos


@pytest.fixture
def infos(world: World) -> MapInfos:
    return MapInfos(world.database)


def test_maps_are_found_by_name_and_id_at_once(world: World, infos: MapInfos) -> None:
    one, two = (world.add_map(a_map(n, set_id=9, version=f"V{n}")) for n in (1, 2))

    by_name, by_id = world.run(infos.find([one.filename, "none.osu"], [2, 3]))

    assert {name: (info.id, info.set_id, info.md5) for name, info in by_name.items()} == {one.filename: (1, 9, one.md5)}
    assert {id_: (info.key, info.status) for id_, info in by_id.items()} == {2: (two.key, two.status)}


def test_the_exact_name_is_preferred_and_case_does_not_matter(world: World, infos: MapInfos) -> None:
    lower, upper = world.add_map(a_map(1, title="song")), world.add_map(a_map(2, title="SONG"))
    asked = [lower.filename, upper.filename, lower.filename.upper()]

    by_name, _ = world.run(infos.find(asked, []))

    assert [by_name[name].id for name in asked] == [1, 2, 1]


def test_of_maps_with_one_name_the_lowest_id_is_found(world: World, infos: MapInfos) -> None:
    world.add_map(a_map(8, objects=10))
    first = world.add_map(a_map(5, objects=20))

    by_name, _ = world.run(infos.find([first.filename], []))

    assert by_name[first.filename].id == 5


def test_replaced_revisions_are_not_found(world: World, infos: MapInfos) -> None:
    world.add_map(a_map(1, objects=10))
    newer = world.add_map(a_map(1, objects=20))

    by_name, by_id = world.run(infos.find([newer.filename], [1]))

    assert by_name[newer.filename].md5 == by_id[1].md5 == newer.md5


def test_impossible_names_and_ids_are_skipped(world: World, infos: MapInfos) -> None:
    world.add_map(a_map(1))

    assert world.run(infos.find(["", "\x00", "%", "x" * 256], [0, -1, 2**31, 2**80])) == ({}, {})


def test_one_request_may_have_the_maximum_of_names_and_ids(world: World, infos: MapInfos) -> None:
    one = world.add_map(a_map(1))

    by_name, _ = world.run(infos.find([one.filename] * ASKED_MAX, []))
    _, by_id = world.run(infos.find([], [1] * ASKED_MAX))

    assert list(by_name) == [one.filename]
    assert list(by_id) == [1]
