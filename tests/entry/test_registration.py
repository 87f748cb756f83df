"""Registration: rules by field, invite codes, two at once."""

import asyncio
from pathlib import Path

import pytest
from tests.builders import Run
from tests.entry.kit import ORIGIN, Entry
from tests.mail_server import link_in

from kiai.accounts import Viewer
from kiai.entry import Origin
from kiai.entry.invites import USES_MAX
from kiai.entry.registration import NO_INVITE, RegistrationClosed, RegistrationFaults
from kiai.errors import Invalid
from kiai.staff.audit import OPERATOR
from kiai.storage.port import Database

FORM = {"name": "newcomer", "email": "New@Example.org", "password": "correct horse 8"}


def register(entry: Entry, **changed: str) -> int:
    return entry.run(entry.services.registration.register(**FORM | changed, origin=ORIGIN))


def faults(entry: Entry, **changed: str) -> dict[str, list[str]]:
    with pytest.raises(RegistrationFaults) as caught:
        register(entry, **changed)
    return caught.value.by_field


def an_entry(database: Database, run: Run, folder: Path, state: str) -> Entry:
    return Entry(database, run, folder, None, registration=state)


def test_registration_creates_an_unverified_account_with_an_audit_row(entry: Entry) -> None:
    user_id = register(entry)

    account = entry.run(entry.world.accounts.account("newcomer"))
    assert (account.id, account.email, account.priv) == (user_id, "new@example.org", 1)
    assert entry.can_log_in("correct horse 8", "newcomer")
    (row,) = entry.world.audit(user_id)
    assert (row.action, row.actor_id, row.source) == ("register", user_id, "web")


@pytest.mark.parametrize(
    ("changed", "field", "text"),
    [
        ({"name": "a"}, "name", "2 to 15 characters"),
        ({"name": "ä_b"}, "name", '"ä"'),
        ({"name": "a  b"}, "name", "two spaces in a row"),
        ({"name": "a b_c"}, "name", "not both"),
        ({"name": "1234"}, "name", "digits"),
        ({"name": "BanchoBot"}, "name", "reserved"),
        ({"name": "ALICE"}, "name", "taken"),
        ({"email": "nobody"}, "email", "name@example.com"),
        ({"email": "ALICE@example.org"}, "email", "This e-mail address cannot be used."),
        ({"password": "short"}, "password", "8 to 32"),
        ({"password": "abcabcabc"}, "password", "3 different"),
        ({"name": "NewComer9", "password": "newcomer9"}, "password", "different from the name"),
        ({"password": "Dragon123"}, "password", "less common"),
    ],
)
def test_wrong_field_has_a_message(entry: Entry, changed: dict[str, str], field: str, text: str) -> None:
    found = faults(entry, **changed)

    assert list(found) == [field]
    assert text in found[field][0]


def test_one_of_two_registrations_at_once_gets_the_error_of_the_field(entry: Entry) -> None:
    async def both() -> list[object]:
        forms = (FORM, FORM | {"email": "other@example.org"})
        return await asyncio.gather(
            *(entry.services.registration.register(**form, origin=ORIGIN) for form in forms), return_exceptions=True
        )

    outcomes = entry.run(both())

    (error,) = [outcome for outcome in outcomes if isinstance(outcome, RegistrationFaults)]
    assert list(error.by_field) == ["name"]
    assert len([outcome for outcome in outcomes if isinstance(outcome, int)]) == 1


def test_closed_registration_refuses_everybody(database: Database, run: Run, tmp_path: Path) -> None:
    entry = an_entry(database, run, tmp_path, "off")

    with pytest.raises(RegistrationClosed):
        register(entry)
    assert entry.run(entry.world.accounts.account_named("newcomer")) is None


def test_registration_that_is_closed_meanwhile_creates_no_account(
    database: Database, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = an_entry(database, run, tmp_path, "on")
    entry.switch_after_check("off", monkeypatch)

    with pytest.raises(RegistrationClosed):
        register(entry)
    assert entry.run(entry.world.accounts.account_named("newcomer")) is None


def test_invite_code_registers_as_often_as_it_allows(database: Database, run: Run, tmp_path: Path) -> None:
    entry = an_entry(database, run, tmp_path, "invite")
    code = run(entry.services.invites.create(OPERATOR, uses=2, for_s=3600)).code

    assert faults(entry) == {"invite": [NO_INVITE]}
    assert faults(entry, invite="0000-0000-0000-0000") == {"invite": [NO_INVITE]}
    register(entry, invite=f" {code.lower().replace('-', ' ')} ")
    register(entry, name="second", email="second@example.org", invite=code)
    assert faults(entry, name="third", email="third@example.org", invite=code) == {"invite": [NO_INVITE]}


def test_expired_invite_code_registers_nobody(database: Database, run: Run, tmp_path: Path) -> None:
    entry = an_entry(database, run, tmp_path, "invite")
    code = run(entry.services.invites.create(OPERATOR, uses=1, for_s=3600)).code
    entry.clock.advance(3600)

    assert faults(entry, invite=code) == {"invite": [NO_INVITE]}
    assert run(entry.services.delete_expired()) == 1


def test_refused_registration_uses_up_no_invite(database: Database, run: Run, tmp_path: Path) -> None:
    entry = an_entry(database, run, tmp_path, "invite")
    code = run(entry.services.invites.create(OPERATOR, uses=1, for_s=3600)).code

    assert list(faults(entry, name="ALICE", invite=code)) == ["name"]
    register(entry, invite=code)


def test_last_use_of_a_code_registers_one_of_two_at_once(database: Database, run: Run, tmp_path: Path) -> None:
    entry = an_entry(database, run, tmp_path, "invite")
    code = run(entry.services.invites.create(OPERATOR, uses=1, for_s=3600)).code

    async def both() -> list[object]:
        forms = (FORM, {"name": "other", "email": "other@example.org", "password": "correct horse 8"})
        return await asyncio.gather(
            *(entry.services.registration.register(**form, origin=ORIGIN, invite=code) for form in forms),
            return_exceptions=True,
        )

    outcomes = entry.run(both())

    (error,) = [outcome for outcome in outcomes if isinstance(outcome, RegistrationFaults)]
    assert error.by_field == {"invite": [NO_INVITE]}
    assert run(entry.world.accounts.total()) == 2


@pytest.mark.parametrize("uses", [0, -1, USES_MAX + 1])
def test_invite_has_a_bounded_number_of_uses(entry: Entry, uses: int) -> None:
    with pytest.raises(Invalid):
        entry.run(entry.services.invites.create(OPERATOR, uses=uses, for_s=60))


def test_new_player_confirms_the_address_where_the_operator_asks_for_it(
    database: Database, run: Run, tmp_path: Path, entry: Entry
) -> None:
    asking = Entry(database, run, tmp_path, entry.mail_server, mail_verification=True)
    user_id = register(asking)
    user = run(asking.world.accounts.user(_viewer(user_id), id=user_id))
    assert asking.services.security.must_verify(user)
    assert asking.subjects("new@example.org") == ["Kiai Club: Confirm your e-mail address"]

    assert asking.mail_server is not None
    token = link_in(asking.mail_server.to("new@example.org")[0]).rpartition("/")[2]
    for _ in range(2):  # mail programs may open links, too
        run(asking.services.security.confirm_email(token, Origin("web")))
    user = run(asking.world.accounts.user(_viewer(user_id), id=user_id))
    assert not asking.services.security.must_verify(user)


def _viewer(user_id: int) -> Viewer:
    return Viewer(user_id=user_id)
