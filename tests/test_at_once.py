"""Coroutines that run without a task until their first wait."""

import asyncio

import pytest

from kiai.at_once import ends_at_once, needs_task, result_at_once


async def nothing() -> None:
    pass


def test_a_coroutine_without_a_wait_ends_at_once() -> None:
    assert ends_at_once(nothing())


def test_a_coroutine_that_waits_is_closed() -> None:
    closed = []

    async def waits() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            closed.append(True)

    assert not ends_at_once(waits())
    assert closed == [True]


def test_an_error_passes() -> None:
    async def fails() -> None:
        raise ValueError("a fault")

    with pytest.raises(ValueError, match="a fault"):
        ends_at_once(fails())


def test_work_that_needs_a_task_begins_only_in_one() -> None:
    begun = []

    async def works() -> None:
        await needs_task()
        begun.append(True)

    async def scenario() -> None:
        asyncio.get_running_loop().call_soon(lambda: begun.append(ends_at_once(works())))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert begun == [False]
        await works()

    asyncio.run(scenario())

    assert begun == [False, True]


def test_the_result_of_a_coroutine_that_waits_is_unknown() -> None:
    closed = []

    async def answer(*, waits: bool) -> int:
        try:
            if waits:
                await asyncio.sleep(0)
            return 7
        finally:
            closed.append(waits)

    assert result_at_once(answer(waits=False)) == 7
    assert result_at_once(answer(waits=True)) is None
    assert closed == [False, True]
