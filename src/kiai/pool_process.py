"""The process side of `process_pool.py`: answers requests over stdin and stdout, one after another.

    request   u32 size of the head, u32 size of the blob, f64 limit of CPU time in seconds; head; blob
    answer    u32 size; bytes

All numbers are little-endian. The first answer, `READY`, has no request: it reports that the process has started. The
process ends when its stdin ends, and by SIGPROF when a request exceeds its CPU time. The process sets this limit
itself, so that it ends even when its parent was killed.

This module imports no other module of kiai, so that a process loads only what its jobs need.
"""

import contextlib
import os
import signal
import struct
import sys
import time
from collections.abc import Callable
from typing import IO, Final

READY: Final = b"ready"
FRAME_MAX: Final = 128 * 1024 * 1024
MEMORY_MAX: Final = 1024**3  # of address space; the largest picture takes 200 MB
NICENESS: Final = 5  # the server, which answers players, has precedence
AUTOGROUP: Final = "/proc/self/autogroup"
AUTOGROUP_TRIES: Final = 20
AUTOGROUP_WAIT_S: Final = 0.05

REQUEST: Final = struct.Struct("<IId")
LENGTH: Final = struct.Struct("<I")

Answering = Callable[[bytes, bytes], bytes]
"""Converts the head and the blob of a request to the answer."""


def request_frame(head: bytes, cpu_s: float, blob: bytes = b"") -> bytes:
    """Return a request in the format of the pipe."""
    return REQUEST.pack(len(head), len(blob), cpu_s) + head + blob


def answer_frame(answer: bytes) -> bytes:
    """Return an answer in the format of the pipe."""
    return LENGTH.pack(len(answer)) + answer


def read_answer(stream: IO[bytes]) -> bytes | None:
    """Return the next answer, or None at the end of the stream and for an invalid size."""
    size = stream.read(LENGTH.size)
    return None if len(size) < LENGTH.size else _whole(stream, LENGTH.unpack(size)[0])


def serve(answering: Answering, *, niceness: int = NICENESS) -> None:
    """Answer requests until stdin ends. `niceness`: 0-19; a higher value leaves more CPU time to the server."""
    _set_limits(niceness)
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
        del head, blob  # up to 128 MB that an idle process does not need
        answers.write(answer)
        answers.flush()


def _whole(stream: IO[bytes], size: int) -> bytes | None:
    if size > FRAME_MAX:
        return None
    data = stream.read(size)
    return data if len(data) == size else None


if sys.platform == "win32":

    def _set_limits(niceness: int) -> None:
        """Do nothing: Windows has no such limits."""

    def _end_after(cpu_s: float) -> None:
        """Do nothing: Windows has no such timers. The deadline of the parent still applies."""

else:
    import resource

    def _set_limits(niceness: int) -> None:
        """Lower the priority of this process, limit its memory, and leave its end to the parent."""
        os.nice(niceness)
        _set_group_niceness(niceness)
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        soft = MEMORY_MAX if hard == resource.RLIM_INFINITY else min(MEMORY_MAX, hard)
        with contextlib.suppress(OSError, ValueError):  # macOS has this limit but may reject every value
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole process group
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # `systemctl kill` sends it to all processes of the server
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end without a traceback when the parent is gone

    def _set_group_niceness(niceness: int) -> None:
        """Lower the priority of the session of this process, if it has one of its own as in `process_pool.py`.

        Linux can share the CPU time among sessions (`sched_autogroup_enabled`). The niceness of a process then counts
        only within its session: without this, it has no effect on the server, and hostile replays took half of a core.
        """
        if os.getsid(0) != os.getpid():
            return
        for _ in range(AUTOGROUP_TRIES):
            try:
                with open(AUTOGROUP, "w") as group:
                    group.write(str(niceness))
            except BlockingIOError:
                time.sleep(AUTOGROUP_WAIT_S)  # Linux accepts ten changes per second from all processes of users
            except OSError:
                return  # another system, or a container that does not allow it
            else:
                return

    def _end_after(cpu_s: float) -> None:
        """Have the kernel end this process after `cpu_s` more seconds of CPU time; 0 cancels this."""
        # SIGPROF without a handler ends the process, also inside a C function, where Python runs no handlers.
        signal.setitimer(signal.ITIMER_PROF, cpu_s)
