"""Tokens in links and login steps: random, stored as hashes, with an end, used once."""

from enum import StrEnum
from typing import Final

import msgspec
from sqlalchemy import bindparam, delete, insert, select

from kiai.clock import Clock
from kiai.entry.model import token_hash
from kiai.ids import Ids
from kiai.storage.batches import delete_in_batches
from kiai.storage.port import Command, Database, Query, RowReader, Transaction, columns_for, scalar
from kiai.storage.tables import account_tokens

TOKEN_BYTES: Final = 32
TOKEN_TEXT_MAX: Final = 64
OF_ONE_KIND_MAX: Final = 3  # of one account; a further token replaces the oldest
DELETED_AT_ONCE: Final = 1_000
MINUTE_MS: Final = 60_000


class TokenKind(StrEnum):
    """The purpose of a token."""

    RESET = "reset"  # set a new password
    VERIFY = "verify"  # confirm the address of the account
    EMAIL = "email"  # change the address of the account to `email`
    LOGIN = "login"  # finish a login with a second factor


LIFETIME_MS: Final = {
    TokenKind.RESET: 30 * MINUTE_MS,
    TokenKind.VERIFY: 3 * 24 * 60 * MINUTE_MS,
    TokenKind.EMAIL: 24 * 60 * MINUTE_MS,
    TokenKind.LOGIN: 10 * MINUTE_MS,
}


class Token(msgspec.Struct, frozen=True):
    """A token that has not expired."""

    user_id: int
    email: str | None
    expires_at_ms: int


_FIND = Query(
    select(*columns_for(Token, account_tokens)).where(
        account_tokens.c.hash == bindparam("hash"), account_tokens.c.kind == bindparam("kind")
    ),
    Token,
)
_SURPLUS = Query(
    select(account_tokens.c.hash)
    .where(account_tokens.c.user_id == bindparam("user_id"), account_tokens.c.kind == bindparam("kind"))
    .order_by(account_tokens.c.created_at_ms.desc())
    .limit(OF_ONE_KIND_MAX)
    .offset(OF_ONE_KIND_MAX - 1),
    scalar,
)
_ADD = Command(
    insert(account_tokens).values(
        {name: bindparam(name) for name in ("hash", "user_id", "kind", "email", "created_at_ms", "expires_at_ms")}
    )
)
_USE = Command(delete(account_tokens).where(account_tokens.c.hash == bindparam("with_hash")))
_DELETE_OF = Command(
    delete(account_tokens).where(
        account_tokens.c.user_id == bindparam("of_user"), account_tokens.c.hash != bindparam("except_hash")
    )
)
_DELETE_EXPIRED = Command(
    delete(account_tokens).where(
        account_tokens.c.hash.in_(
            select(account_tokens.c.hash)
            .where(account_tokens.c.expires_at_ms <= bindparam("now_ms"))
            .order_by(account_tokens.c.expires_at_ms)
            .limit(DELETED_AT_ONCE)
        )
    )
)


class Tokens:
    """Creates, finds and uses tokens."""

    def __init__(self, database: Database, clock: Clock, ids: Ids) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids

    async def create(self, tx: Transaction, user_id: int, kind: TokenKind, *, email: str | None = None) -> str:
        """Create a token and return it; it cannot be read again. At most 3 of a kind are valid for an account."""
        token = self._ids.token(TOKEN_BYTES)
        now = self._clock.now_ms()
        for surplus in await tx.all(_SURPLUS, user_id=user_id, kind=kind.value):
            await tx.run(_USE, with_hash=surplus)
        await tx.run(
            _ADD,
            hash=token_hash(token),
            user_id=user_id,
            kind=kind.value,
            email=email,
            created_at_ms=now,
            expires_at_ms=now + LIFETIME_MS[kind],
        )
        return token

    async def find(self, kind: TokenKind, token: str, reader: RowReader | None = None) -> Token | None:
        """Return a token that can be used, without using it."""
        if not token or len(token) > TOKEN_TEXT_MAX:
            return None
        found = await (reader or self._database).one(_FIND, hash=token_hash(token), kind=kind.value)
        return None if found is None or found.expires_at_ms <= self._clock.now_ms() else found

    async def use(self, tx: Transaction, kind: TokenKind, token: str) -> Token | None:
        """Use a token in the caller's transaction. Of two uses at the same time only one returns the token."""
        found = await self.find(kind, token, tx)
        # Deleting the row is the check: of concurrent uses only one deletes it.
        if found is None or not await tx.run(_USE, with_hash=token_hash(token)):
            return None
        return found

    async def delete_of(self, tx: Transaction, user_id: int, *, keep: str = "") -> None:
        """Invalidate all tokens of an account, except `keep`."""
        await tx.run(_DELETE_OF, of_user=user_id, except_hash=token_hash(keep))

    async def delete_expired(self) -> int:
        """Delete expired tokens. Return their number. A job calls this."""
        return await delete_in_batches(self._database, _DELETE_EXPIRED, DELETED_AT_ONCE, now_ms=self._clock.now_ms())
