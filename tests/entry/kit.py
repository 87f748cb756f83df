"""The services of entry over a world, for tests."""

from pathlib import Path
from typing import Any, Final

import pyotp
import pytest
from tests.builders import PASSWORD, Run, World, a_player
from tests.mail_server import MailServer

from kiai.accounts import Credentials, User, Viewer
from kiai.accounts.web_sessions import WebSessions
from kiai.entry import EntryServices, Origin
from kiai.ids import SystemIds
from kiai.osu.names import password_md5
from kiai.realtime.rate_limiter import RateLimiter
from kiai.server_settings import RegistrationState
from kiai.settings import load_settings
from kiai.storage.port import Database

ORIGIN: Final = Origin("web", "198.51.100.7", "Firefox")
BASE: Final = "https://kiai.example"


class Entry:
    """A world with the services of entry. alice (3) has the password `PASSWORD`."""

    def __init__(
        self, database: Database, run: Run, folder: Path, mail_server: MailServer | None, **settings: Any
    ) -> None:
        self.world = World(database, run, folder)
        self.run = run
        self.clock = self.world.clock
        self.mail_server = mail_server
        limiter = RateLimiter(self.world.realtime, self.clock)
        self.web_sessions = WebSessions(database, self.clock, SystemIds())
        self.credentials = Credentials(self.world.accounts, limiter, limited=True)
        smtp = None if mail_server is None else mail_server.url
        self.maintenance = False
        values = {"data": folder, "domain": "kiai.example", "title": "Kiai Club", "smtp": smtp} | settings
        loaded = load_settings(**values)
        self.registration = loaded.registration
        self.services = EntryServices(
            loaded,
            database,
            self.world.realtime,
            self.world.accounts,
            self.credentials,
            self.web_sessions,
            limiter,
            self.clock,
            SystemIds(),
            lambda: self.maintenance,
            lambda: self.registration,
        )
        if self.run(self.world.accounts.account_named("alice")) is None:
            self.world.add_player(a_player(password=PASSWORD))

    def switch_after_check(self, state: RegistrationState, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let a developer switch registration after the next check of a form."""
        check = self.world.accounts.faults_of

        async def checked(**form: str) -> dict[str, list[str]]:
            found = await check(**form)
            self.registration = state
            return found

        monkeypatch.setattr(self.world.accounts, "faults_of", checked)

    @property
    def alice(self) -> User:
        """The account of alice."""
        return self.run(self.world.accounts.user(Viewer(user_id=3), id=3))

    def can_log_in(self, password: str, name: str = "alice") -> bool:
        """Whether the game accepts this password."""
        try:
            self.run(self.world.accounts.authenticate(name, password_md5(password)))
        except Exception:
            return False
        return True

    def deliver(self) -> None:
        """Do what the jobs do: write events, create the mails of reset requests, send mails."""
        self.run(self.services.flush())
        self.run(self.services.mailing.deliver())

    def events(self) -> list[str]:
        """Return the kinds of the events of alice, newest first."""
        self.run(self.services.history.flush())
        return [event.kind for event in self.run(self.services.history.recent(3))]

    def actions(self) -> list[str]:
        """Return the actions in the audit log about alice, newest first."""
        return [row.action for row in self.world.audit(3)]

    def subjects(self, to: str = "alice@example.org") -> list[str]:
        """Deliver, and return the subjects of the mails to an address."""
        self.deliver()
        assert self.mail_server is not None
        return [str(mail["Subject"]) for mail in self.mail_server.to(to)]

    def code(self, secret: str, steps: int = 0) -> str:
        """Return the code of an authenticator, `steps` steps of 30 s from now."""
        return pyotp.TOTP(secret).at(self.clock.now_ms() // 1000 + 30 * steps)

    def turn_on_authenticator(self) -> tuple[str, list[str]]:
        """Turn on an authenticator for alice. Return its secret and the recovery codes."""
        secret = self.run(self.services.factors.set_up(self.alice)).secret
        return secret, self.run(self.services.factors.turn_on(self.alice, self.code(secret), ORIGIN))
