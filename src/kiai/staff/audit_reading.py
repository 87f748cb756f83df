"""Reads the audit log: filters, pages, and rows with the names of actors and targets."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Select, and_, bindparam, func, literal_column, or_, select

from kiai.errors import NotAllowed, NotFound
from kiai.osu.privileges import may
from kiai.staff.audit import CHANGE_SINCE, FIRST_HASH, HEAD, OPERATOR, Actor, ChangedMeanwhile
from kiai.staff.authority import Authority
from kiai.storage.patterns import containing, contains_pattern, unindexed
from kiai.storage.port import Database, Lane, Query, scalar
from kiai.storage.tables import audit_log, users

COUNTED_MAX: Final = 10_000
NO_END_MS: Final = 2**62
CLOCKS_MS: Final = 60_000
"""By this much, a row can be older than a row with a lower id: acts at once, and workers with different clocks."""


class AuditFilter(msgspec.Struct, frozen=True):
    """Conditions that a row must fulfil; None and "" mean any. Times are unix ms, both ends included.

    `text` is a part of the reason or of the details.
    """

    actor_id: int | None = None
    target_id: int | None = None
    action: str = ""
    source: str = ""
    text: str = ""
    since_ms: int = 0
    until_ms: int = NO_END_MS


class AuditEntry(msgspec.Struct, frozen=True):
    """A row of the log. `actor` and `target` are the present names of the accounts, None for other things."""

    id: int
    at_ms: int
    actor_id: int
    actor: str | None
    source: str
    action: str
    target_kind: str
    target_id: int
    target: str | None
    reason: str
    details: str
    previous_hash: str
    hash: str

    def fields(self) -> dict[str, object]:
        """Return the row as the API and the command line show it: the time in unix seconds, details as an object."""
        row = msgspec.structs.asdict(self)
        del row["at_ms"]
        return {"id": row.pop("id"), "at": self.at_ms // 1000, **row, "details": msgspec.json.decode(self.details)}


def _entry(*columns: Any) -> AuditEntry:
    # The row before the first has the hash of zeros.
    row = [*columns[:-2], columns[-2] or FIRST_HASH, columns[-1]]
    return AuditEntry(*row)


_LEADS: Final = ("actor", "target", "action", "all")
_actors, _targets, _before = users.alias("actors"), users.alias("targets"), audit_log.alias("before")


def _where(lead: str) -> list[ColumnElement[bool]]:
    log = audit_log.c
    by_actor: ColumnElement[bool] = log.actor_id == bindparam("actor_id")
    about: ColumnElement[bool] = and_(
        log.target_kind == literal_column("'user'"), log.target_id == bindparam("target_id")
    )
    any_target = or_(
        bindparam("any_target", type_=log.actor_id.type) == 1,
        and_(
            unindexed(log.target_kind) == literal_column("'user'"),
            unindexed(log.target_id) == bindparam("target_id", type_=log.target_id.type),
        ),
    )
    of_action: ColumnElement[bool] = log.action == bindparam("action")
    leading = {"actor": [by_actor, any_target], "target": [about], "action": [of_action], "all": []}[lead]
    pattern = bindparam("pattern", type_=log.reason.type)
    return [
        *leading,
        *(
            or_(bindparam(name, type_=log[name].type) == literal_column("''"), unindexed(log[name]) == bindparam(name))
            for name in ("action", "source")
            if name != lead
        ),
        or_(
            pattern == literal_column("''"),
            contains_pattern(log.reason, pattern),
            contains_pattern(log.details, pattern),
        ),
        unindexed(log.at_ms) >= bindparam("since_ms"),
        unindexed(log.at_ms) <= bindparam("until_ms"),
        log.id > bindparam("after"),
        log.id < bindparam("before"),
    ]


def _pages() -> Iterator[tuple[str, Query[AuditEntry], Query[int]]]:
    log = audit_log.c
    for lead in _LEADS:
        columns = (
            *(log.id, log.at_ms, log.actor_id, _actors.c.name, log.source, log.action, log.target_kind, log.target_id),
            *(_targets.c.name, log.reason, log.details, _before.c.hash, log.hash),
        )
        source = (
            audit_log.outerjoin(_actors, _actors.c.id == log.actor_id)
            .outerjoin(_targets, and_(_targets.c.id == log.target_id, log.target_kind == literal_column("'user'")))
            .outerjoin(_before, _before.c.id == log.id - literal_column("1"))
        )
        page = select(*columns).select_from(source).where(*_where(lead))
        page = page.order_by(log.id.desc()).limit(bindparam("limit")).offset(bindparam("offset"))
        rows: Select[Any] = (
            select(literal_column("1")).select_from(audit_log).where(*_where(lead)).limit(bindparam("most"))
        )
        yield (
            lead,
            Query(page, _entry, lane=Lane.SLOW),
            Query(select(func.count()).select_from(rows.subquery()), scalar, lane=Lane.SLOW),
        )


_ALL: Final = tuple(_pages())
PAGES: Final = {lead: page for lead, page, _ in _ALL}
COUNTS: Final = {lead: count for lead, _, count in _ALL}


_LAST_BEFORE: Final = Query(
    select(audit_log.c.id)
    .where(audit_log.c.at_ms < bindparam("at_ms"))
    .order_by(audit_log.c.at_ms.desc(), audit_log.c.id.desc())
    .limit(1),
    scalar,
)
_FIRST_AFTER: Final = Query(
    select(audit_log.c.id)
    .where(audit_log.c.at_ms > bindparam("at_ms"))
    .order_by(audit_log.c.at_ms, audit_log.c.id)
    .limit(1),
    scalar,
)


class AuditReading:
    """Reads the audit log for staff and the operator."""

    def __init__(self, database: Database, authority: Authority) -> None:
        self._database = database
        self._authority = authority

    async def newest_id(self) -> int:
        """Return the id of the newest row, 0 for an empty log."""
        head = await self._database.one(HEAD)
        return 0 if head is None else head.last_id

    async def name_of(self, actor_id: int) -> str:
        """Return the present name of the author of an act, for staff."""
        if not actor_id:
            return "the server or its operator"
        try:
            return (await self._authority.target(actor_id)).name
        except NotFound:
            return "a deleted account"

    async def change_since(self, actor: Actor, kind: str, target_id: int) -> ChangedMeanwhile | None:
        """Return the newest change of a target since the actor saw it, or None. For an act that was refused."""
        if actor.seen_id is None:
            return None
        return await self._database.one(
            CHANGE_SINCE,
            kind=kind,
            target_id=target_id,
            seen_id=actor.seen_id,
            own_id=actor.user_id,
            action="",
            changes=1,
            at_ms=0,
        )

    async def about(self, actor: Actor, target_id: int, *, since_ms: int, limit: int) -> list[AuditEntry]:
        """Return the newest rows about an account, for staff that reads notes. Raises NotAllowed."""
        await self._authority.require(actor, "users.notes")
        wanted = AuditFilter(target_id=target_id, since_ms=since_ms)
        return await self.rows(OPERATOR, wanted, limit=limit)

    async def page(
        self, actor: Actor, wanted: AuditFilter, *, limit: int, offset: int = 0, before: int | None = None
    ) -> tuple[list[AuditEntry], int]:
        """Return a page of the rows, newest first, and their number up to 10,000.

        A page starts below the id `before`, or skips `offset` rows. Staff without the permission `audit.read` gets its
        own acts only: raises NotAllowed for another `actor_id`. Raises TooSlow if too many rows have to be read.
        """
        found = await self._chosen(actor, wanted)
        if found is None:
            return [], 0
        lead, values = found
        rows = await self._read(lead, values, limit=limit, offset=offset, before=before)
        return rows, await self._database.one(COUNTS[lead], most=COUNTED_MAX, **values) or 0

    async def rows(
        self, actor: Actor, wanted: AuditFilter, *, limit: int, before: int | None = None
    ) -> list[AuditEntry]:
        """Return the newest rows below the id `before`, without their number. Raises as `page`."""
        found = await self._chosen(actor, wanted)
        return [] if found is None else await self._read(*found, limit=limit, before=before)

    async def _chosen(self, actor: Actor, wanted: AuditFilter) -> tuple[str, dict[str, int | str]] | None:
        """Return the key of the queries and their values, or None if no row can fit."""
        priv = await self._authority.require(actor, "audit.read_own")
        if not may(priv, "audit.read"):
            if wanted.actor_id not in (None, actor.user_id):
                raise NotAllowed("audit.read")
            wanted = msgspec.structs.replace(wanted, actor_id=actor.user_id)
        pattern = containing(wanted.text) if wanted.text else ""
        if pattern is None:
            return None
        given = {
            "actor": wanted.actor_id is not None,
            "target": wanted.target_id is not None,
            "action": bool(wanted.action),
        }
        lead = next((name for name in given if given[name]), "all")
        values: dict[str, int | str] = {
            "action": wanted.action,
            "source": wanted.source,
            "pattern": pattern,
            "since_ms": wanted.since_ms,
            "until_ms": wanted.until_ms,
            "after": 0,
            "before": 2**62,
        }
        # Ids grow with times. A range of ids fits each index, so the rows of a day are found without those after it.
        if wanted.since_ms > 0:
            values["after"] = await self._database.one(_LAST_BEFORE, at_ms=wanted.since_ms - CLOCKS_MS) or 0
        if wanted.until_ms < NO_END_MS:
            first_after = await self._database.one(_FIRST_AFTER, at_ms=wanted.until_ms + CLOCKS_MS)
            values["before"] = first_after or values["before"]
        if lead == "actor":
            values["actor_id"] = wanted.actor_id or 0
            values["any_target"] = int(wanted.target_id is None)
        if lead in ("actor", "target"):
            values["target_id"] = wanted.target_id or 0
        return lead, values

    async def _read(
        self, lead: str, values: dict[str, int | str], *, limit: int, offset: int = 0, before: int | None = None
    ) -> list[AuditEntry]:
        end = int(values["before"])
        return await self._database.all(
            PAGES[lead], **{**values, "before": end if before is None else min(before, end)}, limit=limit, offset=offset
        )
