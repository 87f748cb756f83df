"""Recalculation: computes pp of stored scores with the installed calculator, then all rows that depend on pp.

    maps, several at once -> new pp in `recomputed` -> each player in one transaction: pp, flags, totals
    -> first places -> ranks

A profile therefore changes from all old pp to all new pp in one step. The job can be resumed after it was killed: the
table `recomputed` keeps the results, and `progress` keeps the last finished map. Scores that arrive during the job are
computed with the installed calculator already.
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
from kiai.osu.accuracy import HitCounts
from kiai.osu.modes import vanilla
from kiai.scores.calculator import CalculatorPlay
from kiai.scores.model import stable_score
from kiai.scores.performance import CannotCalculate, Performance, calculator_play, stored_pp
from kiai.scores.rebuilding import Rebuilder
from kiai.storage.outbox import enqueue
from kiai.storage.port import Command, Database, Lane, Query, Transaction, scalar
from kiai.storage.tables import progress, recomputed, scores

SCORES_AT_ONCE: Final = 500  # of one map, in one job for a worker and one transaction

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


# None as a parameter means no restriction; PostgreSQL needs its type.
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
    scalar,
    lane=Lane.JOB,
)
# A resumed job computes the maps of its last batch again, so results may be stored already.
_DROP = Command(
    delete(recomputed).where(
        recomputed.c.user_id == bindparam("of_user"), recomputed.c.score_id == bindparam("of_score")
    )
)
_STORE = Command(insert(recomputed).values({n: bindparam(n) for n in ("user_id", "score_id", "pp", "calculator")}))
_MAPS_OF = Query(
    select(scores.c.map_key).distinct().where(scores.c.user_id == bindparam("user_id"), scores.c.passed == 1),
    scalar,
    lane=Lane.JOB,
)
_PLAYERS = Query(
    select(func.count(scores.c.user_id.distinct())), scalar, lane=Lane.JOB, scans="it counts all who ever played, once"
)
_STATE = Query(select(progress.c.state).where(progress.c.job == bindparam("job")), scalar)
_FORGET = Command(delete(progress).where(progress.c.job == bindparam("job")))
_REMEMBER = Command(insert(progress).values({n: bindparam(n) for n in ("job", "state", "at_ms")}))


class RecalculationReport(msgspec.Struct):
    """The result of a recalculation. `failed` lists the maps whose pp cannot be computed, with the reason."""

    scores: int = 0
    changed: int = 0
    players: int = 0
    resumed: bool = False
    failed: list[str] = msgspec.field(default_factory=list)


class Recalculation:
    """Recalculates pp. `at_once` is the number of maps computed at the same time. `kiai recalc` runs it."""

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
        """Compute pp of the passed scores in this scope, then flags, stats, first places and ranks.

        A run with the same scope as one that was interrupted continues behind its last finished map.
        """
        report = RecalculationReport()
        # The scope is part of the key: another scope must not continue at this one's position.
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
            # The position is saved once the whole batch is stored: a batch that was interrupted is computed again.
            await asyncio.gather(*(self._map(map_key, where, report) for map_key in batch))
            await self._save_position(job, batch[-1])
        await self._rebuild(user, report)
        await self._save_position(job, None)
        progress(total, total)
        return report

    async def _map(self, map_key: int, where: dict[str, int | None], report: RecalculationReport) -> None:
        beatmap = await self._beatmaps.revision(map_key)
        after = 0
        while rows := await self._database.all(_ON_MAP, map_key=map_key, after=after, **where):
            after = rows[-1].id
            report.scores += len(rows)
            # Relax and autopilot scores are computed by the rules of their vanilla mode; the mods make the difference.
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
                # PERF: scores with equal pp and calculator need no write.
                await self._store([(row, pp) for row, pp in new if (pp, version) != (row.pp, row.calculator)])

    async def _store(self, new: list[tuple[_Row, float]]) -> None:
        if not new:
            return
        version = self._performance.calculator_id

        async def body(tx: Transaction) -> None:
            await tx.run_many(_DROP, [{"of_user": row.user_id, "of_score": row.id} for row, _ in new])
            await tx.run_many(
                _STORE,
                [{"user_id": row.user_id, "score_id": row.id, "pp": pp, "calculator": version} for row, pp in new],
            )

        await self._database.transaction(body, long=True)

    async def _rebuild(self, user: User | None, report: RecalculationReport) -> None:
        if user is not None:
            await self._rebuilder.users(user.id, user.id)
            for map_key in await self._database.all(_MAPS_OF, user_id=user.id):
                await self._rebuilder.maps(map_key, map_key)
            await self._rebuilder.highlights()
            report.players = 1
        else:
            report.players = await self._database.one(_PLAYERS) or 0
            await self._rebuilder.everything()

        async def body(tx: Transaction) -> None:
            # Through the outbox: the servers that hold the ranks may be other processes than this command.
            await enqueue(tx, "ranks_all", 0, self._clock.now_ms())

        await self._database.transaction(body)

    async def _save_position(self, job: str, map_key: int | None) -> None:
        async def body(tx: Transaction) -> None:
            await tx.run(_FORGET, job=job)
            if map_key is not None:
                await tx.run(_REMEMBER, job=job, state=str(map_key), at_ms=self._clock.now_ms())

        await self._database.transaction(body)


def _play(row: _Row) -> CalculatorPlay:
    counts = HitCounts(row.n300, row.n100, row.n50, row.ngeki, row.nkatu, row.nmiss)
    legacy_score = stable_score(row.score, row.client_version)
    return calculator_play(counts, mods=row.mods, max_combo=row.max_combo, legacy_score=legacy_score)
