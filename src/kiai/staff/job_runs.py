"""Runs of jobs that staff starts, such as a recalculation or a backup. Owns the table `job_runs`.

    waiting -> running -> done, failed or cancelled

A start writes a row. The worker that has the lease on the kind carries out its runs one after another (`JobWorker`). It
stores the progress at most once a second, and sees in the same step whether staff has cancelled the run. A run that a
stop has interrupted stays `running`, so the next worker carries it out again, from its `position` if the kind uses one.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from enum import IntEnum
from typing import Final

import msgspec
from sqlalchemy import bindparam, delete, insert, literal_column, select, update

from kiai.clock import Clock
from kiai.errors import Invalid, KiaiError, NotFound, Refused, Unavailable, WrongState
from kiai.logs import get_logger
from kiai.osu.texts import chat_text
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.staff.player_lines import enqueue_line
from kiai.staff.reasons import checked_reason
from kiai.storage.port import Command, Database, Query, Transaction, columns_for, scalar
from kiai.storage.tables import job_runs

PERMISSION: Final = "jobs.run"
"""The permission to see runs and to start those without a permission of their own."""
WORK_EVERY_S: Final = 1.0
STORE_EVERY_S: Final = 1.0
QUEUED_MAX: Final = 10  # active runs of one kind
KEPT: Final = 500  # newest runs
PAGE: Final = 50
LINES_MAX: Final = 20
LINE_MAX: Final = 300  # characters
PARAMETER_MAX: Final = 100  # characters
NEWEST: Final = 2**62
TARGET_KIND: Final = "job"


class JobState(IntEnum):
    """The state of a run."""

    WAITING = 0
    RUNNING = 1
    DONE = 2
    FAILED = 3
    CANCELLED = 4


class JobRun(msgspec.Struct, frozen=True):
    """A run. `params` is JSON, an object of texts. `done` of `total` is the progress; `total` is 0 if it is not known.

    `cancelled` asks the worker to end it. `position` is where an interrupted run continues, 0 for the start. `lines`
    are its last lines, and the cause of a failure.
    """

    id: int
    kind: str
    params: str
    state: int
    actor_id: int
    source: str
    reason: str
    requested_at_ms: int
    started_at_ms: int
    ended_at_ms: int
    cancelled: int
    done: int
    total: int
    position: int
    lines: str

    @property
    def is_active(self) -> bool:
        """Whether it waits or runs."""
        return self.state < JobState.DONE

    @property
    def state_name(self) -> str:
        """The state in lower case; `cancelling` until the worker has ended a cancelled run."""
        if self.state == JobState.RUNNING and self.cancelled:
            return "cancelling"
        return JobState(self.state).name.lower()

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters by name, without those that were not given."""
        return msgspec.json.decode(self.params, type=dict[str, str])


class JobProgress:
    """The progress of a run, which the worker stores."""

    def __init__(self, run: JobRun) -> None:
        self.done = run.done
        self.total = run.total
        self.position = run.position
        self._lines = deque([line for line in run.lines.split("\n") if line], maxlen=LINES_MAX)

    def __call__(self, done: int, total: int) -> None:
        """Set the progress."""
        self.done, self.total = done, total

    def say(self, line: str) -> None:
        """Add a line. Only the last 20 are stored, each with up to 300 characters."""
        self._lines.append(" ".join(line.split())[:LINE_MAX])

    @property
    def lines(self) -> str:
        """The last lines."""
        return "\n".join(self._lines)


class CheckedStart(msgspec.Struct, frozen=True):
    """The parameters of a run as they are stored, and the target of its audit row."""

    params: Mapping[str, str]
    target_kind: str = TARGET_KIND
    target_id: int = 0


class JobKind(msgspec.Struct, frozen=True):
    """A kind of job.

    - `label`: its name in messages, with a capital letter.
    - `action`: of the audit row of a start.
    - `check`: returns what is stored for given parameters. It raises Invalid, NotFound or Refused.
    - `run`: does the work and returns a sentence about the result. A cancellation may interrupt it anywhere.
    - `parallel`: whether runs with other parameters may wait at the same time. Two equal runs never do.
    - `waits`: whether a run that meets Unavailable waits and continues, instead of failing.
    """

    name: str
    label: str
    check: Callable[[Mapping[str, str]], Awaitable[CheckedStart]]
    run: Callable[[JobRun, JobProgress], Awaitable[str]]
    permission: str = PERMISSION
    action: str = "job_start"
    parallel: bool = False
    waits: bool = False


_COLUMNS: Final = columns_for(JobRun, job_runs)
_is_active: Final = job_runs.c.state < literal_column("2")
_this: Final = job_runs.c.id == bindparam("run_id")
_ACTIVE = Query(
    select(*_COLUMNS).where(job_runs.c.kind == bindparam("kind"), _is_active).order_by(job_runs.c.id).limit(QUEUED_MAX),
    JobRun,
)
_ADD = Query(
    insert(job_runs)
    .values(
        {
            name: bindparam(name)
            for name in ("kind", "params", "state", "actor_id", "source", "reason", "requested_at_ms")
        }
    )
    .returning(job_runs.c.id),
    scalar,
)
_BY_ID = Query(select(*_COLUMNS).where(job_runs.c.id == bindparam("id")), JobRun)
_PAGE = Query(
    select(*_COLUMNS).where(job_runs.c.id < bindparam("before")).order_by(job_runs.c.id.desc()).limit(PAGE + 1),
    JobRun,
    scans="it reads the ids up to the end of the page",
)
_NEWEST_OF_KIND = Query(
    select(*_COLUMNS).where(job_runs.c.kind == bindparam("kind")).order_by(job_runs.c.id.desc()).limit(1),
    JobRun,
    scans="it reads the newest runs of other kinds; the table has about 500 rows",
)
_LAST_ENDED = Query(
    select(*_COLUMNS)
    .where(job_runs.c.kind == bindparam("kind"), job_runs.c.state >= literal_column("2"))
    .order_by(job_runs.c.id.desc())
    .limit(1),
    JobRun,
    scans="it reads the newest runs of other kinds; the table has about 500 rows",
)
_CANCEL_WAITING = Command(
    update(job_runs)
    .where(_this, job_runs.c.state == int(JobState.WAITING))
    .values(state=int(JobState.CANCELLED), cancelled=1, ended_at_ms=bindparam("now_ms"))
)
_CANCEL_RUNNING = Command(
    update(job_runs)
    .where(_this, job_runs.c.state == int(JobState.RUNNING), job_runs.c.cancelled == 0)
    .values(cancelled=1)
)
_BEGIN = Command(
    update(job_runs)
    .where(_this, job_runs.c.state == int(JobState.WAITING))
    .values(state=int(JobState.RUNNING), started_at_ms=bindparam("now_ms"))
)
_STORE = Command(
    update(job_runs)
    .where(_this, _is_active)
    .values(
        done=bindparam("now_done"),
        total=bindparam("now_total"),
        position=bindparam("now_at"),
        lines=bindparam("last_lines"),
    )
)
_FINISH = Command(
    update(job_runs)
    .where(_this, _is_active)
    .values(
        state=bindparam("becomes"),
        ended_at_ms=bindparam("now_ms"),
        done=bindparam("now_done"),
        total=bindparam("now_total"),
        lines=bindparam("last_lines"),
    )
)
_RECORD = Query(
    insert(job_runs)
    .values(
        {
            name: bindparam(name)
            for name in (
                "kind",
                "state",
                "actor_id",
                "source",
                "requested_at_ms",
                "started_at_ms",
                "ended_at_ms",
                "lines",
            )
        }
        | {"params": "{}"}
    )
    .returning(job_runs.c.id),
    scalar,
)
_IS_CANCELLED = Query(select(job_runs.c.cancelled).where(_this), scalar)
_TRIM = Command(
    delete(job_runs).where(job_runs.c.id <= bindparam("up_to"), job_runs.c.state >= int(JobState.DONE)),
    scans="it reads the few oldest rows, which it deletes",
)


class PeriodicState(msgspec.Struct, frozen=True):
    """A job that the server runs by itself: its last success in unix seconds, 0 for none, and the failed runs.

    Both are since the start of the server, over all its workers.
    """

    name: str
    worked_at_s: float
    failures: int


class JobDesk:
    """Starts, cancels and shows runs. Every method raises NotAllowed. Services add their kinds.

    `read_periodic` returns the jobs that the server runs by itself; the server sets it.
    """

    def __init__(self, database: Database, authority: Authority, clock: Clock) -> None:
        self._database = database
        self._authority = authority
        self._clock = clock
        self.kinds: dict[str, JobKind] = {}
        self.read_periodic: Callable[[], list[PeriodicState]] = list

    def add(self, kind: JobKind) -> None:
        """Add a kind."""
        self.kinds[kind.name] = kind

    async def start(self, actor: Actor, kind_name: str, given: Mapping[str, str], reason: str = "") -> int:
        """Queue a run with the parameters that are not empty, and return its id.

        Raises Invalid, what the kind's check raises, WrongState with the state of the run that is in the way, and
        Refused beyond 10 active runs of the kind.
        """
        kind = self._kind(kind_name)
        await self._authority.require(actor, kind.permission)
        reason = checked_reason(reason, optional=True)
        start = await kind.check({name: text[:PARAMETER_MAX] for name, text in given.items() if text})
        params = msgspec.json.encode(dict(sorted(start.params.items()))).decode()
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> int:
            # First, because the log lets acts that append run one after another: of two starts at the same time, the
            # second one sees the run of the first.
            await audit.lock(tx)
            active = await tx.all(_ACTIVE, kind=kind.name)
            for run in active:
                if run.params == params or not kind.parallel:
                    raise WrongState(_in_the_way(kind, run))
            if len(active) >= QUEUED_MAX:
                raise Refused(f"{QUEUED_MAX} runs are queued; try again when one has ended")
            run_id = await tx.one(
                _ADD,
                kind=kind.name,
                params=params,
                state=int(JobState.WAITING),
                actor_id=actor.user_id,
                source=actor.source,
                reason=reason,
                requested_at_ms=now,
            )
            assert run_id is not None
            await audit.write(
                tx,
                actor,
                kind.action,
                at_ms=now,
                target_kind=start.target_kind,
                target_id=start.target_id,
                reason=reason,
                details={"job": kind.name, "run": run_id, **start.params, "before": None, "after": "waiting"},
            )
            return int(run_id)

        return await self._authority.transaction(Requirement(actor, kind.permission), body)

    async def record(self, actor: Actor, kind_name: str, started_at_ms: int, state: JobState, text: str) -> None:
        """Store a run that a command has carried out itself and that has ended now. No audit row is written."""
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            run_id = await tx.one(
                _RECORD,
                kind=kind_name,
                state=int(state),
                actor_id=actor.user_id,
                source=actor.source,
                requested_at_ms=started_at_ms,
                started_at_ms=started_at_ms,
                ended_at_ms=now,
                lines=" ".join(text.split())[:LINE_MAX],
            )
            assert run_id is not None
            await tx.run(_TRIM, up_to=run_id - KEPT)

        await self._authority.transaction(Requirement(actor, PERMISSION), body)

    async def cancel(self, actor: Actor, run_id: int, reason: str = "") -> JobRun:
        """Cancel a run, and return it as it was. The worker of a running one ends it within about a second.

        Raises NotFound("run"), Invalid, and WrongState for a run that has ended or is being cancelled.
        """
        run = await self.one(actor, run_id)
        kind = self.kinds.get(run.kind)  # none for a run that another version of kiai has queued
        permission = PERMISSION if kind is None else kind.permission
        reason = checked_reason(reason, optional=True)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await audit.write(
                tx,
                actor,
                "job_cancel",
                at_ms=now,
                target_kind=TARGET_KIND,
                target_id=run_id,
                reason=reason,
                details={"job": run.kind, "before": run.state_name, "after": "cancelled"},
            )
            if not await tx.run(_CANCEL_WAITING, run_id=run_id, now_ms=now) and not await tx.run(
                _CANCEL_RUNNING, run_id=run_id
            ):
                changed = await tx.one(_BY_ID, id=run_id)
                raise WrongState(f"the run is already {'gone' if changed is None else changed.state_name}")

        await self._authority.transaction(Requirement(actor, permission), body)
        return run

    async def page(self, actor: Actor, before: int | None = None) -> tuple[list[JobRun], int | None]:
        """Return the newest runs with ids below `before`, and the value of `before` for the next page or None."""
        await self._authority.require(actor, PERMISSION)
        found = await self._database.all(_PAGE, before=NEWEST if before is None else before)
        return found[:PAGE], found[PAGE - 1].id if len(found) > PAGE else None

    async def active(self, actor: Actor, kind_name: str) -> list[JobRun]:
        """Return the runs of a kind that wait or run, the oldest first. Needs the permission of the kind."""
        await self._authority.require(actor, self._kind(kind_name).permission)
        return await self._database.all(_ACTIVE, kind=kind_name)

    async def newest(self, kind_name: str) -> JobRun | None:
        """Return the newest run of a kind, in any state. For the server itself: it needs no permission."""
        return await self._database.one(_NEWEST_OF_KIND, kind=kind_name)

    async def last_ended(self, kind_name: str) -> JobRun | None:
        """Return the newest run of a kind that has ended. For the server itself: it needs no permission."""
        return await self._database.one(_LAST_ENDED, kind=kind_name)

    async def periodic(self, actor: Actor) -> list[PeriodicState]:
        """Return the jobs that the server runs by itself, by name."""
        await self._authority.require(actor, PERMISSION)
        return self.read_periodic()

    async def one(self, actor: Actor, run_id: int) -> JobRun:
        """Return a run. Raises NotFound("run")."""
        await self._authority.require(actor, PERMISSION)
        if not 0 < run_id < NEWEST:  # PostgreSQL raises an error for a larger number
            raise NotFound("run")
        found = await self._database.one(_BY_ID, id=run_id)
        if found is None:
            raise NotFound("run")
        return found

    def _kind(self, name: str) -> JobKind:
        kind = self.kinds.get(name)
        if kind is None:
            raise Invalid("job", f"one of {', '.join(self.kinds)}", name)
        return kind


def _in_the_way(kind: JobKind, run: JobRun) -> str:
    progress = f", {run.done} of {run.total}" if run.total else ""
    return f"{kind.label} {run.id} is already {run.state_name}{progress}"


class JobWorker:
    """Carries out runs."""

    def __init__(self, database: Database, kinds: Mapping[str, JobKind], clock: Clock) -> None:
        self._database = database
        self._kinds = kinds
        self._clock = clock

    async def work(self, kind_name: str) -> bool:
        """Carry out the oldest active run of a kind, and notify its author. Return False without one.

        A job calls this on one worker at a time. Raises Unavailable; the run then continues later.
        """
        active = await self._database.all(_ACTIVE, kind=kind_name)
        if not active:
            return False
        run, kind, now = active[0], self._kinds[kind_name], self._clock.now_ms()
        if run.state == JobState.WAITING:
            if not await self._change(_BEGIN, run_id=run.id, now_ms=now):  # cancelled since
                return True
            run = msgspec.structs.replace(run, state=JobState.RUNNING, started_at_ms=now)
        progress = JobProgress(run)
        state, text = await self._outcome(kind, run, progress)
        progress.say(text)

        async def body(tx: Transaction) -> None:
            await tx.run(
                _FINISH,
                run_id=run.id,
                becomes=int(state),
                now_ms=self._clock.now_ms(),
                now_done=progress.done,
                now_total=progress.total,
                last_lines=progress.lines,
            )
            await tx.run(_TRIM, up_to=run.id - KEPT)
            if run.actor_id:
                # Kept, because a run may take longer than its author is online.
                line = f"{kind.label} {run.id}: {chat_text(text)}"
                await enqueue_line(tx, run.actor_id, self._clock.now_ms(), line, as_mail=True)

        await self._database.transaction(body)
        return True

    async def _outcome(self, kind: JobKind, run: JobRun, progress: JobProgress) -> tuple[JobState, str]:
        """Do the work of a run. Return its last state and a sentence about it."""
        if run.cancelled:
            return JobState.CANCELLED, "cancelled."
        work = asyncio.ensure_future(kind.run(run, progress))
        try:
            if await self._watch(run, progress, work):
                return JobState.CANCELLED, "cancelled."
            return JobState.DONE, work.result()
        except KiaiError as error:
            if isinstance(error, Unavailable) and kind.waits:
                raise
            return JobState.FAILED, f"{error}."
        except Exception as error:  # a fault of the server; the next runs must not wait for it
            get_logger("staff").error("job failed", job=kind.name, run=run.id, exc_info=error)
            return JobState.FAILED, "failed; the log has the cause."
        finally:
            # Also when this worker stops: the run is still active, and the next worker carries it out.
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await work

    async def _watch(self, run: JobRun, progress: JobProgress, work: "asyncio.Future[str]") -> bool:
        """Store the progress until the work has ended. Return True if the run was cancelled before."""
        stored = None
        while not (await asyncio.wait({work}, timeout=STORE_EVERY_S))[0]:
            now = (progress.done, progress.total, progress.position, progress.lines)
            # A store that misses one progress does not end hours of work. The work has its own answer to that.
            with contextlib.suppress(Unavailable):
                if now != stored:
                    done, total, position, lines = now
                    await self._change(
                        _STORE, run_id=run.id, now_done=done, now_total=total, now_at=position, last_lines=lines
                    )
                    stored = now
                if await self._database.one(_IS_CANCELLED, run_id=run.id):
                    return True
        return False

    async def _change(self, command: Command, **values: int | str) -> int:
        async def body(tx: Transaction) -> int:
            return await tx.run(command, **values)

        return await self._database.transaction(body)
