"""The public history of statuses, on both databases."""

from tests.builders import NORMAL, World, a_map, a_player

from kiai.beatmaps import MapStatus
from kiai.osu.privileges import Privilege
from kiai.staff import OPERATOR
from kiai.staff.audit import Actor
from kiai.staff.status_history import StatusChange, StatusHistory

NOMINATOR = int(NORMAL | Privilege.NOMINATOR)


def test_changes_are_listed_newest_first_without_reasons(world: World) -> None:
    song = world.add_map(a_map(1), MapStatus.PENDING)
    nominator = world.add_player(a_player("nora", priv=NOMINATOR))
    hidden = world.add_player(a_player("hidden", priv=NOMINATOR))
    world.run(world.staff.set_map_status(Actor(nominator, "web"), [song], MapStatus.RANKED, reason="secret"))
    first = world.clock.now_ms()
    world.clock.advance(60)
    song = world.map(song.md5)
    world.run(world.staff.set_map_status(Actor(hidden, "web"), [song], MapStatus.LOVED))
    world.run(world.restrictions.restrict(OPERATOR, "hidden", "x"))

    assert world.run(StatusHistory(world.database).of(1)) == [
        StatusChange(world.clock.now_ms(), 2, 5, None, None),
        StatusChange(first, 0, 2, nominator, "nora"),
    ]


def test_map_without_changes_has_no_history(world: World) -> None:
    world.add_map(a_map(1))

    assert world.run(StatusHistory(world.database).of(1)) == []


def test_import_with_a_status_is_listed_with_the_status_before_it(world: World) -> None:
    song = world.add_map(a_map(1), MapStatus.PENDING)
    report = world.run(world.importer.import_file(a_map(1).data, name="x", status=MapStatus.LOVED))
    world.run(world.staff.record_import(OPERATOR, report.changed))

    assert world.run(StatusHistory(world.database).of(song.id)) == [
        StatusChange(world.clock.now_ms(), 0, 5, None, None)
    ]


def test_import_of_another_file_is_not_listed_as_a_status_of_the_replaced_one(world: World) -> None:
    song = world.add_map(a_map(1))
    report = world.run(world.importer.import_file(a_map(1, objects=60).data, name="x", status=MapStatus.RANKED))
    world.run(world.staff.record_import(OPERATOR, report.changed))

    assert len(world.audit(song.id, "beatmap")) == 1
    assert world.run(StatusHistory(world.database).of(song.id)) == []
