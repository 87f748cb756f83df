import contextlib

import pytest
from sqlalchemy import select
from tests.builders import DEVELOPER, NORMAL, World, a_map, a_play, a_player

from kiai.beatmaps import MapStatus
from kiai.errors import Invalid, KiaiError, NotFound, Refused
from kiai.osu.privileges import ROLES, Privilege
from kiai.staff import OPERATOR, Actor
from kiai.storage.port import Transaction
from kiai.storage.tables import audit_log, users

ADMIN = Actor(user_id=9, source="api")


def test_restricting_takes_one_bit_and_is_written_down(world: World) -> None:
    alice = world.add_player(a_player(priv=NORMAL | Privilege.SUPPORTER))
    world.clock.advance(60)

    account = world.run(world.staff.restrict(ADMIN, "Alice", "multiple accounts"))

    assert account.priv == Privilege.VERIFIED | Privilege.SUPPORTER
    [row] = world.audit(alice)
    assert (row.actor_id, row.source, row.action, row.reason) == (9, "api", "restrict", "multiple accounts")
    assert (row.at_ms, row.details) == (world.clock.now_ms(), '{"before":19,"after":18}')


def test_lifting_gives_the_bit_back_and_is_written_down(world: World) -> None:
    alice = world.add_player(a_player())
    world.run(world.staff.restrict(OPERATOR, "alice", "because"))

    account = world.run(world.staff.unrestrict(OPERATOR, "alice", "appeal accepted"))

    assert account.priv == NORMAL
    assert [(row.action, row.reason) for row in world.audit(alice)] == [
        ("unrestrict", "appeal accepted"),
        ("restrict", "because"),
    ]


@pytest.mark.parametrize("reason", ["", "   ", "x" * 501])
def test_a_restriction_needs_a_reason_of_bounded_length(world: World, reason: str) -> None:
    alice = world.add_player(a_player())

    with pytest.raises(Invalid, match="reason"):
        world.run(world.staff.restrict(OPERATOR, "alice", reason))

    assert (world.user(alice).priv, world.audit(alice)) == (NORMAL, [])


def test_restricting_twice_or_lifting_nothing_is_refused(world: World) -> None:
    world.add_player(a_player())
    with pytest.raises(Refused, match="alice is not restricted"):
        world.run(world.staff.unrestrict(OPERATOR, "alice"))

    world.run(world.staff.restrict(OPERATOR, "alice", "because"))
    with pytest.raises(Refused, match="alice is restricted already"):
        world.run(world.staff.restrict(OPERATOR, "alice", "because"))


def test_a_banned_account_is_not_unrestricted(world: World) -> None:
    alice = world.add_player(a_player(priv=NORMAL & ~1))
    world.change(users.update().where(users.c.id == alice).values(banned_at_ms=1))

    with pytest.raises(Refused, match="lift the ban first"):
        world.run(world.staff.unrestrict(OPERATOR, "alice"))


@pytest.mark.parametrize("verb", ["restrict", "unrestrict", "grant", "revoke"])
def test_the_bot_is_never_a_target(world: World, verb: str) -> None:
    before = world.look(select(users))
    argument = ["supporter"] if verb in ("grant", "revoke") else "because"

    with pytest.raises(Refused, match="the bot"):
        world.run(getattr(world.staff, verb)(OPERATOR, "BanchoBot", argument))

    assert world.look(select(users)) == before


@pytest.mark.parametrize("verb", ["restrict", "unrestrict", "grant", "revoke"])
def test_nobody_is_no_target(world: World, verb: str) -> None:
    argument = ["supporter"] if verb in ("grant", "revoke") else "because"

    with pytest.raises(NotFound, match="user not found"):
        world.run(getattr(world.staff, verb)(OPERATOR, "nobody", argument))


@pytest.mark.parametrize("role", sorted(set(ROLES) - {"normal", "unrestricted", "verified", "owner"}))
def test_granting_a_role_adds_its_bits_and_revoking_takes_them(world: World, role: str) -> None:
    alice = world.add_player(a_player())
    world.add_player(a_player("root", priv=DEVELOPER))

    granted = world.run(world.staff.grant(OPERATOR, "alice", [role.upper()]))
    revoked = world.run(world.staff.revoke(OPERATOR, "alice", [role]))

    assert (granted.priv, revoked.priv) == (NORMAL | ROLES[role], NORMAL)
    assert [row.action for row in world.audit(alice)] == ["privileges", "privileges"]


def test_several_roles_are_granted_at_once(world: World) -> None:
    world.add_player(a_player())

    account = world.run(world.staff.grant(OPERATOR, "alice", ["nominator", "supporter"]))

    assert account.priv == NORMAL | Privilege.NOMINATOR | Privilege.SUPPORTER


@pytest.mark.parametrize("verb", ["grant", "revoke"])
def test_an_unknown_privilege_changes_nothing(world: World, verb: str) -> None:
    alice = world.add_player(a_player())

    with pytest.raises(Invalid, match=r"privilege must be one of admin, .*, got 'wizard'"):
        world.run(getattr(world.staff, verb)(OPERATOR, "alice", ["supporter", "wizard"]))

    assert (world.user(alice).priv, world.audit(alice)) == (NORMAL, [])


def test_revoking_every_role_does_not_restrict(world: World) -> None:
    world.add_player(a_player("root", priv=DEVELOPER))
    world.add_player(a_player(priv=ROLES["owner"]))

    account = world.run(world.staff.revoke(OPERATOR, "alice", ["owner"]))

    assert account.priv == NORMAL


@pytest.mark.parametrize("role", ["normal", "unrestricted", "owner"])
def test_granting_does_not_lift_a_restriction(world: World, role: str) -> None:
    alice = world.add_player(a_player(priv=NORMAL & ~1))

    with contextlib.suppress(KiaiError):  # refused, or the bit left out: either way only `unrestrict` lifts
        world.run(world.staff.grant(OPERATOR, "alice", [role]))

    assert not world.user(alice).priv & Privilege.UNRESTRICTED


def test_the_last_developer_stays(world: World) -> None:
    root = world.add_player(a_player("root", priv=DEVELOPER))

    with pytest.raises(Refused, match="root is the last developer"):
        world.run(world.staff.revoke(OPERATOR, "root", ["developer"]))
    with pytest.raises(Refused, match="root is the last developer"):
        world.run(world.staff.restrict(OPERATOR, "root", "because"))

    assert (world.user(root).priv, world.audit(root)) == (DEVELOPER, [])


def test_one_of_two_developers_may_go(world: World) -> None:
    world.add_player(a_player("root", priv=DEVELOPER))
    world.add_player(a_player("other", priv=DEVELOPER))

    account = world.run(world.staff.revoke(OPERATOR, "root", ["developer"]))

    assert account.priv == NORMAL
    with pytest.raises(Refused, match="other is the last developer"):
        world.run(world.staff.restrict(OPERATOR, "other", "because"))


def test_a_restricted_developer_does_not_count_as_one(world: World) -> None:
    world.add_player(a_player("root", priv=DEVELOPER))
    world.add_player(a_player("gone", priv=DEVELOPER & ~1))

    with pytest.raises(Refused, match="root is the last developer"):
        world.run(world.staff.revoke(OPERATOR, "root", ["developer"]))


def test_an_act_whose_audit_row_fails_does_not_happen(world: World) -> None:
    alice = world.add_player(a_player())

    async def act(tx: Transaction) -> None:
        await world.accounts.set_priv(tx, alice, 0)
        await world.standing.changed(tx, alice)
        raise RuntimeError("the log is full")

    with pytest.raises(RuntimeError, match="the log is full"):
        world.run(world.database.transaction(act))

    assert (world.user(alice).priv, world.look(select(audit_log))) == (NORMAL, [])


def test_a_status_set_by_hand_is_frozen_and_written_down(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map(id=77))
    world.record(a_play(by=alice, on=song))

    world.run(world.staff.set_map_status(ADMIN, [song], MapStatus.LOVED, reason="much loved"))

    now = world.map(song.md5)
    assert (now.status, now.frozen) == (MapStatus.LOVED, 1)
    [row] = world.audit(77, "beatmap")
    assert (row.action, row.actor_id, row.reason) == ("beatmap_status", 9, "much loved")
    assert row.details == '{"before":2,"after":5}'


def test_every_map_of_a_set_gets_its_own_audit_row(world: World) -> None:
    maps = [world.add_map(a_map(id=n, set_id=5)) for n in (1, 2)]

    world.run(world.staff.set_map_status(OPERATOR, maps, MapStatus.PENDING))

    assert [len(world.audit(one.id, "beatmap")) for one in maps] == [1, 1]
    assert {one.status for one in world.run(world.beatmaps.of_set(5))} == {0}


def test_nobody_takes_their_own_privileges(world: World) -> None:
    root = world.add_player(a_player("root", priv=DEVELOPER))
    world.add_player(a_player("other", priv=DEVELOPER))

    with pytest.raises(Refused):
        world.run(world.staff.revoke(Actor(user_id=root, source="game"), "root", ["developer"]))

    assert world.user(root).priv == DEVELOPER
    assert world.run(world.staff.revoke(OPERATOR, "root", ["developer"])).priv == NORMAL
