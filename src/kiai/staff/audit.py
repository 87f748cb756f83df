"""The audit log: one row an act, in the same transaction as the act (docs/spec/game-rules.md#audit-log)."""

from collections.abc import Mapping
from typing import Final

import msgspec
from sqlalchemy import bindparam, insert, select

from kiai.storage.port import Command, Query, Transaction
from kiai.storage.tables import audit_log

SHOWN_MAX: Final = 100


class Actor(msgspec.Struct, frozen=True):
    """Who acts and through which door (`game`, `web`, `api`, `cli`, `job`)."""

    user_id: int
    source: str


OPERATOR: Final = Actor(user_id=0, source="cli")


class AuditRow(msgspec.Struct, frozen=True):
    """One act as the log shows it."""

    at_ms: int
    actor_id: int
    source: str
    action: str
    reason: str
    details: str


_WRITE = Command(
    insert(audit_log).values(
        {
            name: bindparam(name)
            for name in (
                "at_ms",
                "actor_id",
                "source",
                "action",
                "target_kind",
                "target_id",
                "reason",
                "details",
            )
        }
    )
)
ABOUT = Query(
    select(*[audit_log.c[name] for name in AuditRow.__struct_fields__])
    .where(audit_log.c.target_kind == bindparam("kind"), audit_log.c.target_id == bindparam("target_id"))
    .order_by(audit_log.c.id.desc())
    .limit(SHOWN_MAX),
    AuditRow,
)


async def write(
    tx: Transaction,
    actor: Actor,
    action: str,
    *,
    at_ms: int,
    target_kind: str,
    target_id: int,
    reason: str = "",
    details: Mapping[str, object] | None = None,
) -> None:
    """Adds a row to the log. `details` holds before and after; never a secret."""
    await tx.run(
        _WRITE,
        at_ms=at_ms,
        actor_id=actor.user_id,
        source=actor.source,
        action=action,
        target_kind=target_kind,
        target_id=target_id,
        reason=reason,
        details=msgspec.json.encode(details or {}).decode(),
    )
