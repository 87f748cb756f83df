"""API keys: random, shown once, stored as SHA-256, revocable, with the time of the last use."""

import hashlib
from collections.abc import Awaitable, Callable, Iterable
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
USED_EVERY_MS: Final = 60_000  # the time of the last use is written at most once a minute

Also = Callable[[Transaction], Awaitable[object]]


async def nothing_else(_: Transaction) -> None:
    """Do nothing: the default of `also`."""


def _hash(key: str) -> bytes:
    # A plain hash is enough: a random key of 216 bits cannot be guessed, unlike a password.
    return hashlib.sha256(key.encode()).digest()


class ApiKeys:
    """Issues, lists and revokes keys, and authenticates by key."""

    def __init__(self, database: Database, clock: Clock, ids: Ids) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids

    async def issue(self, user_id: int, label: str = "", *, also: Also = nothing_else) -> str:
        """Create a key and return it; it cannot be read again. Raises Invalid, and Refused at the limit of keys.

        `also` runs in the same transaction, e.g. to write an audit row.
        """
        return await self._issue(user_id, label, also, replaces=False)

    async def replace_all(self, user_id: int, label: str = "", *, also: Also = nothing_else) -> str:
        """Revoke all keys of the account and create one, as `issue` does."""
        return await self._issue(user_id, label, also, replaces=True)

    async def _issue(self, user_id: int, label: str, also: Also, *, replaces: bool) -> str:
        if len(label) > KEY_LABEL_MAX or not label.isprintable():
            raise Invalid("label", f"at most {KEY_LABEL_MAX} printable characters", label)
        key = self._ids.token(KEY_BYTES)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            # Locked: two keys at the same time must not both be the last one that is allowed.
            if await tx.one(queries.UNLOCKED_TO_CHANGE, user_id=user_id) is None:
                raise Refused("the account is banned or deleted")
            if replaces:
                await tx.run(queries.REVOKE_KEYS, holder_id=user_id, at_ms=now)
            if len(await tx.all(queries.KEYS_OF, user_id=user_id)) >= queries.KEYS_MAX:
                raise Refused(f"an account has at most {queries.KEYS_MAX} keys; revoke one first")
            await tx.one(queries.INSERT_KEY, user_id=user_id, hash=_hash(key), label=label, created_at_ms=now)
            await also(tx)

        await self._database.transaction(body)
        return key

    async def holder(self, key: str) -> Viewer:
        """Return the owner of a key with their effective privileges, 0 when restricted. Raises NotAuthenticated."""
        return (await self.identified(key))[1]

    async def identified(self, key: str) -> tuple[int, Viewer]:
        """Return the id of a key, and its owner as `holder` does. Raises NotAuthenticated."""
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
        return key_id, Viewer(user_id=user_id, priv=effective(priv))

    async def valid_among(self, key_ids: Iterable[int]) -> set[int]:
        """Return those of these keys that still work."""
        wanted, found = sorted(set(key_ids)), set[int]()
        for start in range(0, len(wanted), queries.KEYS_AMONG_MAX):
            part = wanted[start : start + queries.KEYS_AMONG_MAX]
            # The statement has a fixed number of parameters, so that it is prepared once. No key has id 0.
            padded = [*part, *[0] * (queries.KEYS_AMONG_MAX - len(part))]
            found.update(
                await self._database.all(queries.KEYS_AMONG, **{f"id{n}": id_ for n, id_ in enumerate(padded)})
            )
        return found

    async def of(self, user_id: int) -> list[ApiKey]:
        """Return the account's keys that are not revoked, oldest first."""
        return await self._database.all(queries.KEYS_OF, user_id=user_id)

    async def revoke_all(self, user_id: int, *, also: Also = nothing_else) -> int:
        """Revoke all keys of the account. Return their number. `also` as in `issue`, unless there is no key."""
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> int:
            revoked = await tx.run(queries.REVOKE_KEYS, holder_id=user_id, at_ms=now)
            if revoked:
                await also(tx)
            return revoked

        return await self._database.transaction(body)

    async def revoke(self, user_id: int, key_id: int, *, also: Also = nothing_else) -> None:
        """Revoke one key of the account. Raises NotFound, also for a key of another account. `also` as in `issue`."""
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            if not await tx.run(queries.REVOKE_KEY, key_id=key_id, holder_id=user_id, at_ms=now):
                raise NotFound("key")
            await also(tx)

        await self._database.transaction(body)
