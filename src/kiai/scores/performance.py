"""pp and stars, computed in worker processes that can be killed (see `calculator.py`).

A map's jobs go to the worker that its md5 points at, so that no two workers hold the same map. One job is in work at a
worker, a bounded number waits. A job past its deadline costs its worker the life, and the map is not asked again.
"""

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

import msgspec

from kiai.beatmaps import osu_key
from kiai.errors import KiaiError, Unavailable
from kiai.files.port import Files
from kiai.scores import calculator
from kiai.scores.calculator import Answer, Play, Request, Result

WAITING_MAX: Final = 256
CHUNK: Final = 2_000
DEADLINE_S: Final = 5.0
PER_PLAY_S: Final = 0.005  # more time for a chunk of many plays


class CannotCalculate(KiaiError):
    """This map will never give a pp: too slow, unreadable or not convertible."""


def stored_pp(pp: float) -> float:
    """pp as a score stores it: 3 decimals."""
    return round(pp, 3)


class _Worker:
    """One calculator process, started when first needed and after each death."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self.turn = asyncio.Lock()

    async def ask(self, request: Request, deadline_s: float) -> Answer:
        """One round trip. Raises CannotCalculate past the deadline, Unavailable when the process dies twice."""
        for _ in range(2):
            process = await self._started()
            try:
                async with asyncio.timeout(deadline_s):
                    return await self._exchange(process, request)
            except TimeoutError:
                await self.stop()
                raise CannotCalculate(f"it takes longer than {deadline_s:g} s") from None
            except (asyncio.IncompleteReadError, ConnectionError, msgspec.DecodeError):
                await self.stop()
            except asyncio.CancelledError:
                await self.stop()  # a half-read answer must not become the next one's
                raise
        raise Unavailable("pp calculation", "its process died twice")

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                limit=calculator.FRAME_MAX,
            )
        return self._process

    @staticmethod
    async def _exchange(process: asyncio.subprocess.Process, request: Request) -> Answer:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(calculator.frame(msgspec.msgpack.encode(request)))
        await process.stdin.drain()
        length = int.from_bytes(await process.stdout.readexactly(4), "little")
        return msgspec.msgpack.decode(await process.stdout.readexactly(length), type=Answer)

    async def stop(self) -> None:
        """Ends the process."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


class Performance:
    """pp of plays and ratings of maps. `workers` processes; nothing is started before it is needed."""

    def __init__(
        self,
        files: Files,
        *,
        workers: int,
        deadline_s: float = DEADLINE_S,
        command: Sequence[str] = (sys.executable, "-m", "kiai.scores.calculator"),
    ) -> None:
        self._files = files
        self._deadline_s = deadline_s
        self._workers = [_Worker(command) for _ in range(workers)]
        self._waiting = 0
        self.calculator = f"rosu-pp-py {version('rosu-pp-py')}"
        major, minor, patch = (int(part) for part in version("rosu-pp-py").split("."))
        self.calculator_id = major * 10_000 + minor * 100 + patch

    async def plays(self, md5: str, mode: int, plays: Sequence[Play]) -> list[Result]:
        """The results of plays of one map in one vanilla mode, in order.

        Raises CannotCalculate for a map that gives none, Unavailable when its file is not stored, the workers die or
        too many wait.
        """
        results: list[Result] = []
        for start in range(0, len(plays), CHUNK):
            results += await self._chunk(md5, mode, list(plays[start : start + CHUNK]))
        return results

    async def rate(self, md5: str, mode: int) -> tuple[float, int]:
        """Stars and maximum combo of a map without mods (implements `beatmaps.importing.Rater`)."""
        [result] = await self.plays(md5, mode, [Play(mods=0)])
        return result.stars, result.max_combo

    async def _chunk(self, md5: str, mode: int, plays: list[Play]) -> list[Result]:
        if self._waiting >= WAITING_MAX:
            raise Unavailable("pp calculation", f"{WAITING_MAX} maps are waiting")
        worker = self._workers[int(md5[:8], 16) % len(self._workers)]
        deadline_s = self._deadline_s + PER_PLAY_S * len(plays)
        self._waiting += 1
        try:
            async with worker.turn:
                answer = await worker.ask(Request(md5, mode, plays), deadline_s)
                if answer.need_file:
                    osu = await self._files.get(osu_key(md5))
                    if osu is None:
                        raise Unavailable("beatmap file", f"the .osu file of {md5} is not stored")
                    answer = await worker.ask(Request(md5, mode, plays, osu), deadline_s)
        finally:
            self._waiting -= 1
        if answer.error is not None:
            raise CannotCalculate(answer.error)
        assert answer.results is not None
        return answer.results

    async def close(self) -> None:
        """Ends all workers."""
        for worker in self._workers:
            await worker.stop()
