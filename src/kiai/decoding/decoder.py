"""The server's side of decoding: one pool of processes for pictures and archives, another for replays.

Neither waits for the other, nor for pp or passwords, which have pools of their own.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from kiai.decoding.jobs import (
    AvatarJob,
    BackgroundJob,
    BadFrames,
    FramesJob,
    Job,
    Made,
    PreviewJob,
    Read,
    Result,
    ScreenshotJob,
    Unusable,
)
from kiai.errors import Invalid
from kiai.measuring import Pool
from kiai.osu.replay_file import BadReplay, FrameStats
from kiai.workers import Asks, Crashed, Garbage, Load, TookTooLong, WorkerPool

PICTURE_CPU_S: Final = 5.0
FRAMES_CPU_S: Final = 2.0
"""The longest honest replay, an hour of play, takes 0.3 s on a core of 2023."""
PICTURE_PROCESSES: Final = 1  # decoding a picture of 34 million pixels takes 200 MB for a moment
REPLAY_PROCESSES: Final = 2
WAITING_MAX: Final = 256
PICTURES_OF_CALLER_MAX: Final = 100  # a page of osu!direct asks for a hundred thumbnails at once
REPLAYS_OF_CALLER_MAX: Final = 12  # a player has at most 11 plays in work and waiting
WAIT_S: Final = 20.0
PICTURES_IDLE_S: Final = 60.0
REPLAYS_IDLE_S: Final = 300.0
# -P: a folder that happens to hold a struct.py must not be where a process finds its modules.
COMMAND: Final = (sys.executable, "-P", "-m", "kiai.decoding.process")

_RESULT: Final = msgspec.msgpack.Decoder(Result)


class Decoder:
    """Has pictures, archives and replays read. `caller` is whose turn it is, an account or a network."""

    def __init__(self, pictures: Asks, replays: Asks) -> None:
        self._pictures = pictures
        self._replays = replays

    async def avatar(self, picture: bytes, kind: str, *, caller: str) -> bytes:
        """See `pictures.avatar`. Raises Invalid, and Unavailable."""
        return await self._picture("avatar", AvatarJob(kind), picture, caller)

    async def screenshot(self, picture: bytes, kind: str, *, caller: str) -> bytes:
        """See `pictures.screenshot`. Raises Invalid, and Unavailable."""
        return await self._picture("screenshot", ScreenshotJob(kind), picture, caller)

    async def background(self, load: Load, set_id: int, size: tuple[int, int], *, caller: str) -> bytes:
        """See `sets.background`; `load` fetches the archive. Raises Unavailable."""
        return await self._of_archive(BackgroundJob(set_id, *size), load, caller)

    async def preview(self, load: Load, set_id: int, *, caller: str) -> bytes:
        """See `sets.preview`; `load` fetches the archive. Raises Unavailable."""
        return await self._of_archive(PreviewJob(set_id), load, caller)

    async def frames(self, stream: bytes, *, caller: str) -> FrameStats:
        """See `replay_file.check_frames`. Raises BadReplay, and Unavailable."""
        try:
            found = await self._replays.ask(
                caller, _head(FramesJob()), _one_of(Read, BadFrames), cpu_s=FRAMES_CPU_S, load=_at_hand(stream)
            )
        except (TookTooLong, Crashed) as error:
            raise BadReplay(f"the frames cannot be read: {error}") from error
        if isinstance(found, BadFrames):
            raise BadReplay(found.why)
        assert isinstance(found, Read)
        return found.stats

    def pools(self) -> dict[str, Pool]:
        """The processes by what they read."""
        return {"pictures": self._pictures.pool(), "replays": self._replays.pool()}

    async def close(self) -> None:
        """Ends all processes; jobs that wait or run raise Unavailable."""
        await asyncio.gather(self._pictures.close(), self._replays.close())

    async def _picture(self, field: str, job: Job, picture: bytes, caller: str) -> bytes:
        try:
            found = await self._pictures.ask(
                caller, _head(job), _one_of(Made, Unusable), cpu_s=PICTURE_CPU_S, load=_at_hand(picture)
            )
        except (TookTooLong, Crashed) as error:
            raise Invalid(field, "a picture that is quickly decoded", "one that is not") from error
        if isinstance(found, Unusable):
            raise Invalid(found.field, found.allowed, found.got)
        assert isinstance(found, Made)
        return found.data

    async def _of_archive(self, job: Job, load: Load, caller: str) -> bytes:
        try:
            found = await self._pictures.ask(caller, _head(job), _one_of(Made), cpu_s=PICTURE_CPU_S, load=load)
        except (TookTooLong, Crashed):
            return b""
        assert isinstance(found, Made)
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


def replay_workers(command: Sequence[str] = COMMAND) -> WorkerPool:
    """The processes for replays."""
    return WorkerPool(
        "replays",
        command,
        size=REPLAY_PROCESSES,
        waiting_max=WAITING_MAX,
        per_caller_max=REPLAYS_OF_CALLER_MAX,
        wait_s=WAIT_S,
        idle_s=REPLAYS_IDLE_S,
    )


def _head(job: Job) -> bytes:
    return msgspec.msgpack.encode(job)


def _at_hand(data: bytes) -> Load:
    async def load() -> bytes:
        return data

    return load


def _one_of(*kinds: type[Result]) -> Callable[[bytes], Result]:
    def read(data: bytes) -> Result:
        try:
            found = _RESULT.decode(data)
        except msgspec.DecodeError as error:
            raise Garbage from error
        if not isinstance(found, kinds):
            raise Garbage
        return found

    return read
