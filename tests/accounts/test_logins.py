"""Records of logins, which are written in batches, and shared devices (docs/spec/sessions.md#shared-devices)."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec
import pytest
from sqlalchemy import Select, insert, select
from sqlalchemy.dialects import registry
from tests.builders import NORMAL, NOW_MS, World, a_player

from kiai.accounts import BOT_ID, HardwareMatch, LoginRecord, Logins
from kiai.accounts.login_records import MEANINGLESS, WAITING_MAX
from kiai.accounts.queries import (
    DEVICE_KINDS,
    DEVICE_ROWS_MAX,
    DEVICE_SHARED_WITH,
    DEVICES_MAX,
    LOGINS_MAX,
    MATCHES_MAX,
)
from kiai.errors import Unavailable
from kiai.osu.privileges import VERIFIED
from kiai.storage.port import Database, Transaction, UniqueViolation
from kiai.storage.tables import client_hashes, logins, shared_devices, users


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


MAC, HOME, DISK = md5("mac"), md5("home"), md5("disk")


def a_login(
    user_id: int,
    *,
    adapters: str = MAC,
    uninstall: str = HOME,
    disk: str = DISK,
    wine: bool = False,
    at_ms: int = NOW_MS,
    exe: str = "exe",
) -> LoginRecord:
    return LoginRecord(
        user_id=user_id,
        at_ms=at_ms,
        address="192.0.2.1",
        build=20260101,
        stream="stable",
        exe=exe,
        adapters=adapters,
        uninstall=uninstall,
        disk=disk,
        wine=wine,
    )


class Failing:
    """A database whose next transaction raises `error`, unless that is None."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.error: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    async def transaction(self, body: Callable[[Transaction], Awaitable[Any]]) -> Any:
        error, self.error = self.error, None
        if error is not None:
            raise error
        return await self._database.transaction(body)


@pytest.fixture
def failing(world: World) -> Failing:
    return Failing(world.database)


@pytest.fixture
def login_records(failing: Failing) -> Logins:
    return Logins(failing)  # type: ignore[arg-type]


@pytest.fixture
def alice(world: World) -> int:
    return world.add_player(a_player())


@pytest.fixture
def bob(world: World, alice: int) -> int:
    return world.add_player(a_player("bob"))


def write(world: World, login_records: Logins, *records: LoginRecord) -> None:
    for record in records:
        login_records.record(record)
    world.run(login_records.flush())


def login_rows(world: World) -> list[tuple[Any, ...]]:
    columns = (logins.c.user_id, logins.c.at_ms, logins.c.address, logins.c.build, logins.c.stream)
    return world.look(select(*columns).order_by(logins.c.id))


def device_rows(world: World) -> list[tuple[Any, ...]]:
    """Return the rows: user, adapters, wine, exe, first, last, uses."""
    c = client_hashes.c
    columns = (c.user_id, c.adapters, c.wine, c.exe, c.first_at_ms, c.last_at_ms, c.uses)
    return world.look(select(*columns).order_by(c.user_id, c.adapters, c.wine))


def shared(
    world: World,
    login_records: Logins,
    user_id: int,
    *,
    adapters: str = "",
    uninstall: str = "",
    disk: str = "",
    wine: bool = False,
) -> dict[int, tuple[str, ...]]:
    found = world.run(login_records.shared_with(user_id, adapters=adapters, uninstall=uninstall, disk=disk, wine=wine))
    return {match.user_id: match.kinds for match in found}


# --- writing


def test_login_is_written_by_the_next_flush(world: World, login_records: Logins, alice: int) -> None:
    login_records.record(a_login(alice))
    before = login_rows(world), login_records.waiting

    world.run(login_records.flush())

    assert before == ([], 1)
    assert login_rows(world) == [(alice, NOW_MS, "192.0.2.1", 20260101, "stable")]
    assert (login_records.waiting, login_records.dropped) == (0, 0)


def test_empty_flush_runs_no_statement(world: World, login_records: Logins, failing: Failing) -> None:
    failing.error = Unavailable("database")

    world.run(login_records.flush())

    assert failing.error is not None


def test_uses_of_a_device_are_counted_over_flushes(world: World, login_records: Logins, alice: int, bob: int) -> None:
    write(world, login_records, *[a_login(alice, at_ms=NOW_MS + n, exe=f"exe{n}") for n in range(3)], a_login(bob))
    write(world, login_records, a_login(alice, at_ms=NOW_MS + 9, exe="exe9"), a_login(alice, wine=True))

    assert device_rows(world) == [
        (alice, MAC, 0, "exe9", NOW_MS, NOW_MS + 9, 4),
        (alice, MAC, 1, "exe", NOW_MS, NOW_MS, 1),
        (bob, MAC, 0, "exe", NOW_MS, NOW_MS, 1),
    ]
    assert len(login_rows(world)) == 6


def test_different_hash_is_a_different_device(world: World, login_records: Logins, alice: int) -> None:
    others = [{"adapters": md5("a")}, {"uninstall": md5("a")}, {"disk": md5("a")}]

    write(world, login_records, a_login(alice), *[msgspec.structs.replace(a_login(alice), **other) for other in others])

    assert [uses for *_, uses in device_rows(world)] == [1] * 4


def test_invalid_texts_of_a_client_do_not_fail_a_flush(
    world: World, login_records: Logins, alice: int, bob: int
) -> None:
    odd = a_login(alice, adapters="no hash", uninstall=HOME.upper(), disk="\x00" * 900, exe="\x00x" * 900)

    write(world, login_records, msgspec.structs.replace(odd, address="a" * 900, stream="\x00"), a_login(bob))

    [(_, adapters, _, exe, *_), _] = device_rows(world)
    assert (adapters, exe) == ("", "x" * 64)
    assert [(row[0], len(row[2]), row[4]) for row in login_rows(world)] == [(alice, 64, ""), (bob, 9, "stable")]
    assert shared(world, login_records, bob, uninstall=HOME) == {alice: ("uninstall",)}


@pytest.mark.parametrize("error", [Unavailable("database"), UniqueViolation("pk_client_hashes")])
def test_records_wait_while_the_database_is_unavailable(
    world: World, login_records: Logins, failing: Failing, alice: int, bob: int, error: Exception
) -> None:
    failing.error = error
    with pytest.raises(Unavailable):
        write(world, login_records, a_login(alice))

    write(world, login_records, a_login(bob))

    assert [row[0] for row in login_rows(world)] == [alice, bob]
    assert (login_records.waiting, login_records.dropped) == (0, 0)


def test_records_that_cannot_be_written_are_dropped_and_counted(
    world: World, login_records: Logins, alice: int
) -> None:
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        write(world, login_records, a_login(alice), a_login(999))

    write(world, login_records, a_login(alice))

    assert len(login_rows(world)) == 1
    assert login_records.dropped == 2


def test_oldest_records_are_dropped_and_counted_at_the_limit(world: World, login_records: Logins, alice: int) -> None:
    for n in range(WAITING_MAX + 2):
        login_records.record(a_login(alice, at_ms=n))

    world.run(login_records.flush())

    assert login_records.dropped == 2
    assert [row[1] for row in login_rows(world)] == list(range(WAITING_MAX + 2 - LOGINS_MAX, WAITING_MAX + 2))
    assert device_rows(world) == [(alice, MAC, 0, "exe", 2, WAITING_MAX + 1, WAITING_MAX)]


def test_records_that_wait_again_stay_within_the_limit(
    world: World, login_records: Logins, failing: Failing, alice: int
) -> None:
    for n in range(WAITING_MAX):
        login_records.record(a_login(alice, at_ms=n))
    failing.error = Unavailable("database")

    async def meanwhile() -> None:
        with pytest.raises(Unavailable):
            await login_records.flush()
        login_records.record(a_login(alice, at_ms=WAITING_MAX))

    world.run(meanwhile())

    assert (login_records.waiting, login_records.dropped) == (WAITING_MAX, 1)


# --- sharing


def test_one_equal_hash_is_a_shared_device(world: World, login_records: Logins, alice: int, bob: int) -> None:
    write(world, login_records, a_login(alice))

    assert shared(world, login_records, bob, adapters=MAC, uninstall=HOME, disk=DISK) == {
        alice: ("adapters", "uninstall", "disk")
    }
    assert shared(world, login_records, bob, adapters=MAC) == {alice: ("adapters",)}
    assert shared(world, login_records, bob, uninstall=HOME) == {alice: ("uninstall",)}
    assert shared(world, login_records, bob, disk=DISK) == {alice: ("disk",)}
    assert shared(world, login_records, bob, adapters=HOME, uninstall=DISK, disk=MAC) == {}


def test_several_devices_of_one_account_are_one_match(
    world: World, login_records: Logins, alice: int, bob: int
) -> None:
    write(world, login_records, a_login(alice, adapters=MAC, uninstall=md5("1")), a_login(alice, adapters=md5("2")))

    assert shared(world, login_records, bob, adapters=MAC, uninstall=HOME) == {alice: ("adapters", "uninstall")}


def test_own_devices_are_not_shared(world: World, login_records: Logins, alice: int) -> None:
    write(world, login_records, a_login(alice))

    assert shared(world, login_records, alice, adapters=MAC, uninstall=HOME, disk=DISK) == {}


def test_only_the_installation_counts_under_wine(world: World, login_records: Logins, alice: int, bob: int) -> None:
    write(world, login_records, a_login(alice))

    assert shared(world, login_records, bob, adapters=MAC, disk=DISK, wine=True) == {}
    assert shared(world, login_records, bob, adapters=MAC, uninstall=HOME, disk=DISK, wine=True) == {
        alice: ("uninstall",)
    }


@pytest.mark.parametrize("nothing", [*sorted(MEANINGLESS), "no hash"])
def test_meaningless_hash_matches_no_account(
    world: World, login_records: Logins, alice: int, bob: int, nothing: str
) -> None:
    write(world, login_records, a_login(alice, adapters=nothing, uninstall=nothing, disk=nothing))

    assert shared(world, login_records, bob, adapters=nothing, uninstall=nothing, disk=nothing) == {}
    assert shared(world, login_records, bob, adapters=nothing, uninstall=HOME) == {}


def test_meaningless_hashes_are_those_of_known_texts() -> None:
    assert {md5("runningunderwine"), md5("unknown"), md5("0"), md5(md5("0")), md5("")} < MEANINGLESS


def test_known_shared_device_matches_no_account(world: World, login_records: Logins, alice: int, bob: int) -> None:
    write(world, login_records, a_login(alice))

    world.change(insert(shared_devices).values(hash=MAC, note="a school", added_by=0, added_at_ms=NOW_MS))

    assert shared(world, login_records, bob, adapters=MAC) == {}
    assert shared(world, login_records, bob, adapters=MAC, uninstall=HOME) == {alice: ("uninstall",)}


def test_match_shows_whether_the_other_account_is_restricted_or_banned(
    world: World, login_records: Logins, alice: int, bob: int
) -> None:
    carol = world.add_player(a_player("carol", priv=VERIFIED))
    dave = world.add_player(a_player("dave"))
    world.change(users.update().where(users.c.id == dave).values(banned_at_ms=1))
    write(world, login_records, *[a_login(user_id, adapters=md5(str(user_id))) for user_id in (alice, carol, dave)])

    found = world.run(login_records.shared_with(bob, adapters="", uninstall=HOME, disk="", wine=False))

    assert found == [
        HardwareMatch(user_id=carol, name="carol", priv=VERIFIED, banned=False, kinds=("uninstall",)),
        HardwareMatch(user_id=dave, name="dave", priv=NORMAL, banned=True, kinds=("uninstall",)),
        HardwareMatch(user_id=alice, name="alice", priv=NORMAL, banned=False, kinds=("uninstall",)),
    ]


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_login_is_compared_with_a_bounded_number_of_rows_of_each_hash(dialect: str) -> None:
    statement = cast("Select[Any]", DEVICE_SHARED_WITH.statement)
    compiled = statement.compile(dialect=registry.load(dialect)())

    assert str(compiled).count("LIMIT") == len(DEVICE_KINDS) + 1
    assert list(compiled.params.values()).count(DEVICE_ROWS_MAX) == len(DEVICE_KINDS)


def test_accounts_with_a_sanction_come_first_among_many_on_a_device(
    world: World, login_records: Logins, alice: int
) -> None:
    crowd = [world.add_player(a_player(f"crowd {n}")) for n in range(MATCHES_MAX)]
    banned = world.add_player(a_player("banned", priv=VERIFIED))
    write(world, login_records, *[a_login(user_id) for user_id in (BOT_ID, *crowd, banned)])

    found = shared(world, login_records, alice, adapters=MAC)

    assert len(found) == MATCHES_MAX
    assert next(iter(found)) == banned


def test_number_of_stored_logins_and_devices_of_an_account_is_limited(
    world: World, login_records: Logins, alice: int, bob: int
) -> None:
    of_alice = [a_login(alice, adapters=md5(str(n)), at_ms=NOW_MS + n) for n in range(LOGINS_MAX + 50)]

    write(world, login_records, *of_alice, a_login(bob))

    rows, devices = login_rows(world), device_rows(world)
    assert [row[0] for row in rows].count(alice) == LOGINS_MAX
    assert [row[0] for row in devices].count(alice) == DEVICES_MAX
    assert min(row[5] for row in devices if row[0] == alice) == NOW_MS + LOGINS_MAX + 50 - DEVICES_MAX
    assert [row[0] for row in rows].count(bob) == [row[0] for row in devices].count(bob) == 1
