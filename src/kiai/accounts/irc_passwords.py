"""Passwords for IRC: random, shown once, stored as SHA-256, one for each player.

The game's password stays out of IRC clients, which store passwords in plain text.
"""

import hashlib
import hmac
from typing import Final

from kiai.accounts import queries
from kiai.accounts.api_keys import Also, nothing_else
from kiai.accounts.model import IrcPassword, User
from kiai.clock import Clock
from kiai.errors import NotAuthenticated, Refused
from kiai.ids import Ids
from kiai.osu.names import safe_name
from kiai.storage.outbox import enqueue
from kiai.storage.port import Database, Transaction

PASSWORD_BYTES: Final = 24
PASSWORD_DIGITS: Final = 40
PASSWORD_TEXT_MAX: Final = 128
NAME_TEXT_MAX: Final = 32
USED_EVERY_MS: Final = 60_000  # the time of the last use is written at most once a minute


REVOKED: Final = "irc-passwords"
"""The kind of the outbox rows for passwords that ended. `revocation` is the payload."""


def revocation(user_id: int, at_ms: int) -> str:
    """Return the payload for a password of a player that ended at this time."""
    return f"{user_id} {at_ms}"


def _hash(password: str) -> bytes:
    # A plain hash is enough: a random password of 160 bits cannot be guessed.
    return hashlib.sha256(password.encode()).digest()


class IrcPasswords:
    """Creates and removes passwords, and authenticates by name and password."""

    def __init__(self, database: Database, clock: Clock, ids: Ids) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids

    async def create(self, user_id: int, *, also: Also = nothing_else) -> str:
        """Create a password, which replaces the old one, and return it; it cannot be read again.

        Connections that were opened with the old one end.

        `also` runs in the same transaction, e.g. to write an audit row.
        """
        # Hex digits: no IRC client treats one of them specially.
        password = hashlib.sha256(self._ids.token(PASSWORD_BYTES).encode()).hexdigest()[:PASSWORD_DIGITS]
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            # Locked: of two at the same time, the later one replaces the other.
            if await tx.one(queries.UNLOCKED_TO_CHANGE, user_id=user_id) is None:
                raise Refused("the account is banned or deleted")
            if await tx.run(queries.REMOVE_IRC_PASSWORD, of_user=user_id):
                await enqueue(tx, REVOKED, revocation(user_id, now), now)
            await tx.run(queries.ADD_IRC_PASSWORD, user_id=user_id, hash=_hash(password), created_at_ms=now)
            await also(tx)

        await self._database.transaction(body)
        return password

    async def of(self, user_id: int) -> IrcPassword | None:
        """Return the times of the account's password, or None without one."""
        return await self._database.one(queries.IRC_PASSWORD_OF, user_id=user_id)

    async def remove(self, user_id: int, *, also: Also = nothing_else) -> None:
        """Remove the password, if there is one. `also` as in `create`."""
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            if await tx.run(queries.REMOVE_IRC_PASSWORD, of_user=user_id):
                await enqueue(tx, REVOKED, revocation(user_id, now), now)
                await also(tx)

        await self._database.transaction(body)

    async def holder(self, name: str, password: str) -> User:
        """Return the account with this name and IRC password, also a restricted one. Raises NotAuthenticated."""
        if not name or len(name) > NAME_TEXT_MAX or "\x00" in name or len(password) > PASSWORD_TEXT_MAX:
            raise NotAuthenticated
        found = await self._database.one(queries.IRC_HOLDER, safe_name=safe_name(name))
        stored, used_at_ms, user = found or (bytes(32), None, None)
        if not hmac.compare_digest(_hash(password), stored) or user is None:
            raise NotAuthenticated
        now = self._clock.now_ms()
        if used_at_ms is None or now - used_at_ms >= USED_EVERY_MS:

            async def body(tx: Transaction) -> None:
                await tx.run(queries.IRC_PASSWORD_USED, of_user=user.id, at_ms=now)

            await self._database.transaction(body)
        return user
