"""The process that reads what strangers send: `python -m kiai.decoding.process`."""

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
from kiai.osu.replay_file import BadReplay, check_frames
from kiai.worker_process import serve

_JOB: Final = msgspec.msgpack.Decoder(Job)


def answer(head: bytes, blob: bytes) -> bytes:
    """Does a job."""
    return msgspec.msgpack.encode(_done(_JOB.decode(head), blob))


def _done(job: Job, blob: bytes) -> Result:
    try:
        match job:
            case FramesJob():
                return Read(check_frames(blob))
            case PreviewJob(set_id=set_id):
                from kiai.decoding import sets

                return Made(sets.preview(blob, set_id))
            case BackgroundJob(set_id=set_id, width=width, height=height):
                from kiai.decoding import sets

                return Made(sets.background(blob, set_id, (width, height)))
            case AvatarJob(kind=kind):
                from kiai.decoding import pictures  # Pillow is 10 MB that a process for replays does not need

                return Made(pictures.avatar(blob, kind))
            case ScreenshotJob(kind=kind):
                from kiai.decoding import pictures

                return Made(pictures.screenshot(blob, kind))
    except BadReplay as bad:
        return BadFrames(str(bad))
    except MemoryError:
        return BadFrames("they need more memory than they may use")
    except Invalid as error:
        return Unusable(error.field, error.allowed, str(error.got))


if __name__ == "__main__":
    serve(answer)
