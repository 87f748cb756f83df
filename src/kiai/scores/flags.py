"""Signs that a play or a client is not what it says: noted for the staff, who decide.

Nothing here punishes anybody. A flag that belongs to a stored play is written in the play's own transaction.

See docs/spec/submission.md#plausibility.
"""

from typing import Final

import msgspec
from sqlalchemy import bindparam, insert, select

from kiai.clock import Clock
from kiai.storage.port import Command, Database, Query, Transaction
from kiai.storage.tables import integrity_flags

DETAILS_MAX: Final = 500
LISTED_MAX: Final = 100

_FIELDS: Final = ("user_id", "at_ms", "kind", "checksum", "details")
# A flag about a play is stored once, however often the play is sent.
_RAISE = Command(
    insert(integrity_flags).from_select(
        _FIELDS,
        select(*[bindparam(name, type_=integrity_flags.c[name].type) for name in _FIELDS]).where(
            ~select(integrity_flags.c.id)
            .where(
                integrity_flags.c.checksum == bindparam("checksum", type_=integrity_flags.c.checksum.type),
                integrity_flags.c.user_id == bindparam("user_id", type_=integrity_flags.c.user_id.type),
                integrity_flags.c.kind == bindparam("kind", type_=integrity_flags.c.kind.type),
            )
            .exists()
        ),
    )
)


class Doubt(msgspec.Struct, frozen=True):
    """What is odd about a play: `kind` is a word, `details` is for people."""

    kind: str
    details: str = ""


class RaisedFlag(msgspec.Struct, frozen=True):
    """A stored flag; `checksum` names the play it is about, if it is about one."""

    id: int
    user_id: int
    at_ms: int
    kind: str
    checksum: bytes | None
    details: str


_OF = Query(
    select(*[integrity_flags.c[name] for name in RaisedFlag.__struct_fields__])
    .where(integrity_flags.c.user_id == bindparam("user_id"), integrity_flags.c.id < bindparam("before"))
    .order_by(integrity_flags.c.id.desc())
    .limit(LISTED_MAX),
    RaisedFlag,
)


class Flags:
    """Writes and lists integrity flags. Whom they are shown to is the business of `staff`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self.raised: dict[str, int] = {}

    async def raise_(self, user_id: int, kind: str, *, checksum: bytes | None = None, details: str = "") -> None:
        """Notes one doubt about an account."""

        async def body(tx: Transaction) -> None:
            await self.note(tx, user_id, [Doubt(kind, details)], checksum)

        await self._database.transaction(body)

    async def note(self, tx: Transaction, user_id: int, doubts: list[Doubt], checksum: bytes | None) -> None:
        """Notes doubts in the caller's transaction. A doubt of one kind about one play is stored once."""
        now = self._clock.now_ms()
        for doubt in doubts:
            stored = await tx.run(
                _RAISE,
                user_id=user_id,
                at_ms=now,
                kind=doubt.kind,
                checksum=checksum,
                details=doubt.details[:DETAILS_MAX],
            )
            self.raised[doubt.kind] = self.raised.get(doubt.kind, 0) + stored

    async def of(self, user_id: int, *, before: int = 2**63 - 1) -> list[RaisedFlag]:
        """An account's flags, newest first, a page of 100 below the id `before`."""
        return await self._database.all(_OF, user_id=user_id, before=before)
