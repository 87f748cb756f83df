"""The program of a decoding process."""

import sys
from typing import Final

import msgspec

from kiai.decoding.archives import BadArchive, unpack_maps
from kiai.decoding.jobs import (
    AnalysisJob,
    AnalysisResult,
    AvatarJob,
    BackgroundJob,
    BadFrames,
    CardJob,
    CoverJob,
    EvidenceJob,
    EvidenceResult,
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
from kiai.osu.replay_file import BadReplay, check_frames
from kiai.pool_process import serve

# Players wait for pp, but an attacker can send many pictures. Decoding therefore gets the CPU time that the server and
# pp leave.
NICENESS: Final = 10

_JOB: Final = msgspec.msgpack.Decoder(Job)


def answer(head: bytes, blob: bytes) -> bytes:
    """Run the job in `head` on the file in `blob`. Return the encoded result."""
    return msgspec.msgpack.encode(_run(_JOB.decode(head), blob))


def _run(job: Job, blob: bytes) -> Result:
    # Imports are here because a process needs only those of its jobs, e.g. not Pillow, which takes 10 MB.
    try:
        match job:
            case FramesJob():
                return FramesResult(check_frames(blob))
            case AnalysisJob(osu_bytes=size, mode=mode, mods=mods, life_bar=life_bar):
                from kiai.osu.replay_analysis import analyse

                return AnalysisResult(analyse(blob[:size], blob[size:], mode=mode, mods=mods, life_bar=life_bar))
            case EvidenceJob(osu_bytes=size, mode=mode, mods=mods, known=known):
                from kiai.osu.replay_evidence import measure

                return EvidenceResult(measure(blob[:size], blob[size:], mode=mode, mods=mods, known=known))
            case CardJob():
                from kiai.decoding import cards

                return MediaResult(cards.draw(job, blob))
            case PreviewJob(set_id=set_id):
                from kiai.decoding import sets

                return MediaResult(sets.preview(blob, set_id))
            case BackgroundJob(set_id=set_id, width=width, height=height):
                from kiai.decoding import sets

                return MediaResult(sets.background(blob, set_id, (width, height)))
            case UnpackJob(most=most):
                return UnpackedResult(unpack_maps(blob, most))
            case AvatarJob(kind=kind):
                from kiai.decoding import pictures

                return MediaResult(pictures.avatar(blob, kind))
            case CoverJob(kind=kind):
                from kiai.decoding import pictures

                return MediaResult(pictures.cover(blob, kind))
            case ScreenshotJob(kind=kind):
                from kiai.decoding import pictures

                return MediaResult(pictures.screenshot(blob, kind))
    except BadArchive as bad_archive:
        return RejectedArchive(str(bad_archive))
    except BadReplay as bad:
        return BadFrames(str(bad))
    except MemoryError:
        if isinstance(job, UnpackJob):
            return RejectedArchive("the archive needs more memory than it may use")
        # Only frames get here: `pictures` and `sets` handle this error themselves.
        return BadFrames("they need more memory than they may use")
    except Invalid as error:
        return RejectedPicture(error.field, error.allowed, str(error.got))


if __name__ == "__main__":
    serve(answer, niceness=int(sys.argv[1]) if len(sys.argv) > 1 else NICENESS)
