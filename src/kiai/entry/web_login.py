"""Logins on the website: a name or address with the game's password, then a second factor if the account has one.

The steps share a token in a cookie, so that the second step needs no password. Every login opens a new session, so a
session id from before the login is never valid after it.
"""

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from kiai.accounts import Account, Accounts, Credentials, User, Viewer
from kiai.accounts.web_sessions import WebSessions
from kiai.entry.history import SecurityHistory
from kiai.entry.model import AccountBanned, LoginEvent, Origin
from kiai.entry.passkeys import Ceremony, Passkeys
from kiai.entry.second_factors import Factors, SecondFactors
from kiai.entry.tokens import TokenKind, Tokens
from kiai.errors import NotAuthenticated, NotFound, UnderMaintenance
from kiai.osu.names import EMAIL_MAX, password_md5
from kiai.osu.privileges import STAFF, effective
from kiai.staff.audit import ABOUT
from kiai.storage.port import Database, Transaction

PASSWORD_TEXT_MAX: Final = 256

LoginListener = Callable[[int], Awaitable[object]]


class LoggedIn(msgspec.Struct, frozen=True):
    """A finished login. `token` is the token of the new session."""

    user_id: int
    token: str


class SecondStep(msgspec.Struct, frozen=True):
    """The password was right, and the account has a second factor. `token` continues the login."""

    token: str


class StepAccount(msgspec.Struct, frozen=True):
    """The account whose login waits for a second factor, and its factors."""

    user: User
    factors: Factors


class WebLogin:
    """Logs players in on the website."""

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        credentials: Credentials,
        web_sessions: WebSessions,
        tokens: Tokens,
        factors: SecondFactors,
        passkeys: Passkeys,
        history: SecurityHistory,
        under_maintenance: Callable[[], bool],
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._credentials = credentials
        self._web_sessions = web_sessions
        self._tokens = tokens
        self._factors = factors
        self._passkeys = passkeys
        self._history = history
        self._under_maintenance = under_maintenance
        self._listeners: list[LoginListener] = []

    def subscribe(self, listener: LoginListener) -> None:
        """Add a listener, which gets the id of each account that has logged in."""
        self._listeners.append(listener)

    async def log_in(self, name_or_email: str, password: str, origin: Origin) -> LoggedIn | SecondStep:
        """Log in with a password.

        Raises NotAuthenticated, in the same time for an unknown name and a wrong password, AccountBanned,
        UnderMaintenance, TooManyGuesses and Unavailable.
        """
        typed = name_or_email.strip()
        account = await self._account(typed)
        # An unknown name is checked too, so that it takes as long and counts as a guess.
        name = account.name if account is not None else typed[:EMAIL_MAX]
        md5 = password_md5(password[:PASSWORD_TEXT_MAX])
        try:
            user = await self._credentials.check(name, md5, origin.address, typed=typed[:EMAIL_MAX])
        except NotAuthenticated:
            if account is not None:
                self._history.record(account.id, LoginEvent.WRONG_PASSWORD, origin)
            raise
        await self._check_admitted(user, origin)
        if (await self._factors.of(user.id)).required:

            async def body(tx: Transaction) -> str:
                return await self._tokens.create(tx, user.id, TokenKind.LOGIN)

            step = SecondStep(await self._database.transaction(body))
            if await self._credentials.recheck(name, md5) is None:
                await self._database.transaction(lambda tx: self._tokens.use(tx, TokenKind.LOGIN, step.token))
                raise NotAuthenticated
            return step
        return await self._open(user.id, origin, second_factor=False, password=(name, md5))

    async def open_session(self, user_id: int, origin: Origin, *, second_factor: bool) -> str:
        """Open a session without a check, after a registration or in place of one that ended. Return its token."""
        return await self._web_sessions.create(
            user_id, address=origin.address, agent=origin.agent, second_factor=second_factor
        )

    # --- the second step

    async def step(self, token: str) -> StepAccount:
        """Return the account that waits for a second factor. Raises NotFound when the step has ended."""
        found = await self._tokens.find(TokenKind.LOGIN, token)
        if found is None:
            raise NotFound("login")
        user = await self._accounts.user(Viewer(user_id=found.user_id), id=found.user_id)
        return StepAccount(user, await self._factors.of(user.id))

    async def finish_with_code(self, token: str, code: str, origin: Origin) -> LoggedIn:
        """Finish a login with a code of an authenticator or a recovery code.

        Raises NotFound when the step has ended, WrongCode, TooManyCodes, AccountBanned, UnderMaintenance
        and Unavailable.
        """
        step = await self.step(token)
        await self._factors.check(step.user.id, code, origin)
        return await self._finish(token, step.user, origin)

    async def begin_passkey_step(self, token: str) -> Ceremony:
        """Return the ceremony with which a passkey finishes the login. Raises NotFound when the step has ended."""
        return await self._passkeys.begin_login((await self.step(token)).user.id)

    async def finish_with_passkey(
        self, token: str, state: str, response: Mapping[str, Any], origin: Origin
    ) -> LoggedIn:
        """Finish a login with a passkey.

        Raises NotFound when the step has ended, BadPasskey, AccountBanned, UnderMaintenance and Unavailable.
        """
        step = await self.step(token)
        await self._passkeys.log_in(state, response, user_id=step.user.id)
        return await self._finish(token, step.user, origin)

    async def _finish(self, token: str, user: User, origin: Origin) -> LoggedIn:
        await self._check_admitted(user, origin)

        async def body(tx: Transaction) -> None:
            if await self._tokens.use(tx, TokenKind.LOGIN, token) is None:
                raise NotFound("login")

        await self._database.transaction(body)
        return await self._open(user.id, origin, second_factor=True)

    # --- without a password

    async def log_in_with_passkey(self, state: str, response: Mapping[str, Any], origin: Origin) -> LoggedIn:
        """Log in with only a passkey, which has verified its owner.

        Raises BadPasskey, AccountBanned, UnderMaintenance and Unavailable.
        """
        user_id = await self._passkeys.log_in(state, response)
        user = await self._accounts.user(Viewer(user_id=user_id), id=user_id)
        await self._check_admitted(user, origin)
        return await self._open(user_id, origin, second_factor=True)

    # --- parts

    async def _account(self, text: str) -> Account | None:
        # No name contains @.
        if "@" in text:
            return await self._accounts.account_with_email(text)
        return await self._accounts.account_named(text)

    async def _check_admitted(self, user: User, origin: Origin) -> None:
        """Raise AccountBanned for a banned account, and UnderMaintenance for players during maintenance."""
        if user.banned_at_ms is None:
            if self._under_maintenance() and not effective(user.priv) & STAFF:
                raise UnderMaintenance
            return
        self._history.record(user.id, LoginEvent.BANNED, origin)
        acts = await self._database.all(ABOUT, kind="user", target_id=user.id)
        raise AccountBanned(next((act.reason for act in acts if act.action == "ban"), ""))

    async def _remember_language(self, user_id: int, language: str) -> None:
        with contextlib.suppress(NotFound):  # deleted since the check
            if language in ("", (await self._accounts.account_of(user_id)).language):
                return

        async def body(tx: Transaction) -> None:
            await self._accounts.set_language(tx, user_id, language)

        await self._database.transaction(body)

    async def _open(
        self, user_id: int, origin: Origin, *, second_factor: bool, password: tuple[str, str] | None = None
    ) -> LoggedIn:
        """Open a session. `password` is the name and the md5 with which the player has logged in."""
        try:
            token = await self.open_session(user_id, origin, second_factor=second_factor)
        except NotAuthenticated:  # banned or deleted since the check
            with contextlib.suppress(NotFound):
                await self._check_admitted(await self._accounts.user(Viewer(user_id=user_id), id=user_id), origin)
            raise
        # A change of the password ends all sessions. One that came before this session was created is seen here.
        if password is not None and await self._credentials.recheck(*password) is None:
            await self._web_sessions.end_one(token)
            raise NotAuthenticated
        await self._remember_language(user_id, origin.language)
        self._history.record(user_id, LoginEvent.LOGIN, origin)
        for listener in self._listeners:
            await listener(user_id)
        return LoggedIn(user_id, token)
