"""Authentication by name and password, remembered passwords, and the first login."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from pwdlib.hashers.bcrypt import BcryptHasher
from sqlalchemy import select, update
from tests.builders import NORMAL, NOW_MS, PASSWORD, Run, World, a_player

from kiai.accounts import BOT_ID, Accounts, Passwords, Viewer
from kiai.accounts.passwords import REMEMBERED_S, WAITING_MAX, WAITING_OF_CALLER_MAX, VerifiedPasswords
from kiai.clock import ManualClock
from kiai.errors import NotAuthenticated, NotFound, Unavailable
from kiai.osu.names import password_md5
from kiai.osu.privileges import DEVELOPER, UNRESTRICTED, VERIFIED, Privilege
from kiai.storage.port import Command, Database, Transaction
from kiai.storage.tables import users

RIGHT = password_md5(PASSWORD)
WRONG = password_md5("battery staple 8")


class FakePasswords(Passwords):
    """Fake hashes (a prefix and the password), and the number of calls of each kind.

    The prefix `old` is an old format of hash; `meanwhile` runs during the next verification.
    """

    def __init__(self) -> None:
        super().__init__(threads=1)
        self.hashed = 0
        self.verified = 0
        self.pretended = 0
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    async def hash(self, password_md5: str, caller: str = "") -> str:
        self.hashed += 1
        return f"fake{self.hashed}:{password_md5}"

    async def verify(self, password_md5: str, stored: str, caller: str = "") -> tuple[bool, str | None]:
        self.verified += 1
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        kind, _, known = stored.partition(":")
        right = known == password_md5
        return right, f"new:{password_md5}" if right and kind == "old" else None

    async def dummy_verify(self, caller: str = "") -> None:
        self.pretended += 1

    @property
    def work(self) -> int:
        """The number of hashes and verifications."""
        return self.verified + self.pretended


@pytest.fixture
def passwords() -> FakePasswords:
    return FakePasswords()


@pytest.fixture
def world(database: Database, run: Run, tmp_path: Path, passwords: FakePasswords) -> World:
    world = World(database, run, tmp_path)
    world.passwords = passwords
    world.accounts = Accounts(database, passwords, world.clock)
    return world


@pytest.fixture
def alice(world: World) -> int:
    return world.add_player(a_player(password=PASSWORD))


def logged_in(world: World, name: str = "alice", md5: str = RIGHT) -> int:
    return world.run(world.accounts.authenticate(name, md5)).id


def stored_hash(world: World, user_id: int) -> str:
    return str(world.look(select(users.c.password_hash).where(users.c.id == user_id))[0][0])


async def setting_columns(world: World, user_id: int, **values: int | str) -> None:
    command = Command(update(users).where(users.c.id == user_id).values(values))

    async def body(tx: Transaction) -> None:
        await tx.run(command)

    await world.database.transaction(body)


def set_columns(world: World, user_id: int, **values: int | str) -> None:
    world.run(setting_columns(world, user_id, **values))


# --- right and wrong


@pytest.mark.parametrize("name", ["some player", "Some Player", "some_player"])
def test_right_name_and_password_authenticate_the_player(world: World, name: str) -> None:
    user_id = world.add_player(a_player("Some Player", password=PASSWORD))

    user = world.run(world.accounts.authenticate(name, RIGHT))

    assert (user.id, user.name, user.banned_at_ms, user.friends_only_dms) == (user_id, "Some Player", None, 0)


@pytest.mark.parametrize(
    ("name", "md5"),
    [
        ("alice", WRONG),
        ("nobody", RIGHT),
        ("banchobot", RIGHT),  # no password at all
        ("former", RIGHT),  # a name of the past
        ("alice", RIGHT[:31]),
        ("alice", RIGHT + "0"),
        ("alice", RIGHT.upper()),
        ("alice", "g" * 32),
        ("alice", RIGHT + "\n"),
        ("alice", ""),
        ("", RIGHT),
        ("a\x00lice", RIGHT),
        ("a\nlice", RIGHT),
        ("%", RIGHT),
        ("' OR 1=1--", RIGHT),
        ("x" * 10_000, RIGHT),
        ("ａｌｉｃｅ", RIGHT),
    ],
)
def test_wrong_name_and_wrong_password_cost_the_same_work_and_give_the_same_error(
    world: World, passwords: FakePasswords, name: str, md5: str
) -> None:
    alice = world.add_player(a_player("former", priv=NORMAL | int(Privilege.SUPPORTER), password=PASSWORD))
    world.run(world.accounts.set_profile(Viewer(alice, world.user(alice).priv), {"name": "alice"}))

    with pytest.raises(NotAuthenticated) as wrong:
        logged_in(world, name, md5)

    assert type(wrong.value) is NotAuthenticated
    assert str(wrong.value) == ""
    assert passwords.work == 1


def test_restricted_or_banned_account_is_authenticated(world: World, alice: int) -> None:
    set_columns(world, alice, priv=VERIFIED, banned_at_ms=5)

    user = world.run(world.accounts.authenticate("alice", RIGHT))

    assert (user.id, user.priv, user.banned_at_ms) == (alice, VERIFIED, 5)


# --- remembering


def test_repeated_login_computes_no_hash(world: World, passwords: FakePasswords, alice: int) -> None:
    assert logged_in(world) == alice
    before = passwords.work

    again = [logged_in(world) for _ in range(3)]

    assert again == [alice] * 3
    assert (before, passwords.work) == (1, 1)


def test_remembered_login_returns_the_current_account(world: World, alice: int) -> None:
    logged_in(world)

    set_columns(world, alice, priv=VERIFIED, banned_at_ms=7)

    user = world.run(world.accounts.authenticate("alice", RIGHT))
    assert (user.priv, user.banned_at_ms) == (VERIFIED, 7)


def test_wrong_password_is_rejected_before_and_after_a_right_one(
    world: World, passwords: FakePasswords, alice: int
) -> None:
    logged_in(world)

    for _ in range(2):
        with pytest.raises(NotAuthenticated):
            logged_in(world, "alice", WRONG)

    assert passwords.verified == 3


def test_same_password_of_another_account_is_verified_separately(
    world: World, passwords: FakePasswords, alice: int
) -> None:
    bob = world.add_player(a_player("bob", password=PASSWORD))
    logged_in(world)

    assert logged_in(world, "bob") == bob
    assert passwords.verified == 2


def test_old_password_is_rejected_at_once_after_a_change(world: World, passwords: FakePasswords, alice: int) -> None:
    logged_in(world)

    world.run(world.accounts.set_password(alice, password="battery staple 8", name="alice", email="a@example.org"))

    with pytest.raises(NotAuthenticated):
        logged_in(world)
    assert logged_in(world, md5=WRONG) == alice
    assert passwords.verified == 3


def test_same_password_set_again_is_verified_again(world: World, passwords: FakePasswords, alice: int) -> None:
    logged_in(world)

    world.run(world.accounts.set_password(alice, password=PASSWORD, name="alice", email="a@example.org"))

    assert logged_in(world) == alice
    assert passwords.verified == 2


def test_password_is_verified_again_after_an_hour(world: World, passwords: FakePasswords, alice: int) -> None:
    logged_in(world)

    world.clock.advance(REMEMBERED_S - 1)
    logged_in(world)
    within = passwords.verified
    world.clock.advance(1)
    logged_in(world)

    assert (within, passwords.verified) == (1, 2)


def test_change_of_the_wall_clock_does_not_extend_remembered_passwords(
    world: World, passwords: FakePasswords, alice: int
) -> None:
    logged_in(world)

    world.clock.set_now_ms(0)
    world.clock.advance(REMEMBERED_S)
    logged_in(world)

    assert passwords.verified == 2


def test_oldest_remembered_password_is_dropped_at_the_limit() -> None:
    remembered = VerifiedPasswords(ManualClock(), size_max=2)

    for name in ("a", "b", "a", "c"):
        remembered.add(name, "stored")

    assert [remembered.has(name, "stored") for name in ("a", "b", "c")] == [True, False, True]


def test_each_process_has_its_own_digest_key() -> None:
    one, other = VerifiedPasswords(ManualClock()), VerifiedPasswords(ManualClock())

    for remembered in (one, other):
        remembered.add(RIGHT, "stored")

    assert vars(one)["_until"].keys().isdisjoint(vars(other)["_until"])


# --- while a password is verified


def test_ban_during_the_verification_is_in_the_result(world: World, passwords: FakePasswords, alice: int) -> None:
    passwords.meanwhile = lambda: setting_columns(world, alice, banned_at_ms=9)

    assert world.run(world.accounts.authenticate("alice", RIGHT)).banned_at_ms == 9


def test_password_changed_during_the_verification_rejects_the_old_one(
    world: World, passwords: FakePasswords, alice: int
) -> None:
    passwords.meanwhile = lambda: setting_columns(world, alice, password_hash=f"fake9:{WRONG}")

    with pytest.raises(NotAuthenticated):
        logged_in(world)
    assert passwords.verified == 2


def test_hash_renewed_by_another_login_at_the_same_time_is_accepted(
    world: World, passwords: FakePasswords, alice: int
) -> None:
    set_columns(world, alice, password_hash=f"old:{RIGHT}")
    passwords.meanwhile = lambda: setting_columns(world, alice, password_hash=f"renewed:{RIGHT}")

    assert logged_in(world) == alice
    assert stored_hash(world, alice) == f"renewed:{RIGHT}"


# --- old kinds of hashes


def test_old_hash_format_is_replaced_at_the_first_login(world: World, passwords: FakePasswords, alice: int) -> None:
    set_columns(world, alice, password_hash=f"old:{RIGHT}")

    first, again = logged_in(world), logged_in(world)

    assert (first, again) == (alice, alice)
    assert stored_hash(world, alice) == f"new:{RIGHT}"
    assert passwords.verified == 1


def test_wrong_password_does_not_replace_the_hash(world: World, alice: int) -> None:
    set_columns(world, alice, password_hash=f"old:{RIGHT}")

    with pytest.raises(NotAuthenticated):
        logged_in(world, md5=WRONG)

    assert stored_hash(world, alice) == f"old:{RIGHT}"


# --- the real hasher


def test_real_hashes_are_verified_renewed_and_rejected(world: World, run: Run, alice: int) -> None:
    real = Passwords(threads=1)
    accounts = Accounts(world.database, real, world.clock)
    old = BcryptHasher(rounds=4).hash(RIGHT)
    set_columns(world, alice, password_hash=old)

    with pytest.raises(NotAuthenticated):
        run(accounts.authenticate("alice", WRONG))
    stored = stored_hash(world, alice)
    user = run(accounts.authenticate("alice", RIGHT))

    assert stored == old
    assert user.id == alice
    assert stored_hash(world, alice).startswith("$argon2id$")
    assert run(Accounts(world.database, real, world.clock).authenticate("alice", RIGHT)).id == alice


def test_invalid_stored_hash_rejects_every_password(world: World, run: Run, alice: int) -> None:
    set_columns(world, alice, password_hash="plain")

    with pytest.raises(NotAuthenticated):
        run(Accounts(world.database, Passwords(threads=1), world.clock).authenticate("alice", RIGHT))


async def occupy(passwords: Passwords) -> threading.Event:
    """Occupy the only thread until the event is set."""
    done = threading.Event()
    asyncio.ensure_future(passwords._run("operator", done.wait))  # noqa: RUF006
    await asyncio.sleep(0)
    return done


def test_password_that_waits_too_long_raises_unavailable(run: Run) -> None:
    passwords = Passwords(threads=1, wait_s=0.01)

    async def scenario() -> None:
        done = await occupy(passwords)
        with pytest.raises(Unavailable, match="login is not available"):
            await passwords.verify(RIGHT, "stored")
        done.set()

    run(scenario())
    run(passwords.close())


def test_full_queue_of_passwords_rejects_at_once(run: Run) -> None:
    passwords = Passwords(threads=1)

    async def storm() -> tuple[int, list[BaseException | None]]:
        done = await occupy(passwords)
        waiting = [asyncio.ensure_future(passwords.dummy_verify(f"10.0.0.{n % 8}")) for n in range(WAITING_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await passwords.dummy_verify("10.0.0.0")
        for one in waiting[2:]:
            one.cancel()
        done.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        await passwords.dummy_verify()
        return len(results), [one for one in results[:2] if one is not None]

    assert run(storm()) == (WAITING_MAX, [])
    run(passwords.close())


def test_waiting_passwords_are_refused_when_the_server_stops(run: Run) -> None:
    passwords = Passwords(threads=1)

    async def stop() -> list[object]:
        done = await occupy(passwords)
        waiting = [asyncio.ensure_future(passwords.dummy_verify(f"10.0.0.{n}")) for n in range(50)]
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(passwords.close())
        await asyncio.sleep(0)
        done.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        await closing
        return [type(one) for one in results]

    assert run(stop()) == [Unavailable] * 50


def test_ninety_guesses_from_one_address_do_not_delay_another_address(run: Run) -> None:
    passwords = Passwords(threads=1)

    async def storm() -> list[object]:
        done = await occupy(passwords)
        guesses = [asyncio.ensure_future(passwords.dummy_verify("203.0.113.7")) for _ in range(90)]
        await asyncio.sleep(0)
        order: list[object] = []
        honest = asyncio.ensure_future(passwords.dummy_verify("198.51.100.1"))
        honest.add_done_callback(lambda _: order.append("honest"))
        for guess in guesses:
            guess.add_done_callback(lambda one: order.append(type(one.exception())))
        await asyncio.sleep(0)
        done.set()
        await asyncio.gather(honest, *guesses, return_exceptions=True)
        return order

    order = run(storm())

    refused = [one for one in order if one is Unavailable]
    assert len(refused) == 90 - WAITING_OF_CALLER_MAX
    assert [one for one in order if one is not Unavailable].index("honest") <= 1
    run(passwords.close())


# --- the first login


def verified(world: World, user_id: int) -> int:
    async def body(tx: Transaction) -> int:
        return await world.accounts.verify(tx, user_id)

    priv = world.run(world.database.transaction(body))
    assert world.user(user_id).priv == priv
    return priv


def test_first_login_sets_only_the_verified_privilege(world: World) -> None:
    first = world.add_player(a_player(priv=UNRESTRICTED))
    second = world.add_player(a_player("bob", priv=UNRESTRICTED))

    assert verified(world, first) == verified(world, second) == UNRESTRICTED | VERIFIED
    assert verified(world, first) == UNRESTRICTED | VERIFIED


def test_verification_does_not_lift_a_restriction(world: World) -> None:
    first = world.add_player(a_player(priv=0))

    assert verified(world, first) == VERIFIED


def test_verification_of_an_unknown_account_raises_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        verified(world, 99)


# --- being there


def test_activity_of_many_accounts_is_stored_and_never_goes_back(world: World, alice: int) -> None:
    bob = world.add_player(a_player("bob"))

    world.run(world.accounts.touch({bob: NOW_MS + 60_000, alice: NOW_MS - 1, 99: NOW_MS}))
    world.run(world.accounts.touch({}))

    assert (world.user(alice).active_at_ms, world.user(bob).active_at_ms) == (NOW_MS, NOW_MS + 60_000)
    assert world.run(world.accounts.user(Viewer(priv=DEVELOPER), id=BOT_ID)).active_at_ms == 0


def test_private_messages_are_friends_only_while_the_setting_is_on(world: World, alice: int) -> None:
    world.run(world.accounts.set_friends_only_dms(alice, True))
    on = world.user(alice).friends_only_dms

    world.run(world.accounts.set_friends_only_dms(alice, False))

    assert (on, world.user(alice).friends_only_dms) == (1, 0)
