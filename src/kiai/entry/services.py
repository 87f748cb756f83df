"""Builds the services of entry over those of accounts."""

from collections.abc import Callable
from typing import Final

from kiai.accounts import Accounts, Credentials
from kiai.accounts.web_sessions import WebSessions
from kiai.clock import Clock
from kiai.entry.history import SecurityHistory
from kiai.entry.invites import Invites
from kiai.entry.letters import Letters
from kiai.entry.passkeys import Passkeys
from kiai.entry.registration import Registration
from kiai.entry.second_factors import SecondFactors
from kiai.entry.security import Security
from kiai.entry.tokens import Tokens
from kiai.entry.web_login import WebLogin
from kiai.ids import Ids
from kiai.mailing import Mailing
from kiai.realtime.port import Realtime
from kiai.realtime.rate_limiter import RateLimiter
from kiai.secret_box import SecretBox
from kiai.server_settings import RegistrationState, Settings
from kiai.storage.port import Database


class EntryServices:
    """The services of one server."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        realtime: Realtime,
        accounts: Accounts,
        credentials: Credentials,
        web_sessions: WebSessions,
        limiter: RateLimiter,
        clock: Clock,
        ids: Ids,
        under_maintenance: Callable[[], bool],
        registration: Callable[[], RegistrationState],
    ) -> None:
        site_url = settings.site_url
        limited = settings.rate_limits
        box = SecretBox(settings.data, clock)
        self.letters: Final = Letters(settings.title, site_url)
        self.mailing: Final = Mailing(database, clock, box, settings.smtp, settings.mail_sender)
        self.history: Final = SecurityHistory(database, accounts, self.mailing, self.letters, clock)
        self.tokens: Final = Tokens(database, clock, ids)
        self.invites: Final = Invites(database, clock)
        self.registration: Final = Registration(
            accounts,
            self.invites,
            self.tokens,
            self.history,
            self.letters,
            limiter,
            limited=limited,
            state=registration,
            verifies_email=settings.mail_verification,
            under_maintenance=under_maintenance,
        )
        self.security: Final = Security(
            database,
            accounts,
            credentials,
            web_sessions,
            self.tokens,
            self.history,
            self.mailing,
            self.letters,
            limiter,
            clock,
            limited=limited,
            verifies_email=settings.mail_verification,
        )
        self.factors: Final = SecondFactors(
            database, accounts, self.history, limiter, box, clock, title=settings.title, limited=limited
        )
        self.passkeys: Final = Passkeys(
            database,
            accounts,
            self.factors,
            self.history,
            realtime,
            box,
            clock,
            title=settings.title,
            site_url=site_url,
        )
        self.web_login: Final = WebLogin(
            database,
            accounts,
            credentials,
            web_sessions,
            self.tokens,
            self.factors,
            self.passkeys,
            self.history,
            under_maintenance,
        )

    async def flush(self) -> None:
        """Write what waits in memory: events, and requests for reset links. A job calls this. Raises Unavailable."""
        await self.history.flush()
        await self.security.send_resets()

    async def delete_expired(self) -> int:
        """Delete expired tokens and invite codes. Return their number. A job calls this."""
        return await self.tokens.delete_expired() + await self.invites.delete_expired()
