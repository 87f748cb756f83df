"""The public history of a map's statuses, from the audit log: who changed it, when, from which status to which.

Reasons stay in the log: they can be about players. Staff that the public cannot see has no name.
"""

from typing import Final

import msgspec
from sqlalchemy import bindparam, select

from kiai.accounts.visibility import visible
from kiai.storage.port import Database, Query
from kiai.storage.tables import audit_log, users

LISTED_MAX: Final = 20


class StatusChange(msgspec.Struct, frozen=True):
    """A change of a status. `by_id` and `by` are None for the server, the operator and hidden staff."""

    at_ms: int
    before: int | None
    after: int
    by_id: int | None
    by: str | None


class _Revision(msgspec.Struct, frozen=True):
    """A file of a map, in the row of an import."""

    current: int
    status: int


class _Details(msgspec.Struct, frozen=True):
    before: int | _Revision | None = None
    after: int | _Revision | None = None
    status: int | None = None  # imports of older versions: the status afterwards


def _change(at_ms: int, details: str, by_id: int | None, by: str | None) -> StatusChange | None:
    """Return the change, or None for a file that an import replaced: another row has its successor, if it is known."""
    found = msgspec.json.decode(details, type=_Details)
    after = found.after
    if isinstance(after, _Revision):
        if not after.current:
            return None
        after = after.status
    before = found.before.status if isinstance(found.before, _Revision) else found.before
    return StatusChange(at_ms, before, after if after is not None else found.status or 0, by_id, by)


HISTORY: Final = Query(
    select(audit_log.c.at_ms, audit_log.c.details, users.c.id, users.c.name)
    .select_from(audit_log.outerjoin(users, (users.c.id == audit_log.c.actor_id) & visible()))
    .where(
        audit_log.c.target_kind == "beatmap",
        audit_log.c.target_id == bindparam("map_id"),
        audit_log.c.action.in_(("beatmap_status", "beatmap_import")),
    )
    .order_by(audit_log.c.id.desc())
    .limit(LISTED_MAX),
    _change,
)


class StatusHistory:
    """Reads the changes of statuses."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, map_id: int) -> list[StatusChange]:
        """Return the latest 20 changes of the status of a map, newest first."""
        return [change for change in await self._database.all(HISTORY, map_id=map_id) if change is not None]
