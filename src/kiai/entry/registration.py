"""Registration of players: the same rules for the game's form and the website (docs/spec/game-rules.md#names).

The operator and developers decide who may register: everybody, nobody, or people with an invite code. `kiai users add`
always can.
"""

from collections.abc import Callable
from typing import Final

from kiai.accounts import Accounts
from kiai.entry.history import SecurityHistory
from kiai.entry.invites import Invites
from kiai.entry.letters import Letters
from kiai.entry.model import Change, Origin
from kiai.entry.tokens import TokenKind, Tokens
from kiai.errors import Conflict, Invalid, NotFound, Refused, UnderMaintenance
from kiai.networks import is_loopback, network_of
from kiai.realtime.rate_limiter import RateLimiter
from kiai.server_settings import RegistrationState
from kiai.storage.port import Transaction

CREATIONS_PER_DAY: Final = 3
DAY_S: Final = 86_400.0
NO_INVITE: Final = "This invite code is wrong, used up or expired."
CODE_MAX: Final = 64


class RegistrationFaults(Refused):
    """The form has wrong fields. `by_field` has messages for `name`, `email`, `password` and `invite`."""

    def __init__(self, by_field: dict[str, list[str]]) -> None:
        super().__init__("the form has wrong fields")
        self.by_field = by_field


class RegistrationClosed(Refused):
    """The operator lets nobody register here."""

    def __init__(self) -> None:
        super().__init__("registration is closed on this server")


class TooManyRegistrations(Refused):
    """The address has created too many accounts. The next one is allowed in `retry_s` seconds."""

    def __init__(self, retry_s: float) -> None:
        super().__init__(f"too many accounts from this address; the next is allowed in {retry_s:.0f} s")
        self.retry_s = retry_s


class Registration:
    """Checks and creates accounts of players."""

    def __init__(
        self,
        accounts: Accounts,
        invites: Invites,
        tokens: Tokens,
        history: SecurityHistory,
        letters: Letters,
        limiter: RateLimiter,
        *,
        limited: bool,
        state: Callable[[], RegistrationState],
        verifies_email: bool,
        under_maintenance: Callable[[], bool],
    ) -> None:
        self._accounts = accounts
        self._invites = invites
        self._tokens = tokens
        self._history = history
        self._letters = letters
        self._limiter = limiter
        self._limited = limited
        self._state = state
        self._verifies_email = verifies_email
        self._under_maintenance = under_maintenance

    @property
    def state(self) -> RegistrationState:
        """Return who may register now."""
        return self._state()

    async def faults_of(
        self, *, name: str, email: str, password: str, invite: str | None = None
    ) -> dict[str, list[str]]:
        """Return the messages for a form by field; empty for a form without faults. Raises RegistrationClosed and
        UnderMaintenance.

        Another registration may take the name afterwards: `register` decides.
        """
        self._check_open()
        faults = await self._accounts.faults_of(name=name, email=email, password=password)
        if self.state == "invite" and not await self._invites.is_valid((invite or "")[:CODE_MAX]):
            faults["invite"] = [NO_INVITE]
        return faults

    async def register(self, *, name: str, email: str, password: str, origin: Origin, invite: str | None = None) -> int:
        """Create an account and return its id. Raises RegistrationFaults, RegistrationClosed,
        TooManyRegistrations, UnderMaintenance and Unavailable.

        The account is not public before its first login with the game.
        """
        faults = await self.faults_of(name=name, email=email, password=password, invite=invite)
        if faults:
            raise RegistrationFaults(faults)
        # After the checks: a form with errors must not use up one of the few registrations of an address.
        await self._count_creation(network_of(origin.address))

        async def also(tx: Transaction, user_id: int) -> None:
            self._check_open()  # closed since the check of the form
            if self.state == "invite":
                await self._invites.use(tx, (invite or "")[:CODE_MAX])
            await self._accounts.set_language(tx, user_id, origin.language)
            account = await self._accounts.account_of(user_id, tx)
            await self._history.write(tx, account, Change.REGISTERED, origin)
            if self._verifies_email:
                token = await self._tokens.create(tx, user_id, TokenKind.VERIFY, email=account.email)
                await self._history.mail(tx, self._letters.verify(account, token))

        try:
            return await self._accounts.register(
                name=name, email=email, password=password, caller=network_of(origin.address), also=also
            )
        except Conflict as conflict:  # another registration took the name or the address after the check above
            again = await self.faults_of(name=name, email=email, password=password, invite=invite)
            raise RegistrationFaults(again or {conflict.what: ["This is already taken."]}) from conflict
        except NotFound as error:  # another registration used the invite code up
            raise RegistrationFaults({"invite": [NO_INVITE]}) from error
        except Invalid as error:
            raise RegistrationFaults({error.field: [f"Must be {error.allowed}."]}) from error

    async def _count_creation(self, network: str) -> None:
        # Behind a proxy that sends no client address, all players have the address of the proxy.
        if not self._limited or is_loopback(network):
            return
        answer = await self._limiter.consume(f"creations:{network}", limit=CREATIONS_PER_DAY, period_s=DAY_S)
        if not answer.granted:
            raise TooManyRegistrations(answer.reset_s)

    def _check_open(self) -> None:
        if self._under_maintenance():
            raise UnderMaintenance
        if self.state == "off":
            raise RegistrationClosed
