"""Runs coroutines on an event loop that lasts longer than one of them."""

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_on(runner: asyncio.Runner, coroutine: Coroutine[Any, Any, T], context: contextvars.Context | None = None) -> T:
    """Run a coroutine until it ends, on the loop of a runner and in a context; by default in a copy of the current one.

    `Runner.run` replaces the handler of SIGINT and formats the task as text, which takes longer than a short coroutine.
    A test runs 20 coroutines, and the model of the realtime port 37,000.
    """
    loop = runner.get_loop()
    return loop.run_until_complete(loop.create_task(coroutine, context=context))
