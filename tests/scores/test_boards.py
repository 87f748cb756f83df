"""Boards of song select: every kind, for visible and for restricted players."""

import asyncio

import msgspec
import pytest
from sqlalchemy import update
from tests.builders import World, a_map, a_play, a_player

from kiai.accounts import Viewer
from kiai.beatmaps import Beatmap
from kiai.osu.mods import DT, HD, NC, RX
from kiai.scores.boards import PAGE_MAX, BoardKind, BoardRequest, Boards
from kiai.scores.rankings import Rankings
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


def lines_of(world: World, boards: Boards, song: Beatmap, request: BoardRequest) -> list[tuple[str, int]]:
    lines, count = world.run(boards.page(song, request))
    assert count == len(lines)
    return [(line.name, line.score) for line in lines]


def test_global_board_has_the_best_score_of_each_player(world: World, boards: Boards, song: Beatmap) -> None:
    request = BoardRequest(BoardKind.GLOBAL, 0, user_id=ALICE)

    assert lines_of(world, boards, song, request) == [("alice", 400), ("bob", 300), ("carla", 200), ("dora", 100)]


def test_mods_board_has_the_best_score_with_those_mods(world: World, boards: Boards, song: Beatmap) -> None:
    request = BoardRequest(BoardKind.MODS, 0, mods=HD, user_id=ALICE)

    assert lines_of(world, boards, song, request) == [("bob", 250), ("carla", 200)]


def test_mods_board_treats_nightcore_as_double_time(world: World, boards: Boards, song: Beatmap) -> None:
    world.record(a_play(by=DORA, on=song, score=50, mods=NC | DT))

    assert lines_of(world, boards, song, BoardRequest(BoardKind.MODS, 0, mods=DT)) == [("dora", 50)]


def test_country_board_uses_the_country_of_the_account(world: World, boards: Boards, song: Beatmap) -> None:
    request = BoardRequest(BoardKind.COUNTRY, 0, country="nl", user_id=BOB)

    assert lines_of(world, boards, song, request) == [("alice", 400), ("carla", 200), ("dora", 100)]


def test_one_caller_counts_many_boards_at_once(world: World, boards: Boards, song: Beatmap) -> None:
    others = [msgspec.structs.replace(song, key=song.key + n) for n in range(1, 40)]

    async def count_all() -> list[int]:
        return await asyncio.gather(*(boards.best_count_on(beatmap, 0) for beatmap in (song, *others)))

    assert world.run(count_all()) == [4, *([0] * 39)]


def test_one_caller_counts_many_rankings_at_once(world: World, song: Beatmap) -> None:
    rankings = Rankings(world.database)

    async def count_all() -> list[int]:
        modes = (0, 1, 2, 3, 4, 5, 6, 8)
        return await asyncio.gather(
            *(rankings.count(mode, "pp", country) for mode in modes for country in (None, "nl"))
        )

    assert world.run(count_all()) == [4, 3, *([0] * 14)]


def test_scores_move_to_the_board_of_the_players_new_country(world: World, boards: Boards, song: Beatmap) -> None:
    before = world.run(boards.stamp(song))

    async def move(tx: Transaction) -> None:
        await world.standing.on_country_change(tx, ALICE, "de")

    world.change(update(users).where(users.c.id == ALICE).values(country="de"))
    world.run(world.database.transaction(move))
    world.reconcile()

    assert lines_of(world, boards, song, BoardRequest(BoardKind.COUNTRY, 0, country="de")) == [
        ("alice", 400),
        ("bob", 300),
    ]
    assert world.run(boards.stamp(world.map(song.md5))) != before, "cached pages of the board are invalid"
    assert world.problems() == []


def test_friends_board_has_friends_and_the_player(world: World, boards: Boards, song: Beatmap) -> None:
    world.run(world.relationships.befriend(DORA, ALICE))
    world.run(world.relationships.block(DORA, BOB))

    request = BoardRequest(BoardKind.FRIENDS, 0, user_id=DORA)

    assert lines_of(world, boards, song, request) == [("alice", 400), ("dora", 100)]
    assert world.run(boards.place(song, request, measure=100, score_id=1)) == 2


def test_relax_board_is_separate_and_sorted_by_pp(world: World, boards: Boards, song: Beatmap) -> None:
    world.record(a_play(by=ALICE, on=song, score=999, pp=10.0, mods=RX))
    world.record(a_play(by=BOB, on=song, score=1, pp=20.0, mods=RX))

    for request in (BoardRequest(BoardKind.GLOBAL, 4), BoardRequest(BoardKind.MODS, 4, mods=RX)):
        assert lines_of(world, boards, song, request) == [("bob", 1), ("alice", 999)]
    assert lines_of(world, boards, song, BoardRequest(BoardKind.COUNTRY, 4, country="nl")) == [("alice", 999)]
    assert world.run(boards.place(song, BoardRequest(BoardKind.GLOBAL, 4, user_id=ALICE), measure=10.0)) == 2


def test_equal_scores_are_ordered_by_time(world: World, boards: Boards, song: Beatmap) -> None:
    eve = world.add_player(a_player("eve"))
    later = world.record(a_play(by=eve, on=song, score=300))
    request = BoardRequest(BoardKind.GLOBAL, 0, user_id=eve)

    assert [name for name, _ in lines_of(world, boards, song, request)] == ["alice", "bob", "eve", "carla", "dora"]
    assert world.run(boards.place(song, request, measure=300, score_id=later.score_id)) == 3
    assert world.run(boards.place(song, request, measure=300)) == 3, "without an id, the score is behind its equals"


def test_restricted_player_sees_their_own_line_and_others_do_not(world: World, boards: Boards, song: Beatmap) -> None:
    before = world.run(boards.stamp(song))
    world.run(world.restrictions.restrict(OPERATOR, "alice", "test"))
    song = world.map(song.md5)

    assert world.run(boards.stamp(song)) != before
    assert lines_of(world, boards, song, BoardRequest(BoardKind.GLOBAL, 0, user_id=BOB))[0] == ("bob", 300)
    own = BoardRequest(BoardKind.GLOBAL, 0, user_id=ALICE, hidden=True)
    assert lines_of(world, boards, song, own)[0] == ("alice", 400)
    assert world.run(boards.place(song, BoardRequest(BoardKind.GLOBAL, 0, user_id=BOB), measure=300, score_id=3)) == 1


def test_standing_of_a_player_is_that_of_the_line_and_its_place(world: World, boards: Boards, song: Beatmap) -> None:
    erin, off_board = world.add_player(a_player("erin")), world.add_player(a_player("frank"))
    world.record(a_play(by=erin, on=song, score=300))  # later than bob's, with the same score
    for by, score, pp in ((BOB, 900, 50.0), (ALICE, 100, 80.0), (erin, 500, 50.0)):
        world.record(a_play(by=by, on=song, score=score, pp=pp, mods=RX))
    world.run(world.restrictions.restrict(OPERATOR, "carla", "test"))

    def standing(user_id: int, mode: int) -> list[tuple[float, int]]:
        [rows] = world.run(world.database.several(boards.read_of_standing(song, mode, user_id)))
        return rows

    for mode in (0, 4):
        for user_id in (ALICE, BOB, CARLA, DORA, erin):
            request = BoardRequest(BoardKind.GLOBAL, mode, user_id=user_id, hidden=user_id == CARLA)
            line = world.run(boards.own(song, request))
            if line is None:
                assert standing(user_id, mode) == [], (mode, user_id)
                continue
            measure = line.pp if mode else line.score
            place = world.run(boards.place(song, request, measure=measure, score_id=line.id))
            assert standing(user_id, mode) == [(line.pp, place - 1)], (mode, user_id)
    assert [standing(user_id, 0)[0][1] for user_id in (ALICE, BOB, erin, DORA)] == [0, 1, 2, 3]
    assert [standing(user_id, 4)[0][1] for user_id in (ALICE, BOB, erin)] == [0, 1, 2]
    assert standing(off_board, 0) == standing(DORA, 4) == []


def test_page_has_fifty_lines_and_the_total(world: World, boards: Boards) -> None:
    song = world.add_map(a_map(9))
    for number in range(PAGE_MAX + 5):
        world.record(a_play(by=world.add_player(a_player(f"player {number}")), on=song, score=1_000 + number))

    lines, count = world.run(boards.page(world.map(song.md5), BoardRequest(BoardKind.GLOBAL, 0)))

    assert (len(lines), count) == (PAGE_MAX, PAGE_MAX + 5)
    last = world.run(boards.own(song, BoardRequest(BoardKind.GLOBAL, 0, user_id=3)))
    assert last is not None
    place = world.run(
        boards.place(song, BoardRequest(BoardKind.GLOBAL, 0, user_id=3), measure=last.score, score_id=last.id)
    )
    assert place == PAGE_MAX + 5


def test_rename_of_a_player_changes_the_stamp_of_boards(world: World, boards: Boards, song: Beatmap) -> None:
    before = world.run(boards.stamp(song))
    world.change(update(users).where(users.c.id == ALICE).values(priv=3 | 16))
    viewer = world.run(world.accounts.user(id=ALICE))

    world.run(world.accounts.set_profile(Viewer(ALICE, viewer.priv), {"name": "alix"}))

    assert world.run(boards.stamp(song)) != before
