"""Rate limits of password guesses, which are consumed before the password is verified."""

import asyncio
import time
from pathlib import Path

import pytest
from tests.accounts.test_authentication import FakePasswords
from tests.builders import PASSWORD, Run, World, a_player
from tests.patience import patiently

from kiai.accounts import Accounts, Credentials, TooManyGuesses, User, credentials
from kiai.accounts.credentials import (
    ADDRESS_GUESSES_PER_MINUTE,
    NAME_GUESSES_PER_MINUTE,
    REFUSAL_DELAY_S,
    REFUSALS_PER_S,
)
from kiai.errors import NotAuthenticated, Unavailable
from kiai.osu.names import password_md5
from kiai.realtime.memory import MemoryRealtime
from kiai.realtime.port import RateLimitResult, StateUnavailable
from kiai.realtime.rate_limiter import RateLimiter
from kiai.storage.port import Database

RIGHT = password_md5(PASSWORD)
ADDRESS = "203.0.113.7"


def wrong(number: int) -> str:
    return f"{number:032x}"


class Guesser:
    """Credentials in a world with the player `alice`."""

    def __init__(self, database: Database, run: Run, folder: Path, *, limited: bool = True) -> None:
        self.passwords = FakePasswords()
        self.world = World(database, run, folder)
        self.world.accounts = Accounts(database, self.passwords, self.world.clock)
        self.world.passwords = self.passwords
        self.alice = self.world.add_player(a_player(password=PASSWORD))
        self.limiter = RateLimiter(self.world.realtime, self.world.clock)
        self.credentials = Credentials(self.world.accounts, self.limiter, limited=limited)

    def restart(self) -> None:
        """Continue as a new process: the same database and limits, but no remembered passwords."""
        accounts = Accounts(self.world.database, self.passwords, self.world.clock)
        self.credentials = Credentials(accounts, self.limiter, limited=True)

    def guess(self, name: str, md5: str, address: str = ADDRESS) -> User | type[BaseException]:
        return self.at_once([(name, md5, address)])[0]

    def at_once(self, guesses: list[tuple[str, str, str]]) -> list[User | type[BaseException]]:
        async def all_of_them() -> list[User | BaseException]:
            return await asyncio.gather(*(self.credentials.check(*one) for one in guesses), return_exceptions=True)

        return [type(one) if isinstance(one, BaseException) else one for one in self.world.run(all_of_them())]


@pytest.fixture
def guesser(database: Database, run: Run, tmp_path: Path) -> Guesser:
    return Guesser(database, run, tmp_path)


def test_simultaneous_guesses_are_all_counted(guesser: Guesser) -> None:
    answers = guesser.at_once([("alice", wrong(n), ADDRESS) for n in range(60)])

    assert answers.count(NotAuthenticated) == NAME_GUESSES_PER_MINUTE
    assert answers.count(TooManyGuesses) == 60 - NAME_GUESSES_PER_MINUTE
    assert guesser.passwords.work == NAME_GUESSES_PER_MINUTE


def test_address_that_guesses_many_names_is_rejected_before_hashing(guesser: Guesser) -> None:
    answers = guesser.at_once([(f"somebody{n}", wrong(n), ADDRESS) for n in range(60)])

    assert answers.count(NotAuthenticated) == ADDRESS_GUESSES_PER_MINUTE
    assert guesser.passwords.work == ADDRESS_GUESSES_PER_MINUTE


def refusal_times(guesser: Guesser, count: int) -> list[float]:
    """Guess until the address is rejected, then `count` times at once. Return the sorted times of refusals in s."""
    guesser.at_once([(f"somebody{n}", wrong(n), ADDRESS) for n in range(ADDRESS_GUESSES_PER_MINUTE)])
    times: list[float] = []

    async def refused(number: int, began: float) -> None:
        with pytest.raises(TooManyGuesses):
            await guesser.credentials.check(f"another{number}", wrong(number), ADDRESS)
        times.append(time.monotonic() - began)

    async def all_of_them() -> None:
        began = time.monotonic()
        await asyncio.gather(*(refused(number, began) for number in range(count)))

    guesser.world.run(all_of_them())
    return sorted(times)


def test_simultaneous_refusals_are_answered_one_after_another(guesser: Guesser) -> None:
    times = refusal_times(guesser, 40)

    assert times[0] >= REFUSAL_DELAY_S
    assert times[-1] >= REFUSAL_DELAY_S + 39 / REFUSALS_PER_S


def test_refusal_is_immediate_when_too_many_are_delayed(guesser: Guesser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "DELAYED_MAX", 3)
    delay_s = patiently(1.0)
    monkeypatch.setattr(credentials, "REFUSAL_DELAY_S", delay_s)
    times = refusal_times(guesser, 10)

    assert sum(seconds < delay_s for seconds in times) == 7


def test_addresses_of_one_ipv6_network_share_a_limit(guesser: Guesser) -> None:
    answers = guesser.at_once([(f"somebody{n}", wrong(n), f"2001:db8::{n:x}") for n in range(60)])

    assert answers.count(NotAuthenticated) == ADDRESS_GUESSES_PER_MINUTE


def test_right_password_refunds_its_guess(guesser: Guesser) -> None:
    for n in range(NAME_GUESSES_PER_MINUTE - 1):
        guesser.guess("alice", wrong(n))

    first = guesser.guess("alice", RIGHT)
    guesser.restart()
    second = guesser.guess("alice", RIGHT)

    assert isinstance(first, User)
    assert isinstance(second, User)


def test_guess_that_was_not_verified_is_refunded(guesser: Guesser) -> None:
    verify = guesser.passwords.verify

    async def full(password_md5: str, stored: str, caller: str = "") -> tuple[bool, str | None]:
        raise Unavailable("login", "64 jobs are waiting")

    guesser.passwords.verify = full  # type: ignore[method-assign]
    refused = [guesser.guess("alice", wrong(n)) for n in range(2 * NAME_GUESSES_PER_MINUTE)]
    guesser.passwords.verify = verify  # type: ignore[method-assign]

    assert set(refused) == {Unavailable}
    assert isinstance(guesser.guess("alice", RIGHT), User)


def test_remembered_password_is_accepted_while_others_guess(guesser: Guesser) -> None:
    guesser.guess("alice", RIGHT)
    guesser.at_once([("alice", wrong(n), ADDRESS) for n in range(60)])

    assert isinstance(guesser.guess("alice", RIGHT), User)


def test_guesses_from_one_address_do_not_limit_another(guesser: Guesser) -> None:
    guesser.at_once([("alice", wrong(n), ADDRESS) for n in range(60)])

    assert isinstance(guesser.guess("alice", RIGHT, "198.51.100.1"), User)


def test_guesses_are_allowed_again_after_a_time(guesser: Guesser) -> None:
    guesser.at_once([("alice", wrong(n), ADDRESS) for n in range(60)])
    refused = guesser.guess("alice", RIGHT)

    guesser.world.clock.advance(60 / NAME_GUESSES_PER_MINUTE)

    assert refused is TooManyGuesses
    assert isinstance(guesser.guess("alice", RIGHT), User)


def slowed_after(guesser: Guesser, monkeypatch: pytest.MonkeyPatch, account: str, typed: str) -> int:
    """Guess from many addresses with this text. Return the number of guesses before the first slow one."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def guess(number: int) -> None:
        with pytest.raises(NotAuthenticated):
            await guesser.credentials.check(account, wrong(number), f"198.51.{number}.1", typed=typed)

    with monkeypatch.context() as patched:
        patched.setattr(asyncio, "sleep", sleep)
        for number in range(150):
            guesser.world.run(guess(number))
            if slept:
                return number
    raise AssertionError("no slow guess")


def test_name_and_address_of_an_account_together_have_a_hundred_fast_guesses(
    guesser: Guesser, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_name = slowed_after(guesser, monkeypatch, "alice", "alice")
    by_address = slowed_after(guesser, monkeypatch, "alice", "alice@example.org")

    assert by_name + by_address == 100
    unknown = [slowed_after(guesser, monkeypatch, typed, typed) for typed in ("nobody", "nobody@example.org")]
    assert unknown == [by_name, by_address], "an account with the name and the address has no other limits"


def test_equal_requests_share_one_verification(guesser: Guesser) -> None:
    answers = guesser.at_once([("alice", RIGHT, ADDRESS)] * 20)

    assert all(isinstance(one, User) for one in answers)
    assert guesser.passwords.verified == 1


def test_every_guess_is_verified_without_rate_limits(database: Database, run: Run, tmp_path: Path) -> None:
    guesser = Guesser(database, run, tmp_path, limited=False)

    answers = guesser.at_once([("alice", wrong(n), ADDRESS) for n in range(60)])

    assert answers.count(NotAuthenticated) == 60


class AwayRealtime(MemoryRealtime):
    """Shared state that is unavailable."""

    async def take(
        self, bucket: str, *, limit: int, period_s: float, burst: int | None = None, cost: int = 1
    ) -> RateLimitResult:
        raise StateUnavailable

    async def refund(self, bucket: str, *, limit: int, period_s: float, cost: int = 1) -> None:
        raise StateUnavailable


def test_guesses_are_limited_in_the_process_while_the_shared_state_is_unavailable(guesser: Guesser) -> None:
    limiter = RateLimiter(AwayRealtime(guesser.world.clock), guesser.world.clock)
    guesser.credentials = Credentials(guesser.world.accounts, limiter, limited=True)

    answers = guesser.at_once([("alice", wrong(n), ADDRESS) for n in range(60)])
    honest = guesser.guess("alice", RIGHT, "198.51.100.1")

    assert answers.count(NotAuthenticated) == NAME_GUESSES_PER_MINUTE
    assert isinstance(honest, User)
