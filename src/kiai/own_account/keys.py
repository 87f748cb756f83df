"""The API keys and the IRC password of a player. Each change is in the history of the account's security."""

from kiai.accounts import Accounts, ApiKeys
from kiai.accounts.api_keys import Also
from kiai.accounts.irc_passwords import IrcPasswords
from kiai.accounts.model import ApiKey, IrcPassword
from kiai.entry import Change, Origin
from kiai.entry.history import SecurityHistory
from kiai.entry.model import OPERATOR_ORIGIN
from kiai.staff import OPERATOR
from kiai.storage.port import Transaction


class OwnKeys:
    """Creates, lists and removes keys and IRC passwords. `origin` is where the request comes from."""

    def __init__(
        self, accounts: Accounts, api_keys: ApiKeys, irc_passwords: IrcPasswords, history: SecurityHistory
    ) -> None:
        self._accounts = accounts
        self._api_keys = api_keys
        self._irc_passwords = irc_passwords
        self._history = history

    async def api_keys(self, user_id: int) -> list[ApiKey]:
        """Return the keys that are not revoked, oldest first."""
        return await self._api_keys.of(user_id)

    async def create_api_key(self, user_id: int, label: str, origin: Origin) -> str:
        """Create a key and return it; it cannot be read again. Raises Invalid, and Refused at the limit of keys."""
        also = self._record(user_id, Change.API_KEY_CREATED, origin)
        return await self._api_keys.issue(user_id, label.strip(), also=also)

    async def revoke_api_key(self, user_id: int, key_id: int, origin: Origin) -> None:
        """Revoke a key. Raises NotFound, also for a key of another account."""
        await self._api_keys.revoke(user_id, key_id, also=self._record(user_id, Change.API_KEY_REVOKED, origin))

    async def replace_api_keys(self, user_id: int, label: str, origin: Origin) -> str:
        """Revoke all keys, create one and return it; it cannot be read again. Raises Invalid."""
        also = self._record(user_id, Change.API_KEY_RESET, origin)
        return await self._api_keys.replace_all(user_id, label, also=also)

    async def revoke_api_keys(self, user_id: int, origin: Origin) -> int:
        """Revoke all keys and return their number."""
        return await self._api_keys.revoke_all(user_id, also=self._record(user_id, Change.API_KEY_REVOKED, origin))

    async def irc_password(self, user_id: int) -> IrcPassword | None:
        """Return the times of the IRC password, or None without one."""
        return await self._irc_passwords.of(user_id)

    async def create_irc_password(self, user_id: int, origin: Origin) -> str:
        """Create an IRC password, which replaces the old one, and return it; it cannot be read again."""
        return await self._irc_passwords.create(user_id, also=self._record(user_id, Change.IRC_PASSWORD, origin))

    async def remove_irc_password(self, user_id: int, origin: Origin) -> None:
        """Remove the IRC password, if there is one."""
        await self._irc_passwords.remove(user_id, also=self._record(user_id, Change.IRC_PASSWORD, origin))

    def _record(self, user_id: int, change: Change, origin: Origin) -> Also:
        # At the command line, the operator acts on the account of another person.
        actor = OPERATOR if origin == OPERATOR_ORIGIN else None

        async def write(tx: Transaction) -> None:
            await self._history.write(tx, await self._accounts.account_of(user_id, tx), change, origin, actor=actor)

        return write
