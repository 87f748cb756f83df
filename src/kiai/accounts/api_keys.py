"""API keys: random, shown once, stored as a SHA-256, revocable, with the time of their last use."""

import hashlib
from typing import Final

from kiai.accounts import queries
from kiai.accounts.model import KEY_LABEL_MAX, ApiKey
from kiai.accounts.visibility import Viewer
from kiai.clock import Clock
from kiai.errors import Invalid, NotAuthenticated, NotFound, Refused
from kiai.ids import Ids
from kiai.osu.privileges import effective
from kiai.storage.port import Database, Transaction

KEY_BYTES: Final = 27  # 36 url-safe characters
KEY_TEXT_MAX: Final = 128
USED_EVERY_MS: Final = 60_000  # the last use is written at most once a minute


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


class ApiKeys:
    """Issues keys and tells whose a key is."""

    def __init__(self, database: Database, clock: Clock, ids: Ids) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids

    async def issue(self, user_id: int, label: str = "") -> str:
        """A new key for the account; this is the only time it is known. Raises Invalid, Refused past the limit."""
        if len(label) > KEY_LABEL_MAX or not label.isprintable():
            raise Invalid("label", f"at most {KEY_LABEL_MAX} printable characters", label)
        key = self._ids.token(KEY_BYTES)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            if len(await tx.all(queries.KEYS_OF, user_id=user_id)) >= queries.KEYS_MAX:
                raise Refused(f"an account has at most {queries.KEYS_MAX} keys; revoke one first")
            await tx.one(queries.INSERT_KEY, user_id=user_id, hash=_hash(key), label=label, created_at_ms=now)

        await self._database.transaction(body)
        return key

    async def holder(self, key: str) -> Viewer:
        """Who holds this key, with effective privileges (0 when restricted). Raises NotAuthenticated."""
        if not key or len(key) > KEY_TEXT_MAX:
            raise NotAuthenticated
        found = await self._database.one(queries.KEY_HOLDER, hash=_hash(key))
        if found is None:
            raise NotAuthenticated
        key_id, user_id, priv, used_at_ms = found
        now = self._clock.now_ms()
        if used_at_ms is None or now - used_at_ms >= USED_EVERY_MS:

            async def body(tx: Transaction) -> None:
                await tx.run(queries.KEY_USED, key_id=key_id, at_ms=now)

            await self._database.transaction(body)
        return Viewer(user_id=user_id, priv=effective(priv))

    async def of(self, user_id: int) -> list[ApiKey]:
        """The account's living keys, oldest first."""
        return await self._database.all(queries.KEYS_OF, user_id=user_id)

    async def revoke_all(self, user_id: int) -> int:
        """Ends every key of the account; how many that were."""
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> int:
            return await tx.run(queries.REVOKE_KEYS, holder_id=user_id, at_ms=now)

        return await self._database.transaction(body)

    async def revoke(self, user_id: int, key_id: int) -> None:
        """Ends one key of the account. Raises NotFound."""
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> int:
            return await tx.run(queries.REVOKE_KEY, key_id=key_id, holder_id=user_id, at_ms=now)

        if not await self._database.transaction(body):
            raise NotFound("key")
