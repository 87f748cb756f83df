"""Authenticators and recovery codes."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from tests.entry.kit import ORIGIN, Entry

from kiai.entry.model import TooManyCodes, WrongCode
from kiai.entry.second_factors import Factors, use_of_step
from kiai.errors import Conflict, NotFound, Refused
from kiai.staff.audit import OPERATOR
from kiai.storage.tables import authenticators, recovery_codes


def check(entry: Entry, code: str) -> bool:
    try:
        entry.run(entry.services.factors.check(3, code, ORIGIN))
    except WrongCode:
        return False
    return True


def factors(entry: Entry) -> Factors:
    return entry.run(entry.services.factors.of(3))


def test_authenticator_is_required_after_it_was_turned_on(entry: Entry) -> None:
    setup = entry.run(entry.services.factors.set_up(entry.alice))
    assert entry.run(entry.services.factors.pending(entry.alice)) == setup
    assert setup.uri == f"otpauth://totp/Kiai%20Club:alice?secret={setup.secret}&issuer=Kiai%20Club"
    assert not factors(entry).required
    assert not check(entry, entry.code(setup.secret, 1))

    codes = entry.run(entry.services.factors.turn_on(entry.alice, entry.code(setup.secret), ORIGIN))

    assert len(set(codes)) == 10
    assert factors(entry) == Factors(authenticator=True, passkeys=0, recovery_codes=10)
    assert entry.run(entry.services.factors.pending(entry.alice)) is None
    assert "authenticator_on" in entry.actions()
    assert entry.subjects() == ["Kiai Club: The security of your account changed"]
    with pytest.raises(Conflict):
        entry.run(entry.services.factors.set_up(entry.alice))


def test_wrong_code_turns_nothing_on(entry: Entry) -> None:
    setup = entry.run(entry.services.factors.set_up(entry.alice))

    for code in ("000000" if entry.code(setup.secret) != "000000" else "000001", "", "x" * 10_000, "１２３４５６"):
        with pytest.raises(WrongCode):
            entry.run(entry.services.factors.turn_on(entry.alice, code, ORIGIN))
    assert not factors(entry).required


@pytest.mark.parametrize("order", [(1, -1), (-1, 1), (1,), (-1,)])
def test_codes_of_the_steps_around_now_count_once_each(entry: Entry, order: tuple[int, ...]) -> None:
    secret, _ = entry.turn_on_authenticator()  # uses the current step

    assert not check(entry, entry.code(secret))
    for step in order:
        assert check(entry, entry.code(secret, step))
        assert not check(entry, entry.code(secret, step))
    assert not check(entry, entry.code(secret, 2))
    assert not check(entry, entry.code(secret, -2))


def test_code_with_spaces_counts(entry: Entry) -> None:
    secret, _ = entry.turn_on_authenticator()
    code = entry.code(secret, 1)

    assert check(entry, f" {code[:3]} {code[3:]} ")


def test_one_of_two_uses_of_a_code_at_once_counts(entry: Entry) -> None:
    secret, (recovery, *_) = entry.turn_on_authenticator()

    async def both(code: str) -> list[object]:
        tries = (entry.services.factors.check(3, code, ORIGIN) for _ in range(2))
        return await asyncio.gather(*tries, return_exceptions=True)

    for code in (entry.code(secret, 1), recovery):
        outcomes = entry.run(both(code))
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoneType", "WrongCode"]


def test_recovery_code_works_once_in_any_spelling(entry: Entry) -> None:
    _, codes = entry.turn_on_authenticator()

    assert check(entry, codes[0].lower().replace("-", " "))
    assert not check(entry, codes[0])
    assert factors(entry).recovery_codes == 9
    assert "recovery_code_used" in entry.actions()
    new = entry.run(entry.services.factors.new_recovery_codes(entry.alice, ORIGIN))
    assert not check(entry, codes[1])
    assert check(entry, new[1])


def test_form_for_new_recovery_codes_works_once(entry: Entry) -> None:
    entry.turn_on_authenticator()
    factor_services = entry.services.factors
    seen = entry.run(factor_services.mark_of_codes(entry.alice.id))
    new = entry.run(factor_services.new_recovery_codes(entry.alice, ORIGIN, seen=seen))

    with pytest.raises(Refused, match="have changed since this page was opened"):
        entry.run(factor_services.new_recovery_codes(entry.alice, ORIGIN, seen=seen))

    assert check(entry, new[0])


def test_two_forms_at_once_make_one_set_of_recovery_codes(entry: Entry) -> None:
    entry.turn_on_authenticator()
    alice = entry.alice
    factor_services = entry.services.factors
    seen = entry.run(factor_services.mark_of_codes(alice.id))

    async def both() -> list[list[str] | BaseException]:
        acts = [factor_services.new_recovery_codes(alice, ORIGIN, seen=seen) for _ in range(4)]
        return await asyncio.gather(*acts, return_exceptions=True)

    [made] = [answer for answer in entry.run(both()) if isinstance(answer, list)]

    assert factors(entry).recovery_codes == 10
    assert check(entry, made[9])


def test_wrong_codes_are_limited_and_recorded(entry: Entry) -> None:
    secret, _ = entry.turn_on_authenticator()
    right = entry.code(secret, 1)
    wrong = "000000" if right != "000000" else "000001"

    for _ in range(5):
        assert not check(entry, wrong)
    with pytest.raises(TooManyCodes):
        check(entry, right)
    entry.clock.advance(30)
    assert entry.events().count("wrong_code") == 5


def test_right_codes_are_not_limited(entry: Entry) -> None:
    _, codes = entry.turn_on_authenticator()

    assert all(check(entry, code) for code in codes)


def test_secrets_are_not_readable_in_the_database(entry: Entry) -> None:
    secret, codes = entry.turn_on_authenticator()

    ((stored,),) = entry.world.look(select(authenticators.c.secret))
    assert secret.encode() not in stored
    hashes = entry.world.look(select(recovery_codes.c.hash))
    assert not {code.encode() for code in codes} & {row[0] for row in hashes}


def test_turning_off_removes_the_recovery_codes(entry: Entry) -> None:
    secret, _ = entry.turn_on_authenticator()

    entry.run(entry.services.factors.turn_off(entry.alice, ORIGIN))

    assert factors(entry) == Factors(authenticator=False, passkeys=0, recovery_codes=0)
    assert not check(entry, entry.code(secret, 1))
    assert entry.actions()[0] == "authenticator_off"
    with pytest.raises(Refused):
        entry.run(entry.services.factors.new_recovery_codes(entry.alice, ORIGIN))


def test_staff_removes_all_second_factors(entry: Entry) -> None:
    entry.turn_on_authenticator()

    entry.run(entry.services.factors.reset(OPERATOR, "ALICE"))

    assert not factors(entry).required
    row = entry.world.audit(3)[0]
    assert (row.action, row.actor_id, row.source) == ("second_factor_reset", 0, "cli")
    with pytest.raises(NotFound):
        entry.run(entry.services.factors.reset(OPERATOR, "nobody"))


@given(st.lists(st.integers(-1, 1), max_size=40), st.lists(st.integers(0, 3), max_size=40))
def test_no_step_counts_twice(offsets: list[int], waits: list[int]) -> None:
    now, last, used, accepted = 1_000, 0, 0, set()
    for offset, wait in zip(offsets, waits, strict=False):
        now += wait
        outcome = use_of_step(last, used, now + offset)
        assert (outcome is None) == (now + offset in accepted)
        if outcome is not None:
            last, used = outcome
            accepted.add(now + offset)
