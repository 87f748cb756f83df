import time
from typing import Any, Final

import msgspec
import pytest
from sqlalchemy import delete, insert, select, update
from tests.builders import World, a_map, a_play, a_player, frames

from kiai.beatmaps import Beatmap, osu_key
from kiai.osu.mods import HD
from kiai.scores.model import replay_key
from kiai.storage.tables import (
    clans,
    counters,
    first_places,
    maps,
    outbox,
    play_counts,
    scores,
    sets,
    stats,
    users,
)

DERIVED: Final = (scores, stats, maps, first_places, play_counts, counters)


class Played(msgspec.Struct, frozen=True):
    """Alice leads the map; her worse play with Hidden is the best of those mods."""

    song: Beatmap
    alice: int
    bob: int
    best: int
    hidden: int
    second: int


@pytest.fixture
def played(world: World) -> Played:
    song = world.add_map(a_map())
    alice, bob = world.add_player(a_player()), world.add_player(a_player("bob", country="de"))
    return Played(
        song,
        alice,
        bob,
        best=world.record(
            a_play(by=alice, on=song, score=3_000, pp=30, replay=world.put_replay(frames(seed=1)))
        ).score_id,
        hidden=world.record(a_play(by=alice, on=song, score=1_000, pp=10, mods=HD)).score_id,
        second=world.record(a_play(by=bob, on=song, score=2_000, pp=20, replay=world.put_replay(frames(2)))).score_id,
    )


def derived(world: World) -> list[list[tuple[Any, ...]]]:
    # A board's version only has to differ after a change, whatever it is then.
    columns = [[c for c in table.c if c.name != "board_version"] for table in DERIVED]
    return [sorted(world.look(select(*one)), key=repr) for one in columns]


def check_mended(world: World, before: list[list[tuple[Any, ...]]], says: str) -> None:
    """The damage is named by one line, `repair` undoes it, and nothing else changes."""
    found = world.problems()
    assert len(found) == 1, found
    assert says in found[0]
    world.run(world.doctor.repair())
    assert world.problems() == []
    assert derived(world) == before


def test_a_sound_world_has_no_problems(world: World, played: Played) -> None:
    assert world.problems() == []


def test_rebuilding_what_is_right_changes_nothing(world: World, played: Played) -> None:
    before = derived(world)

    world.run(world.rebuilder.everything())

    assert derived(world) == before


@pytest.mark.parametrize("column", ["tscore", "rscore", "pp", "plays", "bests", "playtime", "acc", "max_combo"])
def test_wrong_stats_are_named_and_mended(world: World, played: Played, column: str) -> None:
    before = derived(world)

    world.change(update(stats).where(stats.c.user_id == played.bob).values({column: 7}))

    check_mended(world, before, f"I1: user {played.bob} mode 0: {column} is 7")


def test_a_missing_profile_is_named_and_mended(world: World, played: Played) -> None:
    before = derived(world)

    world.change(delete(stats).where(stats.c.user_id == played.alice))

    check_mended(world, before, f"I1: user {played.alice} mode 0:")


def test_a_profile_without_scores_is_named_and_mended(world: World, played: Played) -> None:
    before = derived(world)

    world.change(insert(stats).values(user_id=played.bob, mode=3, country="de", plays=4))

    check_mended(world, before, f"I1: user {played.bob} mode 3:")


@pytest.mark.parametrize("flag", ["best_score", "best_mods"])
def test_a_wrong_flag_is_named_and_mended(world: World, played: Played, flag: str) -> None:
    before = derived(world)

    world.change(update(scores).where(scores.c.id == played.second).values({flag: 0}))

    found = world.problems()
    assert f"I2: score {played.second} has wrong best flags" in found
    world.run(world.doctor.repair())
    assert world.problems() == []
    assert derived(world) == before


def test_bests_that_changed_places_are_named_and_mended(world: World, played: Played) -> None:
    before = derived(world)

    world.change(update(scores).where(scores.c.id == played.best).values(best_pp=0, best_score=0))
    world.change(update(scores).where(scores.c.id == played.hidden).values(best_pp=1, best_score=1))

    found = world.problems()
    assert {f"I2: score {one} has wrong best flags" for one in (played.best, played.hidden)} <= set(found)
    world.run(world.doctor.repair())
    assert world.problems() == []
    assert derived(world) == before


@pytest.mark.parametrize("column", ["plays", "passes"])
def test_a_wrong_counter_of_a_map_is_named_and_mended(world: World, played: Played, column: str) -> None:
    before = derived(world)

    world.change(update(maps).values({column: 99}))

    check_mended(world, before, f"I6: map {played.song.id}: ")


def test_a_wrong_most_played_counter_is_named_and_mended(world: World, played: Played) -> None:
    before = derived(world)

    world.change(update(play_counts).where(play_counts.c.user_id == played.bob).values(plays=50))

    check_mended(world, before, "I6: ")


def test_a_first_place_of_the_wrong_score_is_named_and_mended(world: World, played: Played) -> None:
    before = derived(world)

    world.change(update(first_places).values(score_id=played.second, user_id=played.bob))

    check_mended(world, before, f"I5: map key {played.song.key} mode 0: held by {played.second}")


def test_a_lost_first_place_is_named_and_mended(world: World, played: Played) -> None:
    before = derived(world)

    world.change(delete(first_places))

    check_mended(world, before, f"held by None, the board says {played.best}")


def test_a_wrong_counter_of_accounts_is_named_and_mended(world: World, played: Played) -> None:
    before = derived(world)

    world.change(update(counters).where(counters.c.name == "users").values(value=17))

    check_mended(world, before, "totals: 17 accounts are counted, there are 2")


# --- what no rebuild brings back


def test_a_missing_replay_is_named(world: World, played: Played) -> None:
    stored = world.put_replay(frames(seed=1))

    world.run(world.files.delete(replay_key(stored.md5)))
    world.run(world.doctor.repair())

    assert world.problems() == [f"I3: the replay of score {played.best} is missing"]


@pytest.mark.parametrize("damaged", [b"", frames(seed=1)[:-1], frames(seed=1)[:-1] + b"\xaa"])
def test_a_damaged_replay_is_named(world: World, played: Played, damaged: bytes) -> None:
    stored = world.put_replay(frames(seed=1))

    world.run(world.files.put(replay_key(stored.md5), damaged))
    world.run(world.doctor.repair())

    assert world.problems() == [f"I3: the replay of score {played.best} is damaged"]


def test_a_replay_of_no_score_is_named_after_a_day(world: World, played: Played) -> None:
    stored = world.put_replay(frames(seed=77))
    [file] = [one for one in world.run(listed(world)) if one.key == replay_key(stored.md5)]

    world.clock.set_now_ms(file.modified_ms + 86_400_000)
    young = world.problems()
    world.clock.set_now_ms(file.modified_ms + 86_400_001)
    old = [line for line in world.problems() if line.startswith("I3")]

    assert [line for line in young if line.startswith("I3")] == []
    assert old == [f"I3: the file {file.key} belongs to no score"]


async def listed(world: World) -> list[Any]:
    return [one async for one in world.files.keys("replays/")]


def test_a_missing_map_file_is_named(world: World, played: Played) -> None:
    world.run(world.files.delete(osu_key(played.song.md5)))

    assert world.problems() == [f"I3: the .osu file of map {played.song.id} ({played.song.md5}) is missing"]


def test_consequences_that_nobody_delivers_are_named(world: World, played: Played) -> None:
    waiting = len(world.look(select(outbox)))

    world.clock.advance(31)

    assert world.problems() == [
        f"I8: {waiting} consequences wait in the outbox; the server does not deliver them",
    ]
    world.run(world.outbox.deliver())
    assert world.problems() == []


def test_a_clan_without_an_owner_and_members_of_no_clan_are_named(world: World, played: Played) -> None:
    world.change(
        insert(clans).values(name="Lost", safe_name="lost", tag="LOST", owner_id=played.alice, created_at_ms=1)
    )
    world.change(update(users).where(users.c.id == played.bob).values(clan_id=55, clan_priv=1))

    assert world.problems() == ["I9: clan 1 has no owner", f"I9: user {played.bob} is in no clan that exists"]


def test_what_cannot_be_repaired_says_so(world: World, played: Played) -> None:
    world.run(world.files.delete(osu_key(played.song.md5)))
    world.change(delete(first_places))

    found = world.run(world.doctor.examine())

    assert {problem.invariant: problem.repairable for problem in found.problems} == {"I5": True, "I3": False}
    assert not found.ok


def test_a_repair_leaves_an_audit_row_and_tells_the_ranks(world: World, played: Played) -> None:
    world.run(world.outbox.deliver())
    world.change(update(stats).where(stats.c.user_id == played.bob).values(pp=5_000))

    world.run(world.doctor.repair())
    world.run(world.outbox.deliver())

    assert [row.action for row in world.audit(0, "server")] == ["doctor_repair"]
    assert world.run(world.realtime.around(0)) == [played.alice, played.bob]


def test_many_problems_of_a_kind_are_summed_up(world: World) -> None:
    song = world.add_map(a_map())
    for n in range(52):
        world.record(a_play(by=world.add_player(a_player(f"player{n}")), on=song))

    world.change(update(stats).values(pp=1))

    found = world.problems()
    assert len(found) == 51
    assert found[-1] == "I1: and 2 more like these"


def test_a_score_on_another_countrys_board_is_named_and_mended(world: World) -> None:
    alice = world.add_player(a_player(country="nl"))
    world.record(a_play(by=alice, on=world.add_map(a_map())))
    world.change(update(scores).values(country="de"))

    assert world.problems() == ["I2: score 1 is on another country's boards"]
    world.run(world.doctor.repair())
    world.run(world.outbox.deliver())

    assert world.problems() == []


def test_a_wrong_count_of_favourites_is_named_and_mended(world: World) -> None:
    world.add_map(a_map(1, set_id=7))
    world.change(update(sets).values(favourites=3))

    assert world.problems() == ["I6: set 7: 3 favourites are counted, there are 0"]
    world.run(world.doctor.repair())
    world.run(world.outbox.deliver())

    assert world.problems() == []


def test_a_replay_that_no_score_came_of_is_removed_after_a_day(world: World) -> None:
    alice = world.add_player(a_player())
    kept = world.put_replay(b"of a score")
    world.record(a_play(by=alice, on=world.add_map(a_map()), replay=kept))
    left = world.put_replay(b"of a play that was never stored")

    def sweep_everything() -> int:
        return sum(world.run(world.replays.sweep()) for _ in range(256))

    world.clock.set_now_ms(int(time.time() * 1000))
    assert sweep_everything() == 0, "the game may still send it again"
    world.clock.set_now_ms(int(time.time() * 1000) + 2 * 86_400_000)
    assert sweep_everything() == 1

    assert world.run(world.files.get(replay_key(kept.md5))) is not None
    assert world.run(world.files.get(replay_key(left.md5))) is None
