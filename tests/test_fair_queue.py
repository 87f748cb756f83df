"""The queue in which callers take turns."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiai.errors import Unavailable
from kiai.fair_queue import FairQueue


def a_queue(**changes: Any) -> FairQueue:
    bounds = {"running_max": 1, "waiting_max": 100, "per_caller_max": 50, "wait_s": 60.0} | changes
    return FairQueue("search", **bounds)


def settled(scenario: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(scenario)


async def served(queue: FairQueue, callers: list[str]) -> list[str]:
    """Who had a place, in order, when all of them asked while the only place was taken."""
    order: list[str] = []

    async def job(caller: str) -> None:
        async with queue.place(caller):
            order.append(caller)
            await asyncio.sleep(0)

    await queue.enter("first")
    jobs = [asyncio.create_task(job(caller)) for caller in callers]
    await asyncio.sleep(0)
    queue.leave()
    await asyncio.gather(*jobs)
    return order


def test_a_caller_with_one_job_waits_for_one_job_of_each_other_caller() -> None:
    order = settled(served(a_queue(), ["a"] * 20 + ["b"] * 20 + ["c"]))

    assert order.index("c") <= 2
    assert len(order) == 41


def test_a_caller_has_a_bounded_line() -> None:
    async def scenario() -> None:
        queue = a_queue(per_caller_max=2)
        await queue.enter("a")
        waiting = [asyncio.create_task(queue.enter("a")) for _ in range(2)]
        await asyncio.sleep(0)

        with pytest.raises(Unavailable, match="search is not available"):
            await queue.enter("a")

        for _ in range(3):
            queue.leave()
        await asyncio.gather(*waiting)
        assert (queue.running, queue.waiting) == (0, 0)

    settled(scenario())


def test_a_newcomer_takes_the_place_of_the_last_in_the_longest_line_when_the_queue_is_full() -> None:
    async def scenario() -> None:
        queue = a_queue(waiting_max=3)
        await queue.enter("a")
        greedy = [asyncio.create_task(queue.enter("a")) for _ in range(3)]
        await asyncio.sleep(0)
        honest = asyncio.create_task(queue.enter("b"))
        await asyncio.sleep(0)

        queue.leave()
        queue.leave()
        await honest
        queue.leave()
        results = await asyncio.gather(*greedy, return_exceptions=True)

        assert [type(one) for one in results] == [type(None), type(None), Unavailable]
        assert queue.waiting == 0

    settled(scenario())


def test_a_full_queue_of_equal_lines_refuses_the_newcomer() -> None:
    async def scenario() -> None:
        queue = a_queue(waiting_max=2)
        await queue.enter("a")
        waiting = [asyncio.create_task(queue.enter(caller)) for caller in "ab"]
        await asyncio.sleep(0)

        with pytest.raises(Unavailable):
            await queue.enter("c")

        for one in waiting:
            one.cancel()

    settled(scenario())


def test_a_job_waits_no_longer_than_allowed() -> None:
    async def scenario() -> None:
        queue = a_queue(wait_s=0.01)
        await queue.enter("a")

        with pytest.raises(Unavailable, match=r"0\.01 s"):
            await queue.enter("b")

        assert queue.waiting == 0
        queue.leave()
        assert queue.running == 0

    settled(scenario())


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["enter", "leave", "cancel"])), max_size=60))
def test_places_are_neither_lost_nor_given_twice(steps: list[tuple[str, str]]) -> None:
    async def scenario() -> None:
        queue = a_queue(running_max=2, waiting_max=5, per_caller_max=3)
        tasks: list[asyncio.Task[None]] = []
        inside = 0
        for caller, step in steps:
            done = [task for task in tasks if task.done() and not task.cancelled() and task.exception() is None]
            if step == "enter":
                tasks.append(asyncio.create_task(queue.enter(caller)))
            elif step == "leave" and done:
                tasks.remove(done[0])
                queue.leave()
            elif step == "cancel" and tasks:
                tasks[-1].cancel()
            for _ in range(3):
                await asyncio.sleep(0)
            inside = sum(task.done() and not task.cancelled() and task.exception() is None for task in tasks)
            assert queue.running == inside <= 2
            assert queue.waiting == sum(not task.done() for task in tasks) <= 5
            assert not queue.waiting or queue.running == 2
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    settled(scenario())
