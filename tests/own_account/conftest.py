"""The services of `kiai.own_account` over a world, with sessions in the game."""

from pathlib import Path
from typing import Any

import pytest
from tests.builders import Run, World, a_player

from kiai.accounts import Credentials, Viewer
from kiai.accounts.irc_passwords import IrcPasswords
from kiai.accounts.model import User
from kiai.accounts.visibility import is_public
from kiai.accounts.web_sessions import WebSessions
from kiai.clans import ClanActs, ClanRules
from kiai.entry import EntryServices
from kiai.faces.bancho.announce import presence
from kiai.ids import SequenceIds
from kiai.own_account import Deletion, Exports, Friendships, NameChanges, OwnKeys, ProfileSettings
from kiai.own_account.deletion import DELETION, FILES
from kiai.presence import Presence
from kiai.realtime.port import Session, SessionStats
from kiai.realtime.rate_limiter import RateLimiter
from kiai.secret_box import SecretBox
from kiai.settings import load_settings
from kiai.storage.port import Database

from kiai.faces.bancho.announce import announcer  # isort: skip


class OwnAccounts:
    """Everything that players do with their accounts, wired as in the server."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.run = world.run

        async def stats_of(user_id: int, mode: int) -> SessionStats:
            return SessionStats()

        database, accounts, clock, ids = world.database, world.accounts, world.clock, SequenceIds()
        self.presence = Presence(world.realtime, accounts, clock, announcer(presence.TABLE), stats_of)
        self.irc = IrcPasswords(database, clock, ids)
        limiter = RateLimiter(world.realtime, clock)
        self.web_sessions = WebSessions(database, clock, ids)
        self.entry = EntryServices(
            load_settings(data=world.folder, domain="kiai.example"),
            database,
            world.realtime,
            accounts,
            Credentials(accounts, limiter, limited=True),
            self.web_sessions,
            limiter,
            clock,
            ids,
            lambda: False,
            lambda: "on",
        )
        self.keys = OwnKeys(accounts, world.api_keys, self.irc, self.entry.history)
        self.friendships = Friendships(world.relationships, self.presence)
        self.names = NameChanges(database, accounts, clock, every_days=30)
        self.profile = ProfileSettings(database, accounts, world.standing, self.presence, clock, country_days=90)
        self.exports = Exports(database, accounts, world.replays, world.files, clock, ids)
        self.clans = ClanActs(database, None, world.clock, ClanRules())
        self.deletion = Deletion(
            database,
            accounts,
            world.standing,
            self.clans,
            self.exports,
            self.web_sessions,
            world.files,
            SecretBox(world.folder, clock),
            clock,
            grace_days=14,
        )
        self.entry.web_login.subscribe(self.deletion.cancel)
        world.reconciler.include(DELETION, self.deletion.step)
        world.outbox.subscribe("sessions", self.presence.end_sessions)
        world.outbox.subscribe("privileges", self.presence.on_privileges_change)
        world.outbox.subscribe("profiles", self.presence.on_profile_change)
        world.outbox.subscribe(FILES, self.deletion.delete_files)
        self.alice = world.add_player(a_player())
        self.bob = world.add_player(a_player("bob", country="de"))

    def user(self, user_id: int) -> User:
        return self.world.user(user_id)

    def log_in(self, user_id: int, **fields: Any) -> Session:
        user = self.user(user_id)
        session = Session(
            token=user.name,
            user_id=user_id,
            name=user.name,
            priv=user.priv,
            country=user.country,
            hidden=not is_public(user.priv),
            login_time_ms=self.world.clock.now_ms(),
            **fields,
        )
        return self.run(self.presence.open_session(session))

    def sessions(self, user_id: int) -> list[Session]:
        return list(self.run(self.world.realtime.sessions_of(user_id)))

    def deliver(self) -> None:
        self.run(self.world.outbox.deliver())

    def advance_days(self, days: float) -> None:
        self.world.clock.advance(days * 86_400)

    def actions(self, user_id: int) -> list[str]:
        return [row.action for row in self.world.audit(user_id)]

    def visible(self, user_id: int) -> User:
        return self.run(self.world.accounts.user(Viewer(), id=user_id))


@pytest.fixture
def own(database: Database, run: Run, tmp_path: Path) -> OwnAccounts:
    """The services, with each engine, and two players: alice and bob."""
    return OwnAccounts(World(database, run, tmp_path))
