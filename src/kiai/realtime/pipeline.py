"""Sends commands to Redis: those of one turn of the event loop together."""

import asyncio
from collections.abc import Coroutine, Sequence
from time import perf_counter
from typing import Any, Final, Protocol

from redis.exceptions import NoScriptError, RedisClusterException, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from kiai.logs import Outage
from kiai.measuring import Timings
from kiai.realtime.connecting import TIMEOUT_S, reason_of
from kiai.realtime.port import StateUnavailable
from kiai.realtime.redis_connection import Done, RedisConnection
from kiai.tracing import add_call

# After a timeout, further calls fail at once for this long: otherwise each request would wait the full TIMEOUT_S. Then
# the calls of one turn are tried, and the others still fail at once until those are answered.
UNAVAILABLE_S: Final = 1.0
COMMANDS_PER_SEND: Final = 256
WAITING_MAX: Final = 10_000

Command = tuple[Any, ...]
Batch = list[tuple[Command, "asyncio.Future[Any]"]]
_NO_ANSWER: Final = (RedisError, RedisClusterException, OSError, TimeoutError)


class Route(Protocol):
    """The way to the Redis server that has the keys of the commands.

    An implementation raises RedisError, RedisClusterException, OSError or TimeoutError if the server does not answer.
    """

    async def primary(self, *, after_failure: bool) -> object:
        """Return the server to which the next commands go, None if it is not known or never another."""
        ...

    def send_at_once(self, commands: Sequence[Command], done: Done) -> RedisConnection | None:
        """Send the commands in this order without waiting for a connection. Return None if that cannot be done.

        `done` gets the answer of each, or the error, in a later turn of the event loop.
        """
        ...

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        """Send the commands in this order. Return the answer of each, which may be an exception."""
        ...

    async def has_changed(self, primary: object, seconds: float) -> bool:
        """Return whether an answer after this time may come from a server that is no longer the primary."""
        ...

    def is_demoted(self, error: Exception) -> bool:
        """Return whether this answer says that another server is, or may be, the primary of these keys."""
        ...

    async def drop_idle(self) -> None:
        """Close the unused connections, so that the next calls find the server that is the primary then."""
        ...


class Pipeline:
    """Sends the commands of one turn of the event loop together, by one route."""

    def __init__(self, route: Route, timings: Timings) -> None:
        self._route = route
        self._waiting: list[tuple[Command, asyncio.Future[Any]]] = []
        self._sending: set[asyncio.Task[None]] = set()
        self._sent_at_once = 0  # sendings without a task that wait for their answers
        self._scheduled = False
        self.failures = 0
        """Sendings without an answer, and changes of the primary."""
        self._primary: object = None
        self._failed = False  # whether the last call that ended has failed
        self._timed_out = False  # whether no call was answered since a timeout
        self._unavailable_until = 0.0
        self._trial: asyncio.Task[None] | None = None
        self._timings = timings
        self._broken = Outage("state", "calls fail in the library", "calls work again")
        self.is_traced = False  # whether calls are added to traces

    @property
    def sending(self) -> int:
        """The number of connections that wait for an answer."""
        return len(self._sending) + self._sent_at_once

    async def call(self, command: Command) -> Any:
        """Send a command and return its result. Raises StateUnavailable."""
        if len(self._waiting) >= WAITING_MAX:
            raise StateUnavailable(f"{WAITING_MAX} commands are waiting")
        loop = asyncio.get_running_loop()
        if self._timed_out and (self._trial is not None or loop.time() < self._unavailable_until):
            raise StateUnavailable("the last call timed out")
        answer: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((command, answer))
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._send)  # after all tasks that are ready now have added their commands
        if not self.is_traced:
            return await answer
        began = perf_counter()
        try:
            return await answer
        finally:
            add_call("state call", began)

    def _send(self) -> None:
        self._scheduled = False
        while self._waiting:
            batch, self._waiting = self._waiting[:COMMANDS_PER_SEND], self._waiting[COMMANDS_PER_SEND:]
            if self._failed or not self._send_at_once(batch):
                task = self._in_task(self._exchange(batch))
                if self._timed_out:
                    self._trial = task

    def _in_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._sending.add(task)  # the loop has only a weak reference to a task
        task.add_done_callback(self._sending.discard)
        return task

    def _send_at_once(self, batch: Batch) -> bool:
        """Send over a connection that has answered before. Return False without one."""
        # PERF: 18 us for one command. With a task, a timeout and the streams of the library it took 45 us.
        began = perf_counter()
        connection: RedisConnection | None = None
        timer: asyncio.TimerHandle | None = None

        def answered(outcome: list[Any] | Exception) -> None:
            if timer is not None:
                timer.cancel()
            self._sent_at_once -= 1
            self._timings.since(began, "call")
            if isinstance(outcome, Exception):
                elsewhere, outcome = self._fail(outcome, len(batch), is_trial=False)
            else:
                elsewhere = self._failed = self._timed_out = False
                self._broken.worked()
            if self._pass_on(batch, outcome) or elsewhere:
                self.failures += 1
                self._in_task(self._route.drop_idle())

        try:
            connection = self._route.send_at_once([command for command, _ in batch], answered)
        except Exception as error:  # of every kind, as in `_exchange`
            self._sent_at_once += 1
            answered(error)
            return True
        if connection is None:
            return False
        self._sent_at_once += 1
        timer = asyncio.get_running_loop().call_later(TIMEOUT_S, connection.close, TimeoutError())
        return True

    async def _exchange(self, batch: Batch) -> None:
        began = perf_counter()
        elsewhere = False  # whether another server may be the primary now
        try:
            async with asyncio.timeout(TIMEOUT_S):
                primary = await self._route.primary(after_failure=self._failed)
                self._look_at(primary)
                answers = await self._route.send([command for command, _ in batch])
                if await self._route.has_changed(primary, perf_counter() - began):
                    answers = [StateUnavailable("another server is the primary now")] * len(batch)
                    self.failures += 1
            self._failed = self._timed_out = False
            self._broken.worked()
        except Exception as error:
            # Every kind of error: the library may raise more than its own, e.g. for a connection that is closed while
            # a command is written. Without an answer the callers would wait forever.
            elsewhere, answers = self._fail(error, len(batch), is_trial=asyncio.current_task() is self._trial)
        except asyncio.CancelledError:
            # The server stops. The callers still get an answer; without one they would wait forever.
            answers = [StateUnavailable("it is closed")] * len(batch)
        finally:
            self._timings.since(began, "call")
            if asyncio.current_task() is self._trial:
                self._trial = None
        if self._pass_on(batch, answers) or elsewhere:
            self.failures += 1
            await self._route.drop_idle()

    def _fail(self, error: Exception, expected: int, *, is_trial: bool) -> tuple[bool, list[Any]]:
        """Record a failed sending. Return whether another server may be the primary now, and the answers."""
        if not isinstance(error, _NO_ANSWER):
            self._broken.failed(error, trace=True)
        self._failed = True
        self.failures += 1
        # Not after a refused connection: that fails at once, and Redis may be back for the next call.
        elsewhere = isinstance(error, TimeoutError | RedisTimeoutError)
        if elsewhere:
            # Calls from before the first timeout say nothing new: another server may have taken over since.
            if not self._timed_out or is_trial:
                self._unavailable_until = asyncio.get_running_loop().time() + UNAVAILABLE_S
            self._timed_out = True
        return elsewhere, [StateUnavailable(reason_of(error))] * expected

    def _pass_on(self, batch: Batch, answers: Sequence[Any]) -> bool:
        """Give each caller its answer. Return whether one says that another server may be the primary now."""
        elsewhere = False
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():  # the caller was cancelled
                continue
            if isinstance(answer, NoScriptError):
                future.set_exception(ScriptMissing())
            elif isinstance(answer, ResponseError | RedisError):
                elsewhere = elsewhere or self._route.is_demoted(answer)
                future.set_exception(StateUnavailable(reason_of(answer)))
            elif isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        return elsewhere

    def _look_at(self, primary: object) -> None:
        # A new primary may lack the last changes of the one before, also if no call has failed.
        if primary is not None and primary != self._primary:
            self._primary = primary
            self.failures += 1


class ScriptMissing(Exception):
    """Redis does not have the script, because it is new or was restarted."""
