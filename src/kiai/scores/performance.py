"""pp and stars, computed in worker processes that can be killed (see `calculator.py`).

The md5 of a map selects the worker of its jobs, so that two workers never cache the same map. Idle workers are not
stopped, because they would lose their caches. `process_pool.py` describes what happens to jobs that take too long.
"""

import asyncio
import contextlib
import itertools
import sys
from collections.abc import Sequence
from importlib.metadata import version
from time import perf_counter
from typing import Final

import msgspec
from sqlalchemy import bindparam, delete, insert, select

from kiai.beatmaps import osu_key
from kiai.callers import CALLER
from kiai.errors import KiaiError, Unavailable
from kiai.files.port import Files
from kiai.measuring import PoolUsage
from kiai.osu.accuracy import HitCounts
from kiai.osu.mods import difficulty_mods
from kiai.process_pipe import InvalidAnswer
from kiai.process_pool import JobTimedOut, WorkerCrashed, WorkerPool
from kiai.scores.calculator import CalculatorPlay, CalculatorReply, CalculatorRequest, CalculatorResult, MapAnalysis
from kiai.storage.port import Command, Database, Query, Transaction, UniqueViolation
from kiai.storage.tables import difficulties
from kiai.tracing import add_call

WAITING_MAX: Final = 256  # jobs for one worker
WAIT_S: Final = 60.0  # in the queue
CHUNK: Final = 2_000  # plays in one job; a larger call is split, so that other callers have their turn in between
CPU_S: Final = 5.0  # for the difficulty of a map; then the worker is killed
PER_PLAY_S: Final = 0.005  # and for each play
# -P keeps the current folder off the module path: a file named struct.py there would replace the standard module.
COMMAND: Final = (sys.executable, "-P", "-m", "kiai.scores.calculator")


class CannotCalculate(KiaiError):
    """The pp of this map or play cannot be computed.

    `reason` is one of `calculator.CalculatorReply.error`, or "too slow" for a job that exceeded its CPU time. "crashed"
    also means that two workers died while they ran the job.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def calculator_play(counts: HitCounts, *, mods: int, max_combo: int, legacy_score: int | None) -> CalculatorPlay:
    """Return a play with these judgements for `Performance.plays`. `legacy_score`: the total score of stable."""
    return CalculatorPlay(
        mods=mods,
        n300=counts.n300,
        n100=counts.n100,
        n50=counts.n50,
        ngeki=counts.ngeki,
        nkatu=counts.nkatu,
        nmiss=counts.nmiss,
        combo=max_combo,
        legacy_score=legacy_score,
    )


def stored_pp(pp: float) -> float:
    """Return pp as a score stores it, rounded to 3 decimals."""
    return round(pp, 3)


class Performance:
    """Computes pp of plays and stars of maps in `workers` processes. Each one is started by its first job.

    `calculator` is the name and version of the library. `calculator_id` is the version as a number (4.0.2 is 40002),
    which is stored with each score.
    """

    def __init__(
        self,
        files: Files,
        *,
        workers: int,
        cpu_s: float = CPU_S,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._files = files
        self._cpu_s = cpu_s
        # Pools of one process each: the md5 selects the process, not only the pool.
        self._workers = [
            WorkerPool(
                "performance",
                command,
                size=1,
                waiting_max=WAITING_MAX,
                per_caller_max=WAITING_MAX,
                wait_s=WAIT_S,
                idle_s=None,
            )
            for _ in range(workers)
        ]
        self._ids = itertools.count(1)
        installed = version("rosu-pp-py")
        major, minor, patch = (int(part) for part in installed.split("."))
        self.calculator = f"rosu-pp-py {installed}"
        self.calculator_id = major * 10_000 + minor * 100 + patch

    async def plays(
        self, md5: str, mode: int, plays: Sequence[CalculatorPlay], *, caller: str | None = None
    ) -> list[CalculatorResult]:
        """Return the results of plays of one map in one vanilla mode, in the order of the plays.

        `caller` shares the workers fairly with other callers; by default it is the network of the present request. Each
        2,000 plays are a job of their own. Raises CannotCalculate, and Unavailable if the file of the map is not
        stored, if no worker starts or if too many jobs wait.
        """
        results: list[CalculatorResult] = []
        for start in range(0, len(plays), CHUNK):
            results += await self._chunk(md5, mode, list(plays[start : start + CHUNK]), caller or CALLER.get())
        return results

    async def analysis(self, md5: str, mode: int, mods: int, *, caller: str | None = None) -> MapAnalysis:
        """Return the analysis of a map in a vanilla mode. Raises the errors of `plays`."""
        osu = await self._osu(md5)
        request = CalculatorRequest(next(self._ids), md5, mode, [], osu, analysed_with=mods)
        answer = await self._send(request, caller or CALLER.get())
        if answer.analysis is None:
            raise CannotCalculate(answer.error or "crashed")
        return answer.analysis

    async def _osu(self, md5: str) -> bytes:
        osu = await self._files.get(osu_key(md5))
        if osu is None:
            raise Unavailable("beatmap file", f"the .osu file of {md5} is not stored")
        return osu

    @property
    def waiting(self) -> int:
        """The number of unfinished jobs, including those that are running."""
        return sum(worker.unfinished for worker in self._workers)

    def pool(self) -> PoolUsage:
        """Return the numbers of worker processes, for the metrics."""
        return PoolUsage(*map(sum, zip(*(worker.pool() for worker in self._workers), strict=True)))

    async def rate(self, md5: str, mode: int) -> tuple[float, int]:
        """Return stars and maximum combo of a map without mods. Implements `beatmaps.importing.Rater`."""
        [result] = await self.plays(md5, mode, [CalculatorPlay(mods=0)])
        return result.stars, result.max_combo

    async def _chunk(self, md5: str, mode: int, plays: list[CalculatorPlay], caller: str) -> list[CalculatorResult]:
        request = CalculatorRequest(next(self._ids), md5, mode, plays)
        # PERF: first without the file, which most workers have parsed already: files have up to several MB.
        answer = await self._send(request, caller)
        if answer.need_file:
            answer = await self._send(msgspec.structs.replace(request, osu=await self._osu(md5)), caller)
        if answer.results is None:
            assert answer.error is not None
            raise CannotCalculate(answer.error)
        return answer.results

    async def _send(self, request: CalculatorRequest, caller: str) -> CalculatorReply:
        worker = self._workers[int(request.md5[:8], 16) % len(self._workers)]
        began = perf_counter()
        try:
            return await worker.run_job(
                caller,
                msgspec.msgpack.encode(request),
                lambda data: _read(data, request),
                cpu_s=self._cpu_s + PER_PLAY_S * len(request.plays),
            )
        except JobTimedOut as error:
            raise CannotCalculate("too slow") from error
        except WorkerCrashed as error:
            raise CannotCalculate("crashed") from error
        finally:
            add_call("pp", began)

    async def close(self) -> None:
        """Stop all workers. Waiting and running jobs raise Unavailable."""
        await asyncio.gather(*(worker.close() for worker in self._workers))


def _read(data: bytes, request: CalculatorRequest) -> CalculatorReply:
    try:
        answer = msgspec.msgpack.decode(data, type=CalculatorReply)
    except msgspec.DecodeError as error:
        raise InvalidAnswer from error
    if answer.id != request.id or (answer.results is not None and len(answer.results) != len(request.plays)):
        raise InvalidAnswer
    # Without results there must be an error, or a request for a file that was not sent yet.
    if answer.results is None and answer.error is None and (request.osu is not None or not answer.need_file):
        raise InvalidAnswer
    return answer


class Difficulty(msgspec.Struct, frozen=True):
    """The difficulty of a map in a mode with mods. Values that the mode does not have are None.

    `calculator.CalculatorResult` describes the fields.
    """

    stars: float
    max_combo: int
    aim: float | None
    speed: float | None
    flashlight: float | None
    slider_factor: float | None
    speed_note_count: float | None
    stamina: float | None
    color: float | None
    rhythm: float | None
    peak: float | None


_this: Final = (
    difficulties.c.map_key == bindparam("map_key"),
    difficulties.c.mode == bindparam("mode"),
    difficulties.c.mods == bindparam("mods"),
)
_KNOWN: Final = Query(
    select(difficulties.c.attributes).where(*_this, difficulties.c.calculator == bindparam("calculator")),
    msgspec.json.Decoder(Difficulty).decode,
)
_FORGET: Final = Command(delete(difficulties).where(*_this))
_REMEMBER: Final = Command(insert(difficulties).values({c.name: bindparam(c.name) for c in difficulties.c}))


class Difficulties:
    """Difficulties of maps. Each is computed once for each version of the calculator and stored in the database."""

    def __init__(self, database: Database, performance: Performance) -> None:
        self._database = database
        self._performance = performance

    async def of(self, map_key: int, md5: str, mode: int, mods: int) -> Difficulty:
        """Return the difficulty of a map in this vanilla mode. Raises the errors of `Performance.plays`."""
        mods = difficulty_mods(mods)
        where = {"map_key": map_key, "mode": mode, "mods": mods}
        name = self._performance.calculator
        known = await self._database.one(_KNOWN, **where, calculator=name)
        if known is not None:
            return known
        [result] = await self._performance.plays(md5, mode, [CalculatorPlay(mods=mods)])
        found = msgspec.convert(result, Difficulty, from_attributes=True)

        async def body(tx: Transaction) -> None:
            # A row of another version of the calculator has the same key.
            await tx.run(_FORGET, **where)
            await tx.run(
                _REMEMBER,
                **where,
                calculator=name,
                stars=found.stars,
                max_combo=found.max_combo,
                attributes=msgspec.json.encode(found).decode(),
            )

        with contextlib.suppress(UniqueViolation):  # another request has stored the same row in the meantime
            await self._database.transaction(body)
        return found
