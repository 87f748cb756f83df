"""Who becomes the owner of a server that has none (docs/spec/game-rules.md#owner).

On `localhost` it is the first player, at its first log-in. Anywhere else strangers can reach the server before the
operator does, so logging in gives nobody anything: the server makes a claim code, which the operator reads where the
server was started, and who tells it to the bot becomes the owner, once.

The database holds a hash of each code, so neither a back-up nor a reader of the database can claim a server, and any
worker can check a code. The code itself is in `claim.code` of the data folder, readable by its owner alone, so that
`kiai users claim-code` can show it again. Where several hosts have data folders of their own each shows a code of its
own; all of them are valid until they expire or one of them is used.
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
from kiai.storage.outbox import tell
from kiai.storage.port import Command, Database, Query, Transaction, only
from kiai.storage.tables import claim_codes

CODE_MS: Final = 24 * 3_600_000
CODES_MAX: Final = 32
"""Codes that are valid at once; a host whose data folder does not last makes one at every start."""
FILE: Final = "claim.code"
ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O and U
GROUPS: Final = 4
GROUP: Final = 4  # characters of 5 bits: 80 bits in all

_MEANT: Final = str.maketrans("OIL", "011")

_ADD = Command(insert(claim_codes).values(hash=bindparam("hash"), expires_at_ms=bindparam("expires_at_ms")))
_KNOWN = Query(select(claim_codes.c.expires_at_ms).where(claim_codes.c.hash == bindparam("hash")), only)
_USE = Command(
    delete(claim_codes).where(
        claim_codes.c.hash == bindparam("with_hash"), claim_codes.c.expires_at_ms > bindparam("now")
    )
)
_END_ALL = Command(delete(claim_codes))
_END_EXPIRED = Command(delete(claim_codes).where(claim_codes.c.expires_at_ms <= bindparam("now")))
_SURPLUS = Query(
    select(claim_codes.c.hash).order_by(claim_codes.c.expires_at_ms.desc()).offset(CODES_MAX - 1).limit(CODES_MAX), only
)
_END_ONE = Command(delete(claim_codes).where(claim_codes.c.hash == bindparam("with_hash")))


class ClaimCode(msgspec.Struct, frozen=True):
    """A code that makes an owner; `expires_at_ms` in unix milliseconds."""

    code: str
    expires_at_ms: int


class Ownership:
    """Makes a player the owner of a server that has none: by being the first one, or by a claim code."""

    def __init__(
        self, database: Database, accounts: Accounts, clock: Clock, data: Path, *, first_player_owns: bool
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._clock = clock
        self._path = data / FILE
        self._first_player_owns = first_player_owns

    async def settle_first_player(self, user_id: int, priv: int) -> int:
        """The privileges of an account that logs in: the first player's become the owner's while nobody else owns."""
        if not self._first_player_owns or user_id != FIRST_PLAYER_ID or priv & DEVELOPER or not priv & UNRESTRICTED:
            return priv

        async def body(tx: Transaction) -> int:
            await self._lock(tx)
            now = await self._accounts.priv_to_change(tx, user_id)
            if not now & UNRESTRICTED or await self._accounts.has_owner(tx):
                return now
            return await self._own(tx, Actor(user_id=0, source="game"), user_id, now, "bootstrap_owner")

        return await self._database.transaction(body)

    async def claim(self, user_id: int, code: str) -> None:
        """Makes the player who knows the code the owner, and ends all codes.

        Raises NotFound("claim code") for a code that is wrong, used or expired; Refused when there is an owner, or for
        a restricted player, and the code stays valid.
        """
        hashed = _hash(code)

        async def body(tx: Transaction) -> None:
            await self._lock(tx)
            if not await tx.run(_USE, with_hash=hashed, now=self._clock.now_ms()):
                raise NotFound("claim code")
            priv = await self._accounts.priv_to_change(tx, user_id)
            if not priv & UNRESTRICTED:
                raise NotFound("claim code")
            if await self._accounts.has_owner(tx):
                raise Refused("this server has an owner already")
            await self._own(tx, Actor(user_id=user_id, source="game"), user_id, priv, "claim_owner")
            await tx.run(_END_ALL)

        await self._database.transaction(body)
        with contextlib.suppress(OSError):  # what it holds is of no use any more
            await asyncio.to_thread(self._path.unlink, missing_ok=True)

    async def claim_code(self, *, new: bool = False) -> ClaimCode:
        """The code of this data folder, made if there is none that is valid; `new` ends all codes and makes one.

        Raises Refused once there is an owner, Unavailable when the data folder cannot be written.
        """
        if await self._accounts.has_owner(self._database):
            raise Refused("this server has an owner already; `kiai users grant NAME owner` makes another one")
        if not new and (kept := await self._kept()) is not None:
            return kept
        now = self._clock.now_ms()
        made = ClaimCode(_random_code(), now + CODE_MS)
        await asyncio.to_thread(self._write, made.code)  # first: a code that is valid and in no file helps nobody

        async def body(tx: Transaction) -> None:
            await (tx.run(_END_ALL) if new else tx.run(_END_EXPIRED, now=now))
            for surplus in await tx.all(_SURPLUS):
                await tx.run(_END_ONE, with_hash=surplus)
            await tx.run(_ADD, hash=_hash(made.code), expires_at_ms=made.expires_at_ms)
            await audit.write(tx, OPERATOR, "claim_code", at_ms=now, target_kind="server", target_id=0)

        await self._database.transaction(body)
        return made

    async def _kept(self) -> ClaimCode | None:
        """The code in the data folder, if it is valid."""
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
        half = self._path.with_suffix(f".{os.getpid()}")
        try:
            with open(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
                file.write(f"{code}\n")
            half.replace(self._path)
        except OSError as error:
            raise Unavailable(f"{self._path}", error.strerror or str(error)) from error

    async def _lock(self, tx: Transaction) -> None:
        """Lets one transaction at a time decide who owns the server, by the one row that is always there."""
        await self._accounts.priv_to_change(tx, BOT_ID)

    async def _own(self, tx: Transaction, actor: Actor, user_id: int, before: int, action: str) -> int:
        now, after = self._clock.now_ms(), before | OWNER
        await self._accounts.set_priv(tx, user_id, after)
        await tell(tx, "privileges", user_id, now)  # the game learns it without a new log-in
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
    """SHA-256 of a code as people may type it: in any case, with or without dashes, O for 0 and I or L for 1.

    80 random bits are as many as nobody can try, so the hash needs neither salt nor cost.
    """
    plain = "".join(code.upper().replace("-", "").split()).translate(_MEANT)
    return hashlib.sha256(plain.encode("utf-8", "backslashreplace")).digest()
