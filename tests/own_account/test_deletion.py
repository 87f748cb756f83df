"""Deletion of accounts: the wait, its end by a login, what goes, what stays, and that nothing names the player."""

from typing import Any

import pytest
from sqlalchemy import insert, select
from tests.builders import PASSWORD, a_map, a_play, a_player
from tests.own_account.conftest import OwnAccounts

from kiai.accounts import Viewer
from kiai.entry import Origin
from kiai.errors import Invalid, NotAuthenticated, NotFound, Refused
from kiai.osu.names import password_md5
from kiai.osu.privileges import Privilege
from kiai.storage.tables import (
    chat_lines,
    clans,
    client_hashes,
    comments,
    favourites,
    logins,
    mail,
    map_requests,
    metadata,
    nominations,
    relationships,
    screenshots,
    set_comments,
    sets,
    users,
)

SECRETS = ("alice", "alice@example.org", "192.0.2.1", "some words", "f" * 32)
ORIGIN = Origin("web", "192.0.2.1", "some words")


def give_everything(own: OwnAccounts) -> None:
    """Give alice a row in each table that a deletion empties."""
    change = own.world.change
    own.run(own.friendships.befriend(own.alice, own.bob))
    own.run(own.friendships.befriend(own.bob, own.alice))
    own.run(own.keys.create_api_key(own.alice, "key", ORIGIN))
    own.run(own.keys.create_irc_password(own.alice, ORIGIN))
    own.run(own.profile.save_userpage(own.alice, "some words"))
    own.run(own.web_sessions.create(own.alice, address="192.0.2.1", agent="some words", second_factor=False))
    change(insert(chat_lines).values(channel="#osu", user_id=own.alice, at_ms=1, text="some words"))
    change(insert(mail).values(from_id=own.bob, to_id=own.alice, text="some words", sent_at_ms=1))
    change(insert(comments).values(user_id=own.alice, target="map", target_id=1, time_ms=0, text="some words", at_ms=1))
    change(insert(set_comments).values(set_id=1, user_id=own.alice, text="some words", at_ms=1))
    change(insert(logins).values(user_id=own.alice, at_ms=1, address="192.0.2.1", build=1, stream="stable"))
    change(
        insert(client_hashes).values(
            user_id=own.alice, adapters="f" * 32, uninstall="", disk="", exe="", first_at_ms=1, last_at_ms=1, uses=1
        )
    )
    change(insert(screenshots).values(id="abcdefgh", user_id=own.alice, kind="png", size=3, at_ms=1))
    own.run(own.world.files.put("screenshots/6162636465666768.png", b"png"))
    change(insert(favourites).values(user_id=own.alice, set_id=1, added_at_ms=1))
    change(sets.update().where(sets.c.id == 1).values(favourites=2))


def delete(own: OwnAccounts) -> None:
    own.run(own.deletion.request(own.alice, "alice"))
    own.advance_days(14.1)
    assert own.run(own.deletion.run()) == 1
    own.world.reconcile()
    own.deliver()


def everything(own: OwnAccounts) -> dict[str, str]:
    """Return all rows of all tables as text."""
    return {name: str(own.world.look(select(table))) for name, table in metadata.tables.items()}


def test_nothing_names_the_player_afterwards(own: OwnAccounts) -> None:
    beatmap = own.world.add_map(a_map())
    own.world.record(a_play(by=own.alice, on=beatmap))
    give_everything(own)
    own.run(own.exports.request(own.alice, with_replays=False))
    own.run(own.exports.work())

    delete(own)

    left = everything(own)
    assert {name: secret for name, rows in left.items() for secret in SECRETS if secret in rows.lower()} == {}
    user = own.user(own.alice)
    assert user.name == f"deleteduser_{own.alice}"
    assert (user.priv, user.userpage_content, user.country) == (0, None, "xx")
    assert user.deleted_at_ms == own.world.clock.now_ms()
    assert own.actions(own.alice)[0] == "delete"


def test_open_requests_and_nominations_go_with_the_account(own: OwnAccounts) -> None:
    own.world.add_map(a_map())
    for user_id in (own.alice, own.bob):
        own.world.change(insert(map_requests).values(user_id=user_id, set_id=1, map_id=1, at_ms=1))
        own.world.change(insert(nominations).values(user_id=user_id, set_id=1, at_ms=1))

    delete(own)

    for table in (map_requests, nominations):
        assert own.world.look(select(table.c.user_id)) == [(own.bob,)]


def test_scores_stay_without_a_place_on_any_board(own: OwnAccounts) -> None:
    beatmap = own.world.add_map(a_map())
    first = own.world.record(a_play(by=own.alice, on=beatmap, score=9)).score_id
    second = own.world.record(a_play(by=own.bob, on=beatmap, score=8)).score_id
    before = own.world.board(beatmap)

    delete(own)

    assert (before, own.world.board(beatmap)) == ([first, second], [second])
    assert len(own.world.score_rows()) == 2
    with pytest.raises(NotFound):
        own.visible(own.alice)
    assert own.world.problems() == []


def test_counter_of_favourites_and_files_follow(own: OwnAccounts) -> None:
    own.world.add_map(a_map(1, set_id=1))
    give_everything(own)

    delete(own)

    assert own.world.look(select(sets.c.favourites)) == [(1,)]
    assert own.run(own.world.files.get("screenshots/6162636465666768.png")) is None


def test_letters_to_others_stay_without_the_name(own: OwnAccounts) -> None:
    own.world.change(insert(mail).values(from_id=own.alice, to_id=own.bob, text="hello bob", sent_at_ms=1))

    delete(own)

    assert own.world.look(select(mail.c.from_id, mail.c.text)) == [(own.alice, "hello bob")]


def test_account_works_until_the_end_of_the_wait_and_a_login_cancels_the_request(own: OwnAccounts) -> None:
    own.log_in(own.alice)
    due = own.run(own.deletion.request(own.alice, "alice"))
    own.deliver()
    assert own.sessions(own.alice) == []
    own.advance_days(13.9)
    assert own.run(own.deletion.run()) == 0

    cancelled = own.run(own.deletion.cancel(own.alice))
    own.advance_days(30)

    assert due == own.world.clock.now_ms() - round(29.9 * 86_400_000)
    assert cancelled is True
    assert own.run(own.deletion.cancel(own.alice)) is False
    assert own.run(own.deletion.run()) == 0
    assert own.visible(own.alice).name == "alice"
    assert own.actions(own.alice) == ["deletion_cancel", "deletion_request"]


def test_login_on_the_website_cancels_the_request(own: OwnAccounts) -> None:
    carol = own.world.add_player(a_player("carol", password=PASSWORD))
    own.run(own.deletion.request(carol, "carol"))

    own.run(own.entry.web_login.log_in("carol", PASSWORD, ORIGIN))

    assert own.user(carol).deletes_at_ms is None
    assert own.actions(carol)[0] == "deletion_cancel"


def test_request_twice_starts_the_wait_again(own: OwnAccounts) -> None:
    own.run(own.deletion.request(own.alice, "alice"))
    own.advance_days(10)
    own.run(own.deletion.request(own.alice, " alice "))
    own.advance_days(10)

    assert own.run(own.deletion.run()) == 0


@pytest.mark.parametrize("typed", ["", "bob", "ALICE", "alice2"])
def test_another_typed_name_requests_nothing(own: OwnAccounts, typed: str) -> None:
    with pytest.raises(Invalid, match="name of this account"):
        own.run(own.deletion.request(own.alice, typed))

    assert own.user(own.alice).deletes_at_ms is None


def test_confirmation_needs_a_fresh_proof_of_the_same_account(own: OwnAccounts) -> None:
    with pytest.raises(Invalid, match="name of this account"):
        own.run(own.deletion.prepare(own.alice, "bob"))
    old = own.run(own.deletion.prepare(own.alice, "alice"))
    own.world.clock.advance(601)
    foreign = own.run(own.deletion.prepare(own.bob, "bob"))
    for wrong in (old, foreign, "", "x" * 100, "\ud800"):
        with pytest.raises(Refused, match="expired"):
            own.run(own.deletion.confirm(own.alice, wrong))
    assert own.user(own.alice).deletes_at_ms is None

    proof = own.run(own.deletion.prepare(own.alice, "alice"))
    due = own.run(own.deletion.confirm(own.alice, proof))

    assert own.user(own.alice).deletes_at_ms == due


def test_request_ends_the_sessions_of_the_website(own: OwnAccounts) -> None:
    token = own.run(own.web_sessions.create(own.alice, address="", agent="", second_factor=False))

    own.run(own.deletion.request(own.alice, "alice"))

    assert own.run(own.web_sessions.find(token, "")) is None


def test_last_developer_cannot_delete_the_account(own: OwnAccounts) -> None:
    developer = int(Privilege.UNRESTRICTED | Privilege.VERIFIED | Privilege.DEVELOPER)
    own.world.change(users.update().where(users.c.id == own.alice).values(priv=developer))
    with pytest.raises(Refused, match="last developer"):
        own.run(own.deletion.request(own.alice, "alice"))
    own.world.change(users.update().where(users.c.id == own.bob).values(priv=developer))
    own.run(own.deletion.request(own.alice, "alice"))
    own.world.change(users.update().where(users.c.id == own.bob).values(priv=3))
    own.advance_days(15)

    assert own.run(own.deletion.run()) == 0  # the other developer has gone meanwhile
    assert own.user(own.alice).name == "alice"
    assert own.user(own.alice).deletes_at_ms is None


def test_deleted_account_cannot_log_in_and_its_name_and_address_are_free(own: OwnAccounts) -> None:
    carol = own.world.add_player(a_player("carol", password=PASSWORD))
    own.run(own.deletion.request(carol, "carol"))
    own.advance_days(15)
    own.run(own.deletion.run())

    for name in ("carol", f"deleteduser_{carol}"):
        with pytest.raises(NotAuthenticated):
            own.run(own.world.accounts.authenticate(name, password_md5(PASSWORD)))
    assert own.world.add_player(a_player("carol", email="carol@example.org")) != carol


def a_clan(own: OwnAccounts, members: dict[int, int]) -> int:
    own.world.change(
        insert(clans).values(name="Clan", safe_name="clan", tag="CLAN", owner_id=own.alice, created_at_ms=1)
    )
    [(clan_id,)] = own.world.look(select(clans.c.id))
    for user_id, role in members.items():
        own.world.change(
            users.update()
            .where(users.c.id == user_id)
            .values(clan_id=clan_id, clan_priv=role, clan_joined_at_ms=10 - role)
        )
    return int(clan_id)


def test_clan_of_an_owner_goes_to_the_highest_member(own: OwnAccounts) -> None:
    carol = own.world.add_player(a_player("carol"))
    clan_id = a_clan(own, {own.alice: 3, own.bob: 1, carol: 2})

    delete(own)

    assert own.world.look(select(clans.c.id, clans.c.owner_id)) == [(clan_id, carol)]
    assert (own.user(carol).clan_priv, own.user(own.bob).clan_priv) == (3, 1)
    assert own.user(own.alice).clan_id == 0


def test_clan_without_another_member_is_removed(own: OwnAccounts) -> None:
    a_clan(own, {own.alice: 3})

    delete(own)

    assert own.world.look(select(clans.c.id)) == []


def test_restricted_player_can_delete_the_account(own: OwnAccounts) -> None:
    own.world.change(users.update().where(users.c.id == own.alice).values(priv=2))

    delete(own)

    assert own.user(own.alice).name == f"deleteduser_{own.alice}"


def test_long_lists_are_deleted_in_steps(own: OwnAccounts) -> None:
    for n in range(60):
        own.world.change(insert(chat_lines).values(channel="#osu", user_id=own.alice, at_ms=n, text="x"))
        fan = own.world.add_player(a_player(f"fan{n}"))
        own.world.change(insert(relationships).values(user_id=fan, target_id=own.alice, kind=1, added_at_ms=n))

    delete(own)

    assert own.world.look(select(chat_lines.c.id)) == []
    assert own.world.look(select(relationships.c.user_id)) == []
    assert own.run(own.world.reconciler.pending()).tasks == []


def test_avatar_is_retired_with_the_account(own: OwnAccounts) -> None:
    own.run(own.world.files.put("avatars/3-x-y.png", b"png"))
    own.world.change(users.update().where(users.c.id == own.alice).values(avatar="avatars/3-x-y.png"))

    delete(own)

    async def retired() -> list[Any]:
        return [file.key async for file in own.world.files.keys("retired/")]

    assert own.run(retired()) == ["retired/avatars/3-x-y.png"]
    assert own.run(own.world.accounts.user(Viewer(user_id=own.alice), id=own.alice)).avatar is None
