"""Coroutines that end without waiting, run without a task.

PERF: a task and the turn of the event loop in which it runs take 10 us, more than most reads of the API.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any


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


async def needs_task() -> None:
    """Wait if the caller runs without a task: call it before work that continues when its coroutine is closed."""
    if asyncio.current_task() is None:
        await asyncio.sleep(0)
