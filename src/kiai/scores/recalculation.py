"""Recalculation: pp of stored scores with the present calculator, then everything that follows from pp.

    maps, several at once -> new pp waits in `recomputed` -> each player in one transaction: pp, flags, totals
    -> first places -> ranks

So a profile is all old or all new, never between. Resumable: what waits is kept, and the map up to which all are done
is noted, so a job that was killed goes on where it stood. Scores that arrive meanwhile are computed with the present
calculator already.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
from sqlalchemy import bindparam, delete, func, insert, or_, select

from kiai.accounts import User
from kiai.beatmaps import Beatmap, Beatmaps
from kiai.clock import Clock
from kiai.errors import Unavailable
from kiai.osu.modes import vanilla
from kiai.scores import calculator
from kiai.scores.model import stable_score
from kiai.scores.performance import CannotCalculate, Performance, stored_pp
from kiai.scores.rebuilding import Rebuilder
from kiai.storage.outbox import tell
from kiai.storage.port import Command, Database, Lane, Query, Transaction, only
from kiai.storage.tables import progress, recomputed, scores

SCORES_AT_ONCE: Final = 500

_FIELDS = (
    "id",
    "user_id",
    "mode",
    "mods",
    "score",
    "max_combo",
    "n300",
    "n100",
    "n50",
    "ngeki",
    "nkatu",
    "nmiss",
    "client_version",
    "pp",
    "calculator",
)


class _Row(msgspec.Struct, frozen=True):
    id: int
    user_id: int
    mode: int
    mods: int
    score: int
    max_combo: int
    n300: int
    n100: int
    n50: int
    ngeki: int
    nkatu: int
    nmiss: int
    client_version: int
    pp: float
    calculator: int


_wanted = (
    scores.c.passed == 1,
    or_(bindparam("mode", type_=scores.c.mode.type).is_(None), scores.c.mode == bindparam("mode")),
)
_of_user = or_(bindparam("user_id", type_=scores.c.user_id.type).is_(None), scores.c.user_id == bindparam("user_id"))
_ON_MAP = Query(
    select(*[scores.c[name] for name in _FIELDS])
    .where(scores.c.map_key == bindparam("map_key"), *_wanted, _of_user, scores.c.id > bindparam("after"))
    .order_by(scores.c.id)
    .limit(SCORES_AT_ONCE),
    _Row,
    lane=Lane.JOB,
)
_MAPS = Query(
    select(scores.c.map_key)
    .distinct()
    .where(*_wanted, scores.c.map_key > bindparam("after"))
    .order_by(scores.c.map_key),
    only,
    lane=Lane.JOB,
)
_AGAIN = Command(
    delete(recomputed).where(
        recomputed.c.user_id == bindparam("of_user"), recomputed.c.score_id == bindparam("of_score")
    )
)
_WAIT = Command(insert(recomputed).values({n: bindparam(n) for n in ("user_id", "score_id", "pp", "calculator")}))
_MAPS_OF = Query(
    select(scores.c.map_key).distinct().where(scores.c.user_id == bindparam("user_id"), scores.c.passed == 1),
    only,
    lane=Lane.JOB,
)
_PLAYERS = Query(
    select(func.count(scores.c.user_id.distinct())), only, lane=Lane.JOB, scans="it counts all who ever played, once"
)
_STATE = Query(select(progress.c.state).where(progress.c.job == bindparam("job")), only)
_FORGET = Command(delete(progress).where(progress.c.job == bindparam("job")))
_REMEMBER = Command(insert(progress).values({n: bindparam(n) for n in ("job", "state", "at_ms")}))


class RecalculationReport(msgspec.Struct):
    """What a recalculation did. `failed` are maps whose pp cannot be computed, with the reason."""

    scores: int = 0
    changed: int = 0
    players: int = 0
    resumed: bool = False
    failed: list[str] = msgspec.field(default_factory=list)


class Recalculation:
    """The job behind `kiai recalc`."""

    def __init__(
        self,
        database: Database,
        beatmaps: Beatmaps,
        performance: Performance,
        rebuilder: Rebuilder,
        clock: Clock,
        *,
        at_once: int,
    ) -> None:
        self._database = database
        self._beatmaps = beatmaps
        self._performance = performance
        self._rebuilder = rebuilder
        self._clock = clock
        self._at_once = at_once

    async def run(
        self,
        *,
        mode: int | None = None,
        beatmap: Beatmap | None = None,
        user: User | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> RecalculationReport:
        """Recomputes pp of the passed scores in this scope, then flags, stats, first places and ranks."""
        report = RecalculationReport()
        job = f"recalc mode={mode} map={beatmap.key if beatmap else None} user={user.id if user else None}"
        where = {"mode": mode, "user_id": user.id if user else None}
        state = await self._database.one(_STATE, job=job)
        reached = int(state) if state else 0
        report.resumed = bool(reached)
        if beatmap is not None:
            found = [beatmap.key]
        elif user is not None:
            found = sorted(key for key in await self._database.all(_MAPS_OF, user_id=user.id) if key > reached)
        else:
            found = await self._database.all(_MAPS, after=reached, mode=mode)
        total = len(found)
        for done in range(0, total, self._at_once):
            progress(done, total)
            batch = found[done : done + self._at_once]
            await asyncio.gather(*(self._map(map_key, where, report) for map_key in batch))
            await self._note(job, batch[-1])
        await self._settle(user, report)
        await self._note(job, None)
        progress(total, total)
        return report

    async def _map(self, map_key: int, where: dict[str, int | None], report: RecalculationReport) -> None:
        beatmap = await self._beatmaps.revision(map_key)
        after = 0
        while rows := await self._database.all(_ON_MAP, map_key=map_key, after=after, **where):
            after = rows[-1].id
            report.scores += len(rows)
            for ruleset in {vanilla(row.mode) for row in rows}:
                same = [row for row in rows if vanilla(row.mode) == ruleset]
                try:
                    results = await self._performance.plays(beatmap.md5, ruleset, [_play(row) for row in same])
                except (CannotCalculate, Unavailable) as error:
                    report.failed.append(f"map {beatmap.id}: {error}")
                    return
                new = [(row, stored_pp(result.pp)) for row, result in zip(same, results, strict=True)]
                report.changed += sum(1 for row, pp in new if pp != row.pp)
                version = self._performance.calculator_id
                await self._keep([(row, pp) for row, pp in new if (pp, version) != (row.pp, row.calculator)])

    async def _keep(self, new: list[tuple[_Row, float]]) -> None:
        if not new:
            return
        version = self._performance.calculator_id

        async def body(tx: Transaction) -> None:
            await tx.many(_AGAIN, [{"of_user": row.user_id, "of_score": row.id} for row, _ in new])
            await tx.many(
                _WAIT,
                [{"user_id": row.user_id, "score_id": row.id, "pp": pp, "calculator": version} for row, pp in new],
            )

        await self._database.transaction(body, long=True)

    async def _settle(self, user: User | None, report: RecalculationReport) -> None:
        if user is not None:
            await self._rebuilder.users(user.id, user.id)
            for map_key in await self._database.all(_MAPS_OF, user_id=user.id):
                await self._rebuilder.maps(map_key, map_key)
            report.players = 1
        else:
            report.players = await self._database.one(_PLAYERS) or 0
            await self._rebuilder.everything()

        async def body(tx: Transaction) -> None:
            await tell(tx, "ranks_all", 0, self._clock.now_ms())

        await self._database.transaction(body)

    async def _note(self, job: str, map_key: int | None) -> None:
        async def body(tx: Transaction) -> None:
            await tx.run(_FORGET, job=job)
            if map_key is not None:
                await tx.run(_REMEMBER, job=job, state=str(map_key), at_ms=self._clock.now_ms())

        await self._database.transaction(body)


def _play(row: _Row) -> calculator.Play:
    return calculator.Play(
        mods=row.mods,
        n300=row.n300,
        n100=row.n100,
        n50=row.n50,
        ngeki=row.ngeki,
        nkatu=row.nkatu,
        nmiss=row.nmiss,
        combo=row.max_combo,
        legacy_score=stable_score(row.score, row.client_version),
    )
