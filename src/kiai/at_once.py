"""Coroutines that end without waiting, run without a task.

PERF: a task and the turn of the event loop in which it runs take 10 us, more than most reads of the API.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

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


async def needs_task() -> None:
    """Wait if the caller runs without a task: call it before work that continues when its coroutine is closed."""
    if asyncio.current_task() is None:
        await asyncio.sleep(0)
