"""Coroutines that end without waiting, run without a task.

PERF: a task and the turn of the event loop in which it runs take 10 us, more than most reads of the API.
"""

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


def ends_at_once(coroutine: Coroutine[Any, Any, None]) -> bool:
    """Run a coroutine up to its first wait. Return whether it has ended; otherwise it is closed.

    Raises what it raises. Before its first wait it must change nothing that may not be changed twice.
    """
    try:
        coroutine.send(None)
    except StopIteration:
        return True
    coroutine.close()
    return False


def result_at_once(coroutine: Coroutine[Any, Any, T]) -> T | None:
    """Run a coroutine like `ends_at_once`. Return its result, or None if it waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    return None


class Begun(Generic[T]):
    """A coroutine that runs up to its first wait without a task. `await` continues it in the task of the caller.

    `ended`: whether it has returned its `result` without waiting. An error is raised by `await`.
    """

    __slots__ = ("_coroutine", "_error", "_waits_for", "ended", "result")

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._error: Exception | None = None
        self.ended = False
        self.result: T
        try:
            self._waits_for = coroutine.send(None)
        except StopIteration as end:
            self.result = end.value
            self.ended = True
        except Exception as error:
            self._error = error

    def __await__(self) -> Generator[Any, Any, T]:
        if self._error is not None:
            raise self._error
        if self.ended:
            return self.result
        steps, waits_for = self._coroutine, self._waits_for
        try:
            while True:
                try:
                    sent = yield waits_for
                except BaseException as error:  # the task is cancelled
                    waits_for = steps.throw(error)
                else:
                    waits_for = steps.send(sent)
        except StopIteration as end:
            result: T = end.value
            return result


async def needs_task() -> None:
    """Wait if the caller runs without a task: call it before work that continues when its coroutine is closed."""
    if asyncio.current_task() is None:
        await asyncio.sleep(0)
