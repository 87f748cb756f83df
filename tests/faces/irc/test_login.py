"""The login by IRC at bad moments: a full server, and passwords that end and players who are restricted meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import update
from tests.builders import Run, World, a_player

from kiai.accounts import User
from kiai.accounts.irc_passwords import IrcPasswords, revocation
from kiai.faces.bancho.announce import announcer, presence
from kiai.faces.irc.channels import ChannelCommands
from kiai.faces.irc.connection import Connection
from kiai.faces.irc.hub import Hub
from kiai.faces.irc.login import IrcLogin, WelcomeTexts
from kiai.faces.irc.names import IrcNames
from kiai.ids import SequenceIds, SystemIds
from kiai.osu.privileges import VERIFIED
from kiai.presence import Presence
from kiai.realtime import memory
from kiai.realtime.port import SessionStats
from kiai.realtime.rate_limiter import RateLimiter
from kiai.storage.port import Command, Database
from kiai.storage.tables import users

NAMES = IrcNames("ppy.sh", "https://osu.ppy.sh/", "https://osu.ppy.sh/", "BanchoBot")


class FakeTransport:
    """Stands for the transport of a client that reads at once."""

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        return


class FakeWriter:
    """Records what is sent."""

    def __init__(self) -> None:
        self.sent = b""
        self.transport = FakeTransport()

    def write(self, data: bytes) -> None:
        self.sent += data

    def close(self) -> None:
        return


class FakeChannels:
    """Stands for the channels: the player referees no match."""

    async def join_refereed(self, connection: Connection) -> None:
        del connection


class InterruptedPasswords(IrcPasswords):
    """Passwords of which one ends, or whose player is restricted, right after the first check of a login."""

    meanwhile: Callable[[User], Awaitable[object]] | None = None

    async def holder(self, name: str, password: str) -> User:
        user = await super().holder(name, password)
        if self.meanwhile is not None:
            act, self.meanwhile = self.meanwhile, None
            await act(user)
        return user


class Door:
    """The login over a world, with the player alice."""

    def __init__(self, world: World) -> None:
        async def stats_of(user_id: int, mode: int) -> SessionStats:
            return SessionStats()

        async def is_chat_bot(user_id: int) -> bool:
            return False

        self.world = world
        self.presence = Presence(world.realtime, world.accounts, world.clock, announcer(presence.TABLE), stats_of)
        self.passwords = InterruptedPasswords(world.database, world.clock, SystemIds())
        self.hub = Hub(world.realtime, self.presence, lambda address: False)
        self.login = IrcLogin(
            lambda: WelcomeTexts("kiai", "", "1"),
            self.hub,
            cast(ChannelCommands, FakeChannels()),
            passwords=self.passwords,
            relationships=world.relationships,
            presence=self.presence,
            limiter=RateLimiter(world.realtime, world.clock),
            clock=world.clock,
            ids=SequenceIds(),
            limited=True,
            is_chat_bot=is_chat_bot,
            under_maintenance=lambda: False,
        )
        self.alice = world.add_player(a_player("alice"))

    def log_in(self) -> tuple[Connection, list[str]]:
        """Log in. Return the connection after the end of the login, and what it has sent."""
        writer = FakeWriter()

        async def scenario() -> Connection:
            password = await self.passwords.create(self.alice)
            connection = Connection(
                cast(asyncio.StreamReader, None), cast(Any, writer), NAMES, address="", network="", now=lambda: 0.0
            )
            self.hub.open(connection)
            for command, text in (("PASS", password), ("NICK", "alice"), ("USER", "alice")):
                await self.login.handle(connection, command, (text,))
            if connection.closing:
                await self.hub.remove(connection)
            return connection

        return self.world.run(scenario()), writer.sent.decode().splitlines()

    def sessions(self) -> int:
        return len(self.world.run(self.world.realtime.sessions_of(self.alice)))


@pytest.fixture
def door(database: Database, run: Run, tmp_path: Path) -> Door:
    return Door(World(database, run, tmp_path))


def test_player_logs_in(door: Door) -> None:
    connection, sent = door.log_in()

    assert not connection.closing
    assert sent[0].startswith(":cho.ppy.sh 001 alice ")
    assert (door.sessions(), door.login.outcomes) == (1, {"ok": 1})


def test_full_server_refuses_the_login_in_words(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "SESSIONS_MAX", 0)

    connection, sent = door.log_in()

    assert connection.closing
    assert sent == ["ERROR :The server is busy. Please try again in a moment."]
    assert (door.sessions(), door.login.outcomes) == (0, {"unavailable": 1})


def test_password_that_ends_during_the_login_opens_nothing(door: Door) -> None:
    async def revoke(user: User) -> None:
        await door.passwords.remove(user.id)
        await door.presence.end_irc_sessions([revocation(user.id, door.world.clock.now_ms())])

    door.passwords.meanwhile = revoke

    connection, sent = door.log_in()

    assert connection.closing
    assert sent == ["ERROR :Your account has changed. Please connect again."]
    assert door.sessions() == 0


def test_player_who_is_restricted_during_the_login_is_refused(door: Door) -> None:
    async def restrict(user: User) -> None:
        command = Command(update(users).where(users.c.id == user.id).values(priv=VERIFIED))
        await door.world.database.transaction(lambda tx: tx.run(command))

    door.passwords.meanwhile = restrict

    connection, sent = door.log_in()

    assert connection.closing
    assert sent == ["ERROR :Your account has changed. Please connect again."]
    assert door.sessions() == 0


def test_only_connections_of_the_old_password_end(door: Door) -> None:
    old, _ = door.log_in()
    revoked_at = door.world.clock.now_ms()
    door.world.clock.advance(1)

    door.log_in()
    door.world.run(door.presence.end_irc_sessions([revocation(door.alice, revoked_at)]))

    [session] = door.world.run(door.world.realtime.sessions_of(door.alice))
    assert session.login_time_ms > revoked_at
    assert old.session is not None
    assert old.session.token != session.token
