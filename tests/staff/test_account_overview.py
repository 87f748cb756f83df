"""Plays, numbers, notes and logins of an account, as staff reads them."""

import pytest
from tests.builders import World, a_map, a_play, a_player

from kiai.accounts import Logins
from kiai.accounts.login_records import LoginRecord
from kiai.accounts.web_sessions import WebSessions
from kiai.entry.history import SecurityHistory
from kiai.entry.logins_for_staff import LoginsForStaff
from kiai.errors import NotAllowed
from kiai.ids import SequenceIds
from kiai.osu.privileges import ADMINISTRATOR, MODERATOR
from kiai.staff import OPERATOR, Actor
from kiai.staff.account_overview import AccountOverviews
from kiai.staff.notes import Notes


def overviews(world: World) -> AccountOverviews:
    sessions = WebSessions(world.database, world.clock, SequenceIds())
    return AccountOverviews(world.authority, world.accounts, world.api_keys, sessions, world.realtime, world.profiles)


def staff(world: World, priv: int) -> Actor:
    return Actor(world.add_player(a_player(f"staff{priv}", priv=3 | priv)), "web")


RELAX = 128


def test_plays_are_the_newest_of_all_modes_failed_and_hidden_ones_too(world: World) -> None:
    alice = world.add_player(a_player("alice"))
    song, drums = world.add_map(a_map()), world.add_map(a_map(2, mode=1))
    ids = [
        world.record(a_play(by=alice, on=beatmap, mods=mods, passed=passed)).score_id
        for beatmap, mods, passed in ((song, 0, True), (song, RELAX, True), (song, 0, False), (drums, 0, True))
    ]
    actor = staff(world, MODERATOR)
    world.run(world.wipes.hide_score(OPERATOR, ids[1], "a test"))

    found = world.run(overviews(world).of(actor, world.user(alice)))

    assert [play.score.id for play in found.plays] == ids[::-1]


def test_numbers_depend_on_the_permission(world: World) -> None:
    alice = world.add_player(a_player("alice"))
    world.run(world.api_keys.issue(alice))
    user = world.user(alice)

    moderator = world.run(overviews(world).of(staff(world, MODERATOR), user))
    administrator = world.run(overviews(world).of(staff(world, ADMINISTRATOR), user))

    assert (moderator.access.game_sessions, moderator.access.api_keys) == (0, None)
    assert (administrator.access.game_sessions, administrator.access.api_keys) == (0, 1)
    with pytest.raises(NotAllowed):
        world.run(overviews(world).of(Actor(alice, "web"), user))


def test_pages_of_notes_continue_where_the_last_one_ended(world: World) -> None:
    alice = world.add_player(a_player("alice"))
    actor = staff(world, MODERATOR)
    written = Notes(world.database, world.accounts, world.authority, world.clock)
    ids = [world.run(written.add(actor, alice, f"note {n}")) for n in range(51)]

    first, before = world.run(written.page(actor, alice))
    last, end = world.run(written.page(actor, alice, before))

    assert [note.id for note in [*first, *last]] == ids[::-1]
    assert end is None


def test_pages_of_logins_continue_where_the_last_one_ended_and_are_recorded(world: World) -> None:
    alice = world.add_player(a_player("alice"))
    records = Logins(world.database)
    for n in range(51):
        records.record(LoginRecord(alice, n, f"192.0.2.{n}", 20260101, "stable40", "", "", "", "", wine=False))
    world.run(records.flush())
    actor, user = staff(world, ADMINISTRATOR), world.user(alice)
    history = SecurityHistory(world.database, world.accounts, None, None, world.clock)  # type: ignore[arg-type]
    readers = LoginsForStaff(world.authority, world.accounts, records, history, world.clock)

    first = world.run(readers.page(actor, user))
    last = world.run(readers.page(actor, user, first.before))

    assert [login.at_ms for login in [*first.logins, *last.logins]] == list(range(51))[::-1]
    assert last.before is None
    assert [row.action for row in world.audit(alice)] == ["user_inspect", "user_inspect"]
    with pytest.raises(NotAllowed):
        world.run(readers.page(staff(world, MODERATOR), user))
