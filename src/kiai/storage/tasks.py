"""Tasks: work that follows from a commit and takes longer than a request may.

Whoever commits the change leaves the task in the same transaction (`begin`). A worker does it in steps. Each step is
one transaction that also moves the task's place (`advance`) or ends it (`finish`), so a worker that dies loses nothing,
and two workers never do one step twice. A task that is begun again starts from the front, and a step of the round
before it cannot be committed any more.
"""

from typing import Final

import msgspec
from sqlalchemy import bindparam, delete, insert, literal_column, select, update

from kiai.storage.port import Command, Database, Query, Transaction, columns_for
from kiai.storage.tables import tasks

LISTED_MAX: Final = 1_000


class Task(msgspec.Struct, frozen=True):
    """One task. `place` is where its next step starts, "" for the front; `total` is 0 until it is known."""

    kind: str
    subject: int
    round: int
    place: str
    done: int
    total: int
    begun_at_ms: int
    moved_at_ms: int


class Overtaken(Exception):
    """Somebody else has done this step, or the task has begun again: the step must not be committed."""


_this: Final = (tasks.c.kind == bindparam("of_kind"), tasks.c.subject == bindparam("of_subject"))
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
_OLDEST: Final = Query(select(*columns_for(Task, tasks)).order_by(tasks.c.begun_at_ms).limit(bindparam("most")), Task)


async def begin(tx: Transaction, kind: str, subject: int, now_ms: int) -> None:
    """Leaves a task, or starts the one that is there from the front again.

    The caller holds a lock on the row of the subject, so that two callers do not begin one task at the same moment.
    """
    if not await tx.run(_AGAIN, of_kind=kind, of_subject=subject, at_ms=now_ms):
        await tx.run(_BEGIN, of_kind=kind, of_subject=subject, at_ms=now_ms)


async def advance(tx: Transaction, task: Task, place: str, *, done: int, total: int, now_ms: int) -> None:
    """The step that began at `task.place` is done; the next one starts at `place`. Raises Overtaken."""
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
        raise Overtaken


async def finish(tx: Transaction, task: Task) -> None:
    """The last step is done. Raises Overtaken."""
    if not await tx.run(_FINISH, of_kind=task.kind, of_subject=task.subject, of_round=task.round, was=task.place):
        raise Overtaken


class Tasks:
    """Reads what there is to do."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def waiting(self, most: int = LISTED_MAX) -> list[Task]:
        """Those that were begun first."""
        return await self._database.all(_OLDEST, most=most)
