import msgspec
from sqlalchemy import select
from tests.builders import NORMAL, World, a_map, a_play, a_player

from kiai.beatmaps import Beatmap, MapStatus
from kiai.osu.mods import RX
from kiai.realtime.port import Rank
from kiai.staff import OPERATOR
from kiai.storage.port import Transaction
from kiai.storage.tables import first_places


def holders(world: World) -> dict[tuple[int, int], int]:
    """Return the holder of the first place of each map and mode."""
    rows = world.look(select(first_places.c.map_key, first_places.c.mode, first_places.c.user_id))
    return {(key, mode): user_id for key, mode, user_id in rows}


def restrict(world: World, name: str) -> None:
    world.run(world.restrictions.restrict(OPERATOR, name, "because"))
    world.reconcile()


def unrestrict(world: World, name: str) -> None:
    world.run(world.restrictions.unrestrict(OPERATOR, name))
    world.reconcile()


def set_status(world: World, beatmap: Beatmap, status: MapStatus) -> None:
    world.run(world.staff.set_map_status(OPERATOR, [beatmap], status))
    world.reconcile()


def test_restricted_player_leaves_every_board_and_the_next_player_is_first(world: World) -> None:
    song = world.add_map(a_map())
    alice, bob = world.add_player(a_player()), world.add_player(a_player("bob"))
    world.record(a_play(by=alice, on=song, score=2_000))
    second = world.record(a_play(by=bob, on=song, score=1_000))

    restrict(world, "alice")

    assert world.board(song) == [second.score_id]
    assert holders(world) == {(song.key, 0): bob}
    assert (world.map(song.md5).plays, world.map(song.md5).passes) == (1, 1)
    assert world.problems() == []


def test_a_restricted_player_keeps_scores_and_stats(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    world.record(a_play(by=alice, on=song))
    before = (world.stats(alice), world.score_rows())

    restrict(world, "alice")

    assert (world.stats(alice), world.score_rows()) == before


def test_lifting_a_restriction_brings_everything_back(world: World) -> None:
    song = world.add_map(a_map())
    alice, bob = world.add_player(a_player()), world.add_player(a_player("bob"))
    world.record(a_play(by=alice, on=song, score=2_000))
    world.record(a_play(by=bob, on=song, score=1_000))
    world.record(a_play(by=alice, on=song, score=500, mods=RX, passed=False))
    before = world.map(song.md5)
    boards_before = (world.board(song), holders(world))

    restrict(world, "alice")
    unrestrict(world, "alice")

    assert (world.board(song), holders(world)) == boards_before
    after = world.map(song.md5)
    assert after.board_version > before.board_version, "cached pages of the board are invalid"
    assert msgspec.structs.replace(after, board_version=before.board_version) == before
    assert world.problems() == []


def test_plays_during_a_restriction_count_after_it_is_lifted(world: World) -> None:
    song = world.add_map(a_map())
    alice, bob = world.add_player(a_player()), world.add_player(a_player("bob", priv=NORMAL & ~1))
    world.record(a_play(by=alice, on=song, score=1_000))
    hidden = world.record(a_play(by=bob, on=song, score=2_000))

    unrestrict(world, "bob")

    assert not hidden.is_first_place
    assert holders(world) == {(song.key, 0): bob}
    assert world.map(song.md5).plays == 2
    assert world.problems() == []


def test_lifting_a_restriction_gives_no_first_place_on_maps_without_a_board(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map(), MapStatus.PENDING)
    world.record(a_play(by=alice, on=song))

    restrict(world, "alice")
    unrestrict(world, "alice")

    assert holders(world) == {}
    assert world.problems() == []


def test_ranks_leave_hidden_players_out_and_the_others_move_up(world: World) -> None:
    song = world.add_map(a_map())
    alice = world.add_player(a_player(country="nl"))
    bob = world.add_player(a_player("bob", country="de"))
    world.record(a_play(by=alice, on=song, pp=300))
    world.record(a_play(by=bob, on=song, pp=100))
    world.run(world.outbox.deliver())
    before = world.run(world.realtime.rank_of(bob, 0))

    restrict(world, "alice")
    world.run(world.outbox.deliver())

    assert (before, world.run(world.realtime.rank_of(bob, 0))) == (Rank(2, 1), Rank(1, 1))
    assert world.run(world.realtime.rank_of(alice, 0)) == Rank()


def test_rebuilt_ranks_equal_updated_ranks(world: World) -> None:
    song = world.add_map(a_map())
    for n, pp in enumerate((100.0, 300.0, 100.0, 0.0)):
        player = world.add_player(a_player(f"player{n}"))
        world.record(a_play(by=player, on=song, pp=pp, passed=pp > 0))
    world.run(world.outbox.deliver())
    kept_up = world.run(world.realtime.ranked_ids(0))

    world.run(world.ranks.rebuild())

    assert world.run(world.realtime.ranked_ids(0)) == kept_up == [4, 3, 5]


def test_outbox_rows_are_delivered_once(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    world.record(a_play(by=alice, on=song))

    first, second = world.run(world.outbox.deliver()), world.run(world.outbox.deliver())

    assert (first, second) == (3, 0)  # the rank, the score, the first place


def test_a_move_to_another_country_moves_the_rank(world: World) -> None:
    alice, song = world.add_player(a_player(country="nl")), world.add_map(a_map())
    world.record(a_play(by=alice, on=song))

    async def move(tx: Transaction) -> None:
        await world.standing.on_country_change(tx, alice, "de")

    world.run(world.database.transaction(move))
    world.reconcile()
    world.run(world.outbox.deliver())

    assert world.run(world.realtime.ranked_ids(0, country="de")) == [alice]
    assert world.run(world.realtime.ranked_ids(0, country="nl")) == []


def test_unranked_map_gives_no_pp_until_it_is_ranked_again(world: World) -> None:
    alice, song, other = world.add_player(a_player()), world.add_map(a_map()), world.add_map(a_map(id=2))
    world.record(a_play(by=alice, on=song, score=1_000, pp=200, combo=90))
    world.record(a_play(by=alice, on=other, score=500, pp=100, combo=50))
    before = world.stats(alice)

    set_status(world, song, MapStatus.PENDING)
    pending = world.stats(alice)
    set_status(world, world.map(song.md5), MapStatus.APPROVED)

    assert (pending.pp, pending.rscore, pending.x_count, pending.bests, pending.max_combo) == (102, 500, 1, 1, 50)
    assert (pending.plays, pending.tscore) == (2, 1_500)
    assert world.stats(alice) == before
    assert world.problems() == []


def test_a_map_that_loses_its_board_has_no_first_place(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map())
    world.record(a_play(by=alice, on=song))

    set_status(world, song, MapStatus.PENDING)
    without = holders(world)
    set_status(world, world.map(song.md5), MapStatus.LOVED)

    assert (without, holders(world)) == ({}, {(song.key, 0): alice})
    assert world.problems() == []
