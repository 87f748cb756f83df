"""Flags for the staff: one of a kind for each play."""

from tests.builders import World, a_player

from kiai.scores.flags import Flags


def test_a_play_that_is_sent_again_is_flagged_once(world: World) -> None:
    alice, boris = (world.add_player(a_player(name)) for name in ("alice", "boris"))
    flags = Flags(world.database, world.clock)

    for _ in range(3):
        world.run(flags.raise_(alice, "copied play", checksum=b"one", details="first"))
    world.run(flags.raise_(alice, "pp", checksum=b"one"))
    world.run(flags.raise_(alice, "copied play", checksum=b"two"))
    world.run(flags.raise_(boris, "copied play", checksum=b"one"))

    found = [(flag.kind, flag.checksum) for flag in world.run(flags.of(alice))]
    assert found == [("copied play", b"two"), ("pp", b"one"), ("copied play", b"one")]
    assert len(world.run(flags.of(boris))) == 1
    assert flags.raised == {"copied play": 3, "pp": 1}


def test_flags_about_no_play_are_all_stored(world: World) -> None:
    alice = world.add_player(a_player("alice"))
    flags = Flags(world.database, world.clock)

    for _ in range(2):
        world.run(flags.raise_(alice, "lastfm", details="4"))

    assert len(world.run(flags.of(alice))) == 2
