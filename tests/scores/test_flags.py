"""Integrity flags: one of each kind for a play."""

from tests.builders import World, a_player

from kiai.scores.flags import Flags


def test_repeated_play_is_flagged_once(world: World) -> None:
    alice, boris = (world.add_player(a_player(name)) for name in ("alice", "boris"))
    flags = Flags(world.database, world.clock)

    for _ in range(3):
        world.run(flags.add(alice, "copied play", checksum=b"one", details="first"))
    world.run(flags.add(alice, "pp", checksum=b"one"))
    world.run(flags.add(alice, "copied play", checksum=b"two"))
    world.run(flags.add(boris, "copied play", checksum=b"one"))

    found = [(flag.kind, flag.checksum) for flag in world.run(flags.page(user_id=alice, limit=10))]
    assert found == [("copied play", b"two"), ("pp", b"one"), ("copied play", b"one")]
    assert len(world.run(flags.page(user_id=boris, limit=10))) == 1
    assert flags.raised == {"copied play": 3, "pp": 1}


def test_flags_without_a_play_are_all_stored(world: World) -> None:
    alice = world.add_player(a_player("alice"))
    flags = Flags(world.database, world.clock)

    for _ in range(2):
        world.run(flags.add(alice, "lastfm", details="4"))

    assert len(world.run(flags.page(user_id=alice, limit=10))) == 2
