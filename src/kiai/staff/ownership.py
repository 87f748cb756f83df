"""The owner of a new server (docs/spec/game-rules.md#owner).

On `localhost` the first player becomes the owner at the first login. On other domains strangers can reach the server
before the operator does, so a login does not make an owner. Instead the server creates a claim code and prints it
where it was started. The player who sends the code to the bot becomes the owner. A code works once.

The database contains only a hash of each code: any worker can check a code, but a reader of the database or of a
backup cannot claim the server. The file `claim.code` in the data folder contains the code, so that
`kiai users claim-code` can show it again; only the user of the server can read the file. If several hosts have separate
data folders, each one shows its own code. All codes are valid until they expire or one of them is used.
"""

import asyncio
import contextlib
import hashlib
import os
import secrets
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy import bindparam, delete, insert, select

from kiai.accounts import BOT_ID, Accounts
from kiai.accounts.model import FIRST_PLAYER_ID
from kiai.clock import Clock
from kiai.errors import NotFound, Refused, Unavailable
from kiai.osu.privileges import DEVELOPER, OWNER, UNRESTRICTED
from kiai.staff import audit
from kiai.staff.audit import OPERATOR, Actor
from kiai.storage.outbox import enqueue
from kiai.storage.port import Command, Database, Query, Transaction, scalar
from kiai.storage.tables import claim_codes

CODE_MS: Final = 24 * 3_600_000
CODES_MAX: Final = 32
"""The number of valid codes. A host with a temporary data folder creates a code at each start."""
FILE: Final = "claim.code"
ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O and U
GROUPS: Final = 4
GROUP: Final = 4  # characters of 5 bits: 80 bits in all

_LOOKALIKES: Final = str.maketrans("OIL", "011")

_ADD = Command(insert(claim_codes).values(hash=bindparam("hash"), expires_at_ms=bindparam("expires_at_ms")))
_KNOWN = Query(select(claim_codes.c.expires_at_ms).where(claim_codes.c.hash == bindparam("hash")), scalar)
_USE = Command(
    delete(claim_codes).where(
        claim_codes.c.hash == bindparam("with_hash"), claim_codes.c.expires_at_ms > bindparam("now")
    )
)
_END_ALL = Command(delete(claim_codes))
_END_EXPIRED = Command(delete(claim_codes).where(claim_codes.c.expires_at_ms <= bindparam("now")))
_SURPLUS = Query(
    select(claim_codes.c.hash).order_by(claim_codes.c.expires_at_ms.desc()).offset(CODES_MAX - 1).limit(CODES_MAX),
    scalar,
)
_END_ONE = Command(delete(claim_codes).where(claim_codes.c.hash == bindparam("with_hash")))


class ClaimCode(msgspec.Struct, frozen=True):
    """A claim code; `expires_at_ms` is in unix ms."""

    code: str
    expires_at_ms: int


class Ownership:
    """Makes the first player, or a player with a claim code, the owner of a server without an owner."""

    def __init__(
        self, database: Database, accounts: Accounts, clock: Clock, data: Path, *, first_player_owns: bool
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._clock = clock
        self._path = data / FILE
        self._first_player_owns = first_player_owns

    async def make_first_player_owner(self, user_id: int, priv: int) -> int:
        """Make the first player the owner at login, if there is no owner. Return the privileges of the account."""
        # PERF: most logins end here, before the transaction with its global lock.
        if not self._first_player_owns or user_id != FIRST_PLAYER_ID or priv & DEVELOPER or not priv & UNRESTRICTED:
            return priv

        async def body(tx: Transaction) -> int:
            await self._lock(tx)
            stored = await self._accounts.priv_to_change(tx, user_id)
            if not stored & UNRESTRICTED or await self._accounts.has_owner(tx):
                return stored
            return await self._make_owner(tx, Actor(user_id=0, source="game"), user_id, stored, "bootstrap_owner")

        return await self._database.transaction(body)

    async def claim(self, user_id: int, code: str) -> None:
        """Make the player the owner and invalidate all codes.

        Raises NotFound("claim code") for a code that is wrong, used or expired, and for a restricted player. Raises
        Refused if there is an owner. After an error the code stays valid.
        """
        hashed = _hash(code)

        async def body(tx: Transaction) -> None:
            await self._lock(tx)
            # Deleting the row is the check: of concurrent claims with one code only one deletes it. An error below
            # rolls the deletion back.
            if not await tx.run(_USE, with_hash=hashed, now=self._clock.now_ms()):
                raise NotFound("claim code")
            priv = await self._accounts.priv_to_change(tx, user_id)
            if not priv & UNRESTRICTED:  # the same error as for a wrong code, so a restricted player cannot test codes
                raise NotFound("claim code")
            if await self._accounts.has_owner(tx):
                raise Refused("this server already has an owner")
            await self._make_owner(tx, Actor(user_id=user_id, source="game"), user_id, priv, "claim_owner")
            await tx.run(_END_ALL)

        await self._database.transaction(body)
        with contextlib.suppress(OSError):  # the code in the file is invalid now, so a leftover file is harmless
            await asyncio.to_thread(self._path.unlink, missing_ok=True)

    async def claim_code(self, *, new: bool = False) -> ClaimCode:
        """Return the valid code of this data folder, or a new one.

        `new` invalidates all codes and creates one. Raises Refused if there is an owner, Unavailable if the data folder
        is not writable.
        """
        if await self._accounts.has_owner(self._database):
            raise Refused("this server already has an owner; `kiai users grant NAME owner` adds another one")
        if not new and (stored := await self._stored_code()) is not None:
            return stored
        now = self._clock.now_ms()
        created = ClaimCode(_random_code(), now + CODE_MS)
        # The file comes first: a valid code that is in no file could not be shown again.
        await asyncio.to_thread(self._write, created.code)

        async def body(tx: Transaction) -> None:
            await (tx.run(_END_ALL) if new else tx.run(_END_EXPIRED, now=now))
            # Keeps the table within CODES_MAX: the codes that expire first make way.
            for surplus in await tx.all(_SURPLUS):
                await tx.run(_END_ONE, with_hash=surplus)
            await tx.run(_ADD, hash=_hash(created.code), expires_at_ms=created.expires_at_ms)
            await audit.write(tx, OPERATOR, "claim_code", at_ms=now, target_kind="server", target_id=0)

        await self._database.transaction(body)
        return created

    async def _stored_code(self) -> ClaimCode | None:
        """Return the code in the data folder if it is valid, otherwise None."""
        code = await asyncio.to_thread(self._read)
        expires_at_ms = None if code is None else await self._database.one(_KNOWN, hash=_hash(code))
        if code is None or expires_at_ms is None or expires_at_ms <= self._clock.now_ms():
            return None
        return ClaimCode(code, expires_at_ms)

    def _read(self) -> str | None:
        try:
            return self._path.read_text("ascii").strip()
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        except OSError as error:
            raise Unavailable(f"{self._path}", error.strerror or str(error)) from error

    def _write(self, code: str) -> None:
        # A file of this process, renamed when complete: several workers start at the same time, and a reader must not
        # see an incomplete code. It has mode 600 from the start, so that no other user can read it.
        temporary = self._path.with_suffix(f".{os.getpid()}")
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
                file.write(f"{code}\n")
            temporary.replace(self._path)
        except OSError as error:
            raise Unavailable(f"{self._path}", error.strerror or str(error)) from error

    async def _lock(self, tx: Transaction) -> None:
        """Serialise all decisions about the owner until the end of the transaction."""
        # The row of the bot serves as the lock, because it always exists. Without a lock two transactions could both
        # find no owner.
        await self._accounts.priv_to_change(tx, BOT_ID)

    async def _make_owner(self, tx: Transaction, actor: Actor, user_id: int, before: int, action: str) -> int:
        now, after = self._clock.now_ms(), before | OWNER
        await self._accounts.set_priv(tx, user_id, after)
        await enqueue(tx, "privileges", user_id, now)  # updates the sessions without a new login
        await audit.write(
            tx,
            actor,
            action,
            at_ms=now,
            target_kind="user",
            target_id=user_id,
            details={"before": before, "after": after},
        )
        return after


def _random_code() -> str:
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(GROUP)) for _ in range(GROUPS))


def _hash(code: str) -> bytes:
    """Return the SHA-256 of a code. Case, dashes and spaces do not matter; O counts as 0, and I and L as 1."""
    # 80 random bits are beyond any search, so the hash needs neither a salt nor a slow function.
    plain = "".join(code.upper().replace("-", "").split()).translate(_LOOKALIKES)
    return hashlib.sha256(plain.encode("utf-8", "backslashreplace")).digest()
