"""The facts on the page of an account, and the records with pages of their own: notes, logins, linked accounts."""

from collections.abc import Iterator

import pytest
from sqlalchemy import delete, insert, update
from tests.site.admin.kit import ADMINISTRATOR, MODERATOR, OTHER, PLAYER, RESTRICTED, World, confirmed, details
from tests.site.kit import PageReply

from kiai.storage.tables import (
    account_events,
    api_keys,
    clans,
    client_hashes,
    logins,
    notes,
    old_names,
    reports,
    users,
)

HOSTILE = "<script>alert(1)</script>"
PAGE = f"/admin/users/{PLAYER}"
ADDRESS = "203.0.113.7"
HASH = "5d41402abc4b2a76b9719d911017c592"


@pytest.fixture(autouse=True)
def without_records(world: World) -> Iterator[None]:
    yield
    for table in (notes, logins, client_hashes, account_events, old_names, api_keys):
        world.write(delete(table).where(table.c.user_id.in_((PLAYER, OTHER, RESTRICTED))))


def a_login(world: World, user_id: int, count: int = 1, **values: object) -> None:
    row = {"user_id": user_id, "address": ADDRESS, "build": 20260101, "stream": "stable40", **values}
    world.write(insert(logins).values([{**row, "at_ms": 1_700_000_000_000 + n * 1000} for n in range(count)]))


def a_device(world: World, user_id: int, **values: object) -> None:
    row = {"adapters": "0" * 32, "uninstall": str(user_id).zfill(32), "disk": "1" * 32, "exe": "x", "uses": 1}
    times = {"first_at_ms": 5, "last_at_ms": 1_700_000_000_000}
    world.write(insert(client_hashes).values(user_id=user_id, **{**row, **times, **values}))


def following(page: PageReply) -> str:
    """Return the address of the next page of a list."""
    return str(page.one('[rel="next"]').attributes["href"])


def test_account_shows_former_names_with_times_and_plays_with_links(world: World) -> None:
    world.write(insert(old_names).values(user_id=PLAYER, name=HOSTILE[:30], safe_name="x", released_at_ms=5))

    page = world.browser(MODERATOR).get(PAGE)

    names = page.one('[aria-label="Former names"]')
    assert HOSTILE[:30] in names.text()
    assert "1970" in names.text()
    assert HOSTILE[:30].encode() not in page.body
    shown = [row.attributes["data-score-id"] for row in page.css('[aria-label="Last plays"] [data-score-id]')]
    assert 0 < len(shown) <= 10
    assert shown == sorted(shown, key=int, reverse=True)  # type: ignore[arg-type]
    assert world.browser(MODERATOR).get(f"/scores/{shown[0]}").status == 200


def test_account_without_anything_says_so(world: World) -> None:
    page = world.browser(MODERATOR).get("/admin/users/1")

    assert "has not played yet" in page.one('[aria-label="Last plays"]').text()
    assert "always had this name" in page.one('[aria-label="Former names"]').text()


def test_sanctions_in_force_donor_time_and_clan_stand_in_the_facts(world: World) -> None:
    world.write(insert(clans).values(name="Band", safe_name="band", tag="BAND", owner_id=OTHER, created_at_ms=1))
    clan = world.row(clans.select())
    values = {"silenced_until_ms": 2**42, "donor_until_ms": 2**42, "clan_id": clan.id, "clan_priv": 1}
    before = world.row(users.select().where(users.c.id == PLAYER))
    world.write(update(users).where(users.c.id == PLAYER).values(**values))
    try:
        facts = world.browser(MODERATOR).get(PAGE).one("dl.facts").text()
    finally:
        again = {name: getattr(before, name) for name in values}
        world.write(update(users).where(users.c.id == PLAYER).values(**again))
        world.write(delete(clans))

    assert "Silenced until" in facts
    assert "Donor time until" in facts
    assert f"[{clan.tag}]" in facts


def test_numbers_of_keys_and_web_sessions_are_for_administrators(world: World) -> None:
    world.write(insert(api_keys).values(user_id=PLAYER, hash=b"k" * 32, label="mine", created_at_ms=1))

    moderator = world.browser(MODERATOR).get(PAGE).one("dl.facts").text()
    administrator = world.browser(ADMINISTRATOR).get(PAGE).one("dl.facts").text(separator=" ")

    assert "Sessions in the game" in moderator
    assert "API keys" not in moderator
    assert "API keys 1" in " ".join(administrator.split())


def test_notes_are_read_page_by_page_and_each_reading_is_recorded(world: World) -> None:
    world.write(
        insert(notes).values(
            [{"user_id": PLAYER, "author_id": MODERATOR, "at_ms": n, "text": f"note {n}"} for n in range(55)]
        )
    )
    browser = world.browser(MODERATOR)

    first = browser.get(f"{PAGE}/notes")
    second = browser.get(following(first))

    assert len(first.css("[data-note-id]")) == 50
    assert "note 54" in first.text
    assert len(second.css("[data-note-id]")) == 5
    assert [row.action for row in world.audit()[-2:]] == ["notes_read", "notes_read"]
    assert second.css('[rel="next"]') == []


def test_note_is_added_from_the_page_of_notes_and_shown_as_text(world: World) -> None:
    browser = world.browser(MODERATOR)
    page = browser.get(f"{PAGE}/notes")
    assert "Nobody has written a note" in page.text

    confirmed(page.form("Note").fill(Note=HOSTILE))

    again = browser.get(f"{PAGE}/notes")
    assert HOSTILE in again.text
    assert HOSTILE.encode() not in again.body
    assert world.name(MODERATOR) in again.text


def test_logins_have_address_client_and_country_for_administrators_only(world: World) -> None:
    a_login(world, PLAYER, 51, address="8.8.8.8")
    event = {"at_ms": 5, "kind": "wrong_password", "failed": 1, "source": "web", "address": ADDRESS, "agent": HOSTILE}
    world.write(insert(account_events).values(user_id=PLAYER, **event))
    before = len(world.audit())

    assert world.browser(MODERATOR).get(f"{PAGE}/logins").status == 404
    assert len(world.audit()) == before
    browser = world.browser(ADMINISTRATOR)
    first = browser.get(f"{PAGE}/logins")
    second = browser.get(following(first))

    rows = first.css("[data-login-id]")
    assert len(rows) == 50
    assert "8.8.8.8" in rows[0].text()
    assert "United States" in rows[0].text()
    assert "20260101" in rows[0].text()
    assert "Wrong password" in first.text
    assert HOSTILE.encode() not in first.body
    assert "@" in first.one("dl.facts").text()
    assert len(second.css("[data-login-id]")) == 1
    [row, _] = world.audit()[before:]
    assert (row.action, row.target_id, details(row)) == ("user_inspect", PLAYER, {"read": "logins"})


def test_linked_accounts_have_kinds_and_no_hash_and_no_address(world: World) -> None:
    for user_id in (PLAYER, OTHER):
        a_device(world, user_id, disk=HASH)
        a_login(world, user_id)

    page = world.browser(MODERATOR).get(f"{PAGE}/devices")

    [row] = page.css("tbody tr")
    assert row.attributes["data-user-id"] == str(OTHER)
    assert "disk" in row.text()
    assert "address" in row.text()
    assert "network adapters" in row.text()
    for private in (HASH, ADDRESS, "0" * 32):
        assert private.encode() not in page.body
    assert world.audit()[-1].action == "multi_check"


def test_account_without_records_says_so(world: World) -> None:
    browser = world.browser(ADMINISTRATOR)

    assert "Nobody has written a note" in browser.get(f"{PAGE}/notes").text
    assert "has not logged in with the game" in browser.get(f"{PAGE}/logins").text
    assert "No other account" in browser.get(f"{PAGE}/devices").text


@pytest.mark.parametrize("record", ["notes", "logins", "devices"])
def test_record_of_nobody_does_not_exist(world: World, record: str) -> None:
    assert world.browser(ADMINISTRATOR).get(f"/admin/users/999999/{record}").status == 404
    assert world.browser(ADMINISTRATOR).get(f"/admin/users/x/{record}").status == 404


def test_reports_that_the_account_has_sent_name_their_targets(world: World) -> None:
    row = {"at_ms": 5, "kind": "Cheating", "text": HOSTILE, "closed_at_ms": 6, "closed_by": MODERATOR, "verdict": "no"}
    world.write(insert(reports).values(by_id=PLAYER, target_id=OTHER, **row))

    page = world.browser(MODERATOR).get(PAGE)
    world.write(delete(reports).where(reports.c.by_id == PLAYER))

    sent = page.one('[aria-label="Reports sent"]')
    assert world.name(OTHER) in sent.text()
    assert "closed" in sent.text()
    assert HOSTILE.encode() not in page.body
