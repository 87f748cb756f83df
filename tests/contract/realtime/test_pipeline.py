"""Every call of the pipeline to Redis ends, whatever the library does."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.patience import patiently

from kiai.measuring import Timings
from kiai.realtime.pipeline import Command, Pipeline
from kiai.realtime.port import StateUnavailable
from kiai.realtime.redis_connection import Done, RedisConnection

ENDS_S = 10.0


class BrokenRoute:
    """A route whose library raises this error, while it sends or when it looks for the primary."""

    def __init__(self, error: BaseException, at: str) -> None:
        self._error = error
        self._at = at
        self.works = False

    def _reach(self, step: str) -> None:
        if step == self._at and not self.works:
            raise self._error

    async def primary(self, *, after_failure: bool) -> object:
        """Return None: there is never another primary."""
        self._reach("primary")
        return None

    def send_at_once(self, commands: Sequence[Command], done: Done) -> RedisConnection | None:
        """Return None: there are no connections. Or raise the error."""
        self._reach("send_at_once")
        return None

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        """Return an answer for each command."""
        self._reach("send")
        return [b"answered"] * len(commands)

    async def has_changed(self, primary: object, seconds: float) -> bool:
        """Return False: there is never another primary."""
        self._reach("has_changed")
        return False

    def is_demoted(self, error: Exception) -> bool:
        """Return False: there is never another primary."""
        return False

    async def drop_idle(self) -> None:
        """Do nothing: there are no connections."""


@pytest.mark.parametrize("at", ["primary", "send", "has_changed"])
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed"),
        AttributeError("'NoneType' object has no attribute 'write'"),
        IndexError("list index out of range"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_calls_end_when_the_library_raises_something_else_than_its_errors(error: Exception, at: str) -> None:
    route = BrokenRoute(error, at)

    async def scenario() -> tuple[list[object], object]:
        pipeline = Pipeline(route, Timings())
        async with asyncio.timeout(patiently(ENDS_S)):
            together = asyncio.gather(*(pipeline.call(("GET", "x")) for _ in range(3)), return_exceptions=True)
            failed = [*await together, *await asyncio.gather(pipeline.call(("GET", "y")), return_exceptions=True)]
            route.works = True
            return failed, await pipeline.call(("GET", "x"))

    with capture_logs() as lines:
        failed, later = asyncio.run(scenario())

    assert [(type(one), one.reason) for one in failed if isinstance(one, StateUnavailable)] == [
        (StateUnavailable, str(error))
    ] * 4
    assert later == b"answered"
    assert [(line["event"], line["exc_info"]) for line in lines] == [("calls fail in the library", error)]


def test_calls_end_when_the_sending_at_once_fails_and_the_next_ones_take_the_other_way() -> None:
    error = RuntimeError("the handler is closed")
    route = BrokenRoute(error, "send_at_once")

    async def scenario() -> tuple[list[object], object]:
        pipeline = Pipeline(route, Timings())
        async with asyncio.timeout(patiently(ENDS_S)):
            failed = await asyncio.gather(*(pipeline.call(("GET", "x")) for _ in range(3)), return_exceptions=True)
            assert (pipeline.sending, pipeline.failures) == (0, 1)
            return failed, await pipeline.call(("GET", "x"))

    with capture_logs():
        failed, later = asyncio.run(scenario())

    assert [(type(one), one.reason) for one in failed if isinstance(one, StateUnavailable)] == [
        (StateUnavailable, str(error))
    ] * 3
    assert later == b"answered"
