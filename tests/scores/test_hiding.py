"""Wipes, their ends, and hiding single scores: everything that derives from the scores follows."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, cast

import pytest
from sqlalchemy import select, update
from tests.builders import World, a_map, a_play, a_player, frames
from tests.pausing import Pause, PausingDatabase

from kiai.errors import NotFound, WrongState
from kiai.osu.mods import DT, HD, RX
from kiai.scores import statements
from kiai.scores.hiding import USER_WIPE
from kiai.scores.pins import Pins
from kiai.staff import OPERATOR
from kiai.storage.port import Command, Database, Query
from kiai.storage.tables import (
    first_places,
    map_wipes,
    maps,
    month_plays,
    play_counts,
    pp_records,
    scores,
    stale_totals,
    stats,
    tasks,
    user_wipes,
)

DAY_MS = 86_400_000
NOW = 1_700_000_000_000


def derived(world: World) -> list[list[tuple[Any, ...]]]:
    """Return all rows that derive from scores, and the scores, apart from versions of boards."""
    columns = [column for column in maps.c if column.name != "board_version"]
    held = [column for column in first_places.c if column.name != "since_ms"]
    tables = (
        select(scores),
        select(stats),
        select(*columns),
        select(*held),
        select(play_counts),
        select(month_plays),
        select(pp_records),
    )
    return [sorted(world.look(one)) for one in tables]


def check(world: World) -> None:
    """Do the remaining work, and check that all derived rows match the scores."""
    world.reconcile()
    assert world.look(select(tasks)) == world.look(select(stale_totals)) == []
    before = derived(world)
    assert world.problems() == []
    world.run(world.rebuilder.everything())
    assert derived(world) == before, "a rebuild changes nothing"


def wipe(world: World, who: str = "alice", mode: int | None = None) -> int:
    return world.run(world.wipes.wipe_user(OPERATOR, who, "because", mode=mode)).scores


def restore(world: World, who: str = "alice", mode: int | None = None) -> int:
    return world.run(world.wipes.restore_user(OPERATOR, who, "because", mode=mode)).scores


def marks(world: World) -> list[int]:
    return [row[0] for row in world.look(select(scores.c.hidden).order_by(scores.c.id))]


def played(world: World) -> tuple[int, int]:
    """Record plays of two players on three maps, in three modes. Return the players."""
    alice, bob = world.add_player(a_player()), world.add_player(a_player("bob", country="de"))
    songs = [world.add_map(a_map(id=n, set_id=9)) for n in (1, 2, 3)]
    for at, song in enumerate(songs):
        world.record(a_play(by=alice, on=song, score=3_000, pp=90 + at, at_ms=NOW - at * 40 * DAY_MS))
        world.record(a_play(by=bob, on=song, score=2_000, pp=70, mods=HD))
        world.record(a_play(by=alice, on=song, score=1_000, pp=120, mods=DT, combo=7))
        world.record(a_play(by=alice, on=song, score=10, passed=False, at_ms=NOW + DAY_MS))
        world.record(a_play(by=alice, on=song, score=500, pp=300 - at, mods=RX))
        world.record(a_play(by=bob, on=song, score=600, pp=200, mods=RX))
    return alice, bob


def test_a_wiped_player_leaves_boards_stats_counters_first_places_and_records(world: World) -> None:
    alice, bob = played(world)
    bobs = world.run(world.profiles.stats_of(bob))

    assert wipe(world) == 12
    world.reconcile()

    assert world.run(world.profiles.stats_of(alice)) == []
    assert world.run(world.profiles.stats_of(bob)) == bobs
    assert [row[0] for row in world.look(select(first_places.c.user_id))] == [bob] * 6
    assert world.look(select(play_counts).where(play_counts.c.user_id == alice)) == []
    assert world.look(select(month_plays).where(month_plays.c.user_id == alice)) == []
    assert world.look(select(maps.c.plays, maps.c.passes)) == [(2, 2)] * 3
    assert world.look(select(pp_records.c.pp).where(pp_records.c.mode.in_([0, 4])).order_by(pp_records.c.mode)) == [
        (70.0,),
        (200.0,),
    ]
    world.run(world.outbox.deliver())
    assert world.run(world.realtime.ranked_ids(0)) == world.run(world.realtime.ranked_ids(4)) == [bob]
    check(world)


def test_a_wipe_and_its_end_change_nothing(world: World) -> None:
    played(world)
    world.reconcile()
    before = derived(world)

    hidden = wipe(world)
    world.reconcile()
    during = derived(world)
    back = restore(world)
    world.reconcile()

    assert hidden == back == 12
    assert during != before
    assert derived(world) == before
    assert world.look(select(user_wipes)) == []
    check(world)


def test_a_wipe_of_one_mode_leaves_the_others(world: World) -> None:
    alice, _ = played(world)
    other = world.stats(alice, 4)

    assert wipe(world, mode=0) == 9
    world.reconcile()

    assert [one.mode for one in world.run(world.profiles.stats_of(alice))] == [4]
    assert world.stats(alice, 4) == other
    check(world)
    assert restore(world, mode=0) == 9
    check(world)


def test_a_wipe_of_all_modes_can_end_in_one(world: World) -> None:
    alice, _ = played(world)
    wipe(world)

    assert restore(world, mode=4) == 3
    world.reconcile()

    assert [one.mode for one in world.run(world.profiles.stats_of(alice))] == [4]
    check(world)


def test_later_plays_count_and_a_second_wipe_adds_them(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    world.record(a_play(by=alice, on=song, score=9_000, pp=90))
    wipe(world)
    later = world.record(a_play(by=alice, on=song, score=10, pp=1))  # before any step
    world.reconcile()

    assert world.board(song) == [later.score_id]
    assert world.stats(alice).plays == 1
    assert wipe(world) == 1
    world.reconcile()
    assert world.board(song) == []
    assert restore(world) == 2
    check(world)
    assert world.stats(alice).tscore == 9_010


def test_an_end_before_the_first_step_brings_back_what_the_wipe_would_hide(world: World) -> None:
    played(world)
    world.reconcile()
    before = derived(world)

    assert wipe(world) == 12
    assert restore(world) == 12
    check(world)

    assert derived(world) == before


def test_steps_of_one_row_with_changes_in_between_give_the_same_result(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kiai.scores.reconciling.STEP_ROWS_MAX", 1)
    monkeypatch.setattr("kiai.scores.hiding.PAGE_LEAST", 1)
    played(world)
    wipe(world)
    for _ in range(3):
        world.run(world.reconciler.step({}))
    half = sum(1 for mark in marks(world) if mark)
    assert 0 < half < 12

    world.run(world.rebuilder.everything())  # in the middle
    for _ in range(2):
        world.run(world.reconciler.step({}))
    assert restore(world, mode=0) == 9
    for _ in range(3):
        world.run(world.reconciler.step({}))
    assert wipe(world) == 9
    check(world)

    assert [mark for mark in marks(world) if mark] == [2] * 12


def test_a_wipe_that_begins_again_after_its_pages_still_computes_the_totals(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    other = world.add_map(a_map(id=2))
    world.record(a_play(by=alice, on=song, score=9_000, pp=300, combo=90))
    world.record(a_play(by=alice, on=song, score=9_000, pp=300, mods=RX))
    world.record(a_play(by=alice, on=other, score=5, passed=False, at_ms=NOW + DAY_MS))
    wipe(world, mode=0)
    world.record(a_play(by=alice, on=other, score=10, pp=1, combo=5, at_ms=NOW - DAY_MS))
    [task] = world.run(world.hiding._tasks.waiting())
    assert world.run(world.database.transaction(lambda tx: world.hiding.user_step(tx, task, 100))) == 2
    assert wipe(world, mode=4) == 1  # the task starts from the front

    check(world)

    assert world.stats(alice).max_combo == 5
    assert world.stats(alice).last_play_ms == NOW - DAY_MS


def test_staff_hides_one_score_and_the_next_best_takes_its_place(world: World) -> None:
    alice, bob = world.add_player(a_player()), world.add_player(a_player("bob"))
    song = world.add_map(a_map())
    best = world.record(a_play(by=alice, on=song, score=3_000, pp=90))
    second = world.record(a_play(by=bob, on=song, score=2_000, pp=70))
    third = world.record(a_play(by=alice, on=song, score=1_000, pp=120, mods=DT))
    world.reconcile()
    before = derived(world)

    done = world.run(world.wipes.hide_score(OPERATOR, best.score_id, "because"))

    assert done.player.id == alice
    assert world.board(song) == [second.score_id, third.score_id]  # at once, without a step
    assert world.look(select(first_places.c.user_id)) == [(bob,)]
    assert world.map(song.md5).plays == 2
    check(world)
    world.run(world.wipes.unhide_score(OPERATOR, best.score_id, "because"))
    check(world)
    assert derived(world) == before


def test_a_score_that_staff_hid_alone_stays_hidden_after_a_wipe_and_its_end(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    alone = world.record(a_play(by=alice, on=song, score=9_000, pp=90)).score_id
    other = world.record(a_play(by=alice, on=song, score=10, pp=1)).score_id
    world.run(world.wipes.hide_score(OPERATOR, alone, "because"))

    assert wipe(world) == 1
    world.reconcile()
    with pytest.raises(WrongState, match="already hidden"):
        world.run(world.wipes.hide_score(OPERATOR, alone, "because"))
    with pytest.raises(WrongState, match="hidden by a wipe"):
        world.run(world.wipes.unhide_score(OPERATOR, other, "because"))
    assert restore(world) == 1
    check(world)

    assert world.board(song) == [other]
    assert marks(world) == [1, 0]


def test_a_score_that_staff_hides_during_a_wipe_stays_hidden(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    one = world.record(a_play(by=alice, on=song)).score_id
    wipe(world)
    world.reconcile()
    world.run(world.wipes.hide_score(OPERATOR, one, "because"))
    assert restore(world) == 0
    check(world)
    assert marks(world) == [1]
    world.run(world.wipes.unhide_score(OPERATOR, one, "because"))
    check(world)
    assert world.board(song) == [one]


def test_a_wiped_map_loses_the_scores_of_everybody_and_gets_them_back(world: World) -> None:
    alice, bob = played(world)
    song = world.run(world.beatmaps.find(id=2))
    world.reconcile()
    before = derived(world)

    assert world.run(world.wipes.wipe_map(OPERATOR, song, "because")) == 6
    world.reconcile()

    assert world.board(song) == world.board(song, 4) == []
    assert (world.map(song.md5).plays, world.map(song.md5).passes) == (0, 0)
    assert world.map(song.md5).board_version > song.board_version
    assert [world.stats(player).plays for player in (alice, bob)] == [6, 2]
    check(world)
    with pytest.raises(WrongState, match="already"):
        world.run(world.wipes.wipe_map(OPERATOR, song, "because"))
    late = world.record(a_play(by=bob, on=world.map(song.md5), score=1, pp=1)).score_id
    assert world.board(song) == [late]
    assert wipe(world) == 8
    world.reconcile()
    assert world.run(world.wipes.restore_map(OPERATOR, song, "because")) == 2  # the others are those of a wiped player
    check(world)
    assert restore(world) == 12
    world.run(world.wipes.hide_score(OPERATOR, late, "because"))
    check(world)
    assert world.look(select(map_wipes)) == []
    assert derived(world)[1] == before[1], "the stats are as before"


def test_a_wipe_of_a_player_and_one_of_a_map_overlap(world: World) -> None:
    played(world)
    song = world.run(world.beatmaps.find(id=1))
    world.run(world.wipes.wipe_map(OPERATOR, song, "because"))
    world.reconcile()

    assert wipe(world) == 8
    world.reconcile()
    assert world.run(world.wipes.restore_map(OPERATOR, song, "because")) == 2
    check(world)
    assert restore(world) == 12
    check(world)
    assert set(marks(world)) == {0}


def test_wipes_of_restricted_players_and_restrictions_of_wiped_ones(world: World) -> None:
    alice, _ = played(world)
    world.reconcile()
    before = derived(world)
    world.run(world.restrictions.restrict(OPERATOR, "alice", "because"))
    wipe(world)
    world.run(world.reconciler.step({}))
    world.run(world.restrictions.unrestrict(OPERATOR, "alice"))
    check(world)
    assert world.run(world.profiles.stats_of(alice)) == []
    world.run(world.restrictions.restrict(OPERATOR, "alice", "because"))
    restore(world)
    check(world)
    world.run(world.restrictions.unrestrict(OPERATOR, "alice"))
    check(world)
    assert derived(world) == before


def test_counters_of_maps_are_right_when_the_player_has_just_become_visible(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    one = world.record(a_play(by=alice, on=song)).score_id
    world.run(world.restrictions.restrict(OPERATOR, "alice", "because"))
    world.reconcile()
    world.run(world.restrictions.unrestrict(OPERATOR, "alice"))  # the counters follow with a task

    world.run(world.wipes.hide_score(OPERATOR, one, "because"))

    assert world.map(song.md5).plays == 0
    check(world)


@pytest.mark.parametrize("at_once", [100, 2])
def test_an_unrestricted_player_whose_scores_stay_hidden(
    world: World, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kiai.staff.wipes.AT_ONCE_MAX", at_once)
    monkeypatch.setattr("kiai.scores.hiding.AT_ONCE_MAX", at_once)
    alice, _ = played(world)
    world.run(world.restrictions.restrict(OPERATOR, "alice", "because"))
    song = world.run(world.beatmaps.find(id=1))

    done = world.run(world.wipes.unrestrict(OPERATOR, "alice", "aa"))

    assert (done.scores, done.target.priv & 1) == (12, 1)
    assert alice not in [row[0] for row in world.look(select(scores.c.user_id).where(scores.c.hidden == 0))]
    assert len(world.board(song)) == 1  # at once, without a step of the job
    check(world)
    actions = [row.action for row in world.audit(alice)]
    assert actions == (["unrestrict", "restrict"] if at_once == 100 else ["unrestrict", "user_wipe", "restrict"])
    assert restore(world) == 12
    check(world)


def test_an_imported_score_that_is_older_than_a_hidden_one_is_the_last_play(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    newest = world.record(a_play(by=alice, on=song, at_ms=NOW + DAY_MS)).score_id
    world.record(a_play(by=alice, on=song, at_ms=NOW - DAY_MS))
    world.run(world.wipes.hide_score(OPERATOR, newest, "because"))
    world.reconcile()

    assert world.stats(alice).last_play_ms == NOW - DAY_MS
    assert world.look(select(play_counts.c.last_play_ms)) == [(NOW - DAY_MS,)]
    check(world)


@pytest.mark.parametrize("scope", ["user", "map"])
def test_an_imported_score_after_the_wipe_is_the_last_play(world: World, scope: str) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    world.record(a_play(by=alice, on=song, at_ms=NOW + DAY_MS))
    if scope == "user":
        wipe(world)
    else:
        world.run(world.wipes.wipe_map(OPERATOR, song, "because"))
    world.record(a_play(by=alice, on=song, at_ms=NOW - DAY_MS))
    world.reconcile()

    assert world.stats(alice).last_play_ms == NOW - DAY_MS
    assert world.look(select(play_counts.c.last_play_ms)) == [(NOW - DAY_MS,)]
    check(world)


def test_replay_views_follow(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    replay = world.put_replay(frames(1))
    one = world.record(a_play(by=alice, on=song, replay=replay)).score_id
    world.record(a_play(by=alice, on=song))

    async def view(tx: Any) -> None:
        await tx.run(statements.plays.COUNT_VIEW, of_score=one)
        await tx.run(statements.plays.COUNT_VIEW_OF_PLAYER, player_id=alice, in_mode=0)

    world.run(world.database.transaction(view))
    world.run(world.wipes.hide_score(OPERATOR, one, "because"))
    assert world.stats(alice).replay_views == 0
    world.run(world.wipes.unhide_score(OPERATOR, one, "because"))
    assert world.stats(alice).replay_views == 1
    check(world)


def test_hidden_pins_are_not_shown_make_way_and_come_back(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    pins = Pins(world.database)
    ids = [world.record(a_play(by=alice, on=song, score=n)).score_id for n in range(10)]
    for one in ids:
        world.run(pins.pin(alice, one))
    wipe(world)
    world.reconcile()

    assert world.run(pins.of(alice, 0)) == []
    with pytest.raises(NotFound):
        world.run(pins.pin(alice, ids[0]))
    new = world.record(a_play(by=alice, on=song)).score_id
    world.run(pins.pin(alice, new))
    assert [one.score.id for one in world.run(pins.of(alice, 0))] == [new]
    world.run(pins.unpin(alice, new))
    restore(world)
    world.reconcile()
    assert [one.score.id for one in world.run(pins.of(alice, 0))] == ids


def test_flags_first_places_and_counters_are_right_after_each_step(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kiai.scores.reconciling.STEP_ROWS_MAX", 1)
    monkeypatch.setattr("kiai.scores.hiding.PAGE_LEAST", 1)
    alice, _ = played(world)
    wipe(world)
    for _ in range(4):
        world.run(world.reconciler.step({}))
        # Only pp and the other totals of the bests wait until the last step.
        assert [problem for problem in world.problems() if not problem.startswith(f"I1: user {alice} ")] == []
    check(world)


def paused(world: World, statement: Query[Any] | Command) -> tuple[Pause, World]:
    """Return the same world with transactions that pause after a statement."""
    pause = Pause(world.database, statement)
    return pause, World(cast(Database, PausingDatabase(pause)), world.run, world.folder)


def run_during(
    world: World, pause: Pause, slow: Coroutine[Any, Any, Any], quick: Coroutine[Any, Any, Any]
) -> Sequence[Any]:
    """Run `slow` up to the pause, then `quick` until it ends or waits for `slow`, then both to their end."""

    async def scenario() -> Sequence[Any]:
        first = asyncio.create_task(slow)
        await pause.reached(first)
        second = asyncio.create_task(quick)
        await pause.until_stuck(second)
        pause.go()
        return await asyncio.gather(first, second, return_exceptions=True)

    return world.run(scenario())


def test_a_play_in_the_middle_of_a_wipe_is_recorded_after_it_and_counts(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    world.record(a_play(by=alice, on=song, score=9_000))
    pause, slow = paused(world, statements.hiding.USER_SCORES)

    [_, late] = run_during(
        world,
        pause,
        slow.wipes.wipe_user(OPERATOR, "alice", "because"),
        world.recorder.record(a_play(by=alice, on=song, score=1)),
    )

    check(world)
    assert world.board(song) == [late.score_id]


def test_a_play_in_the_middle_of_a_step_finds_the_right_bests(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    world.record(a_play(by=alice, on=song, score=9_000))
    wipe(world)
    pause, slow = paused(world, statements.hiding.MARK)

    [_, late] = run_during(
        world,
        pause,
        slow.reconciler.step({}),
        world.recorder.record(a_play(by=alice, on=song, score=1)),
    )

    check(world)
    assert world.board(song) == [late.score_id]
    assert world.stats(alice).tscore == 1


def test_a_play_in_the_middle_of_a_step_of_a_wiped_map(world: World) -> None:
    alice, bob, song = world.add_player(a_player()), world.add_player(a_player("bob")), world.add_map(a_map())
    world.record(a_play(by=alice, on=song, score=9_000))
    world.run(world.wipes.wipe_map(OPERATOR, song, "because"))
    pause, slow = paused(world, statements.hiding.MARK)

    [_, late] = run_during(
        world, pause, slow.reconciler.step({}), world.recorder.record(a_play(by=bob, on=song, score=1))
    )

    check(world)
    assert world.board(song) == [late.score_id]


def test_a_repeated_wipe_of_a_map_hides_a_play_that_committed_after_the_first(world: World) -> None:
    alice, bob, song = world.add_player(a_player()), world.add_player(a_player("bob")), world.add_map(a_map())
    pause, slow = paused(world, statements.plays.INSERT_SCORE)

    async def wiped_meanwhile() -> int:
        await world.recorder.record(a_play(by=bob, on=song, score=1))
        count = await world.wipes.wipe_map(OPERATOR, song, "because")
        await world.reconciler.finish()
        return count

    [late, first] = run_during(
        world, pause, slow.recorder.record(a_play(by=alice, on=song, score=9_000)), wiped_meanwhile()
    )
    assert world.board(song) == ([late.score_id] if first == 1 else [])  # on SQLite the wipe waits for the play
    if first == 1:
        assert world.run(world.wipes.wipe_map(OPERATOR, song, "because")) == 1

    check(world)
    assert world.board(song) == []
    with pytest.raises(WrongState, match="already has no scores"):
        world.run(world.wipes.wipe_map(OPERATOR, song, "because"))
    assert world.run(world.wipes.restore_map(OPERATOR, song, "because")) == 2
    check(world)


def test_a_wipe_of_a_map_hides_a_play_that_an_earlier_one_missed(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    world.record(a_play(by=alice, on=song, score=9_000))
    world.run(world.wipes.wipe_map(OPERATOR, song, "because"))
    world.reconcile()
    world.change(update(map_wipes).values(last_score_id=map_wipes.c.last_score_id + 1))
    world.record(a_play(by=alice, on=song, score=10))

    assert world.run(world.wipes.wipe_map(OPERATOR, song, "because")) == 1
    with pytest.raises(WrongState, match="already has no scores"):  # the steps of the wipe will hide it
        world.run(world.wipes.wipe_map(OPERATOR, song, "because"))

    check(world)
    assert world.board(song) == []
    assert marks(world) == [4, 4]


def test_two_wipes_at_once_hide_once(world: World) -> None:
    alice, _ = played(world)
    pause, slow = paused(world, statements.hiding.USER_SCORES)

    [first, second] = run_during(
        world,
        pause,
        slow.wipes.wipe_user(OPERATOR, "alice", "because"),
        world.wipes.wipe_user(OPERATOR, "alice", "because"),
    )

    assert first.scores == 12
    assert isinstance(second, WrongState)
    assert [row.action for row in world.audit(alice)] == ["user_wipe"]
    check(world)


def test_a_score_hidden_twice_at_once_is_hidden_once(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    one = world.record(a_play(by=alice, on=song)).score_id
    world.record(a_play(by=alice, on=song, score=5))
    pause, slow = paused(world, statements.hiding.MARK)

    [first, second] = run_during(
        world,
        pause,
        slow.wipes.hide_score(OPERATOR, one, "because"),
        world.wipes.hide_score(OPERATOR, one, "because"),
    )

    assert first.score_id == one
    assert isinstance(second, WrongState)
    assert world.stats(alice).plays == 1
    assert len(world.audit(one, "score")) == 1
    check(world)


def test_a_wipe_and_the_wipe_of_a_map_in_one_step_each(world: World) -> None:
    played(world)
    song = world.run(world.beatmaps.find(id=1))
    wipe(world)
    world.run(world.wipes.wipe_map(OPERATOR, song, "because"))
    pause, slow = paused(world, statements.hiding.MARK)
    [task] = [one for one in world.run(world.hiding._tasks.waiting()) if one.kind == USER_WIPE]
    [of_map] = [one for one in world.run(world.hiding._tasks.waiting()) if one.kind != USER_WIPE]

    results = run_during(
        world,
        pause,
        slow.database.transaction(lambda tx: slow.hiding.user_step(tx, task, 100)),
        world.database.transaction(lambda tx: world.hiding.map_step(tx, of_map, 100)),
    )

    assert not [one for one in results if isinstance(one, Exception)]
    check(world)
    assert sorted(marks(world)) == [0] * 4 + [2] * 8 + [4] * 2 + [6] * 4
