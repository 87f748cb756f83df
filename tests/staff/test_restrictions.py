"""Restrictions, bans, freezes and donor time: their states, their ends and their audit rows."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.builders import DEVELOPER, NORMAL, World, a_player

from kiai.errors import KiaiError, NotAllowed, NotATarget, NotFound, OutRanked, WrongState
from kiai.osu.privileges import Privilege
from kiai.staff import OPERATOR, Actor
from kiai.staff.donors import Donors
from kiai.staff.notes import NOTES_MAX, Notes
from kiai.staff.restrictions import FREEZE_S
from kiai.storage.tables import api_keys, irc_passwords, notes, users

ADMINISTRATOR = int(NORMAL | Privilege.ADMINISTRATOR)
MODERATOR = int(NORMAL | Privilege.MODERATOR)
DAY_S = 86_400


@pytest.fixture
def donors(world: World) -> Donors:
    return Donors(world.accounts, world.authority, world.clock)


def acts(world: World, user_id: int) -> list[tuple[str, str, int]]:
    """Return action, source and actor of the rows about a player, oldest first."""
    return [(row.action, row.source, row.actor_id) for row in reversed(world.audit(user_id))]


def test_a_restriction_with_an_end_is_lifted_by_the_job(world: World) -> None:
    alice = world.add_player(a_player())
    done = world.run(world.restrictions.restrict(OPERATOR, "alice", "rx", seconds=60))
    assert (done.until_ms, done.reason) == (world.clock.now_ms() + 60_000, "Relax cheat")

    world.clock.advance(59)
    assert world.run(world.timed_ends.run()) == 0
    world.clock.advance(1)
    assert world.run(world.timed_ends.run()) == 1

    assert (world.user(alice).priv, world.user(alice).restricted_until_ms) == (NORMAL, 0)
    assert acts(world, alice) == [("restrict", "cli", 0), ("unrestrict", "job", 0)]
    assert world.run(world.timed_ends.run()) == 0


def test_a_freeze_that_runs_out_restricts_the_player(world: World) -> None:
    alice = world.add_player(a_player())
    done = world.run(world.restrictions.freeze(OPERATOR, alice, "show a live play"))
    assert done.until_ms == world.clock.now_ms() + FREEZE_S * 1000

    world.clock.advance(FREEZE_S)
    assert world.run(world.timed_ends.run()) == 1

    assert (world.user(alice).priv, world.user(alice).freeze_until_ms) == (NORMAL & ~1, 0)
    assert acts(world, alice) == [("freeze", "cli", 0), ("restrict", "job", 0)]


def test_the_last_developer_is_not_restricted_by_a_freeze(world: World) -> None:
    root = world.add_player(a_player("root", priv=DEVELOPER))
    world.run(world.restrictions.freeze(OPERATOR, root, "show a live play"))

    world.clock.advance(FREEZE_S)
    world.run(world.timed_ends.run())

    assert (world.user(root).priv, world.user(root).freeze_until_ms) == (DEVELOPER, 0)
    assert acts(world, root) == [("freeze", "cli", 0), ("unfreeze", "job", 0)]


def test_a_ban_has_no_end_and_revokes_keys(world: World) -> None:
    alice = world.add_player(a_player())
    key = world.run(world.api_keys.issue(alice))
    world.change(irc_passwords.insert().values(user_id=alice, hash=b"x", created_at_ms=1))
    world.run(world.restrictions.restrict(OPERATOR, alice, "because", seconds=60))

    world.run(world.restrictions.ban(OPERATOR, alice, "again"))
    world.clock.advance(DAY_S)
    assert world.run(world.timed_ends.run()) == 0
    world.run(world.restrictions.unban(OPERATOR, alice))

    user = world.user(alice)
    assert (user.priv, user.banned_at_ms, user.restricted_until_ms) == (NORMAL & ~1, None, 0)
    with pytest.raises(KiaiError):  # a revoked key does not come back
        world.run(world.api_keys.holder(key))
    assert world.look(irc_passwords.select()) == []
    assert world.look(api_keys.select().where(api_keys.c.revoked_at_ms.is_(None))) == []
    world.run(world.restrictions.unrestrict(OPERATOR, alice))
    assert world.user(alice).priv == NORMAL


@pytest.mark.parametrize(
    ("before", "act", "message"),
    [
        ((), "unrestrict", "alice is not restricted"),
        ((), "unban", "alice is not banned"),
        ((), "unfreeze", "alice is not frozen"),
        (("restrict",), "restrict", "already restricted"),
        (("restrict",), "freeze", "already restricted"),
        (("ban",), "ban", "already banned"),
        (("ban",), "restrict", "already banned"),
        (("ban",), "unrestrict", "is banned"),
        (("freeze",), "freeze", "already frozen"),
        (("freeze", "restrict"), "unfreeze", "is not frozen"),
    ],
)
def test_a_state_that_is_so_already_is_refused(world: World, before: tuple[str, ...], act: str, message: str) -> None:
    alice = world.add_player(a_player())
    for one in before:
        world.run(verb(world, one)(OPERATOR, alice, "because"))
    rows = len(world.audit(alice))

    with pytest.raises(WrongState, match=message):
        world.run(verb(world, act)(OPERATOR, alice, "because"))

    assert len(world.audit(alice)) == rows


@pytest.mark.parametrize("act", ["restrict", "unrestrict", "ban", "unban", "freeze", "unfreeze"])
def test_refusals_come_in_the_order_right_target_bot_oneself_rank(world: World, act: str) -> None:
    boss = Actor(world.add_player(a_player("boss", priv=ADMINISTRATOR)), "api")
    mod = Actor(world.add_player(a_player("mod", priv=MODERATOR)), "api")
    other = world.add_player(a_player("other", priv=ADMINISTRATOR))
    gone = world.add_player(a_player("gone"))
    world.change(users.update().where(users.c.id == gone).values(deleted_at_ms=1))

    for actor, target, reason, error in (
        (mod, 999, "", NotAllowed),
        (boss, 999, "because", NotFound),
        (boss, gone, "because", NotFound),
        (boss, 1, "because", NotATarget),
        (boss, other, "because", OutRanked),
    ):
        with pytest.raises(error):
            world.run(verb(world, act)(actor, target, reason))
    if not act.startswith("un"):
        with pytest.raises(NotATarget, match="yourself"):
            world.run(verb(world, act)(boss, boss.user_id, "because"))

    [row] = world.audit(other)
    assert (row.action, row.details) == ("denied", f'{{"action":"{act}"}}')


@pytest.mark.parametrize("act", ["restrict", "ban", "freeze"])
def test_of_two_acts_at_the_same_time_one_is_carried_out(world: World, act: str) -> None:
    alice = world.add_player(a_player())

    async def both() -> list[object]:
        tries = (verb(world, act)(OPERATOR, alice, "because") for _ in range(2))
        return list(await asyncio.gather(*tries, return_exceptions=True))

    outcomes = world.run(both())

    assert [type(one) for one in outcomes].count(WrongState) == 1
    assert len(world.audit(alice)) == 1


def test_donor_time_adds_up_and_ends(world: World, donors: Donors) -> None:
    alice = world.add_player(a_player())
    now = world.clock.now_ms()
    assert world.run(donors.give(OPERATOR, alice, 60)).until_ms == now + 60_000
    assert world.run(donors.give(OPERATOR, alice, 60, "premium")).until_ms == now + 120_000
    assert world.user(alice).priv == NORMAL | Privilege.SUPPORTER | Privilege.PREMIUM

    world.clock.advance(119)
    assert world.run(world.timed_ends.run()) == 0
    world.clock.advance(1)
    assert world.run(world.timed_ends.run()) == 1

    assert (world.user(alice).priv, world.user(alice).donor_until_ms) == (NORMAL, 0)
    assert acts(world, alice)[-1] == ("donor_end", "job", 0)
    with pytest.raises(WrongState, match="not a donor"):
        world.run(donors.take(OPERATOR, alice))


def test_donor_time_can_be_taken(world: World, donors: Donors) -> None:
    alice = world.add_player(a_player(priv=int(NORMAL | Privilege.SUPPORTER)))

    world.run(donors.take(OPERATOR, alice, "refund"))

    assert world.user(alice).priv == NORMAL
    assert acts(world, alice) == [("donor_take", "cli", 0)]


def test_notes_are_read_newest_first_and_each_reading_is_recorded(world: World) -> None:
    alice = world.add_player(a_player())
    mod = Actor(world.add_player(a_player("mod", priv=MODERATOR)), "game")
    service = Notes(world.database, world.accounts, world.authority, world.clock)

    world.run(service.add(mod, alice, "first"))
    world.run(service.add(OPERATOR, alice, "second"))

    assert [(note.author, note.text) for note in world.run(service.read(mod, "alice"))] == [
        (None, "second"),
        ("mod", "first"),
    ]
    assert [action for action, _, _ in acts(world, alice)] == ["note", "note", "notes_read"]
    with pytest.raises(NotAllowed):
        world.run(service.read(Actor(alice, "api"), alice))


def test_notes_about_one_player_are_bounded(world: World) -> None:
    alice = world.add_player(a_player())
    service = Notes(world.database, world.accounts, world.authority, world.clock)
    for _ in range(NOTES_MAX):
        world.change(notes.insert().values(user_id=alice, author_id=0, at_ms=1, text="x"))

    with pytest.raises(WrongState, match="already"):
        world.run(service.add(OPERATOR, alice, "one more"))


def verb(world: World, name: str) -> Callable[..., Coroutine[Any, Any, object]]:
    """Return a verb of restrictions by name."""
    found: Callable[..., Coroutine[Any, Any, object]] = getattr(world.restrictions, name)
    return found
