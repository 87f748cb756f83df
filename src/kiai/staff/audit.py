"""The audit log: one row per act, in the same transaction as the act (docs/spec/game-rules.md#audit-log).

Each row has a hash over itself and the hash of the row before it. The id and hash of the newest row are stored in a
second table, too. So a row that was changed, removed or inserted behind the server's back breaks the chain.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec
from sqlalchemy import bindparam, insert, not_, or_, select, update

from kiai import webhooks
from kiai.errors import KiaiError
from kiai.staff import act_events
from kiai.storage.outbox import enqueue, enqueue_each
from kiai.storage.port import Command, Database, Lane, Query, Transaction, Value, scalar
from kiai.storage.tables import audit_head, audit_log

ROWS_MAX: Final = 100
PAGE: Final = 1_000
HEAD_ID: Final = 1
SANCTION_KIND: Final = "sanction"
"""The kind of the outbox rows for acts in `act_events.SANCTIONS`. The payload is the id of the audit row."""
NOT_CHANGES: Final = frozenset(
    {
        "denied",
        "hardware_match",
        "multi_check",
        "note",
        "notes_read",
        "report",
        "report_close",
        "user_inspect",
        "user_search",
    }
)
"""Actions that leave their target as it was."""
FIRST_HASH: Final = "0" * 64
"""Stands for the hash of the row before the first."""


class Actor(msgspec.Struct, frozen=True):
    """The author of an act and the interface (`game`, `web`, `api`, `cli`, `job`)."""

    user_id: int
    """0 for the operator and for the server itself."""
    source: str
    seen_id: int | None = None
    """The newest row of the log when the actor saw the target, if the actor decided by what a page showed.

    A later change of the target by another author, or by an earlier press of the same button, stops the act.
    """


OPERATOR: Final = Actor(user_id=0, source="cli")
JOB: Final = Actor(user_id=0, source="job")


class ChangedMeanwhile(KiaiError):
    """The target has changed since the actor saw it. `actor_id` is who changed it, `action` what was done."""

    def __init__(self, actor_id: int, action: str, at_ms: int) -> None:
        super().__init__("someone else has changed this meanwhile")
        self.actor_id = actor_id
        self.action = action
        self.at_ms = at_ms


class AuditRow(msgspec.Struct, frozen=True):
    """A row of the log. `details` is JSON."""

    at_ms: int
    actor_id: int
    source: str
    action: str
    reason: str
    details: str


class StoredRow(msgspec.Struct, frozen=True):
    """All columns of a row, in the order of the hash."""

    id: int
    at_ms: int
    actor_id: int
    source: str
    action: str
    target_kind: str
    target_id: int
    reason: str
    details: str
    hash: str


class NewestRow(msgspec.Struct, frozen=True):
    """The id and hash of the newest row."""

    last_id: int
    hash: str


_WRITE = Command(insert(audit_log).values({name: bindparam(name) for name in StoredRow.__struct_fields__}))
# Locks the head until the transaction ends, so that the rows of all workers form one chain without gaps.
_NEXT = Query(
    update(audit_head)
    .where(audit_head.c.id == HEAD_ID)
    .values(last_id=audit_head.c.last_id + bindparam("count"))
    .returning(audit_head.c.last_id, audit_head.c.hash),
    NewestRow,
)
_MOVE_HEAD = Command(update(audit_head).where(audit_head.c.id == HEAD_ID).values(hash=bindparam("hash")))
_LOCK = Query(select(audit_head.c.last_id).where(audit_head.c.id == HEAD_ID).with_for_update(), scalar)
HEAD = Query(select(audit_head.c.last_id, audit_head.c.hash).where(audit_head.c.id == HEAD_ID), NewestRow)
# Every row, one page at a time, oldest first.
AFTER = Query(
    select(*[audit_log.c[name] for name in StoredRow.__struct_fields__])
    .where(audit_log.c.id > bindparam("after"))
    .order_by(audit_log.c.id)
    .limit(PAGE),
    StoredRow,
    lane=Lane.JOB,
    scans="the doctor reads the whole log",
)
# The newest change of a target after a row of the log, or the same action of the actor. An act that changes nothing,
# e.g. a note, is stopped only by the latter. Rows of one act share its time.
CHANGE_SINCE = Query(
    select(audit_log.c.actor_id, audit_log.c.action, audit_log.c.at_ms)
    .where(
        audit_log.c.target_kind == bindparam("kind"),
        audit_log.c.target_id == bindparam("target_id"),
        audit_log.c.id > bindparam("seen_id"),
        or_(
            audit_log.c.action.not_in(sorted(NOT_CHANGES)) & (bindparam("changes", type_=audit_log.c.id.type) == 1),
            (audit_log.c.actor_id == bindparam("own_id")) & (audit_log.c.action == bindparam("action")),
        ),
        not_((audit_log.c.actor_id == bindparam("own_id")) & (audit_log.c.at_ms == bindparam("at_ms"))),
    )
    .order_by(audit_log.c.id.desc())
    .limit(1),
    ChangedMeanwhile,
)
# The latest rows about one target. The index (target_kind, target_id, id) serves filter and order.
ABOUT = Query(
    select(*[audit_log.c[name] for name in AuditRow.__struct_fields__])
    .where(audit_log.c.target_kind == bindparam("kind"), audit_log.c.target_id == bindparam("target_id"))
    .order_by(audit_log.c.id.desc())
    .limit(ROWS_MAX),
    AuditRow,
)


async def lock(tx: Transaction) -> None:
    """Let acts that call this first run one after another, on all workers.

    For rare acts on small tables, where the number of all rows has a bound or the row may not exist yet and cannot be
    locked. Other appends to the log wait until the transaction ends.
    """
    await tx.one(_LOCK)


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
) -> int:
    """Append a row and return its id. `details` has the values before and after the act, and never a secret.

    Other appends wait until the transaction ends, so this is one of its last statements. Raises ChangedMeanwhile for a
    target that has changed since the actor saw it.
    """
    # The hash is over what the databases store: PostgreSQL cannot store NUL, so its adapter replaces it.
    reason = reason.replace("\0", "\ufffd")
    await act_events.enqueue_act(
        tx,
        actor.user_id,
        action,
        at_ms=at_ms,
        target_kind=target_kind,
        target_id=target_id,
        reason=reason,
        details=details or {},
    )
    act = WrittenAct(target_kind, target_id, reason, details or {})
    [row_id] = await _append(tx, actor, action, [act], at_ms)
    # After the append, which lets concurrent acts run one after another.
    if actor.seen_id is not None:
        changed = await tx.one(
            CHANGE_SINCE,
            kind=target_kind,
            target_id=target_id,
            seen_id=actor.seen_id,
            own_id=actor.user_id,
            action=action,
            changes=int(action not in NOT_CHANGES),
            at_ms=at_ms,
        )
        if changed is not None:
            raise changed
    if action in act_events.SANCTIONS and target_kind == "user":
        await enqueue(tx, SANCTION_KIND, row_id, at_ms)
    return row_id


class WrittenAct(msgspec.Struct, frozen=True):
    """An act in the words of its row of the log, without author, action and time."""

    target_kind: str
    target_id: int
    reason: str
    details: Mapping[str, object]


async def write_sanctions(
    tx: Transaction, actor: Actor, action: str, acts: Sequence[WrittenAct], *, at_ms: int
) -> list[int]:
    """Append a row for each of several acts of one action in `act_events.SANCTIONS`, and return the ids. As `write`."""
    await webhooks.enqueue_each(
        tx,
        "sanction",
        [act_events.sanction_data(actor.user_id, action, act.target_id, act.reason, act.details) for act in acts],
        at_ms,
    )
    ids = await _append(tx, actor, action, acts, at_ms)
    await enqueue_each(tx, SANCTION_KIND, ids, at_ms)
    return ids


async def _append(tx: Transaction, actor: Actor, action: str, acts: Sequence[WrittenAct], at_ms: int) -> list[int]:
    head = await tx.one(_NEXT, count=len(acts))
    assert head is not None, "the migration inserts the head"
    previous = head.hash
    rows: list[dict[str, Value]] = []
    for row_id, act in enumerate(acts, head.last_id - len(acts) + 1):
        row = StoredRow(
            id=row_id,
            at_ms=at_ms,
            actor_id=actor.user_id,
            source=actor.source,
            action=action,
            target_kind=act.target_kind,
            target_id=act.target_id,
            reason=act.reason,
            details=msgspec.json.encode(act.details).decode(),
            hash="",
        )
        previous = chained_hash(previous, row)
        rows.append({**msgspec.structs.asdict(row), "hash": previous})
    await tx.run_many(_WRITE, rows)
    await tx.run(_MOVE_HEAD, hash=previous)
    return [head.last_id - len(acts) + 1 + at for at in range(len(acts))]


def utc_text(at_ms: int) -> str:
    """Return a time for replies and lists: year, month, day, hour and minute in UTC."""
    return f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%d %H:%M} UTC"


def chained_hash(previous_hash: str, row: StoredRow) -> str:
    """Return the hash of a row, in hex: SHA-256 of the previous row's hash and of the other columns, as JSON."""
    values = msgspec.structs.astuple(row)[:-1]
    return hashlib.sha256(msgspec.json.encode([previous_hash, *values])).hexdigest()


async def broken_links(database: Database) -> list[str]:
    """Return what does not fit in the chain: the first wrong row, rows that are missing at the end, or nothing.

    Reads the whole log. Servers may append rows meanwhile.
    """
    last = NewestRow(0, FIRST_HASH)
    while True:
        while rows := await database.all(AFTER, after=last.last_id):
            for row in rows:
                if row.hash != chained_hash(last.hash, row):
                    return [f"audit row {row.id} does not follow from the row before it: a row was changed or removed"]
                last = NewestRow(row.id, row.hash)
        head = await database.one(HEAD)
        if head is None:
            return ["audit row 0: the record of the newest row is missing"]
        if head == last:
            return []
        if not await database.all(AFTER, after=last.last_id):  # otherwise appended in the meantime
            wrong = max(head.last_id, last.last_id)
            return [f"audit row {wrong} is not the newest row on record: rows at the end were removed or added"]
