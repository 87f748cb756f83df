import asyncio
from typing import Any

import msgspec
import pytest
from sqlalchemy import select
from tests.builders import NORMAL, NOW_MS, World, a_map, a_play, a_player, a_stored_replay, frames

from kiai.beatmaps import Beatmap, MapStatus
from kiai.errors import NotFound
from kiai.osu.accuracy import HitCounts
from kiai.osu.mods import AP, DT, HD, NC, RX, TD
from kiai.scores import before_play
from kiai.scores.before_play import BeforePlay
from kiai.scores.listing_parts import ModsFilter
from kiai.scores.medals import DAY_MS
from kiai.scores.model import Play, Recorded, Stats
from kiai.scores.recording import AlreadyRecorded, TotalsOptions
from kiai.staff import OPERATOR
from kiai.storage.sqlite import SqliteDatabase
from kiai.storage.tables import first_places, outbox, play_counts, scores

RESTRICTED = NORMAL & ~1


def flags(world: World, score_id: int) -> tuple[int, int, int]:
    """Return best_pp, best_score and best_mods of a score."""
    columns = scores.c.best_pp, scores.c.best_score, scores.c.best_mods
    [row] = world.look(select(*columns).where(scores.c.id == score_id))
    return row[0], row[1], row[2]


def holder(world: World, beatmap: Beatmap, mode: int = 0) -> int | None:
    """Return the score that holds the first place."""
    rows = world.look(
        select(first_places.c.score_id).where(first_places.c.map_key == beatmap.key, first_places.c.mode == mode)
    )
    return rows[0][0] if rows else None


def everything(world: World) -> list[Any]:
    """Return all rows that a play may change."""
    return [world.look(select(table)) for table in (scores, first_places, play_counts, outbox)] + [
        world.run(world.profiles.stats_of(3)),
        world.run(world.beatmaps.revisions()),
    ]


# --- best scores


def test_first_play_is_best_by_both_measures_and_takes_the_first_place(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())

    recorded = world.record(a_play(by=alice, on=song))

    assert msgspec.structs.replace(recorded, chart=None) == Recorded(
        recorded.score_id, is_best_pp=True, is_best_score=True, is_first_place=True
    )
    assert flags(world, recorded.score_id) == (1, 1, 1)
    assert world.board(song) == [recorded.score_id]
    assert world.problems() == []


def test_better_play_takes_both_flags_from_the_previous_best(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    old = world.record(a_play(by=alice, on=song, score=1_000, pp=10))

    new = world.record(a_play(by=alice, on=song, score=2_000, pp=20))

    assert (flags(world, old.score_id), flags(world, new.score_id)) == ((0, 0, 0), (1, 1, 1))
    assert world.board(song) == [new.score_id]


def test_worse_play_does_not_change_the_best(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    old = world.record(a_play(by=alice, on=song, score=2_000, pp=20))

    new = world.record(a_play(by=alice, on=song, score=1_000, pp=10))

    assert msgspec.structs.replace(new, chart=None) == Recorded(
        new.score_id, is_best_pp=False, is_best_score=False, is_first_place=False
    )
    assert (flags(world, old.score_id), flags(world, new.score_id)) == ((1, 1, 1), (0, 0, 0))


def test_earlier_of_two_equal_plays_stays_best(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    old = world.record(a_play(by=alice, on=song, score=1_000, pp=10))

    new = world.record(a_play(by=alice, on=song, score=1_000, pp=10))

    assert (flags(world, old.score_id), flags(world, new.score_id)) == ((1, 1, 1), (0, 0, 0))


def test_at_equal_pp_the_higher_score_is_best_by_pp(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    old = world.record(a_play(by=alice, on=song, score=1_000, pp=10))

    new = world.record(a_play(by=alice, on=song, score=1_001, pp=10))

    assert (flags(world, old.score_id), flags(world, new.score_id)) == ((0, 0, 0), (1, 1, 1))


@pytest.mark.parametrize("postgres", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("score", "pp", "changed"),
    [
        pytest.param(1_000, 10.0, set(), id="not the best"),
        pytest.param(3_000, 20.0, {"rscore"}, id="a higher score with equal pp"),
        pytest.param(2_000, 30.0, {"pp"}, id="more pp with an equal score"),
    ],
)
def test_play_writes_only_the_totals_that_it_changes(world: World, score: int, pp: float, changed: set[str]) -> None:
    """SQLite changes the indexes of all columns that a statement names, also if their values stay the same."""
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    world.record(a_play(by=alice, on=song, score=2_000, pp=20))
    assert isinstance(world.database, SqliteDatabase)
    connection, updates = world.database._writes.connection, set[str]()  # SQLite reports one again for each trigger

    connection.set_trace_callback(lambda sql: updates.add(sql) if sql.startswith("UPDATE stats") else None)
    world.record(a_play(by=alice, on=song, score=score, pp=pp))
    connection.set_trace_callback(None)

    [update] = updates
    assert {name for name in ("rscore", "pp", "acc") if f"{name}=" in update} == changed
    assert world.problems() == []


@pytest.mark.parametrize(
    ("score", "pp", "old_flags", "new_flags"),
    [
        pytest.param(2_000, 10.0, (1, 0, 0), (0, 1, 1), id="more score, less pp"),
        pytest.param(500, 30.0, (0, 1, 1), (1, 0, 0), id="more pp, less score"),
    ],
)
def test_best_by_pp_and_best_by_score_can_be_different_plays(
    world: World, score: int, pp: float, old_flags: tuple[int, int, int], new_flags: tuple[int, int, int]
) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    old = world.record(a_play(by=alice, on=song, score=1_000, pp=20))

    new = world.record(a_play(by=alice, on=song, score=score, pp=pp))

    assert (flags(world, old.score_id), flags(world, new.score_id)) == (old_flags, new_flags)
    assert world.board(song) == [new.score_id if new.is_best_score else old.score_id]
    assert world.stats(alice).pp == round(max(pp, 20) + 416.6667 * 0.005)
    assert world.problems() == []


@pytest.mark.parametrize(("mods", "mode"), [(RX, 4), (AP, 8)])
def test_relax_and_autopilot_have_one_best_by_pp(world: World, mods: int, mode: int) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    old = world.record(a_play(by=alice, on=song, mods=mods, score=9_000, pp=10))

    new = world.record(a_play(by=alice, on=song, mods=mods, score=1_000, pp=20))

    assert (flags(world, old.score_id), flags(world, new.score_id)) == ((0, 0, 0), (1, 1, 1))
    assert (world.board(song, mode), world.board(song)) == ([new.score_id], [])
    assert holder(world, song, mode) == new.score_id


def test_each_set_of_mods_has_its_own_best(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    plain = world.record(a_play(by=alice, on=song, score=9_000, pp=90))

    hidden = world.record(a_play(by=alice, on=song, mods=HD, score=1_000, pp=10))

    assert (flags(world, plain.score_id), flags(world, hidden.score_id)) == ((1, 1, 1), (0, 0, 1))
    rows = world.run(world.boards.best_on(song.key, 0, limit=50, mods=ModsFilter(all_of=HD)))
    assert [row.score.id for row in rows] == [hidden.score_id]


def test_nightcore_and_touch_device_share_the_best_of_double_time(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    slow = world.record(a_play(by=alice, on=song, mods=DT, score=1_000))

    fast = world.record(a_play(by=alice, on=song, mods=DT | NC | TD, score=2_000))

    assert (flags(world, slow.score_id)[2], flags(world, fast.score_id)[2]) == (0, 1)


@pytest.mark.parametrize("mods", [0, RX])
def test_failed_play_is_counted_and_never_best(world: World, mods: int) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())

    failed = world.record(a_play(by=alice, on=song, mods=mods, score=9_000, passed=False, combo=80))

    mode = 4 if mods else 0
    stats = world.stats(alice, mode)
    assert flags(world, failed.score_id) == (0, 0, 0)
    assert (world.board(song, mode), holder(world, song, mode)) == ([], None)
    assert (stats.plays, stats.tscore, stats.rscore, stats.bests, stats.max_combo) == (1, 9_000, 0, 0, 0)
    assert (world.map(song.md5).plays, world.map(song.md5).passes) == (1, 0)


# --- totals


def test_totals_are_weighted_by_rank_of_pp_with_the_official_bonus(world: World) -> None:
    alice = world.add_player(a_player())
    songs = [world.add_map(a_map(id=n)) for n in (1, 2, 3)]

    for song, pp, acc in zip(songs, (100.0, 300.0, 200.0), (90.0, 99.0, 95.0), strict=True):
        world.record(a_play(by=alice, on=song, pp=pp, acc=acc))

    # 300 + 200 * 0.95 + 100 * 0.9025 = 580.25; 416.6667 * (1 - 0.995^3) = 6.219; (99 + 90.25 + 81.225) / 2.8525
    stats = world.stats(alice)
    assert (stats.pp, stats.acc, stats.bests) == (586, 94.820, 3)


def test_totals_after_a_better_play_on_one_of_several_maps_with_equal_pp(world: World) -> None:
    alice = world.add_player(a_player())
    songs = [world.add_map(a_map(id=n)) for n in (1, 2, 3)]
    for song, acc in zip(songs, (98.0, 97.0, 98.0), strict=True):
        world.record(a_play(by=alice, on=song, score=1_000, pp=100.0, acc=acc))

    world.record(a_play(by=alice, on=songs[0], score=2_000, pp=200.0, acc=99.0))

    # The third map stays before the second: (99 + 98 * 0.95 + 97 * 0.9025) / 2.8525
    assert world.stats(alice).acc == 98.034
    assert world.problems() == []


def test_operator_can_choose_the_legacy_bonus(world: World) -> None:
    old_style = world.with_rules(TotalsOptions(bonus_pp="legacy"))
    alice, song = old_style.add_player(a_player()), old_style.add_map(a_map())

    old_style.record(a_play(by=alice, on=song, pp=100.3))

    # 416.6667 * (1 - 0.9994) = 0.25, the official bonus would be 2.08
    assert old_style.stats(alice).pp == 101
    assert old_style.problems() == []
    assert [line[:3] for line in world.problems()] == ["I1:"]


def test_profile_has_the_totals_of_all_plays(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map(objects=200))

    world.record(a_play(by=alice, on=song, score=1_000, pp=10, n100=50, combo=120, seconds=90.999))
    world.record(a_play(by=alice, on=song, score=700, passed=False, counts=HitCounts(30, 5, 2, 4, 4, 9), seconds=20.5))
    world.record(a_play(by=alice, on=song, score=3_000, pp=30, mods=HD, combo=200, seconds=91))

    assert world.stats(alice) == Stats(
        user_id=alice,
        mode=0,
        tscore=4_700,
        rscore=3_000,
        pp=32,  # 30 + 2.083
        plays=3,
        bests=1,
        playtime=201,
        acc=100.0,
        max_combo=200,
        total_hits=200 + 37 + 200,
        replay_views=0,
        xh_count=1,
        x_count=0,
        sh_count=0,
        s_count=0,
        a_count=0,
        last_play_ms=NOW_MS,
    )
    assert world.look(select(play_counts.c.plays)) == [(3,)]
    assert world.problems() == []


@pytest.mark.parametrize(("mode", "hits"), [(0, 60), (1, 100), (2, 60), (3, 100)])
def test_taiko_and_mania_hits_count_geki_and_katu(world: World, mode: int, hits: int) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map(mode=mode))

    world.record(a_play(by=alice, on=song, counts=HitCounts(30, 20, 10, 25, 15, 3)))

    assert world.stats(alice, mode).total_hits == hits


def test_new_best_replaces_the_old_one_in_ranked_score_and_grades(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    world.record(a_play(by=alice, on=song, score=1_000, pp=10, n100=15))
    before = world.stats(alice)

    world.record(a_play(by=alice, on=song, score=4_000, pp=40, n100=5))

    after = world.stats(alice)
    assert (before.rscore, before.a_count, before.s_count, before.bests) == (1_000, 1, 0, 1)
    assert (after.rscore, after.a_count, after.s_count, after.bests) == (4_000, 0, 1, 1)


def test_ranked_score_and_grades_are_those_of_the_best_by_pp(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    world.record(a_play(by=alice, on=song, score=9_000, pp=10, n100=15))

    world.record(a_play(by=alice, on=song, score=2_000, pp=40, n100=5))

    stats = world.stats(alice)
    assert (stats.rscore, stats.s_count, stats.a_count) == (2_000, 1, 0)
    assert world.problems() == []


@pytest.mark.parametrize(
    ("status", "counts_pp", "combo_counts"),
    [
        (MapStatus.PENDING, False, False),
        (MapStatus.RANKED, True, True),
        (MapStatus.APPROVED, True, True),
        (MapStatus.QUALIFIED, False, True),
        (MapStatus.LOVED, False, True),
    ],
)
def test_pp_and_ranked_score_depend_on_the_status_of_the_map(
    world: World, status: MapStatus, counts_pp: bool, combo_counts: bool
) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map(), status)

    recorded = world.record(a_play(by=alice, on=song, score=1_000, pp=30, combo=77))

    stats = world.stats(alice)
    assert (stats.pp, stats.rscore, stats.x_count, stats.bests) == ((32, 1_000, 1, 1) if counts_pp else (0, 0, 0, 0))
    assert stats.max_combo == (77 if combo_counts else 0)
    assert recorded.is_first_place == combo_counts
    assert world.problems() == []


def test_loved_maps_add_score_and_grades_but_no_pp_with_loved_counts(world: World) -> None:
    loving = world.with_rules(TotalsOptions(loved_counts=True))
    alice, song = loving.add_player(a_player()), loving.add_map(a_map(), MapStatus.LOVED)

    loving.record(a_play(by=alice, on=song, score=1_000, pp=30))

    stats = loving.stats(alice)
    assert (stats.rscore, stats.x_count, stats.pp, stats.bests) == (1_000, 1, 0, 0)
    assert loving.problems() == []


def test_status_change_during_recording_applies_to_the_play(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    world.run(world.staff.set_map_status(OPERATOR, [song], MapStatus.PENDING))
    read = before_play.read
    reads = 0

    async def read_stale_status(*args: Any, **named: Any) -> BeforePlay:
        nonlocal reads
        reads += 1
        found = await read(*args, **named)
        if reads > 1:
            return found
        return msgspec.structs.replace(found, beatmap=msgspec.structs.replace(found.beatmap, status=MapStatus.RANKED))

    monkeypatch.setattr(before_play, "read", read_stale_status)
    world.record(a_play(by=alice, on=song))
    monkeypatch.undo()

    assert reads == 2
    assert world.stats(alice).rscore == 0
    assert len(world.look(select(scores.c.id))) == 1
    assert world.problems() == []


def test_first_place_of_a_board_that_appears_before_recording(world: World) -> None:
    alice, bob, song = world.add_player(a_player()), world.add_player(a_player("bob")), world.add_map(a_map())
    world.record(a_play(by=alice, on=song, score=2_000))
    world.run(world.staff.set_map_status(OPERATOR, [song], MapStatus.PENDING))
    world.reconcile()
    play = a_play(by=bob, on=world.map(song.md5), score=1_000)

    world.run(world.staff.set_map_status(OPERATOR, [song], MapStatus.RANKED))
    world.reconcile()
    recorded = world.record(play)

    assert not recorded.is_first_place
    assert world.look(select(first_places.c.user_id)) == [(alice,)]
    assert world.problems() == []


def test_status_change_before_recording_applies_to_the_play(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    play = a_play(by=alice, on=song)

    world.run(world.staff.set_map_status(OPERATOR, [song], MapStatus.PENDING))
    world.record(play)

    assert world.stats(alice).rscore == 0
    assert world.problems() == []


# --- counters and first places


def test_counters_of_a_map_do_not_include_hidden_players(world: World) -> None:
    song = world.add_map(a_map())
    seen, hidden = world.add_player(a_player()), world.add_player(a_player("bob", priv=RESTRICTED))

    world.record(a_play(by=seen, on=song))
    world.record(a_play(by=seen, on=song, passed=False))
    recorded = world.record(a_play(by=hidden, on=song, score=10**6))

    now = world.map(song.md5)
    assert (now.plays, now.passes) == (2, 1)
    assert not recorded.is_first_place
    assert world.stats(hidden).plays == 1
    assert world.problems() == []


def test_first_place_goes_to_the_highest_score(world: World) -> None:
    song = world.add_map(a_map())
    alice, bob = world.add_player(a_player()), world.add_player(a_player("bob"))
    world.record(a_play(by=alice, on=song, score=1_000))

    higher = world.record(a_play(by=bob, on=song, score=1_001, at_ms=123))

    assert higher.is_first_place
    rows = world.look(select(first_places.c.score_id, first_places.c.user_id, first_places.c.since_ms))
    assert rows == [(higher.score_id, bob, 123)]


def test_earlier_player_keeps_the_first_place_at_equal_scores(world: World) -> None:
    song = world.add_map(a_map())
    alice, bob = world.add_player(a_player()), world.add_player(a_player("bob"))
    earlier = world.record(a_play(by=alice, on=song, score=1_000))

    later = world.record(a_play(by=bob, on=song, score=1_000))

    assert not later.is_first_place
    assert holder(world, song) == earlier.score_id
    assert world.board(song) == [earlier.score_id, later.score_id]


def test_earlier_player_keeps_the_first_place_at_equal_pp(world: World) -> None:
    song = world.add_map(a_map())
    alice, bob = world.add_player(a_player()), world.add_player(a_player("bob"))
    earlier = world.record(a_play(by=alice, on=song, mods=RX, score=1_000, pp=50))

    world.record(a_play(by=bob, on=song, mods=RX, score=2_000, pp=50))
    recorded = holder(world, song, 4), world.problems()
    world.run(world.rebuilder.everything())

    assert recorded == (earlier.score_id, [])
    assert holder(world, song, 4) == world.board(song, 4)[0] == earlier.score_id


# --- repeated and concurrent plays


def test_the_same_play_is_recorded_once(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    play = a_play(by=alice, on=song)
    recorded = world.record(play)
    before = everything(world)

    with pytest.raises(AlreadyRecorded) as raised:
        world.record(play)

    assert raised.value.score_id == recorded.score_id
    assert everything(world) == before


def test_replay_is_recorded_once_for_all_players(world: World) -> None:
    song = world.add_map(a_map())
    alice, bob = world.add_player(a_player()), world.add_player(a_player("bob"))
    stored = world.put_replay(frames())
    recorded = world.record(a_play(by=alice, on=song, replay=stored))
    before = everything(world)

    with pytest.raises(AlreadyRecorded) as raised:
        world.record(a_play(by=bob, on=song, score=10**7, replay=a_stored_replay(frames())))

    assert raised.value.score_id == recorded.score_id
    assert everything(world) == before


def test_play_of_an_unknown_player_is_refused(world: World) -> None:
    song = world.add_map(a_map())
    before = everything(world)

    with pytest.raises(NotFound, match="player"):
        world.record(a_play(by=999, on=song))

    assert everything(world) == before


def test_one_of_twenty_equal_concurrent_plays_is_recorded(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    play = a_play(by=alice, on=song, score=1_000)

    async def at_once() -> list[Recorded | BaseException]:
        return await asyncio.gather(*(world.recorder.record(play) for _ in range(20)), return_exceptions=True)

    results = world.run(at_once())

    [recorded] = [one for one in results if isinstance(one, Recorded)]
    refused = [one for one in results if isinstance(one, AlreadyRecorded)]
    assert [one.score_id for one in refused] == [recorded.score_id] * 19
    assert (world.stats(alice).plays, world.stats(alice).tscore, world.map(song.md5).plays) == (1, 1_000, 1)
    assert world.problems() == []


def test_different_concurrent_plays_of_one_player_are_all_counted(world: World) -> None:
    alice, song, other = world.add_player(a_player()), world.add_map(a_map()), world.add_map(a_map(id=2))
    plays = [a_play(by=alice, on=(song, other)[n % 2], score=1_000 + n, pp=10.0 + n) for n in range(12)]

    async def at_once() -> list[Recorded]:
        return await asyncio.gather(*(world.recorder.record(play) for play in plays))

    world.run(at_once())

    stats = world.stats(alice)
    assert (stats.plays, stats.tscore, stats.rscore, stats.bests) == (12, 12_066, 1_010 + 1_011, 2)
    assert world.problems() == []


def test_concurrent_plays_of_many_players_on_a_map_give_one_first_place(world: World) -> None:
    song = world.add_map(a_map())
    players = [world.add_player(a_player(f"player{n}")) for n in range(10)]
    plays = [a_play(by=player, on=song, score=1_000 + n % 3) for n, player in enumerate(players)]

    async def at_once() -> list[Recorded]:
        return await asyncio.gather(*(world.recorder.record(play) for play in plays))

    world.run(at_once())

    assert world.map(song.md5).plays == 10
    assert holder(world, song) == world.board(song)[0]
    assert world.problems() == []


# --- places on the board of the map


def places(recorded: Recorded) -> tuple[int, int | None]:
    """Return the places before and after a play that was recorded with them."""
    assert recorded.chart is not None
    return recorded.chart.map_rank_before, recorded.map_rank


@pytest.mark.parametrize("mods", [0, RX])
def test_transaction_reads_the_places_before_and_after_a_play(world: World, mods: int) -> None:
    song = world.add_map(a_map())
    alice, bob, eve = (world.add_player(a_player(name)) for name in ("alice", "bob", "eve"))
    hidden = world.add_player(a_player("hidden", priv=RESTRICTED))
    world.record(a_play(by=bob, on=song, score=2_000, pp=20.0, mods=mods))
    world.record(a_play(by=eve, on=song, score=3_000, pp=30.0, mods=mods))
    world.record(a_play(by=hidden, on=song, score=9_000, pp=90.0, mods=mods))

    def record(by: int, points: int, **fields: Any) -> Recorded:
        play = a_play(by=by, on=song, score=points * 100, pp=float(points), mods=mods, **fields)
        return world.run(world.recorder.record(play, places=True))

    assert places(record(alice, 10)) == (0, 3)
    assert places(record(alice, 25)) == (3, 2)
    assert places(record(alice, 5)) == (2, 3), "the place of this play, which is not the best one"
    assert places(record(alice, 40)) == (2, 1)
    assert places(record(hidden, 35)) == (1, 2), "hidden players see their own line"
    assert record(alice, 50, passed=False).map_rank is None


def test_play_on_a_map_without_a_board_has_no_places(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map(), status=MapStatus.PENDING)

    assert places(world.run(world.recorder.record(a_play(by=alice, on=song), places=True))) == (0, 0)


# --- medals that depend on the plays of the day


def test_holder_of_the_medal_for_five_maps_earns_the_others_of_the_day(world: World) -> None:
    alice, songs = world.add_player(a_player()), [world.add_map(a_map(number)) for number in range(1, 7)]
    for song in songs[1:]:
        world.record(a_play(by=alice, on=song, grade_="S"))
    for song in songs[:2]:
        world.record(a_play(by=alice, on=song, grade_="D"))

    assert 105 in medals_after(world, a_play(by=alice, on=songs[0], grade_="A"))

    for _ in range(97):
        world.record(a_play(by=alice, on=songs[0], passed=False))
    assert 111 not in medals_after(world, a_play(by=alice, on=songs[2], grade_="B"))
    assert 111 in medals_after(world, a_play(by=alice, on=songs[0], grade_="B"))


def test_play_of_the_day_before_earns_no_medal_of_the_day(world: World) -> None:
    alice, songs = world.add_player(a_player()), [world.add_map(a_map(number)) for number in range(1, 7)]
    for song in songs[1:]:
        world.record(a_play(by=alice, on=song, grade_="S"))
    world.record(a_play(by=alice, on=songs[0], grade_="D", at_ms=NOW_MS - DAY_MS - 1))

    assert 105 not in medals_after(world, a_play(by=alice, on=songs[0], grade_="A"))


def medals_after(world: World, play: Play) -> list[int]:
    """Return the medals that a play earns."""
    chart = world.record(play).chart
    assert chart is not None
    return chart.medals
