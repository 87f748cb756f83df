"""The server's side of decoding: one pool of processes for pictures and archives, another for replays.

The pools are separate from each other and from those for pp and passwords, so that one kind of job does not delay
another. One caller uses one process for replays at a time, which leaves the other one to other callers. A replay that
exceeds `SHORT_CPU_S` starts again in a pool of its own, and for `LONG_S` seconds all replays of its player do. So
hostile replays delay only those of their caller, and other long ones.
"""

import asyncio
import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from kiai.decoding.archives import BadArchive, UnpackedMaps
from kiai.decoding.jobs import (
    AvatarJob,
    BackgroundJob,
    BadFrames,
    CoverJob,
    FramesJob,
    FramesResult,
    Job,
    MediaResult,
    PreviewJob,
    RejectedArchive,
    RejectedPicture,
    Result,
    ScreenshotJob,
    UnpackedResult,
    UnpackJob,
)
from kiai.errors import Invalid
from kiai.measuring import PoolUsage
from kiai.osu.replay_file import BadReplay, FrameStats
from kiai.pool_process import NICENESS
from kiai.process_pipe import InvalidAnswer
from kiai.process_pool import JobTimedOut, Load, WorkerClient, WorkerCrashed, WorkerPool

PICTURE_CPU_S: Final = 5.0
UNPACKED_MAX: Final = 64 * 1024 * 1024
"""Bytes of the .osu files of an uploaded archive."""
FRAMES_CPU_S: Final = 2.0
"""CPU limit in seconds. The longest real replay, an hour of play, takes 0.3 s on a core of 2023."""
SHORT_CPU_S: Final = 0.25
"""CPU limit of the first attempt, in seconds. Half an hour of play takes 0.15 s."""
PICTURE_PROCESSES: Final = 1  # a picture of 34 million pixels takes 200 MB while it is decoded
REPLAY_PROCESSES: Final = 2
LONG_PROCESSES: Final = 1
WAITING_MAX: Final = 256
PICTURES_OF_CALLER_MAX: Final = 100  # a page of osu!direct asks for a hundred thumbnails at once
REPLAYS_OF_CALLER_RUNNING_MAX: Final = 1
REPLAYS_OF_CALLER_MAX: Final = 24
LONG_WAITING_MAX: Final = 32
LONG_OF_CALLER_MAX: Final = 2
LONG_S: Final = 600.0
LONG_PLAYERS_MAX: Final = 1_024
WAIT_S: Final = 20.0
PICTURES_IDLE_S: Final = 60.0
REPLAYS_IDLE_S: Final = 300.0
# -P keeps the working folder out of the module path: a file `struct.py` there must not replace the module.
COMMAND: Final = (sys.executable, "-P", "-m", "kiai.decoding.process")
REPLAYS_COMMAND: Final = (*COMMAND, str(NICENESS))  # the priority of pp: the player waits for both

_RESULT: Final = msgspec.msgpack.Decoder(Result)


class _Moved(Exception):
    """The replay belongs to the pool of long replays."""


class Decoder:
    """Decodes pictures, archives and replays. `caller` is the account or network whose queue the job joins."""

    def __init__(self, pictures: WorkerClient, replays: WorkerClient, long_replays: WorkerClient) -> None:
        self._pictures = pictures
        self._replays = replays
        self._long_replays = long_replays
        self._long_until_s: OrderedDict[str, float] = OrderedDict()
        """The players whose replays exceeded `SHORT_CPU_S`, oldest first."""

    async def avatar(self, picture: bytes, kind: str, *, caller: str) -> bytes:
        """See `pictures.avatar`. Raises Invalid and Unavailable."""
        return await self._picture("avatar", AvatarJob(kind), picture, caller)

    async def cover(self, picture: bytes, kind: str, *, caller: str) -> bytes:
        """See `pictures.cover`. Raises Invalid and Unavailable."""
        return await self._picture("cover", CoverJob(kind), picture, caller)

    async def screenshot(self, picture: bytes, kind: str, *, caller: str) -> bytes:
        """See `pictures.screenshot`. Raises Invalid and Unavailable."""
        return await self._picture("screenshot", ScreenshotJob(kind), picture, caller)

    async def background(self, load: Load, set_id: int, size: tuple[int, int], *, caller: str) -> bytes:
        """See `sets.background`; `load` fetches the archive. Raises Unavailable."""
        return await self._of_archive(BackgroundJob(set_id, *size), load, caller)

    async def preview(self, load: Load, set_id: int, *, caller: str) -> bytes:
        """See `sets.preview`; `load` fetches the archive. Raises Unavailable."""
        return await self._of_archive(PreviewJob(set_id), load, caller)

    async def unpack(self, archive: bytes, *, caller: str) -> UnpackedMaps:
        """See `archives.unpack_maps`, for at most `UNPACKED_MAX` bytes. Raises BadArchive and Unavailable."""
        try:
            found = await self._pictures.run_job(
                caller,
                head_of(UnpackJob(UNPACKED_MAX)),
                reader_of(UnpackedResult, RejectedArchive),
                cpu_s=PICTURE_CPU_S,
                load=in_memory(archive),
            )
        except (JobTimedOut, WorkerCrashed) as error:
            raise BadArchive("the archive takes too long to read") from error
        if isinstance(found, RejectedArchive):
            raise BadArchive(found.why)
        assert isinstance(found, UnpackedResult)
        return found.maps

    async def frames(self, stream: bytes, *, player: str, caller: str) -> FrameStats:
        """See `replay_file.check_frames`. `player` is the account. Raises BadReplay and Unavailable."""
        try:
            found = await self._frames(stream, player, caller)
        except (JobTimedOut, WorkerCrashed) as error:
            # Only hostile data exceeds the limits. The processes are replaced, so it is an error of the input.
            raise BadReplay(f"the frames cannot be read: {error}") from error
        if isinstance(found, BadFrames):
            raise BadReplay(found.why)
        assert isinstance(found, FramesResult)
        return found.stats

    async def _frames(self, stream: bytes, player: str, caller: str) -> Result:
        head, read = head_of(FramesJob()), reader_of(FramesResult, BadFrames)

        async def load_short() -> bytes:
            if self._has_long_replays(player):  # it has sent a long one since this one began to wait
                raise _Moved
            return stream

        if not self._has_long_replays(player):
            try:
                return await self._replays.run_job(caller, head, read, cpu_s=SHORT_CPU_S, load=load_short)
            except JobTimedOut:
                self._long_until_s[player] = asyncio.get_running_loop().time() + LONG_S
                self._long_until_s.move_to_end(player)
                if len(self._long_until_s) > LONG_PLAYERS_MAX:
                    self._long_until_s.popitem(last=False)
            except _Moved:
                pass
        return await self._long_replays.run_job(caller, head, read, cpu_s=FRAMES_CPU_S, load=in_memory(stream))

    def _has_long_replays(self, player: str) -> bool:
        return self._long_until_s.get(player, 0.0) > asyncio.get_running_loop().time()

    def pools(self) -> dict[str, PoolUsage]:
        """Return the usage of each pool by its name."""
        pools = {"pictures": self._pictures, "replays": self._replays, "long_replays": self._long_replays}
        return {name: workers.pool() for name, workers in pools.items()}

    async def close(self) -> None:
        """End all processes. Waiting and running jobs raise Unavailable."""
        await asyncio.gather(self._pictures.close(), self._replays.close(), self._long_replays.close())

    async def _picture(self, field: str, job: Job, picture: bytes, caller: str) -> bytes:
        try:
            found = await self._pictures.run_job(
                caller,
                head_of(job),
                reader_of(MediaResult, RejectedPicture),
                cpu_s=PICTURE_CPU_S,
                load=in_memory(picture),
            )
        except (JobTimedOut, WorkerCrashed) as error:
            raise Invalid(field, "a picture that can be decoded quickly", "one that takes too long") from error
        if isinstance(found, RejectedPicture):
            raise Invalid(found.field, found.allowed, found.got)
        assert isinstance(found, MediaResult)
        return found.data

    async def _of_archive(self, job: Job, load: Load, caller: str) -> bytes:
        try:
            found = await self._pictures.run_job(
                caller, head_of(job), reader_of(MediaResult), cpu_s=PICTURE_CPU_S, load=load
            )
        except (JobTimedOut, WorkerCrashed):
            return b""  # as for an archive without a background or music: the player cannot change it
        assert isinstance(found, MediaResult)
        return found.data


def picture_workers(command: Sequence[str] = COMMAND) -> WorkerPool:
    """The processes for pictures and archives."""
    return WorkerPool(
        "pictures",
        command,
        size=PICTURE_PROCESSES,
        waiting_max=WAITING_MAX,
        per_caller_max=PICTURES_OF_CALLER_MAX,
        wait_s=WAIT_S,
        idle_s=PICTURES_IDLE_S,
    )


def replay_workers(command: Sequence[str] = REPLAYS_COMMAND) -> WorkerPool:
    """Return the pool of processes for replays."""
    return WorkerPool(
        "replays",
        command,
        size=REPLAY_PROCESSES,
        waiting_max=WAITING_MAX,
        per_caller_max=REPLAYS_OF_CALLER_MAX,
        wait_s=WAIT_S,
        idle_s=REPLAYS_IDLE_S,
        running_per_caller_max=REPLAYS_OF_CALLER_RUNNING_MAX,
        spare=True,  # a play during a hostile one does not wait 0.1 s for the start
    )


def long_replay_workers(command: Sequence[str] = COMMAND) -> WorkerPool:
    """Return the pool of processes for replays that take long. They have a lower priority: most are hostile."""
    return WorkerPool(
        "replays",
        command,
        size=LONG_PROCESSES,
        waiting_max=LONG_WAITING_MAX,
        per_caller_max=LONG_OF_CALLER_MAX,
        wait_s=WAIT_S,
        idle_s=REPLAYS_IDLE_S,
    )


def head_of(job: Job) -> bytes:
    """Return the head of a request for a job."""
    return msgspec.msgpack.encode(job)


def in_memory(data: bytes) -> Load:
    """Return a `Load` for data that is already in memory."""

    async def load() -> bytes:
        return data

    return load


def reader_of(*kinds: type[Result]) -> Callable[[bytes], Result]:
    """Return a function that decodes an answer of one of these kinds. It raises InvalidAnswer for all others."""

    def read(data: bytes) -> Result:
        # A hostile file may have taken over the process: its answer is untrusted as well.
        try:
            found = _RESULT.decode(data)
        except msgspec.DecodeError as error:
            raise InvalidAnswer from error
        if not isinstance(found, kinds):
            raise InvalidAnswer
        return found

    return read
