"""The budget of a stop: its parts share it, and the process ends even if one of them does not."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.patience import patiently

from kiai import logs
from kiai.stopping import HURRY_S, StopBudget

TOTAL_S = 100.0
"""Longer than any test, so that no test depends on the speed of the machine."""


def a_budget(total_s: float = TOTAL_S) -> StopBudget:
    return StopBudget(total_s, on_overrun=None)


def test_parts_share_the_time_and_leave_the_reserve() -> None:
    async def scenario() -> None:
        budget = a_budget()
        assert budget.left_s() == TOTAL_S  # nothing passes before the signal
        budget.begin()
        assert TOTAL_S - patiently(5) < budget.left_s() <= TOTAL_S
        assert budget.left_s(reserve_s=90) <= 10
        assert budget.left_s(reserve_s=TOTAL_S + 1) == 0
        assert budget.left_s(most_s=3) == 3

    asyncio.run(scenario())


def test_part_that_exceeds_its_time_is_left_behind(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "info")
    done: list[str] = []

    async def scenario() -> None:
        released = asyncio.Event()

        async def stuck() -> None:
            while not released.is_set():
                try:
                    await released.wait()
                except asyncio.CancelledError:
                    done.append("cancelled")
            done.append("released")

        budget = a_budget()
        await budget.run("stuck", stuck(), most_s=0.05)
        await budget.run("next", asyncio.sleep(0))
        done.append("next")
        released.set()
        await asyncio.sleep(0.05)

    asyncio.run(scenario())

    assert done == ["cancelled", "next", "released"]
    [line] = capfd.readouterr().err.splitlines()
    assert (json.loads(line)["event"], json.loads(line)["what"]) == ("part of the stop takes too long", "stuck")


def test_part_that_fails_does_not_end_the_stop(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "info")

    async def fails() -> None:
        raise OSError("away")

    asyncio.run(a_budget().run("saving", fails()))

    [line] = capfd.readouterr().err.splitlines()
    assert (json.loads(line)["event"], json.loads(line)["what"]) == ("part of the stop failed", "saving")


def test_context_is_closed_in_time_also_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "info")
    closed: list[str] = []

    @asynccontextmanager
    async def opened() -> AsyncIterator[str]:
        try:
            yield "stores"
        finally:
            closed.append("closed")
            await asyncio.sleep(3_600)

    async def scenario() -> None:
        async with a_budget(0.1).closing(opened()) as stores:
            assert stores == "stores"
            raise KeyError

    with pytest.raises(KeyError):
        asyncio.run(scenario())
    assert closed == ["closed"]
    assert "closing the stores" in capfd.readouterr().err


def test_process_is_ended_when_the_event_loop_is_blocked(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "info")
    ended = threading.Event()

    async def scenario() -> bool:
        budget = StopBudget(0.2, on_overrun=ended.set)
        budget.begin()
        return ended.wait(patiently(10))  # blocks the event loop

    assert asyncio.run(scenario())
    [line] = capfd.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "stop takes too long, the process is ended"
    assert "test_stopping.py" in json.loads(line)["tasks"][0]


def test_second_signal_shortens_what_is_left() -> None:
    async def scenario() -> tuple[float, float]:
        budget = a_budget()
        budget.hurry()
        first = budget.left_s()
        await asyncio.sleep(0.05)
        budget.hurry()  # a third signal gives no more time
        return first, budget.left_s()

    first, later = asyncio.run(scenario())
    assert later < first <= HURRY_S
