"""A member of staff who loses a role has to log in again, on every worker."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.builders import NORMAL, World, a_player

from kiai.accounts.web_sessions import WebSessions
from kiai.ids import SystemIds
from kiai.osu.privileges import ADMINISTRATOR, DEVELOPER, MODERATOR, NOMINATOR, loses_role
from kiai.staff import OPERATOR

STAFF_ROLES = NORMAL | MODERATOR | NOMINATOR


def freeze_that_runs_out(world: World) -> Any:
    async def act() -> None:
        await world.restrictions.freeze(OPERATOR, "alice", "prove it", seconds=1)
        world.clock.advance(2)
        await world.timed_ends.run()

    return act()


DEMOTIONS: dict[str, Callable[[World], Any]] = {
    "revoke": lambda world: world.staff.revoke(OPERATOR, "alice", ["moderator"]),
    "set": lambda world: world.staff.set_privileges(OPERATOR, "alice", ["moderator", "verified"], "team"),
    "restrict": lambda world: world.restrictions.restrict(OPERATOR, "alice", "cheats"),
    "freeze": freeze_that_runs_out,
}
NO_DEMOTIONS: dict[str, Callable[[World], Any]] = {
    "grant": lambda world: world.staff.grant(OPERATOR, "alice", ["administrator"]),
    "badge": lambda world: world.staff.grant(OPERATOR, "alice", ["alumni"]),
}


def sessions_after(world: World, act: Callable[[World], Any]) -> list[bool]:
    """Return whether the session of the member of staff, and that of another player, are alive on another worker."""
    worker, other_worker = (WebSessions(world.database, world.clock, SystemIds()) for _ in range(2))
    tokens = []
    for name, priv in (("alice", STAFF_ROLES), ("bob", STAFF_ROLES)):
        user_id = world.add_player(a_player(name, priv=priv))
        tokens.append(world.run(worker.create(user_id, address="192.0.2.1", agent="x")))
    world.run(act(world))
    return [world.run(other_worker.find(token, "192.0.2.1")) is not None for token in tokens]


@pytest.mark.parametrize("act", DEMOTIONS.values(), ids=list(DEMOTIONS))
def test_demotion_ends_the_sessions_of_the_account_and_no_others(world: World, act: Callable[[World], Any]) -> None:
    assert sessions_after(world, act) == [False, True]


@pytest.mark.parametrize("act", NO_DEMOTIONS.values(), ids=list(NO_DEMOTIONS))
def test_other_changes_of_privileges_end_no_session(world: World, act: Callable[[World], Any]) -> None:
    assert sessions_after(world, act) == [True, True]


def test_role_is_lost_only_with_rights_over_others() -> None:
    assert loses_role(NORMAL | ADMINISTRATOR, NORMAL | MODERATOR)
    assert loses_role(NORMAL | NOMINATOR, NORMAL)
    assert not loses_role(NORMAL | ADMINISTRATOR, NORMAL | DEVELOPER)
    assert not loses_role(NORMAL, NORMAL & ~1)
