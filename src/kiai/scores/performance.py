"""pp and stars, computed in worker processes that can be killed (see `calculator.py`).

A map's jobs go to the worker that its md5 points at, so that no two workers hold the same map; `workers.py` says what
becomes of jobs that take too long. These workers live on when they are idle, because they hold what they have computed.
"""

import asyncio
import contextlib
import itertools
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

import msgspec
from sqlalchemy import bindparam, delete, insert, select

from kiai.beatmaps import osu_key
from kiai.callers import CALLER
from kiai.errors import KiaiError, Unavailable
from kiai.files.port import Files
from kiai.measuring import Pool
from kiai.osu.mods import difficulty_mods
from kiai.scores.calculator import Answer, Play, Request, Result
from kiai.storage.port import Command, Database, Query, Taken, Transaction
from kiai.storage.tables import difficulties
from kiai.workers import Crashed, Garbage, TookTooLong, WorkerPool

WAITING_MAX: Final = 256  # for one worker
WAIT_S: Final = 60.0
CHUNK: Final = 2_000
CPU_S: Final = 5.0
PER_PLAY_S: Final = 0.005  # more time for a chunk of many plays
# -P: a folder that happens to hold a struct.py must not be where a worker finds its modules.
COMMAND: Final = (sys.executable, "-P", "-m", "kiai.scores.calculator")


class CannotCalculate(KiaiError):
    """This map gives no pp. `reason`: that of `calculator.Answer.error`, or "too slow".

    "crashed" also stands for a worker that died of the job, twice.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def stored_pp(pp: float) -> float:
    """pp as a score stores it: 3 decimals."""
    return round(pp, 3)


class Performance:
    """pp of plays and ratings of maps. `workers` processes; nothing is started before it is needed.

    `calculator` is the name and version of what computes, `calculator_id` the same as a number (4.0.2 is 40002), which
    is stored with each score.
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

    async def plays(self, md5: str, mode: int, plays: Sequence[Play], *, caller: str | None = None) -> list[Result]:
        """The results of plays of one map in one vanilla mode, in order.

        Raises CannotCalculate for a map that gives none, Unavailable when its file is not stored, no worker starts or
        too many wait. Each 2,000 plays are one round trip, which has its turn among those of other callers. `caller` is
        by default the network whose request this is.
        """
        results: list[Result] = []
        for start in range(0, len(plays), CHUNK):
            results += await self._chunk(md5, mode, list(plays[start : start + CHUNK]), caller or CALLER.get())
        return results

    @property
    def waiting(self) -> int:
        """How many jobs are not done, those in work included."""
        return sum(worker.unfinished for worker in self._workers)

    def pool(self) -> Pool:
        """The worker processes."""
        return Pool(sum(worker.pool().in_use for worker in self._workers), len(self._workers))

    async def rate(self, md5: str, mode: int) -> tuple[float, int]:
        """Stars and maximum combo of a map without mods (implements `beatmaps.importing.Rater`)."""
        [result] = await self.plays(md5, mode, [Play(mods=0)])
        return result.stars, result.max_combo

    async def _chunk(self, md5: str, mode: int, plays: list[Play], caller: str) -> list[Result]:
        request = Request(next(self._ids), md5, mode, plays)
        answer = await self._ask(request, caller)
        if answer.need_file:
            osu = await self._files.get(osu_key(md5))
            if osu is None:
                raise Unavailable("beatmap file", f"the .osu file of {md5} is not stored")
            answer = await self._ask(msgspec.structs.replace(request, osu=osu), caller)
        if answer.results is None:
            assert answer.error is not None
            raise CannotCalculate(answer.error)
        return answer.results

    async def _ask(self, request: Request, caller: str) -> Answer:
        worker = self._workers[int(request.md5[:8], 16) % len(self._workers)]
        try:
            return await worker.ask(
                caller,
                msgspec.msgpack.encode(request),
                lambda data: _read(data, request),
                cpu_s=self._cpu_s + PER_PLAY_S * len(request.plays),
            )
        except TookTooLong as error:
            raise CannotCalculate("too slow") from error
        except Crashed as error:
            raise CannotCalculate("crashed") from error

    async def close(self) -> None:
        """Ends all workers; jobs that wait or run raise Unavailable."""
        await asyncio.gather(*(worker.close() for worker in self._workers))


def _read(data: bytes, request: Request) -> Answer:
    try:
        answer = msgspec.msgpack.decode(data, type=Answer)
    except msgspec.DecodeError as error:
        raise Garbage from error
    if answer.id != request.id or (answer.results is not None and len(answer.results) != len(request.plays)):
        raise Garbage
    if answer.results is None and answer.error is None and (request.osu is not None or not answer.need_file):
        raise Garbage
    return answer


class Difficulty(msgspec.Struct, frozen=True):
    """How hard a map is in a mode with mods; None where the mode has no such part (see `calculator.Result`)."""

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
    """Difficulties that are computed once for each calculator and then read from the database."""

    def __init__(self, database: Database, performance: Performance) -> None:
        self._database = database
        self._performance = performance

    async def of(self, map_key: int, md5: str, mode: int, mods: int) -> Difficulty:
        """The difficulty in this vanilla mode. Raises as `Performance.plays` does."""
        mods = difficulty_mods(mods)
        where = {"map_key": map_key, "mode": mode, "mods": mods}
        name = self._performance.calculator
        known = await self._database.one(_KNOWN, **where, calculator=name)
        if known is not None:
            return known
        [result] = await self._performance.plays(md5, mode, [Play(mods=mods)])
        found = msgspec.convert(result, Difficulty, from_attributes=True)

        async def body(tx: Transaction) -> None:
            await tx.run(_FORGET, **where)
            await tx.run(
                _REMEMBER,
                **where,
                calculator=name,
                stars=found.stars,
                max_combo=found.max_combo,
                attributes=msgspec.json.encode(found).decode(),
            )

        with contextlib.suppress(Taken):  # who was faster stored the same
            await self._database.transaction(body)
        return found
