"""The process that measures replays for signs of cheating.

It is separate from those of `decoder.py` and `page_decoder.py`, so that neither plays nor pages wait for it.
"""

from collections.abc import Sequence
from typing import Final

from kiai.decoding.decoder import COMMAND, head_of, in_memory, reader_of
from kiai.decoding.jobs import BadFrames, EvidenceJob, EvidenceResult
from kiai.measuring import PoolUsage
from kiai.osu.replay_evidence import KnownReplay, ReplayFigures
from kiai.osu.replay_file import BadReplay
from kiai.process_pool import JobTimedOut, WorkerClient, WorkerPool

EVIDENCE_CPU_S: Final = 5.0
"""CPU limit in seconds. An hour of play takes 1.5 s."""
PROCESSES: Final = 1
WAITING_MAX: Final = 64
WAIT_S: Final = 30.0
IDLE_S: Final = 60.0


class EvidenceDecoder:
    """Measures replays. `caller` shares the process fairly."""

    def __init__(self, workers: WorkerClient) -> None:
        self._workers = workers

    async def measure(
        self, osu: bytes, frames: bytes, *, mode: int, mods: int, known: Sequence[KnownReplay], caller: str
    ) -> ReplayFigures:
        """See `replay_evidence.measure`.

        Raises BadReplay, also for a replay that exceeds the limit; Unavailable; and WorkerCrashed if the process died
        twice, which may have another cause than the replay.
        """
        head = head_of(EvidenceJob(len(osu), mode, mods, list(known)))
        read = reader_of(EvidenceResult, BadFrames)
        try:
            found = await self._workers.run_job(caller, head, read, cpu_s=EVIDENCE_CPU_S, load=in_memory(osu + frames))
        except JobTimedOut as error:
            raise BadReplay(str(error)) from error
        if isinstance(found, BadFrames):
            raise BadReplay(found.why)
        assert isinstance(found, EvidenceResult)
        return found.figures

    def pool(self) -> PoolUsage:
        """Return the usage of the process."""
        return self._workers.pool()

    async def close(self) -> None:
        """End the process. Waiting and running jobs raise Unavailable."""
        await self._workers.close()


def evidence_workers(command: Sequence[str] = COMMAND) -> WorkerPool:
    """Return the pool of the process."""
    return WorkerPool(
        "evidence",
        command,
        size=PROCESSES,
        waiting_max=WAITING_MAX,
        per_caller_max=WAITING_MAX,
        wait_s=WAIT_S,
        idle_s=IDLE_S,
    )
