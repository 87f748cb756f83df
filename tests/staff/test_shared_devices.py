"""The list of devices that unrelated players share: entries, bounds, audit rows and their effect on matches."""

import hashlib

import pytest
from sqlalchemy import insert, select
from tests.builders import NOW_MS, World, a_player

from kiai.accounts import Logins
from kiai.accounts.login_records import MEANINGLESS
from kiai.errors import Invalid, NotAllowed, NotFound, Refused, WrongState
from kiai.staff import OPERATOR, Actor, shared_devices
from kiai.staff.devices import Devices
from kiai.staff.shared_devices import SharedDevices
from kiai.storage.tables import account_events, audit_log, client_hashes, logins


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@pytest.fixture
def devices(world: World) -> SharedDevices:
    return SharedDevices(world.database, world.authority, world.clock)


def use(world: World, user_id: int, name: str, *, at_ms: int = NOW_MS, wine: int = 0) -> None:
    """Record that an account was used on the device `name`."""
    world.change(
        insert(client_hashes).values(
            user_id=user_id,
            adapters=md5(f"{name} adapters"),
            uninstall=md5(f"{name} uninstall"),
            disk=md5(f"{name} disk"),
            wine=wine,
            exe="",
            first_at_ms=at_ms,
            last_at_ms=at_ms,
            uses=1,
        )
    )


def rows(world: World) -> list[str]:
    return [text for (text,) in world.look(select(audit_log.c.details).where(audit_log.c.action == "device_edit"))]


def test_a_hash_on_the_list_matches_nobody_until_it_is_forgotten(world: World, devices: SharedDevices) -> None:
    alice, bob = world.add_player(a_player()), world.add_player(a_player("bob"))
    for player in (alice, bob):
        use(world, player, "school")
    logins, lookup = Logins(world.database), Devices(world.database, world.authority, world.clock)

    def matches() -> tuple[int, int]:
        at_login = logins.shared_with(
            alice,
            adapters=md5("school adapters"),
            uninstall=md5("school uninstall"),
            disk=md5("school disk"),
            wine=False,
        )
        return len(world.run(at_login)), len(world.run(lookup.matches(OPERATOR, world.user(alice))))

    assert matches() == (1, 1)
    entries = world.run(devices.allow_device_of(OPERATOR, "alice", "school"))
    assert (len(entries), matches()) == (3, (0, 0))

    for entry in entries:
        world.run(devices.forget(OPERATOR, entry.id))
    assert matches() == (1, 1)
    assert world.run(devices.all(OPERATOR)) == []


def test_matches_have_all_kinds_and_the_first_and_last_time(world: World) -> None:
    alice, bob, carol = (world.add_player(a_player(name)) for name in ("alice", "bob", "carol"))
    for at_ms, device in ((NOW_MS, "laptop"), (NOW_MS, "tower")):
        use(world, alice, device, at_ms=at_ms)
    use(world, bob, "laptop", at_ms=NOW_MS - 7_000)
    use(world, bob, "tower", at_ms=NOW_MS - 3_000)
    use(world, carol, "other")
    for user_id, address, at_ms in (
        (alice, "192.0.2.1", NOW_MS),
        (alice, "192.0.2.2", NOW_MS),
        (bob, "192.0.2.1", NOW_MS - 9_000),
        (carol, "192.0.2.2", NOW_MS - 4_000),
        (carol, "192.0.2.2", NOW_MS - 2_000),
    ):
        world.change(insert(logins).values(user_id=user_id, address=address, at_ms=at_ms, build=0, stream=""))

    found = world.run(Devices(world.database, world.authority, world.clock).matches(OPERATOR, world.user(alice)))

    seconds = NOW_MS // 1000
    assert [(one.player.name, one.kinds, one.first_at - seconds, one.last_at - seconds) for one in found] == [
        ("bob", ["uninstall", "disk", "adapters", "address"], -9, -3),
        ("carol", ["address"], -4, -2),
    ]


def test_address_at_which_others_were_registered_matches(world: World) -> None:
    alice, bob, carol = (world.add_player(a_player(name)) for name in ("alice", "bob", "carol"))
    for user_id, kind in ((alice, "register"), (bob, "register"), (carol, "password")):
        event = {"user_id": user_id, "kind": kind, "address": "192.0.2.1", "at_ms": NOW_MS, "source": "web"}
        world.change(insert(account_events).values(failed=0, agent="", **event))

    found = world.run(Devices(world.database, world.authority, world.clock).matches(OPERATOR, world.user(alice)))

    assert [(one.player.name, one.kinds) for one in found] == [("bob", ["address"])]


def test_neither_entries_nor_audit_rows_contain_a_hash(world: World, devices: SharedDevices) -> None:
    alice = world.add_player(a_player())
    use(world, alice, "school")
    world.run(devices.allow_device_of(OPERATOR, "alice", "school"))
    world.run(devices.allow(OPERATOR, md5("cafe"), "cafe"))
    world.run(devices.forget(OPERATOR, md5("cafe")))

    shown = repr(world.run(devices.all(OPERATOR))) + repr(rows(world))

    assert len(rows(world)) == 3
    for name in ("school adapters", "school uninstall", "school disk", "cafe"):
        assert md5(name) not in shown


def test_under_wine_only_the_installation_is_listed(world: World, devices: SharedDevices) -> None:
    alice = world.add_player(a_player())
    use(world, alice, "old", at_ms=NOW_MS - 1)
    use(world, alice, "wine", wine=1)

    assert len(world.run(devices.allow_device_of(OPERATOR, alice))) == 1
    with pytest.raises(WrongState, match="already"):
        world.run(devices.allow(OPERATOR, md5("wine uninstall")))


def test_account_whose_hashes_identify_no_device_has_none(world: World, devices: SharedDevices) -> None:
    alice = world.add_player(a_player())
    meaningless = sorted(MEANINGLESS)
    world.change(
        insert(client_hashes).values(
            user_id=alice,
            adapters=meaningless[1],
            uninstall=meaningless[2],
            disk=meaningless[3],
            wine=0,
            exe="",
            first_at_ms=NOW_MS,
            last_at_ms=NOW_MS,
            uses=1,
        )
    )

    with pytest.raises(NotFound, match="device"):
        world.run(devices.allow_device_of(OPERATOR, alice))
    assert rows(world) == []


def test_refusals(world: World, devices: SharedDevices, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = world.add_player(a_player())
    for wrong in ("", "abc", md5("x")[:-1] + "g", *sorted(MEANINGLESS)):
        with pytest.raises(Invalid):
            world.run(devices.allow(OPERATOR, wrong))
    with pytest.raises(Invalid, match="note"):
        world.run(devices.allow(OPERATOR, md5("x"), "n" * 201))
    with pytest.raises(NotFound):
        world.run(devices.allow_device_of(OPERATOR, "alice"))
    with pytest.raises(NotFound):
        world.run(devices.forget(OPERATOR, md5("x")))
    with pytest.raises(NotAllowed):
        world.run(devices.allow(Actor(alice, "api"), md5("x")))
    monkeypatch.setattr(shared_devices, "ENTRIES_MAX", 1)
    world.run(devices.allow(OPERATOR, md5("x")))
    with pytest.raises(Refused, match="at most 1"):
        world.run(devices.allow(OPERATOR, md5("y")))

    assert len(rows(world)) == 1
