"""Recalculations of pp that developers ask for: `!recalc`. A job carries them out one after another.

A queued recalculation is a row of the table `progress`, next to the position of `scores/recalculation.py`. One that was
interrupted by a restart continues behind its last finished map.
"""

from typing import Final

import msgspec
from sqlalchemy import bindparam, delete, insert, select

from kiai.beatmaps import Beatmaps
from kiai.clock import Clock
from kiai.errors import NotFound, Refused, Unavailable, WrongState
from kiai.logs import get_logger
from kiai.scores.recalculation import Recalculation
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.staff.player_lines import enqueue_line
from kiai.storage.port import Command, Database, Query, Transaction, scalar
from kiai.storage.tables import progress

PERMISSION: Final = "recalc.run"
QUEUED_MAX: Final = 10
WORK_EVERY_S: Final = 2.0
PREFIX: Final = "queued recalc "


class QueuedRecalculation(msgspec.Struct, frozen=True):
    """A recalculation of one map, player or mode, or of everything. `id` is that of its row in the audit log."""

    id: int
    actor_id: int
    map_id: int | None = None
    user_id: int | None = None
    mode: int | None = None

    @property
    def scope(self) -> tuple[int | None, int | None, int | None]:
        """The scores that it recalculates."""
        return self.map_id, self.user_id, self.mode


_WAITING = Query(
    select(progress.c.state).where(progress.c.job.startswith(PREFIX)).order_by(progress.c.at_ms).limit(QUEUED_MAX),
    scalar,
)
_ADD = Command(insert(progress).values({name: bindparam(name) for name in ("job", "state", "at_ms")}))
_REMOVE = Command(delete(progress).where(progress.c.job == bindparam("of_job")))


class Recalculations:
    """Queues recalculations, and carries them out."""

    def __init__(
        self,
        database: Database,
        authority: Authority,
        recalculation: Recalculation,
        beatmaps: Beatmaps,
        clock: Clock,
    ) -> None:
        self._database = database
        self._authority = authority
        self._recalculation = recalculation
        self._beatmaps = beatmaps
        self._clock = clock

    async def queue(
        self, actor: Actor, *, map_id: int | None = None, user_id: int | None = None, mode: int | None = None
    ) -> int:
        """Queue the recalculation of a map, a player or a mode, or without any of them of everything. Return its id.

        Raises NotAllowed, NotFound, WrongState if the same one is queued, and Refused at the limit.
        """
        await self._authority.require(actor, PERMISSION)
        if user_id is not None:
            await self._authority.target(user_id)
        scope = map_id, user_id, mode
        kind = "beatmap" if map_id is not None else "user" if user_id is not None else "server"
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> int:
            # First, because it locks the log: of two acts at the same time, the second sees the queue after the first.
            job_id = await audit.write(
                tx,
                actor,
                "recalc",
                at_ms=now,
                target_kind=kind,
                target_id=map_id or user_id or 0,
                details={"map_id": map_id, "user_id": user_id, "mode": mode},
            )
            waiting = [_decoded(state) for state in await tx.all(_WAITING)]
            if any(job.scope == scope for job in waiting):
                raise WrongState("this recalculation is already queued")
            if len(waiting) >= QUEUED_MAX:
                raise Refused(f"{QUEUED_MAX} recalculations are queued; try again when one is done")
            job = QueuedRecalculation(job_id, actor.user_id, *scope)
            await tx.run(_ADD, job=f"{PREFIX}{job_id}", state=msgspec.json.encode(job).decode(), at_ms=now)
            return job_id

        return await self._authority.transaction(Requirement(actor, PERMISSION), body)

    async def work(self) -> bool:
        """Carry out the oldest recalculation and notify its author. Return False if none is queued. A job calls this.

        Raises Unavailable; the recalculation then stays queued.
        """
        states = await self._database.all(_WAITING)
        if not states:
            return False
        job = _decoded(states[0])
        text = await self._outcome(job)

        async def body(tx: Transaction) -> None:
            await tx.run(_REMOVE, of_job=f"{PREFIX}{job.id}")
            if job.actor_id:
                line = f"Recalculation {job.id}: {text}"
                # Kept, because a recalculation may take longer than its author is online.
                await enqueue_line(tx, job.actor_id, self._clock.now_ms(), line, kept=True)

        await self._database.transaction(body)
        return True

    async def _outcome(self, job: QueuedRecalculation) -> str:
        try:
            beatmap = None if job.map_id is None else await self._beatmaps.find(id=job.map_id)
            user = None if job.user_id is None else await self._authority.target(job.user_id)
            report = await self._recalculation.run(mode=job.mode, beatmap=beatmap, user=user)
        except NotFound as error:  # deleted since
            return f"{error}."
        except Unavailable:
            raise
        except Exception as error:  # a fault of the server; the next recalculations must not wait for it
            get_logger("staff").error("recalculation failed", job=job.id, exc_info=error)
            return "failed; the log has the cause."
        failed = f" {len(report.failed)} maps cannot be computed." if report.failed else ""
        return f"{report.scores} scores computed, {report.changed} changed.{failed}"


def _decoded(state: str) -> QueuedRecalculation:
    return msgspec.json.decode(state, type=QueuedRecalculation)
