"""The fixture that runs a scenario on every adapter."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.contract.realtime.adapters import ADAPTERS
from tests.patience import in_time

from kiai.clock import ManualClock
from kiai.realtime.port import Realtime

Scenario = Callable[[Realtime, ManualClock], Coroutine[Any, Any, None]]
Run = Callable[[Scenario], None]


@pytest.fixture(params=list(ADAPTERS.values()), ids=list(ADAPTERS))
def run(request: pytest.FixtureRequest) -> Run:
    """Return a function that runs a scenario on an empty state with a manual clock."""

    def play(scenario: Scenario) -> None:
        async def on_empty_state() -> None:
            clock = ManualClock()
            async with request.param(clock) as realtime:
                await in_time(scenario(realtime, clock))

        asyncio.run(on_empty_state())

    return play
