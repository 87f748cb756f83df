"""pp and stars, computed in worker processes that can be killed (see `calculator.py`).

A map's jobs go to the worker that its md5 points at, so that no two workers hold the same map. One job is in work at a
worker, a bounded number waits. A job past its deadline costs its worker the life; a worker that dies by itself is
replaced and its job tried once more. Who stops waiting for a job leaves it to finish, so that its worker lives on.
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
from kiai.errors import KiaiError, Unavailable
from kiai.files.port import Files
from kiai.measuring import Pool
from kiai.osu.mods import difficulty_mods
from kiai.scores import calculator
from kiai.scores.calculator import FRAME_MAX, READY, Answer, Play, Request, Result
from kiai.storage.port import Command, Database, Query, Taken, Transaction
from kiai.storage.tables import difficulties

WAITING_MAX: Final = 256
CHUNK: Final = 2_000
DEADLINE_S: Final = 5.0
PER_PLAY_S: Final = 0.005  # more time for a chunk of many plays
START_S: Final = 30.0
TRIES: Final = 2
READ_BYTES: Final = 1024 * 1024
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


class _Garbage(Exception):
    """What came back is no answer to what was asked."""


class _Worker:
    """One calculator process, started when first needed and after each death."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether a job is in work."""
        return self._turn.locked()

    async def ask(self, request: Request) -> Answer:
        """The answer, after those who asked before. Raises CannotCalculate and Unavailable."""
        await self._turn.acquire()
        work = asyncio.create_task(self._work(request))
        work.add_done_callback(self._next_turn)
        return await asyncio.shield(work)

    async def close(self) -> None:
        """Ends the process and lets nobody start another."""
        self._closed = True
        self._kill()
        async with self._turn:
            await self._stop()

    def _next_turn(self, done: asyncio.Task[Answer]) -> None:
        self._turn.release()
        if not done.cancelled():
            done.exception()  # looked at, even when nobody waits for it any more

    async def _work(self, request: Request) -> Answer:
        for _ in range(TRIES):
            process = await self._started()
            try:
                async with asyncio.timeout(request.deadline_s):
                    return await _exchange(process, request)
            except TimeoutError:
                await self._stop()
                raise CannotCalculate("too slow") from None
            except (asyncio.IncompleteReadError, ConnectionError, msgspec.DecodeError, _Garbage):
                await self._stop()
            except asyncio.CancelledError:
                await self._stop()  # a half-read answer must not become the next one's
                raise
        raise CannotCalculate("crashed")

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is not None:
            await self._stop()
        if self._process is not None:
            return self._process
        self._check_open()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=READ_BYTES,
                start_new_session=True,  # a closed terminal or Ctrl-C is for its parent, which closes its stdin
            )
            self._check_open()
            async with asyncio.timeout(START_S):
                ready = await _read(self._process)
            if ready.id != READY:
                raise _Garbage
        except (OSError, asyncio.IncompleteReadError, msgspec.DecodeError, _Garbage) as error:
            await self._stop()
            raise Unavailable("performance", "its process does not start") from error
        except (Unavailable, asyncio.CancelledError):
            await self._stop()
            raise
        return self._process

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("performance", "it is closed")

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _stop(self) -> None:
        self._kill()
        process, self._process = self._process, None
        if process is not None:
            await process.communicate()  # reads to the end, so that both pipes are closed


async def _exchange(process: asyncio.subprocess.Process, request: Request) -> Answer:
    assert process.stdin is not None
    process.stdin.write(calculator.frame(request))
    await process.stdin.drain()
    answer = await _read(process)
    if answer.id != request.id or (answer.results is not None and len(answer.results) != len(request.plays)):
        raise _Garbage
    if answer.results is None and answer.error is None and (request.osu is not None or not answer.need_file):
        raise _Garbage
    return answer


async def _read(process: asyncio.subprocess.Process) -> Answer:
    assert process.stdout is not None
    length = calculator.frame_length(await process.stdout.readexactly(4))
    if length > FRAME_MAX:
        raise _Garbage
    return msgspec.msgpack.decode(await process.stdout.readexactly(length), type=Answer)


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
        deadline_s: float = DEADLINE_S,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._files = files
        self._deadline_s = deadline_s
        self._workers = [_Worker(command) for _ in range(workers)]
        self._ids = itertools.count(READY + 1)
        self._waiting = 0
        installed = version("rosu-pp-py")
        major, minor, patch = (int(part) for part in installed.split("."))
        self.calculator = f"rosu-pp-py {installed}"
        self.calculator_id = major * 10_000 + minor * 100 + patch

    async def plays(self, md5: str, mode: int, plays: Sequence[Play]) -> list[Result]:
        """The results of plays of one map in one vanilla mode, in order.

        Raises CannotCalculate for a map that gives none, Unavailable when its file is not stored, no worker starts or
        too many wait. Each 2,000 plays are one round trip with a deadline of their own.
        """
        if self._waiting >= WAITING_MAX:
            raise Unavailable("performance", f"{WAITING_MAX} jobs are waiting")
        self._waiting += 1
        try:
            results: list[Result] = []
            for start in range(0, len(plays), CHUNK):
                results += await self._chunk(md5, mode, list(plays[start : start + CHUNK]))
            return results
        finally:
            self._waiting -= 1

    @property
    def waiting(self) -> int:
        """How many jobs are not done, those in work included."""
        return self._waiting

    def pool(self) -> Pool:
        """The worker processes."""
        return Pool(sum(worker.busy for worker in self._workers), len(self._workers))

    async def rate(self, md5: str, mode: int) -> tuple[float, int]:
        """Stars and maximum combo of a map without mods (implements `beatmaps.importing.Rater`)."""
        [result] = await self.plays(md5, mode, [Play(mods=0)])
        return result.stars, result.max_combo

    async def _chunk(self, md5: str, mode: int, plays: list[Play]) -> list[Result]:
        worker = self._workers[int(md5[:8], 16) % len(self._workers)]
        deadline_s = self._deadline_s + PER_PLAY_S * len(plays)
        request = Request(next(self._ids), md5, mode, plays, deadline_s)
        answer = await worker.ask(request)
        if answer.need_file:
            osu = await self._files.get(osu_key(md5))
            if osu is None:
                raise Unavailable("beatmap file", f"the .osu file of {md5} is not stored")
            answer = await worker.ask(msgspec.structs.replace(request, osu=osu))
        if answer.results is None:
            assert answer.error is not None
            raise CannotCalculate(answer.error)
        return answer.results

    async def close(self) -> None:
        """Ends all workers; jobs that wait or run raise Unavailable."""
        await asyncio.gather(*(worker.close() for worker in self._workers))


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
