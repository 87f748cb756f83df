"""FairQueue: turns of callers, limits, timeouts."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiai.errors import Unavailable
from kiai.fair_queue import FairQueue
from kiai.measuring import PoolUsage


def a_queue(**changes: Any) -> FairQueue:
    bounds = {"running_max": 1, "waiting_max": 100, "per_caller_max": 50, "wait_s": 60.0} | changes
    return FairQueue("search", **bounds)


def run_scenario(scenario: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(scenario)


async def served(queue: FairQueue, callers: list[str]) -> list[str]:
    """Return the callers in the order of their turns, when all of them queue for the only place."""
    order: list[str] = []

    async def job(caller: str) -> None:
        async with queue.turn(caller):
            order.append(caller)
            await asyncio.sleep(0)

    await queue.enter("first")
    jobs = [asyncio.create_task(job(caller)) for caller in callers]
    await asyncio.sleep(0)
    queue.leave("first")
    await asyncio.gather(*jobs)
    return order


def test_caller_with_one_job_waits_for_one_job_of_each_other_caller() -> None:
    order = run_scenario(served(a_queue(), ["a"] * 20 + ["b"] * 20 + ["c"]))

    assert order.index("c") <= 2
    assert len(order) == 41


def test_queue_of_a_caller_is_bounded() -> None:
    async def scenario() -> None:
        queue = a_queue(per_caller_max=2)
        await queue.enter("a")
        waiting = [asyncio.create_task(queue.enter("a")) for _ in range(2)]
        await asyncio.sleep(0)

        with pytest.raises(Unavailable, match="search is not available"):
            await queue.enter("a")

        for _ in range(3):
            queue.leave("a")
        await asyncio.gather(*waiting)
        assert (queue.running, queue.waiting) == (0, 0)

    run_scenario(scenario())


def test_full_queue_drops_the_last_job_of_the_caller_with_most_jobs() -> None:
    async def scenario() -> None:
        queue = a_queue(waiting_max=3)
        await queue.enter("a")
        greedy = [asyncio.create_task(queue.enter("a")) for _ in range(3)]
        await asyncio.sleep(0)
        honest = asyncio.create_task(queue.enter("b"))
        await asyncio.sleep(0)

        queue.leave("a")
        queue.leave("a")
        await honest
        queue.leave("b")
        results = await asyncio.gather(*greedy, return_exceptions=True)

        assert [type(one) for one in results] == [type(None), type(None), Unavailable]
        assert (queue.waiting, queue.refused) == (0, 1)

    run_scenario(scenario())


def test_full_queue_of_equal_callers_refuses_a_new_job() -> None:
    async def scenario() -> None:
        queue = a_queue(waiting_max=2)
        await queue.enter("a")
        waiting = [asyncio.create_task(queue.enter(caller)) for caller in "ab"]
        await asyncio.sleep(0)

        with pytest.raises(Unavailable):
            await queue.enter("c")
        assert queue.pool() == PoolUsage(in_use=1, size=1, waiting=2, refused=1)

        for one in waiting:
            one.cancel()

    run_scenario(scenario())


def test_wait_of_a_job_is_limited() -> None:
    async def scenario() -> None:
        queue = a_queue(wait_s=0.01)
        await queue.enter("a")

        with pytest.raises(Unavailable, match=r"0\.01 s"):
            await queue.enter("b")

        assert (queue.waiting, queue.refused) == (0, 1)
        queue.leave("a")
        assert queue.running == 0

    run_scenario(scenario())


@pytest.mark.parametrize("of_caller_max", [None, 1])
@given(steps=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["enter", "leave", "cancel"])), max_size=60))
def test_places_are_never_lost_or_assigned_twice(of_caller_max: int | None, steps: list[tuple[str, str]]) -> None:
    async def scenario() -> None:
        queue = a_queue(running_max=2, waiting_max=5, per_caller_max=3, running_per_caller_max=of_caller_max)
        tasks: list[asyncio.Task[None]] = []
        callers: dict[asyncio.Task[None], str] = {}
        for caller, step in steps:
            done = [task for task in tasks if task.done() and not task.cancelled() and task.exception() is None]
            if step == "enter":
                tasks.append(asyncio.create_task(queue.enter(caller)))
                callers[tasks[-1]] = caller
            elif step == "leave" and done:
                tasks.remove(done[0])
                queue.leave(callers[done[0]])
            elif step == "cancel" and tasks:
                tasks[-1].cancel()
            for _ in range(3):
                await asyncio.sleep(0)
            inside = [task for task in tasks if task.done() and not task.cancelled() and task.exception() is None]
            waiting = [task for task in tasks if not task.done()]
            running_of = Counter(callers[task] for task in inside)
            assert queue.running == len(inside) <= 2
            assert max(running_of.values(), default=0) <= (of_caller_max or 2)
            assert queue.waiting == len(waiting) <= 5
            # A place is free only for callers that have all of theirs.
            assert queue.running == 2 or all(running_of[callers[task]] == of_caller_max for task in waiting)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run_scenario(scenario())


def test_caller_with_all_its_places_does_not_delay_others() -> None:
    async def scenario() -> list[str]:
        queue = a_queue(running_max=2, running_per_caller_max=1)
        order: list[str] = []

        async def job(caller: str) -> None:
            async with queue.turn(caller):
                order.append(caller)
                await asyncio.sleep(0 if caller == "honest" else 0.01)

        attack = [asyncio.create_task(job("attacker")) for _ in range(10)]
        await asyncio.sleep(0)
        assert (queue.running, queue.waiting) == (1, 9)
        await job("honest")
        await asyncio.gather(*attack)
        return order

    assert run_scenario(scenario())[:2] == ["attacker", "honest"]
