"""Work that is done at the same time, or in order where it ends without waiting."""

import asyncio

import pytest

from kiai.together import together


@pytest.mark.parametrize("at_once", [False, True])
def test_results_have_the_order_of_the_work(at_once: bool) -> None:
    async def number(value: int) -> int:
        return value

    assert asyncio.run(together(*map(number, range(5)), at_once=at_once)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("at_once", [False, True])
def test_all_work_ends_before_the_first_error_is_raised(at_once: bool) -> None:
    ended = []

    async def fail(name: str) -> None:
        ended.append(name)
        raise ValueError(name)

    with pytest.raises(ValueError, match="first"):
        asyncio.run(together(fail("first"), fail("second"), at_once=at_once))
    assert ended == ["first", "second"]


def test_work_that_ends_at_once_gets_no_task() -> None:
    async def scenario() -> list[bool]:
        caller = asyncio.current_task()

        async def runs_in_the_caller() -> bool:
            return asyncio.current_task() is caller

        return await together(runs_in_the_caller(), runs_in_the_caller(), at_once=True)

    assert asyncio.run(scenario()) == [True, True]
