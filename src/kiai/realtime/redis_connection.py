"""One connection to Redis, without the streams of its library, which opens and closes it."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from hiredis import PushNotification, Reader
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse

_MORE: Final = object()  # the reader needs more data

Done = Callable[[list[Any] | Exception], None]
"""Called once, with the answer to each command or with the error."""


class RedisConnection(asyncio.Protocol):
    """Sends commands over a connection of the library (`opened`) that is connected and has no unread data.

    One sending at a time. A connection without an answer is closed, since the answer would go to the next sending.
    """

    def __init__(self, opened: Any) -> None:
        self.opened = opened
        self._transport: asyncio.Transport = opened._writer.transport
        self._streams: asyncio.Protocol = self._transport.get_protocol()
        self._reader = Reader(protocolError=InvalidResponse, replyError=opened._parser.parse_error, notEnoughData=_MORE)
        self._expected = 0
        self._answers: list[Any] = []
        self._done: Done | None = None
        self.is_open = not self._transport.is_closing()
        self._transport.set_protocol(self)

    def send(self, packed: bytes, expected: int, done: Done) -> None:
        """Send commands that have this number of answers. `done` is called in a later turn of the event loop."""
        assert self._done is None
        self._expected, self._answers, self._done = expected, [], done
        try:
            self._transport.write(packed)
        except Exception as error:  # the event loop raises several kinds for a transport that it has closed
            asyncio.get_running_loop().call_soon(self.close, error)
            return
        if not self.is_open:
            asyncio.get_running_loop().call_soon(self.close, RedisConnectionError("the connection is closed"))

    def close(self, reason: Exception) -> None:
        """Close the connection. A sending without an answer ends with this reason."""
        self.is_open = False
        self._transport.abort()
        self._end(reason)

    def data_received(self, data: bytes) -> None:
        """Pass on the answers when all of them have arrived."""
        # PERF: answers are passed on in the turn in which they arrive, without a future and a task.
        reader, answers = self._reader, self._answers
        try:
            reader.feed(data)
            while (answer := reader.gets()) is not _MORE:
                if not isinstance(answer, PushNotification):
                    answers.append(answer)
        except InvalidResponse as error:
            self.close(error)
            return
        if len(answers) > self._expected:
            self.close(RedisConnectionError("an answer that belongs to no command"))
        elif self._done is not None and len(answers) == self._expected:
            done, self._done, self._answers, self._expected = self._done, None, [], 0
            done(answers)

    def eof_received(self) -> None:
        """Let the transport close the connection, because the server has closed it."""
        self.is_open = False

    def connection_lost(self, error: Exception | None) -> None:
        """End a sending without an answer, and tell the library."""
        self.is_open = False
        self._end(RedisConnectionError(str(error) if error else "the server has closed the connection"))
        self._streams.connection_lost(error)

    def _end(self, reason: Exception) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(reason)
