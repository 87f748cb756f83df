"""The server's side of the pipes to a process of a pool: sends a request and waits for its answer.

`pool_process.py` describes the format and implements the other side.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import Final, cast

from kiai.pool_process import FRAME_MAX, LENGTH, REQUEST

SLICE_BYTES: Final = 256 * 1024  # the transport copies what it cannot write at once: at most one slice of a blob
_STDIN: Final = 0
_STDOUT: Final = 1


class InvalidAnswer(Exception):
    """A process sent an invalid answer. Readers of answers raise it; the process is then replaced."""


class ProcessPipe(asyncio.SubprocessProtocol):
    """A process and its pipes. After `ask` has raised an error, the process must be replaced.

    PERF: a job takes 160 us of CPU time here instead of 195 us with the streams of asyncio (a busy machine).
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._size: int | None = None  # of the answer that is being received
        self._expects_answer = True  # a process reports that it has started
        self._answer: bytes | None = None
        self._failure: Exception | None = None
        self._is_paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._was_killed = False
        self._exited = asyncio.Event()
        self._closed = asyncio.Event()

    @classmethod
    async def start(cls, command: Sequence[str]) -> "ProcessPipe":
        """Start a process. Raises OSError."""
        _, process = await asyncio.get_running_loop().subprocess_exec(
            cls,
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=None,
            start_new_session=True,  # signals of the terminal go only to the parent, which then closes stdin
        )
        return process

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._transport.get_pid()

    @property
    def exit_code(self) -> int | None:
        """The exit code of the process, as in `subprocess`. None while it runs."""
        return self._transport.get_returncode()

    @property
    def is_usable(self) -> bool:
        """Whether the process runs and has sent nothing invalid."""
        return self._failure is None and self.exit_code is None

    async def ask(self, head: bytes, blob: bytes, cpu_s: float, *, within_s: float) -> bytes:
        """Send a request with a limit of CPU time, and return its answer.

        Raises TimeoutError after `within_s` seconds, ConnectionError if the process ends, and InvalidAnswer.
        """
        self._expects_answer = True
        timer = self._loop.call_later(within_s, self._fail, TimeoutError())
        try:
            for part in _parts_of(head, blob, cpu_s):
                self._stdin.write(part)
                while self._is_paused and self._failure is None:
                    await self._wait()
            return await self._received_answer()
        finally:
            timer.cancel()

    async def first_answer(self, *, within_s: float) -> bytes:
        """Return what the process sends when it has started. Raises the errors of `ask`."""
        timer = self._loop.call_later(within_s, self._fail, TimeoutError())
        try:
            return await self._received_answer()
        finally:
            timer.cancel()

    def kill(self) -> None:
        """Kill the process if it runs."""
        # Only once: after a second signal to a dead process, asyncio may lose its exit code.
        if not self._was_killed and self.exit_code is None:
            self._was_killed = True
            with contextlib.suppress(ProcessLookupError):
                self._transport.kill()

    async def wait(self) -> None:
        """Wait for the end of the process."""
        await self._exited.wait()

    async def close(self) -> None:
        """Kill the process if it runs, and wait until it and its pipes are closed."""
        self.kill()
        self._stdin.close()
        await self._closed.wait()

    async def _received_answer(self) -> bytes:
        while self._answer is None and self._failure is None:
            await self._wait()
        answer, self._answer = self._answer, None
        if answer is None:
            assert self._failure is not None
            raise self._failure
        return answer

    async def _wait(self) -> None:
        """Wait until any callback below has changed something."""
        self._waiter = self._loop.create_future()
        await self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, failure: Exception) -> None:
        self._failure = self._failure or failure
        self._wake()

    # --- called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transports."""
        self._transport = cast(asyncio.SubprocessTransport, transport)
        self._stdin = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(_STDIN))

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Collect the answer. Data that no request waits for makes the process unusable."""
        if self._failure is not None:
            return
        received = self._received
        received += data
        if self._size is None and len(received) >= LENGTH.size:
            (self._size,) = LENGTH.unpack_from(received)
        end = LENGTH.size + (self._size or 0)
        # A hostile job may have taken over the process.
        if (
            not self._expects_answer
            or end - LENGTH.size > FRAME_MAX
            or (self._size is not None and len(received) > end)
        ):
            received.clear()
            self._fail(InvalidAnswer())
        elif self._size is not None and len(received) == end:
            self._answer = bytes(memoryview(received)[LENGTH.size :])
            self._received, self._size, self._expects_answer = bytearray(), None, False
            self._wake()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Fail the request: the process closes its pipes only when it ends."""
        self._fail(ConnectionError("the process has ended"))

    def pause_writing(self) -> None:
        """Stop sending: much has not been written yet."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """Send again."""
        self._is_paused = False
        self._wake()

    def process_exited(self) -> None:
        """Report the end of the process."""
        self._exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the transport: the process has ended and all pipes are closed."""
        self._transport.close()
        self._closed.set()


def _parts_of(head: bytes, blob: bytes, cpu_s: float) -> Iterator[bytes | memoryview]:
    request = REQUEST.pack(len(head), len(blob), cpu_s) + head
    if len(blob) <= SLICE_BYTES:
        # PERF: one write wakes the process once. Two take 15 us more here, and as much there.
        yield request + blob
        return
    yield request
    whole = memoryview(blob)  # slices without copies
    for start in range(0, len(blob), SLICE_BYTES):
        yield whole[start : start + SLICE_BYTES]
