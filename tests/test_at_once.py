"""Coroutines that run without a task until their first wait."""

import asyncio

import pytest

from kiai.at_once import Begun, ends_at_once, needs_task, result_at_once


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


def test_what_has_begun_continues_in_a_task_and_keeps_what_it_did() -> None:
    steps: list[str] = []

    async def works(future: asyncio.Future[int]) -> int:
        steps.append("begun")
        first = await future
        steps.append("continued")
        await asyncio.sleep(0)
        return first + await future

    async def scenario(*, done: bool) -> int:
        future = asyncio.get_running_loop().create_future()
        outside: list[Begun[int]] = []
        asyncio.get_running_loop().call_soon(lambda: outside.append(Begun(works(future))))
        await asyncio.sleep(0)
        [begun] = outside
        assert not begun.ended
        if done:  # before anything waits for the rest
            future.set_result(4)
        else:
            asyncio.get_running_loop().call_later(0.01, future.set_result, 4)
        return await begun

    assert [asyncio.run(scenario(done=done)) for done in (False, True)] == [8, 8]
    assert steps == ["begun", "continued"] * 2


def test_what_ends_at_once_has_its_result_and_may_be_awaited() -> None:
    async def answer() -> int:
        return 7

    begun = Begun(answer())

    async def rest() -> int:
        return await begun

    assert begun.ended
    assert begun.result == asyncio.run(rest()) == 7


def test_an_error_of_what_has_begun_is_raised_where_it_is_awaited() -> None:
    async def fails() -> None:
        raise ValueError("a fault")

    begun = Begun(fails())

    async def rest() -> None:
        await begun

    assert not begun.ended
    with pytest.raises(ValueError, match="a fault"):
        asyncio.run(rest())


def test_a_cancelled_task_cancels_what_has_begun() -> None:
    closed: list[str] = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            closed.append("cancelled")
            raise

    async def scenario() -> None:
        async def rest() -> None:
            await Begun(waits())

        task = asyncio.create_task(rest())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())

    assert closed == ["cancelled"]
