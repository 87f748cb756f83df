"""The processes that work for pages: they analyse replays and draw pictures of scores.

They are separate from those of `decoder.py`, so that pages do not delay the game.
"""

from collections.abc import Sequence
from typing import Final

from kiai.decoding.decoder import COMMAND, head_of, in_memory, reader_of
from kiai.decoding.jobs import AnalysisJob, AnalysisResult, BadFrames, CardJob, MediaResult
from kiai.errors import Unavailable
from kiai.measuring import PoolUsage
from kiai.osu.replay_analysis import ReplayAnalysis
from kiai.osu.replay_file import BadReplay
from kiai.process_pool import JobTimedOut, WorkerClient, WorkerCrashed, WorkerPool

ANALYSIS_CPU_S: Final = 4.0
"""CPU limit in seconds. An hour of play takes 1.3 s."""
CARD_CPU_S: Final = 5.0
PROCESSES: Final = 1
WAITING_MAX: Final = 256
OF_CALLER_MAX: Final = 24
WAIT_S: Final = 20.0
IDLE_S: Final = 120.0


class PageDecoder:
    """Analyses replays and draws pictures of scores. `caller` is the account or network whose queue the job joins."""

    def __init__(self, workers: WorkerClient) -> None:
        self._workers = workers

    async def analysis(
        self, osu: bytes, frames: bytes, *, mode: int, mods: int, life_bar: str, caller: str
    ) -> ReplayAnalysis:
        """See `replay_analysis.analyse`. Raises BadReplay and Unavailable."""
        head = head_of(AnalysisJob(len(osu), mode, mods, life_bar))
        read = reader_of(AnalysisResult, BadFrames)
        try:
            found = await self._workers.run_job(caller, head, read, cpu_s=ANALYSIS_CPU_S, load=in_memory(osu + frames))
        except (JobTimedOut, WorkerCrashed) as error:
            raise BadReplay(f"the replay cannot be analysed: {error}") from error
        if isinstance(found, BadFrames):
            raise BadReplay(found.why)
        assert isinstance(found, AnalysisResult)
        return found.analysis

    async def card(self, job: CardJob, cover: bytes, *, caller: str) -> bytes:
        """Draw the picture of a score as a PNG. Raises Unavailable."""
        try:
            found = await self._workers.run_job(
                caller, head_of(job), reader_of(MediaResult), cpu_s=CARD_CPU_S, load=in_memory(cover)
            )
        except (JobTimedOut, WorkerCrashed) as error:
            raise Unavailable("pages", f"the picture of a score cannot be drawn: {error}") from error
        assert isinstance(found, MediaResult)
        return found.data

    def pool(self) -> PoolUsage:
        """Return the usage of the processes."""
        return self._workers.pool()

    async def close(self) -> None:
        """End all processes. Waiting and running jobs raise Unavailable."""
        await self._workers.close()


def page_workers(command: Sequence[str] = COMMAND) -> WorkerPool:
    """Return the pool of processes."""
    return WorkerPool(
        "pages",
        command,
        size=PROCESSES,
        waiting_max=WAITING_MAX,
        per_caller_max=OF_CALLER_MAX,
        wait_s=WAIT_S,
        idle_s=IDLE_S,
    )
