"""Sessions of browsers on the website: random tokens in cookies, stored as hashes.

A session ends after `SESSION_MS`, when its player ends it, when the account is banned or loses a role of staff, and
when the password or a second factor changes. All workers read sessions from the database, so that an end counts at
once. A login always creates a new session, so a token from before the login is never valid after it.
"""

import hashlib
from typing import Final

import msgspec
from sqlalchemy import bindparam, delete, insert, select, update

from kiai.accounts import queries
from kiai.accounts.api_keys import Also, nothing_else
from kiai.accounts.model import User
from kiai.clock import Clock
from kiai.errors import NotAuthenticated
from kiai.ids import Ids
from kiai.storage.port import Command, Database, Query, Transaction, columns_for, scalar
from kiai.storage.tables import users, web_sessions

TOKEN_BYTES: Final = 32
TOKEN_TEXT_MAX: Final = 64
SESSION_MS: Final = 30 * 86_400_000
SESSIONS_MAX: Final = 50  # of one account; a further login ends the oldest
SEEN_EVERY_MS: Final = 5 * 60_000  # the time of the last request is written at most this often
AGENT_MAX: Final = 256
DELETED_AT_ONCE: Final = 1_000


class WebSession(msgspec.Struct, frozen=True):
    """A session. `second_factor_at_ms` is None before a second factor was used. Times are unix milliseconds."""

    hash: bytes
    user_id: int
    created_at_ms: int
    seen_at_ms: int
    expires_at_ms: int
    second_factor_at_ms: int | None
    address: str
    agent: str

    @property
    def public_id(self) -> str:
        """The name of the session in forms, from which the token cannot be derived."""
        return self.hash[:8].hex()


_SESSION_COLUMNS = columns_for(WebSession, web_sessions)
_FIND = Query(
    select(*_SESSION_COLUMNS, *columns_for(User, users))
    .join_from(web_sessions, users, users.c.id == web_sessions.c.user_id)
    .where(web_sessions.c.hash == bindparam("hash")),
    lambda *row: (WebSession(*row[: len(_SESSION_COLUMNS)]), User(*row[len(_SESSION_COLUMNS) :])),
)
_OF = Query(
    select(*_SESSION_COLUMNS)
    .where(web_sessions.c.user_id == bindparam("user_id"))
    .order_by(web_sessions.c.created_at_ms.desc())
    .limit(SESSIONS_MAX),
    WebSession,
)
_BEYOND_LIMIT = Query(
    select(web_sessions.c.hash)
    .where(web_sessions.c.user_id == bindparam("user_id"))
    .order_by(web_sessions.c.created_at_ms.desc())
    .limit(SESSIONS_MAX)
    .offset(SESSIONS_MAX - 1),
    scalar,
)
_INSERT = Command(insert(web_sessions))
_SEEN = Command(
    update(web_sessions)
    .where(web_sessions.c.hash == bindparam("session"))
    .values(seen_at_ms=bindparam("at_ms"), address=bindparam("from_address"))
)
_SECOND_FACTOR = Command(
    update(web_sessions)
    .where(web_sessions.c.hash == bindparam("session"))
    .values(second_factor_at_ms=bindparam("at_ms"))
)
_END = Command(delete(web_sessions).where(web_sessions.c.hash == bindparam("hash")))
_END_OF = Command(
    delete(web_sessions).where(
        web_sessions.c.user_id == bindparam("user_id"), web_sessions.c.hash != bindparam("except_hash")
    )
)
_DELETE_EXPIRED = Command(
    delete(web_sessions).where(
        web_sessions.c.hash.in_(
            select(web_sessions.c.hash)
            .where(web_sessions.c.expires_at_ms < bindparam("now_ms"))
            .order_by(web_sessions.c.expires_at_ms)
            .limit(DELETED_AT_ONCE)
        )
    )
)


def token_hash(token: str) -> bytes:
    """Return the hash under which a token is stored."""
    # A plain hash is enough: a random token of 256 bits cannot be guessed, unlike a password.
    return hashlib.sha256(token.encode()).digest()


async def end_all_of(tx: Transaction, user_id: int, *, except_hash: bytes = b"") -> int:
    """End all sessions of an account, except the one with this hash, in the transaction of another change."""
    return await tx.run(_END_OF, user_id=user_id, except_hash=except_hash)


class WebSessions:
    """Creates, finds and ends sessions."""

    def __init__(self, database: Database, clock: Clock, ids: Ids) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids

    async def create(self, user_id: int, *, address: str, agent: str, second_factor: bool = False) -> str:
        """Create a session and return its token, which cannot be read again.

        Raises NotAuthenticated for an account that is banned or deleted.
        """
        token = self._ids.token(TOKEN_BYTES)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            # Locks the account: a ban at the same time either ends the new session, or is seen here.
            if await tx.one(queries.UNLOCKED_TO_CHANGE, user_id=user_id) is None:
                raise NotAuthenticated
            for old in await tx.all(_BEYOND_LIMIT, user_id=user_id):
                await tx.run(_END, hash=old)
            await tx.run(
                _INSERT,
                hash=token_hash(token),
                user_id=user_id,
                created_at_ms=now,
                seen_at_ms=now,
                expires_at_ms=now + SESSION_MS,
                second_factor_at_ms=now if second_factor else None,
                address=address[:64],
                agent=agent[:AGENT_MAX],
            )

        await self._database.transaction(body)
        return token

    async def find(self, token: str, address: str) -> tuple[WebSession, User] | None:
        """Return the session with this token and its account, or None if it has ended or the account is banned."""
        if not token or len(token) > TOKEN_TEXT_MAX:
            return None
        found = await self._database.one(_FIND, hash=token_hash(token))
        now = self._clock.now_ms()
        if found is None or found[0].expires_at_ms <= now or found[1].banned_at_ms is not None:
            return None
        session = found[0]
        if now - session.seen_at_ms >= SEEN_EVERY_MS:

            async def body(tx: Transaction) -> None:
                await tx.run(_SEEN, session=session.hash, at_ms=now, from_address=address[:64])

            await self._database.transaction(body)
        return found

    async def of(self, user_id: int) -> list[WebSession]:
        """Return the account's sessions that have not expired, newest first."""
        now = self._clock.now_ms()
        return [session for session in await self._database.all(_OF, user_id=user_id) if session.expires_at_ms > now]

    async def mark_second_factor(self, session: WebSession) -> None:
        """Record that the player has just used a second factor in this session."""

        async def body(tx: Transaction) -> None:
            await tx.run(_SECOND_FACTOR, session=session.hash, at_ms=self._clock.now_ms())

        await self._database.transaction(body)

    async def end(self, user_id: int, public_id: str, *, also: Also = nothing_else) -> bool:
        """End one of the account's sessions. Return whether there was one; then `also` runs in the transaction."""
        ended = [session for session in await self.of(user_id) if session.public_id == public_id]

        async def body(tx: Transaction) -> int:
            count = sum([await tx.run(_END, hash=session.hash) for session in ended])
            if count:
                await also(tx)
            return count

        return bool(ended) and bool(await self._database.transaction(body))

    async def end_one(self, token: str) -> None:
        """End the session with this token."""

        async def body(tx: Transaction) -> None:
            await tx.run(_END, hash=token_hash(token))

        await self._database.transaction(body)

    async def end_all(self, user_id: int, *, current: WebSession | None = None) -> int:
        """End all sessions of the account, except `current`. Return their number."""

        async def body(tx: Transaction) -> int:
            return await self.end_all_in(tx, user_id, current=current)

        return await self._database.transaction(body)

    async def end_all_in(self, tx: Transaction, user_id: int, *, current: WebSession | None = None) -> int:
        """End all sessions of the account, except `current`, in the transaction of another change."""
        return await end_all_of(tx, user_id, except_hash=b"" if current is None else current.hash)

    async def delete_expired(self) -> int:
        """Delete expired sessions, at most `DELETED_AT_ONCE`. A job calls this. Return their number."""

        async def body(tx: Transaction) -> int:
            return await tx.run(_DELETE_EXPIRED, now_ms=self._clock.now_ms())

        return await self._database.transaction(body)
