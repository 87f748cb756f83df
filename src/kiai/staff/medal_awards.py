"""Awards of missing medals that staff asks for: queued in the panel, or carried out at once by the command line.

A queued award is a row of the table `progress`. One that was interrupted by a restart continues behind the last player
whose medals are stored.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from sqlalchemy import bindparam, delete, insert, select, update

from kiai.clock import Clock
from kiai.errors import NotFound, Refused, WrongState
from kiai.logs import get_logger
from kiai.scores.medal_backfill import BackfillReport, MedalBackfill
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.staff.player_lines import enqueue_line
from kiai.storage.port import Command, Database, Query, Transaction, scalar
from kiai.storage.tables import progress

PERMISSION: Final = "medals.award"
ACTION: Final = "medals_award"
QUEUED_MAX: Final = 10
WORK_EVERY_S: Final = 2.0
PREFIX: Final = "queued medals "


class QueuedAward(msgspec.Struct, frozen=True):
    """A queued award. `id` is that of its row in the audit log, `user_id` None for all players.

    `after` is the last player who is done, `report` the result so far.
    """

    id: int
    actor_id: int
    user_id: int | None = None
    after: int = 0
    report: BackfillReport = msgspec.field(default_factory=BackfillReport)


_WAITING = Query(
    select(progress.c.state).where(progress.c.job.startswith(PREFIX)).order_by(progress.c.at_ms).limit(QUEUED_MAX),
    scalar,
)
_ADD = Command(insert(progress).values({name: bindparam(name) for name in ("job", "state", "at_ms")}))
_MOVE = Command(update(progress).where(progress.c.job == bindparam("of_job")).values(state=bindparam("new_state")))
_REMOVE = Command(delete(progress).where(progress.c.job == bindparam("of_job")))


class MedalAwards:
    """Queues awards of missing medals, and carries them out."""

    def __init__(self, database: Database, authority: Authority, backfill: MedalBackfill, clock: Clock) -> None:
        self._database = database
        self._authority = authority
        self._backfill = backfill
        self._clock = clock

    async def waiting(self, actor: Actor) -> Sequence[QueuedAward]:
        """Return the queued awards, the oldest first. Raises NotAllowed."""
        await self._authority.require(actor, PERMISSION)
        return [_decoded(state) for state in await self._database.all(_WAITING)]

    async def queue(self, actor: Actor, *, user_id: int | None = None, reason: str = "") -> int:
        """Queue the award of missing medals to one player or, without an id, to all. Return its id.

        Raises NotAllowed, NotFound("user"), WrongState if the same one is queued, and Refused at the limit.
        """
        await self._authority.require(actor, PERMISSION)
        if user_id is not None:
            await self._authority.target(user_id)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> int:
            # First, because it locks the log: of two acts at the same time, the second sees the queue after the first.
            award_id = await self._record(tx, actor, user_id, reason, now)
            waiting = [_decoded(state) for state in await tx.all(_WAITING)]
            if any(award.user_id == user_id for award in waiting):
                raise WrongState("this award of medals is already queued")
            if len(waiting) >= QUEUED_MAX:
                raise Refused(f"{QUEUED_MAX} awards of medals are queued; try again when one is done")
            award = QueuedAward(award_id, actor.user_id, user_id)
            await tx.run(_ADD, job=f"{PREFIX}{award_id}", state=_encoded(award), at_ms=now)
            return award_id

        return await self._authority.transaction(Requirement(actor, PERMISSION), body)

    async def run(
        self, actor: Actor, *, user_id: int | None = None, progress: Callable[[int], None] = lambda players: None
    ) -> BackfillReport:
        """Award missing medals to one player or to all now. `progress` gets the number of players so far.

        The audit row is written before the work. Raises NotAllowed, NotFound("user").
        """
        await self._authority.require(actor, PERMISSION)
        if user_id is not None:
            await self._authority.target(user_id)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await self._record(tx, actor, user_id, "", now)

        await self._authority.transaction(Requirement(actor, PERMISSION), body)
        if user_id is None:
            return await self._backfill.everybody(progress)
        report = BackfillReport()
        await self._backfill.player(user_id, report)
        return report

    async def work(self) -> bool:
        """Carry out the oldest award and notify its author. Return False if none is queued. A job calls this."""
        states = await self._database.all(_WAITING)
        if not states:
            return False
        award = _decoded(states[0])
        try:
            text = _words(await self._carry_out(award))
        except NotFound as error:  # deleted since
            text = f"{error}."
        except Exception as error:  # a fault of the server; the next awards must not wait for it
            get_logger("staff").error("award of medals failed", award=award.id, exc_info=error)
            text = "failed; the log has the cause."

        async def body(tx: Transaction) -> None:
            await tx.run(_REMOVE, of_job=f"{PREFIX}{award.id}")
            if award.actor_id:
                line = f"Missing medals, {award.id}: {text}"
                await enqueue_line(tx, award.actor_id, self._clock.now_ms(), line, as_mail=True)

        await self._database.transaction(body)
        return True

    async def _carry_out(self, award: QueuedAward) -> BackfillReport:
        report = award.report
        if award.user_id is not None:
            await self._authority.target(award.user_id)
            await self._backfill.player(award.user_id, report)
            return report
        after = award.after
        while found := await self._backfill.players_after(after):
            for user_id in found:
                await self._backfill.player(user_id, report)
            after = found[-1]
            await self._move(msgspec.structs.replace(award, after=after, report=report))
        return report

    async def _move(self, award: QueuedAward) -> None:
        async def body(tx: Transaction) -> None:
            await tx.run(_MOVE, of_job=f"{PREFIX}{award.id}", new_state=_encoded(award))

        await self._database.transaction(body)

    async def _record(self, tx: Transaction, actor: Actor, user_id: int | None, reason: str, now: int) -> int:
        return await audit.write(
            tx,
            actor,
            ACTION,
            at_ms=now,
            target_kind="server" if user_id is None else "user",
            target_id=user_id or 0,
            reason=reason,
            details={"user_id": user_id},
        )


def _words(report: BackfillReport) -> str:
    failed = f" The stars of {report.failed} plays cannot be computed." if report.failed else ""
    return f"{report.medals} medals awarded, {report.players} players examined.{failed}"


def _encoded(award: QueuedAward) -> str:
    return msgspec.json.encode(award).decode()


def _decoded(state: str) -> QueuedAward:
    return msgspec.json.decode(state, type=QueuedAward)
