import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest
from sqlalchemy import select
from tests.builders import DEVELOPER, NORMAL, World, a_map, a_play, a_player

from kiai.beatmaps import MapStatus
from kiai.errors import Invalid, KiaiError, NotAllowed, NotFound, OutRanked, Refused, WrongState
from kiai.osu.privileges import ROLES, Privilege
from kiai.staff import OPERATOR, Actor
from kiai.storage.port import Transaction
from kiai.storage.tables import audit_log, users


def verb_of(world: World, name: str) -> Callable[..., Coroutine[Any, Any, object]]:
    service: object = world.restrictions if "restrict" in name else world.staff
    verb: Callable[..., Coroutine[Any, Any, object]] = getattr(service, name)
    return verb


def an_admin(world: World, source: str = "api") -> Actor:
    priv = int(NORMAL | Privilege.ADMINISTRATOR | Privilege.NOMINATOR)
    return Actor(world.add_player(a_player("boss", priv=priv)), source)


def test_restrict_removes_one_bit_and_writes_an_audit_row(world: World) -> None:
    alice = world.add_player(a_player(priv=NORMAL | Privilege.SUPPORTER))
    world.clock.advance(60)

    boss = an_admin(world)

    account = world.run(world.restrictions.restrict(boss, "Alice", "multiple accounts")).target

    assert account.priv == Privilege.VERIFIED | Privilege.SUPPORTER
    [row] = world.audit(alice)
    assert (row.actor_id, row.source, row.action, row.reason) == (boss.user_id, "api", "restrict", "multiple accounts")
    standing = {"priv": 18, "banned": False, "restricted_until_ms": 0, "freeze_until_ms": 0}
    details = {"before": standing | {"priv": 19}, "after": standing, "until_ms": 0}
    assert (row.at_ms, msgspec.json.decode(row.details)) == (world.clock.now_ms(), details)


def test_unrestrict_restores_the_bit_and_writes_an_audit_row(world: World) -> None:
    alice = world.add_player(a_player())
    world.run(world.restrictions.restrict(OPERATOR, "alice", "because"))

    account = world.run(world.restrictions.unrestrict(OPERATOR, "alice", "appeal accepted")).target

    assert account.priv == NORMAL
    assert [(row.action, row.reason) for row in world.audit(alice)] == [
        ("unrestrict", "appeal accepted"),
        ("restrict", "because"),
    ]


@pytest.mark.parametrize("reason", ["", "   ", "x" * 501])
def test_restrict_requires_a_reason_of_bounded_length(world: World, reason: str) -> None:
    alice = world.add_player(a_player())

    with pytest.raises(Invalid, match="reason"):
        world.run(world.restrictions.restrict(OPERATOR, "alice", reason))

    assert (world.user(alice).priv, world.audit(alice)) == (NORMAL, [])


def test_restricting_twice_or_unrestricting_an_active_account_is_refused(world: World) -> None:
    world.add_player(a_player())
    with pytest.raises(Refused, match="alice is not restricted"):
        world.run(world.restrictions.unrestrict(OPERATOR, "alice"))

    world.run(world.restrictions.restrict(OPERATOR, "alice", "because"))
    with pytest.raises(Refused, match="alice is already restricted"):
        world.run(world.restrictions.restrict(OPERATOR, "alice", "because"))


def test_banned_account_cannot_be_unrestricted(world: World) -> None:
    alice = world.add_player(a_player(priv=NORMAL & ~1))
    world.change(users.update().where(users.c.id == alice).values(banned_at_ms=1))

    with pytest.raises(Refused, match="lift the ban first"):
        world.run(world.restrictions.unrestrict(OPERATOR, "alice"))


@pytest.mark.parametrize("verb", ["restrict", "unrestrict", "grant", "revoke"])
def test_bot_cannot_be_a_target(world: World, verb: str) -> None:
    before = world.look(select(users))
    argument = ["supporter"] if verb in ("grant", "revoke") else "because"

    with pytest.raises(Refused, match="the bot"):
        world.run(verb_of(world, verb)(OPERATOR, "BanchoBot", argument))

    assert world.look(select(users)) == before


@pytest.mark.parametrize("verb", ["restrict", "unrestrict", "grant", "revoke"])
def test_unknown_target_raises_not_found(world: World, verb: str) -> None:
    argument = ["supporter"] if verb in ("grant", "revoke") else "because"

    with pytest.raises(NotFound, match="user not found"):
        world.run(verb_of(world, verb)(OPERATOR, "nobody", argument))


@pytest.mark.parametrize("role", sorted(set(ROLES) - {"normal", "unrestricted", "verified", "owner"}))
def test_grant_adds_the_bits_of_a_role_and_revoke_removes_them(world: World, role: str) -> None:
    alice = world.add_player(a_player())
    world.add_player(a_player("root", priv=DEVELOPER))

    granted = world.run(world.staff.grant(OPERATOR, "alice", [role.upper()]))
    revoked = world.run(world.staff.revoke(OPERATOR, "alice", [role]))

    assert (granted.priv, revoked.priv) == (NORMAL | ROLES[role], NORMAL)
    assert [row.action for row in world.audit(alice)] == ["privileges", "privileges"]


def test_several_roles_are_granted_together(world: World) -> None:
    world.add_player(a_player())

    account = world.run(world.staff.grant(OPERATOR, "alice", ["nominator", "supporter"]))

    assert account.priv == NORMAL | Privilege.NOMINATOR | Privilege.SUPPORTER


@pytest.mark.parametrize("verb", ["grant", "revoke"])
def test_unknown_role_is_rejected_without_a_change(world: World, verb: str) -> None:
    alice = world.add_player(a_player())

    with pytest.raises(Invalid, match=r"privilege must be one of admin, .*, got 'wizard'"):
        world.run(verb_of(world, verb)(OPERATOR, "alice", ["supporter", "wizard"]))

    assert (world.user(alice).priv, world.audit(alice)) == (NORMAL, [])


def test_revoking_all_roles_does_not_restrict(world: World) -> None:
    world.add_player(a_player("root", priv=DEVELOPER))
    world.add_player(a_player(priv=ROLES["owner"]))

    account = world.run(world.staff.revoke(OPERATOR, "alice", ["owner"]))

    assert account.priv == NORMAL


@pytest.mark.parametrize("role", ["normal", "unrestricted", "owner"])
def test_grant_does_not_lift_a_restriction(world: World, role: str) -> None:
    alice = world.add_player(a_player(priv=NORMAL & ~1))

    with contextlib.suppress(KiaiError):  # refused, or granted without the bit: only `unrestrict` lifts a restriction
        world.run(world.staff.grant(OPERATOR, "alice", [role]))

    assert not world.user(alice).priv & Privilege.UNRESTRICTED


def test_last_developer_cannot_be_revoked_or_restricted(world: World) -> None:
    root = world.add_player(a_player("root", priv=DEVELOPER))

    with pytest.raises(Refused, match="root is the last developer"):
        world.run(world.staff.revoke(OPERATOR, "root", ["developer"]))
    with pytest.raises(Refused, match="root is the last developer"):
        world.run(world.restrictions.restrict(OPERATOR, "root", "because"))

    assert (world.user(root).priv, world.audit(root)) == (DEVELOPER, [])


def test_one_of_two_developers_can_be_revoked(world: World) -> None:
    world.add_player(a_player("root", priv=DEVELOPER))
    world.add_player(a_player("other", priv=DEVELOPER))

    account = world.run(world.staff.revoke(OPERATOR, "root", ["developer"]))

    assert account.priv == NORMAL
    with pytest.raises(Refused, match="other is the last developer"):
        world.run(world.restrictions.restrict(OPERATOR, "other", "because"))


def test_restricted_developer_does_not_count_as_last_developer(world: World) -> None:
    world.add_player(a_player("root", priv=DEVELOPER))
    world.add_player(a_player("gone", priv=DEVELOPER & ~1))

    with pytest.raises(Refused, match="root is the last developer"):
        world.run(world.staff.revoke(OPERATOR, "root", ["developer"]))


def test_failed_audit_row_rolls_the_act_back(world: World) -> None:
    alice = world.add_player(a_player())

    async def act(tx: Transaction) -> None:
        await world.accounts.set_priv(tx, alice, 0)
        await world.standing.on_visibility_change(tx, alice, public=True)
        raise RuntimeError("the log is full")

    with pytest.raises(RuntimeError, match="the log is full"):
        world.run(world.database.transaction(act))

    assert (world.user(alice).priv, world.look(select(audit_log))) == (NORMAL, [])


def test_status_set_by_staff_is_frozen_and_has_an_audit_row(world: World) -> None:
    alice, song = world.add_player(a_player()), world.add_map(a_map(id=77))
    world.record(a_play(by=alice, on=song))

    boss = an_admin(world)
    world.run(world.staff.set_map_status(boss, [song], MapStatus.LOVED, reason="much loved"))

    now = world.map(song.md5)
    assert (now.status, now.frozen) == (MapStatus.LOVED, 1)
    [row] = world.audit(77, "beatmap")
    assert (row.action, row.actor_id, row.reason) == ("beatmap_status", boss.user_id, "much loved")
    assert row.details == '{"before":2,"after":5}'


def test_each_map_of_a_set_has_an_audit_row(world: World) -> None:
    maps = [world.add_map(a_map(id=n, set_id=5)) for n in (1, 2)]

    world.run(world.staff.set_map_status(OPERATOR, maps, MapStatus.PENDING))

    assert [len(world.audit(one.id, "beatmap")) for one in maps] == [1, 1]
    assert {one.status for one in world.run(world.beatmaps.of_set(5))} == {0}


def test_staff_cannot_revoke_their_own_privileges(world: World) -> None:
    root = world.add_player(a_player("root", priv=DEVELOPER))
    world.add_player(a_player("other", priv=DEVELOPER))

    with pytest.raises(Refused):
        world.run(world.staff.revoke(Actor(user_id=root, source="game"), "root", ["developer"]))

    assert world.user(root).priv == DEVELOPER
    assert world.run(world.staff.revoke(OPERATOR, "root", ["developer"])).priv == NORMAL


MODERATOR = int(NORMAL | Privilege.MODERATOR)
ADMINISTRATOR = int(NORMAL | Privilege.ADMINISTRATOR)
RESTRICTED_ADMIN = int(Privilege.VERIFIED | Privilege.ADMINISTRATOR)


@pytest.mark.parametrize(
    ("actor_priv", "target_priv", "refusal"),
    [
        (NORMAL, NORMAL, NotAllowed),
        (MODERATOR, NORMAL, NotAllowed),
        (RESTRICTED_ADMIN, NORMAL, NotAllowed),
        (ADMINISTRATOR, ADMINISTRATOR, OutRanked),
        (ADMINISTRATOR, DEVELOPER, OutRanked),
        (ADMINISTRATOR, MODERATOR, None),
        (ADMINISTRATOR, RESTRICTED_ADMIN, WrongState),
        (DEVELOPER, DEVELOPER, None),
    ],
)
def test_restriction_needs_the_permission_and_a_higher_role(
    world: World, actor_priv: int, target_priv: int, refusal: type[KiaiError] | None
) -> None:
    actor = Actor(world.add_player(a_player("actor", priv=actor_priv)), "game")
    target = world.add_player(a_player("target", priv=target_priv))

    if refusal is None:
        world.run(world.restrictions.restrict(actor, "target", "because"))
    else:
        with pytest.raises(refusal):
            world.run(world.restrictions.restrict(actor, "target", "because"))

    expected = ["restrict"] if refusal is None else ["denied"] if refusal is OutRanked else []
    assert [row.action for row in world.audit(target)] == expected
    assert (world.user(target).priv == target_priv) == (refusal is not None)


def test_administrators_do_not_restrict_themselves(world: World) -> None:
    boss = an_admin(world)

    with pytest.raises(Refused, match="you can't do that to yourself"):
        world.run(world.restrictions.restrict(boss, "boss", "because"))


def test_deleted_staff_have_no_permission(world: World) -> None:
    world.add_player(a_player())

    with pytest.raises(NotAllowed):
        world.run(world.restrictions.restrict(Actor(999, "api"), "alice", "because"))


def test_administrators_exempt_players_from_automatic_actions(world: World) -> None:
    alice = world.add_player(a_player())
    boss = an_admin(world)

    assert world.run(world.staff.whitelist(boss, alice, "known player", on=True)).priv == NORMAL | Privilege.WHITELISTED
    with pytest.raises(WrongState, match="already whitelisted"):
        world.run(world.staff.whitelist(boss, alice, "known player", on=True))
    assert world.run(world.staff.whitelist(boss, "alice", "no longer", on=False)).priv == NORMAL
    with pytest.raises(WrongState, match="not whitelisted"):
        world.run(world.staff.whitelist(boss, alice, "no longer", on=False))
    with pytest.raises(NotAllowed):
        world.run(world.staff.whitelist(Actor(alice, "game"), alice, "me", on=True))

    assert [(row.action, row.reason) for row in world.audit(alice)] == [
        ("privileges", "no longer"),
        ("privileges", "known player"),
    ]


def test_donor_roles_are_refused_in_the_game(world: World) -> None:
    world.add_player(a_player())
    root = Actor(world.add_player(a_player("root", priv=DEVELOPER)), "game")

    with pytest.raises(Refused, match="givedonator"):
        world.run(world.staff.grant(root, "alice", ["supporter"]))
