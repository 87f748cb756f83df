import time
from typing import Any, Final

import msgspec
import pytest
from sqlalchemy import delete, insert, select, update
from tests.builders import World, a_map, a_play, a_player, frames

from kiai.beatmaps import Beatmap, osu_key
from kiai.osu.mods import HD
from kiai.scores.boards import Boards
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
    """Scores on a map: Alice is first, and her worse play with Hidden is her best with these mods."""

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
    # The version of a board changes by any amount.
    columns = [[c for c in table.c if c.name != "board_version"] for table in DERIVED]
    return [sorted(world.look(select(*one)), key=repr) for one in columns]


def check_repaired(world: World, before: list[list[tuple[Any, ...]]], says: str) -> None:
    """Check that one line reports the damage, and that `repair` restores all derived rows."""
    found = world.problems()
    assert len(found) == 1, found
    assert says in found[0]
    world.run(world.doctor.repair())
    assert world.problems() == []
    assert derived(world) == before


def test_doctor_finds_no_problem_in_sound_data(world: World, played: Played) -> None:
    assert world.problems() == []


def test_rebuild_of_sound_data_changes_nothing(world: World, played: Played) -> None:
    before = derived(world)

    world.run(world.rebuilder.everything())

    assert derived(world) == before


@pytest.mark.parametrize("column", ["tscore", "rscore", "pp", "plays", "bests", "playtime", "acc", "max_combo"])
def test_wrong_stats_are_reported_and_repaired(world: World, played: Played, column: str) -> None:
    before = derived(world)

    world.change(update(stats).where(stats.c.user_id == played.bob).values({column: 7}))

    check_repaired(world, before, f"I1: user {played.bob} mode 0: {column} is 7")


def test_missing_profile_is_reported_and_repaired(world: World, played: Played) -> None:
    before = derived(world)

    world.change(delete(stats).where(stats.c.user_id == played.alice))

    check_repaired(world, before, f"I1: user {played.alice} mode 0:")


def test_profile_without_scores_is_reported_and_repaired(world: World, played: Played) -> None:
    before = derived(world)

    world.change(insert(stats).values(user_id=played.bob, mode=3, country="de", plays=4))

    check_repaired(world, before, f"I1: user {played.bob} mode 3:")


@pytest.mark.parametrize("flag", ["best_score", "best_mods"])
def test_wrong_best_flag_is_reported_and_repaired(world: World, played: Played, flag: str) -> None:
    before = derived(world)

    world.change(update(scores).where(scores.c.id == played.second).values({flag: 0}))

    found = world.problems()
    assert f"I2: score {played.second} has wrong best flags" in found
    world.run(world.doctor.repair())
    assert world.problems() == []
    assert derived(world) == before


def test_rebuild_of_players_makes_cached_pages_of_boards_invalid(world: World, played: Played) -> None:
    world.change(update(scores).where(scores.c.id == played.second).values(best_score=0))
    boards = Boards(world.database)
    before = world.run(boards.stamp(world.map(played.song.md5)))

    world.run(world.rebuilder.users(played.bob, played.bob))

    assert world.run(boards.stamp(world.map(played.song.md5))) != before


def test_swapped_bests_are_reported_and_repaired(world: World, played: Played) -> None:
    before = derived(world)

    world.change(update(scores).where(scores.c.id == played.best).values(best_pp=0, best_score=0))
    world.change(update(scores).where(scores.c.id == played.hidden).values(best_pp=1, best_score=1))

    found = world.problems()
    assert {f"I2: score {one} has wrong best flags" for one in (played.best, played.hidden)} <= set(found)
    world.run(world.doctor.repair())
    assert world.problems() == []
    assert derived(world) == before


@pytest.mark.parametrize("column", ["plays", "passes"])
def test_wrong_counter_of_a_map_is_reported_and_repaired(world: World, played: Played, column: str) -> None:
    before = derived(world)

    world.change(update(maps).values({column: 99}))

    check_repaired(world, before, f"I6: map {played.song.id}: ")


def test_wrong_play_count_is_reported_and_repaired(world: World, played: Played) -> None:
    before = derived(world)

    world.change(update(play_counts).where(play_counts.c.user_id == played.bob).values(plays=50))

    check_repaired(world, before, "I6: ")


def test_first_place_of_the_wrong_score_is_reported_and_repaired(world: World, played: Played) -> None:
    before = derived(world)

    world.change(update(first_places).values(score_id=played.second, user_id=played.bob))

    check_repaired(world, before, f"I5: map key {played.song.key} mode 0: the first place is {played.second}, ")


def test_missing_first_place_is_reported_and_repaired(world: World, played: Played) -> None:
    before = derived(world)

    world.change(delete(first_places))

    check_repaired(world, before, f"the first place is None, the board gives {played.best}")


def test_wrong_counter_of_accounts_is_reported_and_repaired(world: World, played: Played) -> None:
    before = derived(world)

    world.change(update(counters).where(counters.c.name == "users").values(value=17))

    check_repaired(world, before, "totals: the counter of accounts is 17, the rows give 2")


# --- problems that a rebuild cannot repair


def test_missing_replay_is_reported(world: World, played: Played) -> None:
    stored = world.put_replay(frames(seed=1))

    world.run(world.files.delete(replay_key(stored.md5)))
    world.run(world.doctor.repair())

    assert world.problems() == [f"I3: the replay of score {played.best} is missing"]


@pytest.mark.parametrize("damaged", [b"", frames(seed=1)[:-1], frames(seed=1)[:-1] + b"\xaa"])
def test_damaged_replay_is_reported(world: World, played: Played, damaged: bytes) -> None:
    stored = world.put_replay(frames(seed=1))

    world.run(world.files.put(replay_key(stored.md5), damaged))
    world.run(world.doctor.repair())

    assert world.problems() == [f"I3: the replay of score {played.best} is damaged"]


def test_replay_without_a_score_is_reported_after_a_day(world: World, played: Played) -> None:
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


def test_missing_map_file_is_reported(world: World, played: Played) -> None:
    world.run(world.files.delete(osu_key(played.song.md5)))

    assert world.problems() == [f"I3: the .osu file of map {played.song.id} ({played.song.md5}) is missing"]


def test_undelivered_outbox_rows_are_reported(world: World, played: Played) -> None:
    waiting = len(world.look(select(outbox)))

    world.clock.advance(31)

    assert world.problems() == [
        f"I8: {waiting} rows wait in the outbox; the server does not deliver them",
    ]
    world.run(world.outbox.deliver())
    assert world.problems() == []


def test_clan_without_owner_and_members_without_clan_are_reported(world: World, played: Played) -> None:
    world.change(
        insert(clans).values(name="Lost", safe_name="lost", tag="LOST", owner_id=played.alice, created_at_ms=1)
    )
    world.change(update(users).where(users.c.id == played.bob).values(clan_id=55, clan_priv=1))

    assert world.problems() == ["I9: clan 1 has no owner", f"I9: the clan of user {played.bob} does not exist"]


def test_report_names_problems_that_cannot_be_repaired(world: World, played: Played) -> None:
    world.run(world.files.delete(osu_key(played.song.md5)))
    world.change(delete(first_places))

    found = world.run(world.doctor.examine())

    assert {problem.invariant: problem.repairable for problem in found.problems} == {"I5": True, "I3": False}
    assert not found.ok


def test_repair_writes_an_audit_row_and_refreshes_ranks(world: World, played: Played) -> None:
    world.run(world.outbox.deliver())
    world.change(update(stats).where(stats.c.user_id == played.bob).values(pp=5_000))

    world.run(world.doctor.repair())
    world.run(world.outbox.deliver())

    assert [row.action for row in world.audit(0, "server")] == ["doctor_repair"]
    assert world.run(world.realtime.ranked_ids(0)) == [played.alice, played.bob]


def test_many_problems_of_a_kind_are_summarised(world: World) -> None:
    song = world.add_map(a_map())
    for n in range(52):
        world.record(a_play(by=world.add_player(a_player(f"player{n}")), on=song))

    world.change(update(stats).values(pp=1))

    found = world.problems()
    assert len(found) == 51
    assert found[-1] == "I1: and 2 more like these"


def test_score_with_the_wrong_country_is_reported_and_repaired(world: World) -> None:
    alice = world.add_player(a_player(country="nl"))
    world.record(a_play(by=alice, on=world.add_map(a_map())))
    world.change(update(scores).values(country="de"))

    assert world.problems() == ["I2: score 1 is on another country's boards"]
    world.run(world.doctor.repair())
    world.run(world.outbox.deliver())

    assert world.problems() == []


def test_wrong_count_of_favourites_is_reported_and_repaired(world: World) -> None:
    world.add_map(a_map(1, set_id=7))
    world.change(update(sets).values(favourites=3))

    assert world.problems() == [
        "I6: set 7: the counter of favourites is 3, the rows give 0",
        "I6: set 7: its row in the catalogue differs from its maps",
    ]
    world.run(world.doctor.repair())
    world.run(world.outbox.deliver())

    assert world.problems() == []


def test_replay_file_without_a_score_is_deleted_after_a_day(world: World) -> None:
    alice = world.add_player(a_player())
    kept = world.put_replay(b"of a score")
    world.record(a_play(by=alice, on=world.add_map(a_map()), replay=kept))
    left = world.put_replay(b"of a play that was never stored")

    def sweep_everything() -> int:
        return sum(world.run(world.replays.sweep()) for _ in range(256))

    world.clock.set_now_ms(int(time.time() * 1000))
    assert sweep_everything() == 0, "the game may still repeat the submission"
    world.clock.set_now_ms(int(time.time() * 1000) + 2 * 86_400_000)
    assert sweep_everything() == 1

    assert world.run(world.files.get(replay_key(kept.md5))) is not None
    assert world.run(world.files.get(replay_key(left.md5))) is None
