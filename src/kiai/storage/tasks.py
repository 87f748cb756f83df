"""Tasks: work that follows from a commit and takes longer than a request may.

The transaction that changes the rows also creates the task (`begin`). A worker runs the task in steps. Each step is one
transaction that also moves the task's `place` (`advance`) or deletes the task (`finish`). So a worker that dies loses
nothing, and two workers cannot both commit the same step. Beginning a task again increments its `round` and starts it
from the front; a step of an earlier round can no longer be committed.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import bindparam, delete, insert, literal_column, select, update

from kiai.storage.port import Command, Database, Query, Transaction, Value, columns_for
from kiai.storage.tables import tasks

LISTED_MAX: Final = 1_000


class Task(msgspec.Struct, frozen=True):
    """One task of a `kind` for a `subject`, e.g. the id of a map or player.

    The next step starts at `place`; "" is the front. `done` and `total` count what the kind counts, e.g. scores;
    `total` is 0 until it is known.
    """

    kind: str
    subject: int
    round: int
    place: str
    done: int
    total: int
    begun_at_ms: int
    moved_at_ms: int


class StaleTask(Exception):
    """Another worker has committed this step, or the task has begun again: this step must not be committed."""


_this: Final = (tasks.c.kind == bindparam("of_kind"), tasks.c.subject == bindparam("of_subject"))
# Optimistic lock: the update finds no row when another worker has moved the task since it was read.
_as_read: Final = (*_this, tasks.c.round == bindparam("of_round"), tasks.c.place == bindparam("was"))
_AGAIN: Final = Command(
    update(tasks)
    .where(*_this)
    .values(
        round=tasks.c.round + 1,
        place=literal_column("''"),
        done=literal_column("0"),
        total=literal_column("0"),
        begun_at_ms=bindparam("at_ms"),
        moved_at_ms=bindparam("at_ms"),
    )
)
_BEGIN: Final = Command(
    insert(tasks).values(
        kind=bindparam("of_kind"),
        subject=bindparam("of_subject"),
        round=literal_column("0"),
        begun_at_ms=bindparam("at_ms"),
        moved_at_ms=bindparam("at_ms"),
    )
)
_BEGIN_IF_NEW: Final = Command(
    insert(tasks).from_select(
        ["kind", "subject", "round", "begun_at_ms", "moved_at_ms"],
        select(
            bindparam("of_kind", type_=tasks.c.kind.type),
            bindparam("of_subject", type_=tasks.c.subject.type),
            literal_column("0"),
            bindparam("at_ms", type_=tasks.c.begun_at_ms.type),
            bindparam("at_ms", type_=tasks.c.begun_at_ms.type),
        ).where(~select(tasks.c.round).where(*_this).exists()),
    )
)
_ADVANCE: Final = Command(
    update(tasks)
    .where(*_as_read)
    .values(
        place=bindparam("becomes"),
        done=bindparam("now_done"),
        total=bindparam("now_total"),
        moved_at_ms=bindparam("at_ms"),
    )
)
_FINISH: Final = Command(delete(tasks).where(*_as_read))
_OLDEST: Final = Query(select(*columns_for(Task, tasks)).order_by(tasks.c.begun_at_ms).limit(bindparam("limit")), Task)


async def begin(tx: Transaction, kind: str, subject: int, now_ms: int) -> None:
    """Create the task of this kind and subject, or start the existing one again from the front.

    The caller must hold a lock on the row of the subject: two callers that both find no task would both insert one.
    """
    if not await tx.run(_AGAIN, of_kind=kind, of_subject=subject, at_ms=now_ms):
        await tx.run(_BEGIN, of_kind=kind, of_subject=subject, at_ms=now_ms)


async def begin_each(tx: Transaction, kind: str, subjects: Sequence[int], now_ms: int) -> None:
    """Begin a task for each subject. The caller holds the locks of `begin`."""
    rows: list[dict[str, Value]] = [
        {"of_kind": kind, "of_subject": subject, "at_ms": now_ms} for subject in sorted(subjects)
    ]
    await tx.run_many(_AGAIN, rows)
    await tx.run_many(_BEGIN_IF_NEW, rows)


async def advance(tx: Transaction, task: Task, place: str, *, done: int, total: int, now_ms: int) -> None:
    """Record that the step from `task.place` is done and the next one starts at `place`. Raises StaleTask."""
    moved = await tx.run(
        _ADVANCE,
        of_kind=task.kind,
        of_subject=task.subject,
        of_round=task.round,
        was=task.place,
        becomes=place,
        now_done=done,
        now_total=total,
        at_ms=now_ms,
    )
    if not moved:
        raise StaleTask


async def finish(tx: Transaction, task: Task) -> None:
    """Delete a task whose last step is done. Raises StaleTask."""
    if not await tx.run(_FINISH, of_kind=task.kind, of_subject=task.subject, of_round=task.round, was=task.place):
        raise StaleTask


class Tasks:
    """Reads the tasks that are not finished."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def waiting(self, limit: int = LISTED_MAX) -> list[Task]:
        """Return at most `limit` tasks, the oldest first."""
        return await self._database.all(_OLDEST, limit=limit)
