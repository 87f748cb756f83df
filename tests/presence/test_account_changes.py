"""Accounts that change while their player logs in: no session keeps rights, visibility or a name of before."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, cast

import pytest
from tests.builders import NORMAL, PASSWORD, Run, World, a_player
from tests.pausing import Pause, PausingDatabase
from tests.presence.test_interleavings import Interrupted

from kiai.accounts import User, sanctions
from kiai.accounts.visibility import is_public
from kiai.chat.history import ChannelHistory
from kiai.chat.journal import Journal
from kiai.faces.bancho.announce import announcer
from kiai.faces.bancho.announce.presence import TABLE
from kiai.osu.names import password_md5
from kiai.osu.privileges import Privilege
from kiai.presence import Presence
from kiai.presence.service import AccountChanged
from kiai.realtime.port import Realtime, Session, SessionStats
from kiai.staff import OPERATOR
from kiai.staff.naming import Naming
from kiai.staff.silences import Silences
from kiai.storage.port import Database

MODERATOR: Final = int(NORMAL | Privilege.MODERATOR)
MD5: Final = password_md5(PASSWORD)


class Server:
    """Presence over a world with alice, a moderator. `deliver` is the outbox of any worker."""

    def __init__(self, database: Database, run: Run, folder: Path) -> None:
        self.world = World(database, run, folder)
        self.run = run
        self.alice = self.world.add_player(a_player(priv=MODERATOR, password=PASSWORD))
        self.presence = self.over(self.world.realtime)
        accounts, realtime, clock = self.world.accounts, self.world.realtime, self.world.clock

        async def nothing(*_: object) -> None:
            return None

        history = ChannelHistory(database, Journal(database, clock), clock)
        self.silences = Silences(accounts, self.world.authority, realtime, clock, announcer(TABLE), nothing, history)
        for kind, receiver in (
            ("privileges", self.presence.on_privileges_change),
            ("sessions", self.presence.end_sessions),
            ("silences", self.silences.deliver),
        ):
            self.world.outbox.subscribe(kind, receiver)

    def over(self, realtime: Realtime) -> Presence:
        async def stats_of(user_id: int, mode: int) -> SessionStats:
            return SessionStats()

        return Presence(realtime, self.world.accounts, self.world.clock, announcer(TABLE), stats_of)

    async def authenticate(self) -> User:
        return await self.world.accounts.authenticate("alice", MD5)

    async def open(self, user: User, presence: Presence) -> Session:
        """Open a session with the account as a login has read it."""
        session = Session(
            token="t" * 36,
            user_id=user.id,
            name=user.name,
            priv=user.priv,
            country=user.country,
            hidden=not is_public(user.priv),
            silenced_until_ms=user.silenced_until_ms,
            login_time_ms=1,
        )
        return await presence.open_session(session, reread=lambda: self.world.accounts.remembered("alice", MD5))


@pytest.fixture
def server(database: Database, run: Run, tmp_path: Path) -> Server:
    return Server(database, run, tmp_path)


Change = Callable[[Server], Coroutine[Any, Any, object]]
CHANGES: Final[dict[str, Change]] = {
    "restricted": lambda s: s.world.restrictions.restrict(OPERATOR, s.alice, "because"),
    "banned": lambda s: s.world.restrictions.ban(OPERATOR, s.alice, "because"),
    "demoted": lambda s: s.world.staff.revoke(OPERATOR, "alice", ["moderator"]),
    "silenced": lambda s: s.silences.silence(OPERATOR, s.alice, 600, "because"),
    "renamed": lambda s: Naming(s.world.accounts, s.world.authority, s.world.standing, s.world.clock).rename(
        OPERATOR, s.alice, "alicia"
    ),
    "with another password": lambda s: s.world.accounts.set_password(
        s.alice, password="another horse 8", name="alice", email="alice@example.org"
    ),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("before", ["online_count", "open_session", "sessions_of"])
def test_an_account_that_changes_during_the_login_gets_no_session(server: Server, change: str, before: str) -> None:
    async def changes_and_is_delivered() -> None:
        await CHANGES[change](server)
        await server.world.outbox.deliver()

    interrupted = Interrupted(server.world.realtime, before, changes_and_is_delivered)

    async def login() -> None:
        user = await server.authenticate()
        await server.open(user, server.over(cast(Realtime, interrupted)))

    with pytest.raises(AccountChanged):
        server.run(login())

    assert server.run(server.world.realtime.sessions_of(server.alice)) == []


@pytest.mark.parametrize("change", ["restricted", "banned"])
def test_a_sanction_that_commits_after_the_login_ends_its_session(server: Server, change: str) -> None:
    pause = Pause(server.world.database, sanctions.SET_STANDING)
    paused = Server.__new__(Server)
    paused.world = World(cast(Database, PausingDatabase(pause)), server.run, server.world.folder)
    paused.alice = server.alice

    async def interleaved() -> None:
        user = await server.authenticate()
        sanction = asyncio.create_task(CHANGES[change](paused))
        await pause.reached(sanction)
        opening = asyncio.create_task(server.open(user, server.presence))
        if server.world.database.pool().size > 1:  # PostgreSQL: readers do not wait for the transaction
            await opening
            assert [session.priv for session in await server.world.realtime.sessions_of(server.alice)] == [MODERATOR]
        pause.go()
        await sanction
        await asyncio.gather(opening, return_exceptions=True)
        await server.world.outbox.deliver()

    server.run(interleaved())

    assert server.run(server.world.realtime.sessions_of(server.alice)) == []


def test_an_account_that_does_not_change_keeps_its_session(server: Server) -> None:
    async def login() -> Session:
        return await server.open(await server.authenticate(), server.presence)

    session = server.run(login())

    assert server.run(server.world.realtime.sessions_of(server.alice)) == [session]
