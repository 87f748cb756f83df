"""Invite codes for servers on which only invited people may register."""

import secrets
from typing import Final

import msgspec
from sqlalchemy import and_, bindparam, delete, insert, select, update

from kiai.clock import Clock
from kiai.entry.model import token_hash
from kiai.errors import Invalid, NotFound
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.storage.batches import delete_in_batches
from kiai.storage.port import Command, Database, Query, Transaction, scalar
from kiai.storage.tables import invites

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O and U
GROUPS: Final = 4
GROUP: Final = 4  # characters of 5 bits: 80 bits in all
USES_MAX: Final = 10_000
DELETED_AT_ONCE: Final = 1_000

_LOOKALIKES: Final = str.maketrans("OIL", "011")

_ADD = Command(
    insert(invites).values(
        {name: bindparam(name) for name in ("hash", "uses_left", "expires_at_ms", "created_by", "created_at_ms")}
    )
)
_is_valid = and_(
    invites.c.hash == bindparam("of_hash"), invites.c.uses_left > 0, invites.c.expires_at_ms > bindparam("now_ms")
)
_VALID = Query(select(invites.c.id).where(_is_valid), scalar)
_USE = Command(update(invites).where(_is_valid).values(uses_left=invites.c.uses_left - 1))
_DELETE_EXPIRED = Command(
    delete(invites).where(
        invites.c.id.in_(
            select(invites.c.id)
            .where(invites.c.expires_at_ms <= bindparam("now_ms"))
            .order_by(invites.c.expires_at_ms)
            .limit(DELETED_AT_ONCE)
        )
    )
)


class Invite(msgspec.Struct, frozen=True):
    """A new invitation. `expires_at_ms` is in unix milliseconds."""

    code: str
    expires_at_ms: int


class Invites:
    """Creates and uses invite codes."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(self, actor: Actor, *, uses: int, for_s: int) -> Invite:
        """Create a code that `uses` people may use within `for_s` seconds. It cannot be read again. Raises Invalid."""
        if not 1 <= uses <= USES_MAX:
            raise Invalid("uses", f"a whole number from 1 to {USES_MAX}", uses)
        now = self._clock.now_ms()
        invite = Invite(random_code(), now + for_s * 1000)

        async def body(tx: Transaction) -> None:
            await tx.run(
                _ADD,
                hash=code_hash(invite.code),
                uses_left=uses,
                expires_at_ms=invite.expires_at_ms,
                created_by=actor.user_id,
                created_at_ms=now,
            )
            await audit.write(tx, actor, "invite", at_ms=now, target_kind="server", target_id=0, details={"uses": uses})

        await self._database.transaction(body)
        return invite

    async def is_valid(self, code: str) -> bool:
        """Return whether a new player can register with this code now."""
        return await self._database.one(_VALID, of_hash=code_hash(code), now_ms=self._clock.now_ms()) is not None

    async def use(self, tx: Transaction, code: str) -> None:
        """Use up one registration. Raises NotFound for a code that is wrong, used up or expired."""
        # The update is the check: of concurrent registrations with the last use only one changes the row.
        if not await tx.run(_USE, of_hash=code_hash(code), now_ms=self._clock.now_ms()):
            raise NotFound("invite code")

    async def delete_expired(self) -> int:
        """Delete expired codes. Return their number. A job calls this."""
        return await delete_in_batches(self._database, _DELETE_EXPIRED, DELETED_AT_ONCE, now_ms=self._clock.now_ms())


def random_code() -> str:
    """Return a random code of 80 bits that people can copy from paper, e.g. `7KQ2-9XAB-...`."""
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(GROUP)) for _ in range(GROUPS))


def code_hash(code: str) -> bytes:
    """Return the SHA-256 of a code. Case, spaces and dashes do not matter; O counts as 0, and I and L as 1."""
    return token_hash("".join(code.upper().replace("-", "").split()).translate(_LOOKALIKES))
