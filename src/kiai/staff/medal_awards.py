"""Awards of missing medals that staff asks for: runs of the job `medals`, or carried out at once by the command line.

A run that was interrupted by a restart continues behind the last player whose medals are stored.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from kiai.clock import Clock
from kiai.osu.numbers import whole_number
from kiai.scores.medal_backfill import BackfillReport, MedalBackfill
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.staff.job_runs import CheckedStart, JobDesk, JobKind, JobProgress, JobRun
from kiai.storage.port import Database, Transaction

PERMISSION: Final = "medals.award"
ACTION: Final = "medals_award"
KIND: Final = "medals"
ID_MAX: Final = 2**31 - 1


class MedalAwards:
    """Queues awards of missing medals, and carries them out."""

    def __init__(
        self, database: Database, authority: Authority, backfill: MedalBackfill, desk: JobDesk, clock: Clock
    ) -> None:
        self._database = database
        self._authority = authority
        self._backfill = backfill
        self._desk = desk
        self._clock = clock
        desk.add(
            JobKind(
                KIND,
                "Award of medals",
                self._check,
                self._run,
                permission=PERMISSION,
                action=ACTION,
                parallel=True,
                waits=True,
            )
        )

    async def active(self, actor: Actor) -> Sequence[JobRun]:
        """Return the awards that wait or run, the oldest first. Raises NotAllowed."""
        return await self._desk.active(actor, KIND)

    async def queue(self, actor: Actor, *, user_id: int | None = None, reason: str = "") -> int:
        """Queue the award of missing medals to one player or, without an id, to all. Return the id of the run.

        Raises NotAllowed, NotFound("user"), WrongState if the same one is queued, and Refused at the limit.
        """
        return await self._desk.start(actor, KIND, {} if user_id is None else {"user": f"#{user_id}"}, reason)

    async def award_now(
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
            await audit.write(
                tx,
                actor,
                ACTION,
                at_ms=now,
                target_kind="server" if user_id is None else "user",
                target_id=user_id or 0,
                details={"user": user_id},
            )

        await self._authority.transaction(Requirement(actor, PERMISSION), body)
        report = BackfillReport()
        if user_id is not None:
            await self._backfill.player(user_id, report)
        else:
            await self._backfill.all_after(0, report, lambda user_id: progress(report.players))
        return report

    async def _check(self, given: Mapping[str, str]) -> CheckedStart:
        """Check the parameter `user`, a name, or # and an id."""
        if "user" not in given:
            return CheckedStart({}, "server")
        text = given["user"]
        user_id = whole_number(text.removeprefix("#"), ID_MAX) if text.startswith("#") else None
        user = await self._authority.target(text if user_id is None else user_id)
        return CheckedStart({"user": f"#{user.id}"}, "user", user.id)

    async def _run(self, run: JobRun, progress: JobProgress) -> str:
        report, before = BackfillReport(), run.done
        given = run.parameters
        if "user" in given:
            user = await self._authority.target(int(given["user"].removeprefix("#")))
            await self._backfill.player(user.id, report)
        else:

            def passed(user_id: int) -> None:
                progress.position = user_id
                progress(before + report.players, 0)

            await self._backfill.all_after(run.position, report, passed)
        failed = f" The stars of {report.failed} plays cannot be computed." if report.failed else ""
        return f"{report.medals} medals awarded, {report.players} players examined.{failed}"
