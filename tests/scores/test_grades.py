from sqlalchemy import update
from tests.builders import World, a_map, a_play, a_player

from kiai.scores.grades import MAPS_MAX, Grades
from kiai.storage.tables import scores


def test_grades_are_those_of_the_best_scores_of_the_player(world: World) -> None:
    alice, bob = (world.add_player(a_player(name)) for name in ("alice", "bob"))
    one, two, three = (world.add_map(a_map(n, title=f"Song {n}")) for n in (1, 2, 3))
    world.record(a_play(by=alice, on=one, score=500, grade_="S", pp=90))
    world.record(a_play(by=alice, on=one, score=900, grade_="A", pp=10))
    world.record(a_play(by=alice, on=two, score=1, grade_="D"))
    world.record(a_play(by=bob, on=three, grade_="X"))

    found = world.run(Grades(world.database).on(alice, [one.key, two.key, three.key]))

    assert found == {(one.key, 0): "A", (two.key, 0): "D"}


def test_relax_failed_and_removed_scores_have_no_grade(world: World) -> None:
    alice = world.add_player(a_player())
    relaxed, failed, removed = maps = [world.add_map(a_map(n, title=f"Song {n}")) for n in (1, 2, 3)]
    world.record(a_play(by=alice, on=relaxed, mods=128))
    world.record(a_play(by=alice, on=failed, passed=False))
    hidden = world.record(a_play(by=alice, on=removed)).score_id
    world.change(update(scores).where(scores.c.id == hidden).values(hidden=1))

    assert world.run(Grades(world.database).on(alice, [one.key for one in maps])) == {}


def test_grades_of_zero_to_a_hundred_maps(world: World) -> None:
    alice = world.add_player(a_player())
    one = world.add_map(a_map(1))
    world.record(a_play(by=alice, on=one, grade_="X"))
    grades = Grades(world.database)

    assert world.run(grades.on(alice, [*range(1000, 1000 + MAPS_MAX - 1), one.key])) == {(one.key, 0): "X"}
    assert world.run(grades.on(alice, [])) == {}
