"""Streams of server-sent events: how many may be open, and how they are sent.

The bounds are on the memory of one process, so they apply also if rate limits are off.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final, Protocol

import falcon.asgi
import msgspec

STREAMS_MAX: Final = 1_000
STREAMS_OF_ONE_MAX: Final = 10


class StreamPlaces:
    """Counts open streams: all of them, and those of each name, which is a network or an account."""

    def __init__(self) -> None:
        self._count = 0
        self._of_one: Counter[str] = Counter()

    @property
    def is_full(self) -> bool:
        """Whether `STREAMS_MAX` streams are open."""
        return self._count >= STREAMS_MAX

    def has_place(self, names: Iterable[str]) -> bool:
        """Return whether each name has fewer than `STREAMS_OF_ONE_MAX` open streams."""
        return all(self._of_one[name] < STREAMS_OF_ONE_MAX for name in names)

    def enter(self, names: Iterable[str]) -> None:
        """Count a new stream."""
        self._count += 1
        self._of_one.update(names)

    def leave(self, names: Iterable[str]) -> None:
        """Count the end of a stream. Call it once for each `enter`."""
        self._count -= 1
        for name in names:
            self._of_one[name] -= 1
            if not self._of_one[name]:
                del self._of_one[name]  # otherwise every address ever seen would stay in memory


class StreamAnswer(Protocol):
    """An answer that lasts until the client disconnects. `end` is called at that moment."""

    @property
    def chunks(self) -> AsyncIterator[bytes]: ...
    @property
    def content_type(self) -> str: ...
    @property
    def end(self) -> Callable[[], None]: ...


class _OpenStream(msgspec.Struct, frozen=True):
    """A stream that is being sent. `lasts`: it continues during maintenance."""

    address: str
    lasts: bool
    answer: StreamAnswer


class StreamSender:
    """Sends streams, and ends them when their clients disconnect or may not read any more."""

    def __init__(self) -> None:
        # One task per stream. The event loop has only weak references to tasks.
        self._open: dict[asyncio.Task[None], _OpenStream] = {}

    def send(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, answer: StreamAnswer, *, lasts: bool = True
    ) -> None:
        """Let Falcon send the stream. Without `lasts`, maintenance ends it."""
        resp.content_type = answer.content_type
        resp.set_header("Cache-Control", "no-store")
        resp.set_header("X-Accel-Buffering", "no")  # otherwise nginx collects 4 KiB before it forwards anything
        resp.stream = answer.chunks  # also for HEAD: without a stream Falcon declares a Content-Length of 0
        if req.scope.get("kiai.head", False):
            answer.end()
            return
        req.scope["kiai.stream"] = True
        watcher = asyncio.create_task(_watch(req, answer))
        self._open[watcher] = _OpenStream(req.scope["kiai.address"], lasts, answer)
        watcher.add_done_callback(lambda task: self._open.pop(task, None))

    def end_refused(self, is_blocked: Callable[[str], bool], *, maintenance: bool) -> None:
        """End the streams whose addresses are blocked now, and during maintenance those that do not last."""
        for stream in list(self._open.values()):
            if is_blocked(stream.address) or (maintenance and not stream.lasts):
                stream.answer.end()


async def _watch(req: falcon.asgi.Request, answer: StreamAnswer) -> None:
    """End the stream when the client disconnects, or after the server has sent the last chunk."""
    # Falcon has no public access to these messages while a stream is sent. Without them a disconnect would show only
    # at the next chunk, and a quiet stream would occupy its place until then.
    while (await req._receive())["type"] != "http.disconnect":
        pass
    answer.end()
