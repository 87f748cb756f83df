"""The side of a worker process: it answers one request after another over stdin and stdout (see `workers.py`).

    request   u32 size of the head, u32 size of the blob, f64 seconds of processor time allowed; head; blob
    answer    u32 size; bytes

All integers are little-endian. The first answer, `READY`, belongs to no request: it says that the process has started.
The process ends with its stdin, or by SIGPROF when a request has taken the processor for longer than it may: work that
nobody can stop would otherwise outlive a parent that was killed.

This module imports nothing of kiai's: a worker loads what its work needs and no more.
"""

import contextlib
import os
import signal
import struct
import sys
from collections.abc import Callable
from typing import IO, Final

READY: Final = b"ready"
FRAME_MAX: Final = 128 * 1024 * 1024
MEMORY_MAX: Final = 1024**3
NICENESS: Final = 5

REQUEST: Final = struct.Struct("<IId")
LENGTH: Final = struct.Struct("<I")

Answering = Callable[[bytes, bytes], bytes]
"""From the head and the blob of a request to its answer."""


def request_frame(head: bytes, cpu_s: float, blob: bytes = b"") -> bytes:
    """A request as it goes over the pipe."""
    return REQUEST.pack(len(head), len(blob), cpu_s) + head + blob


def answer_frame(answer: bytes) -> bytes:
    """An answer as it goes over the pipe."""
    return LENGTH.pack(len(answer)) + answer


def read_answer(stream: IO[bytes]) -> bytes | None:
    """The next answer; None at the end of the stream and for a size that no answer has."""
    size = stream.read(LENGTH.size)
    return None if len(size) < LENGTH.size else _whole(stream, LENGTH.unpack(size)[0])


def serve(answering: Answering) -> None:
    """Answers requests until stdin ends."""
    _limit_itself()
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    answers.write(answer_frame(READY))
    answers.flush()
    while len(fields := requests.read(REQUEST.size)) == REQUEST.size:
        head_size, blob_size, cpu_s = REQUEST.unpack(fields)
        head = _whole(requests, head_size)
        blob = _whole(requests, blob_size)
        if head is None or blob is None:
            return
        _end_after(cpu_s)
        answer = answer_frame(answering(head, blob))
        _end_after(0.0)
        del head, blob
        answers.write(answer)
        answers.flush()


def _whole(stream: IO[bytes], size: int) -> bytes | None:
    if size > FRAME_MAX:
        return None
    data = stream.read(size)
    return data if len(data) == size else None


if sys.platform == "win32":

    def _limit_itself() -> None:
        """There are no such limits here."""

    def _end_after(cpu_s: float) -> None:
        """There are no such timers here; the parent has a deadline of its own."""

else:
    import resource

    def _limit_itself() -> None:
        """Players who wait for a page come first, memory is bounded, and only the parent says when to stop."""
        os.nice(NICENESS)
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        most = MEMORY_MAX if hard == resource.RLIM_INFINITY else min(MEMORY_MAX, hard)
        with contextlib.suppress(OSError, ValueError):  # macOS knows the limit but may not take one
            resource.setrlimit(resource.RLIMIT_AS, (most, hard))
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group of processes
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # nobody is left to tell about a reader that is gone

    def _end_after(cpu_s: float) -> None:
        """The kernel ends this process once it has used the processor for so long; 0 takes that back."""
        signal.setitimer(signal.ITIMER_PROF, cpu_s)
