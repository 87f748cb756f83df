"""Credentials and web sessions that are issued while the account is banned: none of them outlives the ban."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, cast

import pytest
from sqlalchemy import select
from tests.builders import Run, World, a_player
from tests.pausing import Pause, PausingDatabase

from kiai.accounts import ApiKeys, queries
from kiai.accounts.irc_passwords import IrcPasswords
from kiai.accounts.web_sessions import WebSessions
from kiai.errors import KiaiError
from kiai.ids import SystemIds
from kiai.staff import OPERATOR
from kiai.storage.port import Database
from kiai.storage.tables import api_keys, irc_passwords, web_sessions


@pytest.fixture
def world(database: Database, run: Run, tmp_path: Path) -> World:
    return World(database, run, tmp_path)


Issue = Callable[[World, int], Coroutine[Any, Any, object]]
ISSUES: Final[dict[str, Issue]] = {
    "API key": lambda w, id_: ApiKeys(w.database, w.clock, SystemIds()).issue(id_),
    "IRC password": lambda w, id_: IrcPasswords(w.database, w.clock, SystemIds()).create(id_),
    "web session": lambda w, id_: WebSessions(w.database, w.clock, SystemIds()).create(id_, address="", agent=""),
}


def left(world: World) -> int:
    """Return the number of credentials and web sessions that would work after the end of the ban."""
    live_keys = world.look(select(api_keys.c.id).where(api_keys.c.revoked_at_ms.is_(None)))
    return len(live_keys) + len(world.look(select(irc_passwords))) + len(world.look(select(web_sessions.c.hash)))


@pytest.mark.parametrize("issue", ISSUES)
def test_nothing_is_issued_next_to_a_ban_that_has_not_committed(world: World, issue: str) -> None:
    alice = world.add_player(a_player())
    pause = Pause(world.database, queries.REMOVE_IRC_PASSWORD)
    paused = World(cast(Database, PausingDatabase(pause)), world.run, world.folder)

    async def interleaved() -> None:
        banning = asyncio.create_task(paused.restrictions.ban(OPERATOR, alice, "because"))
        await pause.reached(banning)
        issuing = asyncio.create_task(ISSUES[issue](world, alice))
        await pause.until_stuck(issuing)
        pause.go()
        await banning
        with pytest.raises(KiaiError):
            await issuing

    world.run(interleaved())

    assert left(world) == 0


@pytest.mark.parametrize("issue", ISSUES)
def test_a_ban_ends_what_is_issued_just_before_it(world: World, issue: str) -> None:
    alice = world.add_player(a_player())
    pause = Pause(world.database, queries.UNLOCKED_TO_CHANGE)
    paused = World(cast(Database, PausingDatabase(pause)), world.run, world.folder)

    async def interleaved() -> None:
        issuing = asyncio.create_task(ISSUES[issue](paused, alice))
        await pause.reached(issuing)
        banning = asyncio.create_task(world.restrictions.ban(OPERATOR, alice, "because"))
        await pause.until_stuck(banning)
        assert not banning.done()
        pause.go()
        await issuing
        await banning

    world.run(interleaved())

    assert left(world) == 0


def test_nothing_is_issued_to_a_banned_account(world: World) -> None:
    alice = world.add_player(a_player())
    world.run(world.restrictions.ban(OPERATOR, alice, "because"))

    for issue in ISSUES.values():
        with pytest.raises(KiaiError):
            world.run(issue(world, alice))

    assert left(world) == 0
