"""Passwords and e-mail addresses of existing accounts: changes, reset links, confirmations.

A request for a reset link gets the same answer in the same time whether the address is known or not: the request only
adds the address to a queue, and a job reads the account, creates the token and queues the mail.
"""

from collections import deque
from typing import Final

from kiai.accounts import Account, Accounts, Credentials, User
from kiai.accounts.api_keys import Also, nothing_else
from kiai.accounts.web_sessions import WebSession, WebSessions
from kiai.clock import Clock
from kiai.entry.history import SecurityHistory
from kiai.entry.letters import Letters
from kiai.entry.model import Change, Origin
from kiai.entry.tokens import Token, TokenKind, Tokens
from kiai.errors import Conflict, Invalid, NotAuthenticated, NotFound, Refused, Unavailable
from kiai.mailing import Mailing
from kiai.osu.names import email_fault, password_md5
from kiai.realtime.rate_limiter import RateLimiter
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.storage.port import Database, Transaction, UniqueViolation

RESETS_WAITING_MAX: Final = 1_000
RESETS_PER_HOUR: Final = 3
HOUR_S: Final = 3600.0
VERIFICATIONS: Final = 1
VERIFICATION_S: Final = 300.0
EMAIL_UNUSABLE: Final = "an address that can be used here"


class TooManyMails(Refused):
    """The mail was sent a moment ago. The next one is allowed in `retry_s` seconds."""

    def __init__(self, retry_s: float) -> None:
        super().__init__(f"a mail was sent a moment ago; the next is allowed in {retry_s:.0f} s")
        self.retry_s = retry_s


class WrongPassword(Invalid):
    """The current password is wrong."""

    def __init__(self) -> None:
        super().__init__("current_password", "the current password of the account", "another one")


class Security:
    """Changes passwords and addresses."""

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        credentials: Credentials,
        web_sessions: WebSessions,
        tokens: Tokens,
        history: SecurityHistory,
        mailing: Mailing,
        letters: Letters,
        limiter: RateLimiter,
        clock: Clock,
        *,
        limited: bool,
        verifies_email: bool,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._credentials = credentials
        self._web_sessions = web_sessions
        self._tokens = tokens
        self._history = history
        self._mailing = mailing
        self._letters = letters
        self._limiter = limiter
        self._clock = clock
        self._limited = limited
        self._verifies_email = verifies_email
        self._resets: deque[str] = deque()

    @property
    def sends_mail(self) -> bool:
        """Whether the operator has configured a mail server."""
        return self._mailing.is_on

    # --- reset links

    def request_reset(self, email: str) -> None:
        """Queue a mail with a reset link, if an account has this address. The answer is the same if none has.

        At most 3 mails an hour are sent for an account. When 1,000 requests wait, the oldest is dropped.
        """
        if email_fault(email) is None:
            self._resets.append(email.lower())
            while len(self._resets) > RESETS_WAITING_MAX:
                self._resets.popleft()

    async def send_resets(self) -> None:
        """Create the tokens and mails of all queued requests. A job calls this. Raises Unavailable."""
        while self._resets:
            email = self._resets.popleft()
            try:
                await self._send_reset(email)
            except Unavailable:
                self._resets.appendleft(email)
                raise

    async def _send_reset(self, email: str) -> None:
        account = await self._accounts.account_with_email(email)
        if account is None or account.banned_at_ms is not None or not self._mailing.is_on:
            return
        if self._limited:
            answer = await self._limiter.consume(f"resets:{account.id}", limit=RESETS_PER_HOUR, period_s=HOUR_S)
            if not answer.granted:
                return

        async def body(tx: Transaction) -> None:
            token = await self._tokens.create(tx, account.id, TokenKind.RESET)
            await self._history.mail(tx, self._letters.reset(account, token))

        await self._database.transaction(body)

    async def reset_link(self, actor: Actor, name: str, *, reason: str = "", check: Also = nothing_else) -> str:
        """Create a reset link for the account and return its URL, for the staff to hand over. Raises NotFound.

        `check` runs first in the transaction.
        """
        account = await self._accounts.account(name)

        async def body(tx: Transaction) -> str:
            await check(tx)
            token = await self._tokens.create(tx, account.id, TokenKind.RESET)
            await audit.write(
                tx,
                actor,
                "reset_link",
                at_ms=self._clock.now_ms(),
                target_kind="user",
                target_id=account.id,
                reason=reason,
            )
            return token

        return self._letters.link(f"reset/{await self._database.transaction(body)}")

    async def can_reset(self, token: str) -> bool:
        """Return whether a reset link is valid."""
        return await self._tokens.find(TokenKind.RESET, token) is not None

    async def reset(self, token: str, password: str, origin: Origin) -> None:
        """Set a new password with a reset link. It ends all sessions and revokes all API keys of the account.

        Raises NotFound for a dead link, and Invalid for a password outside the rules; the link then stays valid.
        """
        found = await self._tokens.find(TokenKind.RESET, token)
        if found is None:
            raise NotFound("reset link")
        account = await self._accounts.account_of(found.user_id)

        async def also(tx: Transaction, user_id: int) -> None:
            if await self._tokens.use(tx, TokenKind.RESET, token) is None:
                raise NotFound("reset link")
            await self._end_everything(tx, user_id)
            await self._history.write(tx, account, Change.PASSWORD_RESET, origin)

        await self._accounts.set_password(
            account.id, password=password, name=account.name, email=account.email, also=also
        )

    # --- passwords

    async def check_password(self, user: User, password: str, origin: Origin) -> None:
        """Check the current password before a change. Raises WrongPassword, TooManyGuesses, Unavailable."""
        try:
            found = await self._credentials.check(user.name, password_md5(password), origin.address)
        except NotAuthenticated:
            raise WrongPassword from None
        if found.id != user.id:  # the account was renamed, and another one took the name
            raise WrongPassword

    async def change_password(self, user: User, current: str, password: str, origin: Origin) -> None:
        """Set a new password. It ends all sessions, those of the website too, and revokes all API keys.

        The caller opens a new session. Raises WrongPassword, Invalid, TooManyGuesses, Unavailable.
        """
        await self.check_password(user, current, origin)
        await self.set_password(await self._accounts.account_of(user.id), password, origin)

    async def set_password(
        self, account: Account, password: str, origin: Origin, *, actor: Actor | None = None
    ) -> None:
        """Set a new password without the old one, for the operator. Raises Invalid, Unavailable."""

        async def also(tx: Transaction, user_id: int) -> None:
            await self._end_everything(tx, user_id)
            await self._history.write(tx, account, Change.PASSWORD, origin, actor=actor)

        await self._accounts.set_password(
            account.id, password=password, name=account.name, email=account.email, also=also
        )

    async def _end_everything(self, tx: Transaction, user_id: int) -> None:
        await self._web_sessions.end_all_in(tx, user_id)
        await self._tokens.delete_of(tx, user_id)

    # --- e-mail addresses

    async def change_email(self, user: User, current: str, email: str, origin: Origin) -> bool:
        """Change the address, and return whether the new address must be confirmed first.

        The old address gets a mail. With a mail server, the change takes effect when the link in a mail to the new
        address is opened. Raises WrongPassword, Invalid, TooManyGuesses, Unavailable.
        """
        await self.check_password(user, current, origin)
        if fault := email_fault(email):
            raise Invalid("email", fault, email)
        account = await self._accounts.account_of(user.id)
        if email.lower() == account.email or await self._accounts.is_email_in_use(email):
            raise Invalid("email", EMAIL_UNUSABLE, email)

        async def body(tx: Transaction) -> bool:
            await self._history.mail(tx, self._letters.new_email(account, email))
            if self._mailing.is_on:
                token = await self._tokens.create(tx, user.id, TokenKind.EMAIL, email=email.lower())
                return await self._history.mail(tx, self._letters.verify(account, token, email=email))
            await self._accounts.set_email(tx, user.id, email, verified_at_ms=None)
            await self._history.write(tx, account, Change.EMAIL, origin)
            return False

        try:
            return await self._database.transaction(body)
        except UniqueViolation as error:
            raise Invalid("email", EMAIL_UNUSABLE, email) from error

    def must_verify(self, user: User) -> bool:
        """Whether the account may not comment until its address is confirmed."""
        return self._verifies_email and user.email_verified_at_ms is None

    async def resend_verification(self, user: User) -> None:
        """Send the mail with the confirmation link again, once in 5 minutes. Raises TooManyMails."""
        if self._limited:
            answer = await self._limiter.consume(
                f"verifications:{user.id}", limit=VERIFICATIONS, period_s=VERIFICATION_S
            )
            if not answer.granted:
                raise TooManyMails(answer.reset_s)
        account = await self._accounts.account_of(user.id)

        async def body(tx: Transaction) -> None:
            token = await self._tokens.create(tx, user.id, TokenKind.VERIFY, email=account.email)
            await self._history.mail(tx, self._letters.verify(account, token))

        await self._database.transaction(body)

    async def confirm_email(self, token: str, origin: Origin) -> None:
        """Confirm an address with the link from a mail. Raises NotFound for a dead link, Conflict for a taken address.

        Opening a link twice is no error, because mail programs may open links before the player does.
        """
        verify = await self._tokens.find(TokenKind.VERIFY, token)
        change = None if verify is not None else await self._tokens.find(TokenKind.EMAIL, token)
        found = verify or change
        if found is None or found.email is None:
            raise NotFound("confirmation link")
        account = await self._accounts.account_of(found.user_id)
        try:
            await self._database.transaction(
                lambda tx: (
                    self._verify(tx, account, found, origin)
                    if verify is not None
                    else self._change(tx, account, token, origin)
                )
            )
        except UniqueViolation as error:
            raise Conflict("e-mail address") from error

    async def _verify(self, tx: Transaction, account: Account, found: Token, origin: Origin) -> None:
        assert found.email is not None
        if account.email_verified_at_ms is not None:
            return
        if not await self._accounts.set_email_verified(tx, account.id, found.email, self._clock.now_ms()):
            raise NotFound("confirmation link")  # the account has another address since
        await self._history.write(tx, account, Change.EMAIL_VERIFIED, origin)

    async def _change(self, tx: Transaction, account: Account, token: str, origin: Origin) -> None:
        found = await self._tokens.find(TokenKind.EMAIL, token, tx)
        if found is None or found.email is None:
            raise NotFound("confirmation link")
        if found.email == account.email:
            return
        await self._accounts.set_email(tx, account.id, found.email, verified_at_ms=self._clock.now_ms())
        # Links in mails to other addresses of the account must not work any more.
        await self._tokens.delete_of(tx, account.id, keep=token)
        await self._history.write(tx, account, Change.EMAIL, origin)

    async def account(self, user: User) -> Account:
        """Return the account with its e-mail address, for its owner."""
        return await self._accounts.account_of(user.id)

    # --- sessions of the website

    async def end_session(self, user: User, public_id: str, origin: Origin) -> None:
        """End one session of the website. Raises NotFound, also for a session of another account."""
        account = await self._accounts.account_of(user.id)

        async def also(tx: Transaction) -> None:
            await self._history.write(tx, account, Change.SESSIONS_ENDED, origin, details={"sessions": 1})

        if not await self._web_sessions.end(user.id, public_id, also=also):
            raise NotFound("session")

    async def end_sessions(self, user: User, *, current: WebSession | None, origin: Origin) -> int:
        """End all sessions of the website except `current`. Return their number."""
        account = await self._accounts.account_of(user.id)

        async def body(tx: Transaction) -> int:
            ended = await self._web_sessions.end_all_in(tx, user.id, current=current)
            await self._history.write(tx, account, Change.SESSIONS_ENDED, origin, details={"sessions": ended})
            return ended

        return await self._database.transaction(body)
