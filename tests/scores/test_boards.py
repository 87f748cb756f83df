"""Boards of song select: every kind, for players whom everybody sees and for those whom nobody does."""

import pytest
from sqlalchemy import update
from tests.builders import World, a_map, a_play, a_player

from kiai.accounts import Viewer
from kiai.beatmaps import Beatmap
from kiai.osu.mods import DT, HD, NC, RX
from kiai.scores.boards import SHOWN_MAX, Boards, Kind, Wanted
from kiai.staff import OPERATOR
from kiai.storage.port import Transaction
from kiai.storage.tables import users


@pytest.fixture
def boards(world: World) -> Boards:
    return Boards(world.database)


@pytest.fixture
def song(world: World) -> Beatmap:
    """A map with a board of four: alice (nl) 400, bob (de) 300 and with HD 250, carla (nl) 200, dora (nl) 100."""
    song = world.add_map(a_map())
    alice, bob, carla, dora = (
        world.add_player(a_player(name, country=country))
        for name, country in (("alice", "nl"), ("bob", "de"), ("carla", "nl"), ("dora", "nl"))
    )
    assert alice == 3
    for by, score, mods in ((dora, 100, 0), (carla, 200, HD), (bob, 300, 0), (bob, 250, HD), (alice, 400, 0)):
        world.record(a_play(by=by, on=song, score=score, mods=mods))
    return world.map(song.md5)


ALICE, BOB, CARLA, DORA = 3, 4, 5, 6


def shown(world: World, boards: Boards, song: Beatmap, wanted: Wanted) -> list[tuple[str, int]]:
    lines, count = world.run(boards.page(song, wanted))
    assert count == len(lines)
    return [(line.name, line.score) for line in lines]


def test_the_global_board_shows_each_players_best(world: World, boards: Boards, song: Beatmap) -> None:
    wanted = Wanted(Kind.GLOBAL, 0, user_id=ALICE)

    assert shown(world, boards, song, wanted) == [("alice", 400), ("bob", 300), ("carla", 200), ("dora", 100)]


def test_the_board_of_mods_shows_the_best_with_those_mods(world: World, boards: Boards, song: Beatmap) -> None:
    wanted = Wanted(Kind.MODS, 0, mods=HD, user_id=ALICE)

    assert shown(world, boards, song, wanted) == [("bob", 250), ("carla", 200)]


def test_nightcore_is_double_time_on_the_board_of_mods(world: World, boards: Boards, song: Beatmap) -> None:
    world.record(a_play(by=DORA, on=song, score=50, mods=NC | DT))

    assert shown(world, boards, song, Wanted(Kind.MODS, 0, mods=DT)) == [("dora", 50)]


def test_the_country_board_goes_by_the_account(world: World, boards: Boards, song: Beatmap) -> None:
    wanted = Wanted(Kind.COUNTRY, 0, country="nl", user_id=BOB)

    assert shown(world, boards, song, wanted) == [("alice", 400), ("carla", 200), ("dora", 100)]


def test_who_moves_takes_the_scores_along(world: World, boards: Boards, song: Beatmap) -> None:
    before = world.run(boards.stamp(song))

    async def move(tx: Transaction) -> None:
        await world.standing.moved(tx, ALICE, "de")

    world.change(update(users).where(users.c.id == ALICE).values(country="de"))
    world.run(world.database.transaction(move))
    world.settle()

    assert shown(world, boards, song, Wanted(Kind.COUNTRY, 0, country="de")) == [("alice", 400), ("bob", 300)]
    assert world.run(boards.stamp(world.map(song.md5))) != before, "copies of the board are of no use any more"
    assert world.problems() == []


def test_the_board_of_friends_shows_them_and_the_caller(world: World, boards: Boards, song: Beatmap) -> None:
    world.run(world.relationships.befriend(DORA, ALICE))
    world.run(world.relationships.block(DORA, BOB))

    wanted = Wanted(Kind.FRIENDS, 0, user_id=DORA)

    assert shown(world, boards, song, wanted) == [("alice", 400), ("dora", 100)]
    assert world.run(boards.place(song, wanted, measure=100, score_id=1)) == 2


def test_relax_has_a_board_of_its_own_sorted_by_pp(world: World, boards: Boards, song: Beatmap) -> None:
    world.record(a_play(by=ALICE, on=song, score=999, pp=10.0, mods=RX))
    world.record(a_play(by=BOB, on=song, score=1, pp=20.0, mods=RX))

    for wanted in (Wanted(Kind.GLOBAL, 4), Wanted(Kind.MODS, 4, mods=RX)):
        assert shown(world, boards, song, wanted) == [("bob", 1), ("alice", 999)]
    assert shown(world, boards, song, Wanted(Kind.COUNTRY, 4, country="nl")) == [("alice", 999)]
    assert world.run(boards.place(song, Wanted(Kind.GLOBAL, 4, user_id=ALICE), measure=10.0)) == 2


def test_equal_scores_stand_in_the_order_they_came(world: World, boards: Boards, song: Beatmap) -> None:
    eve = world.add_player(a_player("eve"))
    later = world.record(a_play(by=eve, on=song, score=300))
    wanted = Wanted(Kind.GLOBAL, 0, user_id=eve)

    assert [name for name, _ in shown(world, boards, song, wanted)] == ["alice", "bob", "eve", "carla", "dora"]
    assert world.run(boards.place(song, wanted, measure=300, score_id=later.score_id)) == 3
    assert world.run(boards.place(song, wanted, measure=300)) == 3, "a score that came last stands behind its equals"


def test_a_restricted_player_is_seen_by_nobody_but_itself(world: World, boards: Boards, song: Beatmap) -> None:
    before = world.run(boards.stamp(song))
    world.run(world.staff.restrict(OPERATOR, "alice", "test"))
    song = world.map(song.md5)

    assert world.run(boards.stamp(song)) != before
    assert shown(world, boards, song, Wanted(Kind.GLOBAL, 0, user_id=BOB))[0] == ("bob", 300)
    own = Wanted(Kind.GLOBAL, 0, user_id=ALICE, hidden=True)
    assert shown(world, boards, song, own)[0] == ("alice", 400)
    assert world.run(boards.place(song, Wanted(Kind.GLOBAL, 0, user_id=BOB), measure=300, score_id=3)) == 1


def test_a_page_ends_after_fifty_and_says_how_many_there_are(world: World, boards: Boards) -> None:
    song = world.add_map(a_map(9))
    for number in range(SHOWN_MAX + 5):
        world.record(a_play(by=world.add_player(a_player(f"player {number}")), on=song, score=1_000 + number))

    lines, count = world.run(boards.page(world.map(song.md5), Wanted(Kind.GLOBAL, 0)))

    assert (len(lines), count) == (SHOWN_MAX, SHOWN_MAX + 5)
    last = world.run(boards.own(song, Wanted(Kind.GLOBAL, 0, user_id=3)))
    assert last is not None
    place = world.run(boards.place(song, Wanted(Kind.GLOBAL, 0, user_id=3), measure=last.score, score_id=last.id))
    assert place == SHOWN_MAX + 5


def test_a_new_name_makes_copies_of_boards_useless(world: World, boards: Boards, song: Beatmap) -> None:
    before = world.run(boards.stamp(song))
    world.change(update(users).where(users.c.id == ALICE).values(priv=3 | 16))
    viewer = world.run(world.accounts.user(id=ALICE))

    world.run(world.accounts.set_profile(Viewer(ALICE, viewer.priv), {"name": "alix"}))

    assert world.run(boards.stamp(song)) != before
